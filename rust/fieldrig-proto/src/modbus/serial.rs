//! The two framings of a serial line, RTU and ASCII, as one (SL 2.5): what client, server and monitor share.
//!
//! ```text
//!   client, server        unit and PDU
//!        |
//!      Rules, Assembler, Message          this file
//!      /                \
//!   rtu (CRC, silence)   ascii (LRC, ":" and CR LF)
//! ```

use super::{ascii, rtu};
use crate::endpoint::Stamps;
use crate::line::silence::Frame;
use crate::time::{Duration, Time};
use std::borrow::Cow;

/// How a line is used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rules {
    /// RTU frames.
    Rtu(rtu::LineRules),
    /// ASCII frames.
    Ascii(ascii::Rules),
}

impl Rules {
    /// The silence to keep before sending; ASCII frames need none.
    #[must_use]
    pub fn gap_before(&self) -> Option<Duration> {
        match self {
            Rules::Rtu(rules) => rules.gap_before(),
            Rules::Ascii(_) => None,
        }
    }

    /// Time of one character on the wire.
    #[must_use]
    pub fn character(&self) -> Duration {
        match self {
            Rules::Rtu(rules) => rules.timing.character,
            Rules::Ascii(rules) => rules.character,
        }
    }

    /// The same framing inside a TCP connection, which has no silences and no speed.
    #[must_use]
    pub fn over_tcp(&self) -> Rules {
        match self {
            Rules::Rtu(_) => Rules::Rtu(rtu::LineRules::over_tcp()),
            Rules::Ascii(rules) => Rules::Ascii(rules.without_speed()),
        }
    }

    /// Appends a frame that is right in every field; ASCII frames end with `delimiter`.
    pub fn encode(&self, unit: u8, pdu: &[u8], delimiter: u8, out: &mut Vec<u8>) {
        match self {
            Rules::Rtu(_) => rtu::Adu::new(unit, pdu).encode(out),
            Rules::Ascii(_) => ascii::Adu { delimiter, ..ascii::Adu::new(unit, pdu) }.encode(out),
        }
    }
}

/// Assembles frames from bytes. What it gives still has to be judged: [`Assembler::read`].
#[derive(Clone, Debug)]
pub struct Assembler {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Rtu(rtu::Assembler),
    Ascii { assembler: ascii::Assembler, lower_case: bool },
}

impl Assembler {
    /// An assembler for a line.
    #[must_use]
    pub fn new(rules: &Rules, traffic: rtu::Traffic) -> Assembler {
        let kind = match rules {
            Rules::Rtu(rules) => Kind::Rtu(rtu::Assembler::new(rules, traffic)),
            Rules::Ascii(rules) => {
                Kind::Ascii { assembler: ascii::Assembler::new(*rules), lower_case: rules.lower_case }
            }
        };
        Assembler { kind }
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        match &mut self.kind {
            Kind::Rtu(assembler) => assembler.push(bytes, stamps),
            Kind::Ascii { assembler, .. } => assembler.push(bytes, stamps),
        }
    }

    /// A byte of the frame under way was received with an error.
    pub fn spoil(&mut self) {
        match &mut self.kind {
            Kind::Rtu(assembler) => assembler.spoil(),
            Kind::Ascii { assembler, .. } => assembler.spoil(),
        }
    }

    /// When to call [`Assembler::expire`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.kind {
            Kind::Rtu(assembler) => assembler.deadline(),
            Kind::Ascii { assembler, .. } => assembler.deadline(),
        }
    }

    /// When a frame that is under way is over at the latest.
    #[must_use]
    pub fn frame_deadline(&self) -> Option<Time> {
        match &self.kind {
            Kind::Rtu(assembler) => assembler.deadline(),
            Kind::Ascii { assembler, .. } => assembler.frame_deadline(),
        }
    }

    /// Ends what is due.
    pub fn expire(&mut self, now: Time) {
        match &mut self.kind {
            Kind::Rtu(assembler) => assembler.expire(now),
            Kind::Ascii { assembler, .. } => assembler.expire(now),
        }
    }

    /// The next frame.
    pub fn pop(&mut self) -> Option<Frame> {
        match &mut self.kind {
            Kind::Rtu(assembler) => assembler.pop(),
            Kind::Ascii { assembler, .. } => assembler.pop(),
        }
    }

    /// See [`rtu::Assembler::is_stuck`]; ASCII frames say themselves where they begin and end.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(&self.kind, Kind::Rtu(assembler) if assembler.is_stuck())
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            Kind::Rtu(assembler) => assembler.is_idle(),
            Kind::Ascii { assembler, .. } => assembler.is_idle(),
        }
    }

    /// Our own frame, which an adapter may repeat before the answer; see [`rtu::Assembler::set_own`]. ASCII frames say
    /// themselves where they end.
    pub fn set_own(&mut self, frame: &[u8]) {
        if let Kind::Rtu(assembler) = &mut self.kind {
            assembler.set_own(frame);
        }
    }

    /// Forgets everything but the delimiter.
    pub fn clear(&mut self) {
        match &mut self.kind {
            Kind::Rtu(assembler) => assembler.clear(),
            Kind::Ascii { assembler, .. } => assembler.clear(),
        }
    }

    /// The character that ends ASCII frames after CR.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        match &self.kind {
            Kind::Rtu(_) => ascii::LINE_FEED,
            Kind::Ascii { assembler, .. } => assembler.delimiter(),
        }
    }

    /// See [`ascii::Assembler::set_delimiter`]; RTU frames have none.
    pub fn set_delimiter(&mut self, delimiter: u8, also: Option<u8>) {
        if let Kind::Ascii { assembler, .. } = &mut self.kind {
            assembler.set_delimiter(delimiter, also);
        }
    }

    /// Reads what [`Assembler::pop`] gave.
    #[must_use]
    pub fn read<'a>(&self, frame: &'a Frame) -> Message<'a> {
        let mut message = match &self.kind {
            Kind::Rtu(_) => Message::rtu(&frame.bytes),
            Kind::Ascii { assembler, lower_case } => Message::ascii(assembler.view(&frame.bytes, *lower_case)),
        };
        if let Some(fault) = &frame.fault {
            message.problem = Some(Problem::Rtu(rtu::FrameProblem::Line(fault.clone())));
            message.interrupted = false;
        }
        message
    }
}

