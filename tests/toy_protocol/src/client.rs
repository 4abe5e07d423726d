//! The client: asks, and reports each answer.

use crate::frame;
use fieldrig_proto::endpoint::{Action, Conn, Endpoint, Input};
use fieldrig_proto::record::Record;
use fieldrig_proto::time::{Stamp, Time};
use std::collections::VecDeque;

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The text, with its first character: `=` or `!`.
    pub text: String,
    /// When its last octet arrived.
    pub at: Stamp,
}

impl From<Answer> for Record {
    fn from(answer: Answer) -> Record {
        Record::new("toy.answer").at(answer.at).with("text", answer.text)
    }
}

/// A client.
#[derive(Default, Debug)]
pub struct Asker {
    conn: Option<Conn>,
    held: Vec<u8>,
    questions: VecDeque<String>,
    answers: VecDeque<Answer>,
}

impl Asker {
    /// Asks for a point.
    pub fn ask(&mut self, point: &str) {
        self.questions.push_back(format!("?{point}"));
    }
}

impl Endpoint for Asker {
    type Event = Answer;

    fn handle(&mut self, _now: Time, input: Input<'_>) {
        match input {
            Input::Opened(conn, _) => self.conn = Some(conn),
            Input::Bytes(conn, bytes, stamps) if self.conn == Some(conn) => {
                self.held.extend_from_slice(bytes);
                let at = stamps.at(bytes.len().saturating_sub(1), bytes.len());
                while let Some(text) = frame::take(&mut self.held) {
                    self.answers.push_back(Answer { text, at });
                }
            }
            Input::Closed(conn, _) if self.conn == Some(conn) => self.conn = None,
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_action(&mut self, out: &mut Vec<u8>) -> Option<Action> {
        let conn = self.conn?;
        let question = self.questions.pop_front()?;
        let start = out.len();
        frame::write(&question, out);
        Some(Action::send(conn, start..out.len()))
    }

    fn poll_event(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }
}
