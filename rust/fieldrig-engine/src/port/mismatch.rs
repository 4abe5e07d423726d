//! Two sides of a line that are set differently, on ports that carry bytes whole: a pty, a serial server.
//!
//! Rules of this file:
//! - What comes in is what a UART set as ours is makes of what the other side sends, and the other way round
//!   ([`fieldrig_proto::line::uart`]). The bytes of one look follow each other without a pause.
//! - What is wrong with a byte is told before it; what is low throughout is a break, and no byte.
//! - Nothing is changed while both sides are set alike.

use super::{Arrival, Read};
use fieldrig_proto::line::uart::{Character, Heard, hear};
use fieldrig_proto::line::{LineEvent, LineSettings};
use std::collections::VecDeque;

/// What happens if the other side sets another speed or format.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Mismatch {
    /// Nothing: every speed is heard, and a pty does not look.
    #[default]
    Unseen,
    /// It is told, and what passes is as it is.
    Told,
    /// It is told, and both sides get garbage, as on a line.
    Garbled,
}

/// How both sides are set, and what was heard and not yet given.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) ours: LineSettings,
    pub(crate) theirs: LineSettings,
    pub(crate) mismatch: Mismatch,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Waiting {
    Byte(u8),
    Line(LineEvent),
}

impl Sides {
    pub(crate) fn new(settings: LineSettings, mismatch: Mismatch) -> Sides {
        Sides { ours: settings, theirs: settings, mismatch, waiting: VecDeque::new() }
    }

    /// Whether bytes have to be looked at.
    pub(crate) fn differ(&self) -> bool {
        self.mismatch == Mismatch::Garbled && self.ours != self.theirs
    }

    /// The other side is set like this now; true if it was not.
    pub(crate) fn set(&mut self, theirs: LineSettings) -> bool {
        std::mem::replace(&mut self.theirs, theirs) != theirs
    }

    /// Takes what the other side has sent.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if !self.differ() {
            return self.waiting.extend(bytes.iter().map(|byte| Waiting::Byte(*byte)));
        }
        for heard in made_out(bytes, &self.theirs, &self.ours) {
            self.waiting.extend(trouble(&heard).map(Waiting::Line));
            if !heard.is_break {
                self.waiting.push_back(Waiting::Byte(heard.value));
            }
        }
    }

    /// What the other side hears of what we send: bytes, and what is wrong with them.
    pub(crate) fn say(&self, bytes: &[u8]) -> (Vec<u8>, Vec<LineEvent>) {
        let heard = made_out(bytes, &self.ours, &self.theirs);
        // A break is read as a zero where nobody asks for more, as a UART driver has it.
        let values = heard.iter().map(|heard| heard.value).collect();
        (values, heard.iter().filter_map(trouble).collect())
    }

    /// What waits to be told next.
    pub(crate) fn give(&mut self, buffer: &mut [u8], arrival: Arrival) -> Option<Read> {
        let mut count = 0;
        while count < buffer.len() {
            match self.waiting.front()? {
                Waiting::Byte(value) => {
                    buffer[count] = *value;
                    count += 1;
                    self.waiting.pop_front();
                }
                Waiting::Line(_) if count > 0 => break,
                Waiting::Line(event) => {
                    let event = event.clone();
                    self.waiting.pop_front();
                    return Some(Read::Line(event, arrival));
                }
            }
            if self.waiting.is_empty() {
                break;
            }
        }
        (count > 0).then_some(Read::Bytes(count, arrival))
    }

    /// Whether something waits.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Something else happened on the line, behind what was taken so far.
    pub(crate) fn tell(&mut self, event: LineEvent) {
        self.waiting.push_back(Waiting::Line(event));
    }

    /// Throws away the bytes that wait; what happened did.
    pub(crate) fn purge(&mut self) {
        self.waiting.retain(|waiting| matches!(waiting, Waiting::Line(_)));
    }
}

fn made_out(bytes: &[u8], sender: &LineSettings, receiver: &LineSettings) -> Vec<Heard> {
    let characters: Vec<Character> = bytes.iter().map(|byte| Character::new(*byte)).collect();
    hear(&characters, sender, receiver).into_iter().map(|(heard, _)| heard).collect()
}

fn trouble(heard: &Heard) -> Option<LineEvent> {
    match heard {
        Heard { is_break: true, .. } => Some(LineEvent::Break),
        Heard { framing: true, .. } => Some(LineEvent::Framing),
        Heard { parity: true, .. } => Some(LineEvent::Parity),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_set_otherwise_gets_garbage_both_ways_with_what_is_wrong_told_first() {
        let line = |text: &str| text.parse::<LineSettings>().expect("valid settings");
        let mut sides = Sides::new(line("9600 8E1"), Mismatch::Garbled);
        assert!(!sides.differ());
        assert!(sides.set(line("9600 8O1")) && sides.differ());
        sides.take(b"ab");
        let mut buffer = [0; 8];
        let mut told = Vec::new();
        while let Some(read) = sides.give(&mut buffer, Arrival::Unstamped) {
            told.push(match read {
                Read::Bytes(count, _) => format!("{:?}", &buffer[..count]),
                Read::Line(event, _) => format!("{event:?}"),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(told, ["Parity", "[97]", "Parity", "[98]"]);
        assert_eq!(sides.say(b"a"), (b"a".to_vec(), vec![LineEvent::Parity]));
        sides.set(line("19200 8E1"));
        assert_eq!(sides.say(&[0]), (vec![0], vec![LineEvent::Break]));
        assert_ne!(sides.say(b"hello").0, b"hello");
        sides.take(&[0x55; 3]);
        assert!(sides.waits());
        sides.tell(LineEvent::Overrun);
        sides.purge();
        while let Some(read) = sides.give(&mut buffer, Arrival::Unstamped) {
            assert!(matches!(read, Read::Line(..)), "{read:?}");
        }
        assert!(!sides.waits());
    }
}
