//! The client as a face of a device: an emulated gateway asks its meters through it.
//!
//! Rules of this file:
//! - The model asks with [`Emission::Ask`] (`ask.rs` has the table) and gets exactly one [`Heard::Answer`] with its
//!   token for each: values, or an error word with a text. What cannot be asked is answered `refused` at once.
//! - One request at a time on a wire, in the order of the asks, each after t3.5 of silence (SL 2.4.1, 2.5.1.1); the rules
//!   of `client.rs` say what is an answer. On TCP several may be in flight (MG 4.4.1.2).
//! - On TCP it connects when the device runs, and again so long after every loss as [`FaceSettings::retry`] says; an ask
//!   tries at once. Without a connection an ask ends as `lost`.
//! - `Ready` is heard once there is a connection or the wire, `Gone` when it is lost.
//! - Power-off forgets connection and asks.
//!
//! ```
//! use fieldrig_proto::device::Face;
//! use fieldrig_proto::modbus::{TCP, client_face::ClientFace};
//! use fieldrig_proto::protocol::{Built, Role};
//!
//! let constructor = TCP.constructor(Role::Client).expect("Modbus has clients");
//! let settings = [("url".to_owned(), "tcp://127.0.0.1:502".into())];
//! let Ok(Built::Face(face)) = (constructor.build)("meters", &settings) else { panic!("a face") };
//! assert_eq!(face.name(), "meters");
//! ```

mod ask;
mod settings;

pub use settings::FaceSettings;
pub(super) use settings::{ASCII_CLIENT, RTU_CLIENT, TCP_CLIENT, duration};

use super::client::{Client, ClientEvent, Ticket};
use crate::device::{Emission, Face, Heard, PointStore};
use crate::endpoint::{Action, Endpoint, Input};
use crate::record::{Record, Value};
use crate::time::{Duration, Time};
use std::collections::VecDeque;

/// So many asks may wait; further ones are refused.
const MOST_ASKS: usize = 1024;

/// The Modbus client of an emulated device. The rules stand at the top of this file.
#[derive(Debug)]
pub struct ClientFace {
    name: String,
    settings: FaceSettings,
    client: Client,
    asked: Vec<Asked>,
    on: bool,
    ready: bool,
    retry_at: Option<Time>,
    heard: VecDeque<Heard>,
    events: VecDeque<Record>,
}

/// A request of the model under way.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    token: i64,
}

impl ClientFace {
    /// A face of this name.
    #[must_use]
    pub fn new(name: &str, settings: FaceSettings) -> ClientFace {
        let client = Client::new(settings.config.clone());
        ClientFace {
            name: name.to_owned(),
            settings,
            client,
            asked: Vec::new(),
            on: false,
            ready: false,
            retry_at: None,
            heard: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Its client, for looking.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn ask(&mut self, now: Time, table: &Value) {
        let token = table.entry("token").and_then(Value::as_i64);
        let parsed = ask::parse(table, self.settings.unit, self.settings.timeout);
        let outcome = match (token, parsed) {
            (None, _) => Err("an ask needs a `token`, an integer, by which its answer is known".to_owned()),
            (Some(_), Err(problem)) => Err(problem),
            (Some(_), Ok(_)) if self.asked.len() == MOST_ASKS => Err(format!("{MOST_ASKS} requests wait already")),
            (Some(token), Ok(ask)) => match self.client.request(now, ask.unit, ask.request, ask.timeout) {
                Ok(ticket) => {
                    self.asked.push(Asked { ticket, token });
                    Ok(())
                }
                Err(problem) => Err(problem.to_string()),
            },
        };
        if let Err(problem) = outcome {
            self.events.push_back(Record::new("modbus.refused").with("problem", problem.as_str()));
            if let Some(token) = token {
                self.heard.push_back(Heard::Answer(ask::failed(token, "refused", &problem, None)));
            }
        }
        self.digest(now);
    }

    /// Tells the model what became of its asks, and the run log what happened.
    fn digest(&mut self, now: Time) {
        while let Some(event) = self.client.poll_event() {
            if let Some(ticket) = event.ticket()
                && let Some(index) = self.asked.iter().position(|asked| asked.ticket == ticket)
            {
                let asked = self.asked.remove(index);
                self.heard.push_back(Heard::Answer(ask::outcome(asked.token, &event)));
            }
            match &event {
                ClientEvent::Connected(_) => {
                    self.ready = true;
                    self.retry_at = None;
                    self.heard.push_back(Heard::Ready);
                }
                ClientEvent::Disconnected(..) => {
                    if std::mem::take(&mut self.ready) {
                        self.heard.push_back(Heard::Gone);
                    }
                    let again = self.on && self.settings.config.reconnect.is_some();
                    self.retry_at = again.then(|| now + self.settings.retry);
                }
                _ => {}
            }
            self.events.push_back(event.into());
        }
    }
}

impl Face for ClientFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, now: Time, input: Input<'_>, _store: &mut PointStore) {
        Endpoint::handle(&mut self.client, now, input);
        self.digest(now);
    }

    fn handle_timeout(&mut self, now: Time, _store: &mut PointStore) {
        if self.client.poll_timeout().is_some_and(|due| due <= now) {
            Endpoint::handle_timeout(&mut self.client, now);
        }
        if self.retry_at.take_if(|due| *due <= now).is_some() {
            self.client.connect(now);
        }
        self.digest(now);
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.client.poll_timeout(), self.retry_at].into_iter().flatten().min()
    }

    fn store_changed(&mut self, _now: Time, _store: &PointStore) {}

    fn emit(&mut self, now: Time, emission: &Emission) {
        if let Emission::Ask(table) = emission {
            self.ask(now, table);
        }
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        self.client.poll_action(out)
    }

    fn poll_event(&mut self) -> Option<Record> {
        self.events.pop_front()
    }

    /// A wire is attached when the boot begins, before this comes; a connection is made now.
    fn power(&mut self, now: Time, on: bool, _store: &PointStore) {
        self.on = on;
        if on {
            self.client.connect(now);
            return;
        }
        self.client = Client::new(self.settings.config.clone());
        self.asked.clear();
        self.heard.clear();
        self.ready = false;
        self.retry_at = None;
    }

    fn set_habit(&mut self, name: &str, _value: &Value) -> Result<(), String> {
        Err(format!("the Modbus client of a device has no habits, so no `{name}`; its server has"))
    }
}

impl FaceSettings {
    /// Answers may take so long, unless an ask says otherwise.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> FaceSettings {
        FaceSettings { timeout, ..self }
    }
}
