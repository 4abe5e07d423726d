//! The messages a client received, for readers that come later with a cursor.

use super::event::Message;
use crate::mqtt::packet::Publish;
use crate::time::Stamp;
use std::collections::VecDeque;

/// Received messages, oldest first; bounded, and what falls out is counted.
#[derive(Debug)]
pub(super) struct Inbox {
    messages: VecDeque<Message>,
    next: u64,
    bytes: usize,
    limit_messages: usize,
    limit_bytes: usize,
}

impl Inbox {
    pub(super) fn new(limit_messages: usize, limit_bytes: usize) -> Inbox {
        Inbox { messages: VecDeque::new(), next: 0, bytes: 0, limit_messages: limit_messages.max(1), limit_bytes }
    }

    /// Keeps a message and gives a copy of it (topic and payload are shared).
    pub(super) fn push(&mut self, publish: Publish, at: Stamp) -> Message {
        let message = Message::new(self.next, publish, at);
        self.next += 1;
        self.bytes += message.payload.len();
        self.messages.push_back(message.clone());
        while self.messages.len() > self.limit_messages || (self.bytes > self.limit_bytes && self.messages.len() > 1) {
            let dropped = self.messages.pop_front();
            self.bytes -= dropped.map_or(0, |message| message.payload.len());
        }
        message
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many messages fell out.
    pub(super) fn lost(&self) -> u64 {
        self.next - self.messages.len() as u64
    }

    pub(super) fn since(&self, cursor: u64) -> impl Iterator<Item = &Message> {
        let skip = cursor.saturating_sub(self.lost());
        self.messages.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }
}
