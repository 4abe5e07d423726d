//! What can go wrong in the machine. Every error names the place; a known remedy is a hint, apart from the message.

use fieldrig_proto::time::Time;

/// Why the engine could not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    /// A port could not be opened, or does not exist.
    #[error("{url}: {what}")]
    Port {
        /// The place.
        url: String,
        /// What is wrong there.
        what: String,
        /// A known remedy.
        hint: Option<String>,
    },
    /// The certificate that the other side presented is not one to believe.
    #[error("{url}: {what}")]
    Untrusted {
        /// The place.
        url: String,
        /// What was presented, and what is wrong with it.
        what: String,
    },
    /// A port that was open went away, and the node is of no use without it.
    #[error("{url}: lost at {at} s: {reason}")]
    Lost {
        /// The place.
        url: String,
        /// Why, as far as the machine knows.
        reason: String,
        /// When it was noticed.
        at: Time,
    },
    /// An endpoint broke the calling contract (a time-out that does not advance, actions without end, a panic).
    #[error("the endpoint of {node} is stuck: {what}")]
    Stuck {
        /// The node.
        node: String,
        /// Which rule it broke.
        what: String,
    },
    /// Virtual time cannot move on: nothing is due any more and nobody will ever act.
    #[error("virtual time stands still at {at} s: nothing is due and nothing is under way")]
    NoProgress {
        /// The instant at which everything came to rest.
        at: Time,
    },
    /// The caller was asked to stop (Ctrl-C).
    #[error("interrupted")]
    Interrupted,
    /// A callback called back into the node that was calling it.
    #[error("{node} was used from inside its own callback")]
    Reentered {
        /// The node.
        node: String,
    },
    /// The node or its rig was closed.
    #[error("{node} is closed")]
    Stopped {
        /// The node.
        node: String,
    },
    /// A thread or a file of the machine itself could not be made.
    #[error("{what}")]
    Machine {
        /// What, and why.
        what: String,
    },
}

impl EngineError {
    /// What to do about a certificate that is not believed.
    pub const UNTRUSTED: &str = "`ca` says whose signature is believed, `name` for whom the certificate must be";

    /// A known remedy, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            EngineError::Port { hint, .. } => hint.as_deref(),
            EngineError::Untrusted { .. } => Some(EngineError::UNTRUSTED),
            EngineError::Reentered { .. } => Some("do it after the callback has returned"),
            _ => None,
        }
    }

    pub(crate) fn machine(what: &str, error: &std::io::Error) -> EngineError {
        EngineError::Machine { what: format!("{what}: {error}") }
    }
}
