//! A node of the engine as Python objects hold it: who may use it, how it is waited for, how it ends.

use crate::error::{Kind, Owner, error, is_over};
use crate::life::{Alive, Shared, detached};
use crate::rig::{Rig, shared_or_private};
use crate::time::Stamp;
use crate::wait::blocking;
use fieldrig_engine::secrets::Secrets;
use fieldrig_engine::{Binding, Called, Node, Sent, Thread};
use fieldrig_proto::endpoint::Endpoint;
use fieldrig_proto::time::{self, Duration, Source, Time};
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A node, the rig it runs on, and whose ports it has.
pub(crate) struct Handle<E: Endpoint + Send + 'static>
where
    E::Event: Clone + Send,
{
    // Before the rig: dropped first.
    node: Alive<Node<E>>,
    shared: Arc<Shared>,
    /// The rig is this object's own and ends with it.
    private: bool,
    pub(crate) owner: Owner,
}

impl<E: Endpoint + Send + 'static> Handle<E>
where
    E::Event: Clone + Send,
{
    /// Opens a node on the rig that was given, or on a private one.
    ///
    /// # Errors
    /// `PortError`, and those of starting a rig.
    pub(crate) fn open(
        py: Python<'_>,
        rig: Option<&Bound<'_, Rig>>,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
        owner: Owner,
    ) -> PyResult<Handle<E>> {
        Handle::open_on(py, rig, Thread::Reactor, name, endpoint, bindings, owner)
    }

    /// The same, driven by this thread.
    ///
    /// # Errors
    /// Those of [`Handle::open`].
    pub(crate) fn open_on(
        py: Python<'_>,
        rig: Option<&Bound<'_, Rig>>,
        thread: Thread,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
        owner: Owner,
    ) -> PyResult<Handle<E>> {
        let private = rig.is_none();
        let shared = shared_or_private(py, rig)?;
        let rig = shared.rig(py)?.clone();
        let node = blocking(py, owner, move |go_on| rig.open_on_with(thread, name, endpoint, bindings, go_on))?;
        Ok(Handle { node: Alive::new(node), shared, private, owner })
    }

    /// Opens a node on a rig that is at hand; `private`: it is this object's own.
    ///
    /// # Errors
    /// Those of [`Handle::open`].
    pub(crate) fn open_in(
        py: Python<'_>,
        shared: Arc<Shared>,
        private: bool,
        name: &str,
        endpoint: E,
        bindings: Vec<Binding>,
        owner: Owner,
    ) -> PyResult<Handle<E>> {
        let rig = shared.rig(py)?.clone();
        let node =
            blocking(py, owner, move |go_on| rig.open_on_with(Thread::Reactor, name, endpoint, bindings, go_on))?;
        Ok(Handle { node: Alive::new(node), shared, private, owner })
    }

    /// What is masked in the artefacts of the rig.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn secrets(&self, py: Python<'_>) -> PyResult<&Secrets> {
        Ok(self.shared.rig(py)?.secrets())
    }

    /// A node that was opened elsewhere, on a rig that is shared.
    pub(crate) fn adopt(node: Node<E>, shared: &Arc<Shared>) -> Handle<E> {
        Handle { node: Alive::new(node), shared: Arc::clone(shared), private: false, owner: Owner::Bench }
    }

    /// The node.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    #[inline]
    pub(crate) fn node(&self, py: Python<'_>) -> PyResult<&Node<E>> {
        self.node.get(py)
    }

    /// The clock.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<Time> {
        Ok(self.shared.rig(py)?.now())
    }

    /// So long may bytes have waited in the machinery of its port before a look could find them.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn resolution(&self, py: Python<'_>) -> PyResult<Duration> {
        let node = self.node(py)?;
        blocking(py, self.owner, |_| node.resolution())
    }

    /// The same in nanoseconds, for Python.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn resolution_ns(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(u64::try_from(self.resolution(py)?.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Runs a command.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn with<R: Send>(
        &self,
        py: Python<'_>,
        command: impl FnOnce(&mut E, Time) -> R + Send,
    ) -> PyResult<(R, Option<Sent>)> {
        let node = self.node(py)?;
        blocking(py, self.owner, |go_on| node.with_while(command, go_on))
    }

    /// Runs a command that is no longer worth waiting for: it is left out if another thread sits in a call, or if the node
    /// is closed.
    pub(crate) fn at_last<R: Send>(&self, py: Python<'_>, command: impl FnOnce(&mut E, Time) -> R + Send) {
        let Ok(node) = self.node(py) else { return };
        let mut asked = false;
        // Whether it was done or left out makes no difference to those who call this.
        let _ = detached(py, || node.with_while(command, &mut || !std::mem::replace(&mut asked, true)));
    }

    /// A command and the wait for what comes of it, under one lease.
    ///
    /// # Errors
    /// The engine's, and what a signal handler raised; inner: the command's.
    pub(crate) fn call<T: Send, X: Send, R: Send>(
        &self,
        py: Python<'_>,
        command: impl FnOnce(&mut E, Time) -> Result<T, X> + Send,
        within: Duration,
        check: impl FnMut(&T, &mut E, &mut VecDeque<E::Event>, Time) -> Option<R> + Send,
    ) -> PyResult<Result<Called<R>, X>> {
        let node = self.node(py)?;
        blocking(py, self.owner, |go_on| node.call(command, within, check, go_on))
    }

    /// A command and the wait until the first send that it causes has happened.
    ///
    /// # Errors
    /// The engine's, and what a signal handler raised; inner: the command's.
    pub(crate) fn send<X: Send>(
        &self,
        py: Python<'_>,
        command: impl FnOnce(&mut E, Time) -> Result<(), X> + Send,
        within: Duration,
    ) -> PyResult<Result<Option<Sent>, X>> {
        let node = self.node(py)?;
        blocking(py, self.owner, |go_on| node.send(command, within, go_on))
    }

    /// Drives the node until `check` gives something, or the deadline (`None`).
    ///
    /// # Errors
    /// The engine's, and what a signal handler raised.
    pub(crate) fn wait<R: Send>(
        &self,
        py: Python<'_>,
        deadline: Time,
        check: impl FnMut(&mut E, &mut VecDeque<E::Event>, Time) -> Option<R> + Send,
    ) -> PyResult<Option<R>> {
        let node = self.node(py)?;
        blocking(py, self.owner, |go_on| node.wait(deadline, check, go_on))
    }

    /// Waits until `over` is set or the deadline, without taking part.
    ///
    /// # Errors
    /// The engine's, and what a signal handler raised.
    pub(crate) fn stand_by(&self, py: Python<'_>, over: &AtomicBool, deadline: Time) -> PyResult<()> {
        let node = self.node(py)?;
        blocking(py, self.owner, |go_on| node.stand_by(over, deadline, go_on))
    }

    /// Whether the rig lives on virtual time.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn is_virtual(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.shared.rig(py)?.clock().is_virtual())
    }

    /// Takes what has arrived, without waiting. A port that is closed or gone has nothing to show; whoever reads from it
    /// is told.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn look(&self, py: Python<'_>) -> PyResult<()> {
        match self.wait(py, Time::ZERO, |_, _, _| None::<()>) {
            Err(problem) if is_over(py, &problem) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The current instant, for Python.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn now_stamp(&self, py: Python<'_>) -> PyResult<Stamp> {
        Ok(self.stamped(py, self.shared.rig(py)?.instant()))
    }

    /// What stamps by the clock of its rig carry.
    pub(crate) fn clock(&self, py: Python<'_>) -> Source {
        self.shared.rig(py).map_or(Source::NONE, |rig| rig.clock().source())
    }

    /// An instant of its clock, for Python.
    pub(crate) fn stamped(&self, py: Python<'_>, at: Time) -> Stamp {
        Stamp(time::Stamp::exact(at).by(self.clock(py)))
    }

    /// The instant of an issue: the bytes left between the issue of the send and its return, no clock says when. A send
    /// that still waits in the output was issued when it was handed out.
    pub(crate) fn issued(&self, py: Python<'_>, sent: Option<Sent>, now: Time) -> time::Stamp {
        let issued = sent.map_or(now, |sent| sent.issued.unwrap_or(sent.scheduled));
        let returned = sent.and_then(|sent| sent.returned).unwrap_or(issued);
        time::Stamp::between(issued, returned).by(self.clock(py))
    }

    /// When a send was complete.
    pub(crate) fn returned(&self, py: Python<'_>, sent: Option<Sent>, now: Time) -> time::Stamp {
        self.stamped(py, sent.map_or(now, |sent| sent.returned.unwrap_or(sent.scheduled))).0
    }

    /// The stalls of the host, for Python.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn stalls(&self, py: Python<'_>, since: time::Stamp) -> PyResult<Vec<crate::stall::Stall>> {
        Ok(crate::rig::stalls(self.shared.rig(py)?, since))
    }

    /// Closes the node, and the rig if it is private.
    ///
    /// # Errors
    /// `ForkError` in a child process.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        let (node, rig) = (self.node(py)?, self.shared.rig(py)?);
        detached(py, || {
            node.close();
            if self.private {
                rig.stop();
            }
        });
        Ok(())
    }

    /// Where a port stands, as the other side finds it.
    ///
    /// # Errors
    /// `ForkError` in a child process; `Stopped` if it is closed.
    pub(crate) fn address(&self, py: Python<'_>, via: &str) -> PyResult<String> {
        let closed = || error(py, Kind::Stopped, "it is closed");
        self.node(py)?.address(via).ok_or_else(closed)
    }
}
