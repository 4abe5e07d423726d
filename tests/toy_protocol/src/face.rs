//! The face: a device shows its points to whoever asks.

use crate::frame;
use fieldrig_proto::device::{Emission, Face, Heard, PointStore};
use fieldrig_proto::endpoint::{Action, Conn, How, Input, Why};
use fieldrig_proto::record::{Record, Value};
use fieldrig_proto::time::Time;
use std::collections::VecDeque;

/// The face of a device on a `toy` link.
pub struct ToyFace {
    name: String,
    greeting: String,
    open: Vec<(Conn, Vec<u8>)>,
    actions: VecDeque<(Conn, Option<String>)>,
}

impl ToyFace {
    /// A face; it greets whoever connects, if there is a greeting.
    #[must_use]
    pub fn new(name: &str, greeting: &str) -> ToyFace {
        ToyFace { name: name.to_owned(), greeting: greeting.to_owned(), open: Vec::new(), actions: VecDeque::new() }
    }
}

/// What the device says to a question.
fn answer(question: &str, store: &PointStore) -> String {
    match question.strip_prefix('?').map(|point| store.value(point)) {
        Some(Some(Value::Float(value))) => format!("={value}"),
        Some(Some(Value::Int(value))) => format!("={value}"),
        Some(Some(Value::Bool(value))) => format!("={value}"),
        Some(Some(Value::Text(value))) => format!("={value}"),
        Some(_) => "!no such point".to_owned(),
        None => "!ask with a question mark".to_owned(),
    }
}

impl Face for ToyFace {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, _now: Time, input: Input<'_>, store: &mut PointStore) {
        match input {
            Input::Opened(conn, _) => {
                self.open.push((conn, Vec::new()));
                if !self.greeting.is_empty() {
                    self.actions.push_back((conn, Some(self.greeting.clone())));
                }
            }
            Input::Bytes(conn, bytes, _) => {
                let Some((_, held)) = self.open.iter_mut().find(|(open, _)| *open == conn) else { return };
                held.extend_from_slice(bytes);
                while let Some(question) = frame::take(held) {
                    self.actions.push_back((conn, Some(answer(&question, store))));
                }
            }
            Input::Closed(conn, why) => {
                self.open.retain(|(open, _)| *open != conn);
                if why == Why::Finished {
                    self.actions.push_back((conn, None));
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time, _store: &mut PointStore) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn store_changed(&mut self, _now: Time, _store: &PointStore) {}

    fn emit(&mut self, _now: Time, _emission: &Emission) {}

    fn poll_heard(&mut self) -> Option<Heard> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let (conn, text) = self.actions.pop_front()?;
        let Some(text) = text else { return Some(Action::Close(conn, How::Fin)) };
        let start = out.len();
        frame::write(&text, out);
        Some(Action::send(conn, start..out.len()))
    }

    fn poll_event(&mut self) -> Option<Record> {
        None
    }

    fn power(&mut self, _now: Time, on: bool, _store: &PointStore) {
        if !on {
            self.open.clear();
            self.actions.clear();
        }
    }

    fn set_habit(&mut self, name: &str, _value: &Value) -> Result<(), String> {
        Err(format!("a toy has no habit `{name}`"))
    }
}