/// What a frame says, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    unit: Option<u8>,
    pdu: Cow<'a, [u8]>,
    problem: Option<Problem>,
    noise: bool,
    interrupted: bool,
    /// Where unit id and PDU begin in the frame.
    offsets: (usize, usize),
}

/// What is wrong with a frame as a frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// As an RTU frame, or on the line.
    #[error(transparent)]
    Rtu(rtu::FrameProblem),
    /// As an ASCII frame.
    #[error(transparent)]
    Ascii(ascii::FrameProblem),
}

impl<'a> Message<'a> {
    /// Of an RTU frame.
    #[must_use]
    pub fn rtu(bytes: &'a [u8]) -> Message<'a> {
        let view = rtu::View(bytes);
        let problem = view.problem().map(Problem::Rtu);
        let noise = bytes.len() < rtu::MIN_ADU;
        let pdu = Cow::Borrowed(view.pdu());
        Message { unit: view.unit(), pdu, problem, noise, interrupted: false, offsets: (0, 1) }
    }

    /// Of an ASCII frame.
    #[must_use]
    pub fn ascii(view: ascii::View<'a>) -> Message<'a> {
        let mut octets = view.octets();
        octets.pop();
        let unit = (!octets.is_empty()).then(|| octets.remove(0));
        let problem = view.problem();
        let ended = view.characters.last() == Some(&view.delimiter);
        let interrupted = matches!(problem, Some(ascii::FrameProblem::End { .. })) && !ended;
        let (pdu, problem, noise) = (Cow::Owned(octets), problem.map(Problem::Ascii), !view.begins());
        Message { unit, pdu, problem, noise, interrupted, offsets: (1, 3) }
    }

    /// Unit id, if it is there.
    #[must_use]
    pub fn unit(&self) -> Option<u8> {
        self.unit
    }

    /// What stands between unit and checksum, as far as it can be read; empty if nothing does.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        &self.pdu
    }

    /// What is wrong with it as a frame: `None` if nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Too little, or begun in no way that a frame begins: nothing that was meant as a frame.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.noise
    }

    /// An ASCII frame that another one began before the end of: it is dropped, and the other one counts (SL 2.5.2.1).
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Where unit id and PDU begin in the frame.
    #[must_use]
    pub fn offsets(&self) -> (usize, usize) {
        self.offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Stamp;

    #[test]
    fn the_same_message_is_read_from_both_framings() {
        let line = "9600 7E1".parse().expect("valid settings");
        for rules in [Rules::Rtu(rtu::LineRules::tolerant(&line)), Rules::Ascii(ascii::Rules::tolerant(&line))] {
            let mut bytes = Vec::new();
            rules.encode(17, &[3, 2, 0, 9], ascii::LINE_FEED, &mut bytes);
            for damage in [false, true] {
                let mut assembler = Assembler::new(&rules, rtu::Traffic::Responses);
                let mut bytes = bytes.clone();
                bytes[4] ^= u8::from(damage);
                assembler.push(&bytes, Stamps::One(Stamp::exact(Time::ZERO)));
                assembler.expire(Time::FAR);
                let frame = assembler.pop().expect("a frame");
                let message = assembler.read(&frame);
                assert_eq!(message.problem().is_some(), damage);
                assert!(!message.is_noise());
                if !damage {
                    assert_eq!((message.unit(), message.pdu()), (Some(17), &[3, 2, 0, 9][..]));
                }
            }
        }
    }
}
