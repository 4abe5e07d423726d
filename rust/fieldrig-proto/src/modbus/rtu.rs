//! Modbus RTU: unit, PDU, CRC; frames end by silence (SL 2.5.1).
//!
//! Rules of this file:
//! - A frame is 4 to 256 bytes: unit, PDU, CRC with the low byte first (SL 2.3, 2.5.1.2).
//! - [`Framing::Exact`] goes by silence alone, t1.5 and t3.5 as the standard has them: for lines whose stamps are fine enough.
//! - [`Framing::Tolerant`] is for real adapters, which deliver in lumps: a frame ends where the length that its first
//!   bytes predict ends, if the CRC is right there; else after a longer pause. A silence of t3.5 is only a hint where a
//!   frame may begin, for what came before it may have been noise.

use super::pdu::{Length, MAX_PDU, request_length, response_length};
use crate::checksum::crc16_modbus;
use crate::endpoint::Stamps;
use crate::line::LineSettings;
use crate::line::silence::{Fault, Frame, Framer, Timing};
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

/// The longest frame (SL 2.3).
pub const MAX_ADU: usize = 1 + MAX_PDU + 2;
/// The shortest frame: unit, function, CRC.
pub const MIN_ADU: usize = 4;
/// Unit id of a broadcast (SL 2.1).
pub const BROADCAST: u8 = 0;
/// Highest unit id of a device; 248 to 255 are reserved (SL 2.2).
pub const LAST_UNIT: u8 = 247;

/// A look at bytes that may be a frame, or anything.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct View<'a>(pub &'a [u8]);

impl<'a> View<'a> {
    /// Unit id, if it is there.
    #[must_use]
    pub fn unit(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// What stands between unit and CRC; empty if nothing does.
    #[must_use]
    pub fn pdu(self) -> &'a [u8] {
        self.0.get(1..self.0.len().saturating_sub(2)).unwrap_or_default()
    }

    /// The CRC it carries, if it is long enough for one.
    #[must_use]
    pub fn crc(self) -> Option<u16> {
        let tail = self.0.get(self.0.len().checked_sub(2)?..)?;
        Some(u16::from_le_bytes([tail[0], tail[1]]))
    }

    /// The CRC it should carry.
    #[must_use]
    pub fn right_crc(self) -> u16 {
        crc16_modbus(&self.0[..self.0.len().saturating_sub(2)])
    }

    /// What is wrong with it as a frame: `None` if length and CRC are right.
    #[must_use]
    pub fn problem(self) -> Option<FrameProblem> {
        let length = self.0.len();
        match self.crc() {
            Some(is) if (MIN_ADU..=MAX_ADU).contains(&length) => {
                let right = self.right_crc();
                (is != right).then_some(FrameProblem::Crc { offset: length - 2, is, right })
            }
            _ => Some(FrameProblem::Length { length }),
        }
    }
}

/// Why bytes are not an RTU frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameProblem {
    /// Too short or too long.
    #[error("the frame has {length} bytes, {MIN_ADU} to {MAX_ADU} are allowed")]
    Length {
        /// Its length.
        length: usize,
    },
    /// The CRC is wrong.
    #[error("CRC at offset {offset} is {is:#06x}, the bytes before it give {right:#06x}")]
    Crc {
        /// Where it stands.
        offset: usize,
        /// What it is.
        is: u16,
        /// What it should be.
        right: u16,
    },
    /// The line says so.
    #[error("{0}")]
    Line(#[from] Fault),
}

/// A frame to be sent. `crc: None` is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adu<'a> {
    /// Unit id.
    pub unit: u8,
    /// PDU.
    pub pdu: &'a [u8],
    /// CRC, if it is not to be the right one.
    pub crc: Option<u16>,
}

impl<'a> Adu<'a> {
    /// A frame that is right in every field.
    #[must_use]
    pub fn new(unit: u8, pdu: &'a [u8]) -> Adu<'a> {
        Adu { unit, pdu, crc: None }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.unit);
        out.extend_from_slice(self.pdu);
        let crc = self.crc.unwrap_or_else(|| crc16_modbus(&out[start..]));
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// How the end of a frame is found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// By silence, to the letter.
    Exact,
    /// By predicted length and CRC, else by a pause of this length.
    Tolerant {
        /// How long nothing came.
        pause: Duration,
    },
}

/// How a line is used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct LineRules {
    /// Its silences.
    pub timing: Timing,
    /// How the end of a frame is found.
    pub framing: Framing,
    /// Keep t3.5 of silence before sending.
    pub gap: bool,
}

/// A lump of a USB adapter (16 ms by default on the commonest) and the time a busy host takes to see it.
const PAUSE: Duration = Duration::from_millis(30);

impl LineRules {
    /// For real adapters and ptys.
    #[must_use]
    pub fn tolerant(line: &LineSettings) -> LineRules {
        let timing = Timing::modbus(line);
        LineRules { timing, framing: Framing::Tolerant { pause: PAUSE.max(timing.between) }, gap: true }
    }

    /// For lines with a stamp for each byte.
    #[must_use]
    pub fn exact(line: &LineSettings) -> LineRules {
        LineRules { timing: Timing::modbus(line), framing: Framing::Exact, gap: true }
    }

    /// For RTU frames inside a TCP connection, which has no silences: framing by length, a long pause as fallback.
    #[must_use]
    pub fn over_tcp() -> LineRules {
        let timing = Timing { character: Duration::ZERO, inside: PAUSE, between: PAUSE };
        LineRules { timing, framing: Framing::Tolerant { pause: Duration::from_millis(500) }, gap: false }
    }

    /// The silence to keep before sending.
    #[must_use]
    pub fn gap_before(&self) -> Option<Duration> {
        self.gap.then_some(self.timing.between)
    }
}

/// What passes on the line, to predict lengths.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Only responses: we are the client.
    Responses,
    /// Requests to the units that `own` answers for; of other units, responses too: we are a device on the line.
    Requests {
        /// Our unit; `None` for all.
        own: Option<u8>,
    },
}

/// Assembles frames from bytes. What it gives still has to be judged with [`View::problem`].
#[derive(Clone, Debug)]
pub struct Assembler {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Exact(Framer),
    Tolerant(Tolerant),
}

impl Assembler {
    /// An assembler for a line.
    #[must_use]
    pub fn new(rules: &LineRules, traffic: Traffic) -> Assembler {
        let kind = match rules.framing {
            Framing::Exact => Kind::Exact(Framer::new(rules.timing, MAX_ADU)),
            Framing::Tolerant { pause } => Kind::Tolerant(Tolerant::new(rules.timing, pause, traffic)),
        };
        Assembler { kind }
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        match &mut self.kind {
            Kind::Exact(framer) => framer.push(bytes, stamps),
            Kind::Tolerant(tolerant) => tolerant.push(bytes, stamps),
        }
    }

    /// A byte of the frame under way was received with an error.
    pub fn spoil(&mut self) {
        match &mut self.kind {
            Kind::Exact(framer) => framer.spoil(),
            Kind::Tolerant(tolerant) => tolerant.fault = Some(Fault::Character),
        }
    }

    /// When to call [`Assembler::expire`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.kind {
            Kind::Exact(framer) => framer.deadline(),
            Kind::Tolerant(tolerant) => tolerant.deadline(),
        }
    }

    /// Ends what is due.
    pub fn expire(&mut self, now: Time) {
        match &mut self.kind {
            Kind::Exact(framer) => framer.expire(now),
            Kind::Tolerant(tolerant) if tolerant.deadline().is_some_and(|deadline| now >= deadline) => tolerant.end(),
            Kind::Tolerant(_) => {}
        }
    }

    /// The next frame.
    pub fn pop(&mut self) -> Option<Frame> {
        match &mut self.kind {
            Kind::Exact(framer) => framer.pop(),
            Kind::Tolerant(tolerant) => tolerant.done.pop_front(),
        }
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            Kind::Exact(framer) => framer.pending() == 0,
            Kind::Tolerant(tolerant) => tolerant.bytes.is_empty(),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        match &mut self.kind {
            Kind::Exact(framer) => framer.clear(),
            Kind::Tolerant(tolerant) => tolerant.clear(),
        }
    }
}

/// Framing by predicted length and CRC, with a pause as fallback.
#[derive(Clone, Debug)]
struct Tolerant {
    timing: Timing,
    pause: Duration,
    traffic: Traffic,
    bytes: Vec<u8>,
    stamps: Vec<Stamp>,
    /// Where silences of t3.5 were seen: frames may begin there.
    begins: Vec<usize>,
    dropped: usize,
    fault: Option<Fault>,
    done: VecDeque<Frame>,
}

impl Tolerant {
    fn new(timing: Timing, pause: Duration, traffic: Traffic) -> Tolerant {
        Tolerant {
            timing,
            pause,
            traffic,
            bytes: Vec::new(),
            stamps: Vec::new(),
            begins: Vec::new(),
            dropped: 0,
            fault: None,
            done: VecDeque::new(),
        }
    }

    fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = stamps.at(index, bytes.len());
            if let Some(before) = self.stamps.last()
                && self.timing.silence(*before, at) >= self.timing.between
            {
                self.begins.push(self.bytes.len());
            }
            if self.bytes.len() == 2 * MAX_ADU {
                self.find();
            }
            if self.bytes.len() < 2 * MAX_ADU {
                self.bytes.push(*byte);
                self.stamps.push(at);
            } else {
                self.dropped += 1;
            }
        }
        self.find();
    }

    fn deadline(&self) -> Option<Time> {
        self.stamps.last().map(|last| last.latest() + self.pause)
    }

    /// Takes out every frame whose end is known.
    fn find(&mut self) {
        while let Some((start, end)) = self.predicted() {
            self.take(start, end);
        }
    }

    fn predicted(&self) -> Option<(usize, usize)> {
        self.starts().find_map(|start| {
            let length = whole_frame(&self.bytes[start..], self.traffic)?;
            Some((start, start + length))
        })
    }

    fn starts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.begins.iter().copied())
    }

    /// The pause is over: what there is, is all there is.
    fn end(&mut self) {
        let length = self.bytes.len();
        let start = self.starts().find(|start| View(&self.bytes[*start..]).problem().is_none()).unwrap_or(0);
        if self.dropped > 0 {
            self.fault = Some(Fault::TooLong { length: length + self.dropped, limit: MAX_ADU });
        }
        self.take(start, length);
        self.dropped = 0;
    }

    /// Gives out `start..end` as a frame and whatever stands before it as another.
    fn take(&mut self, start: usize, end: usize) {
        let fault = self.fault.take();
        for (from, to, fault) in [(0, start, None), (start, end, fault)] {
            if from < to {
                let (first, last) = (self.stamps[from], self.stamps[to - 1]);
                self.done.push_back(Frame { bytes: self.bytes[from..to].to_vec(), first, last, fault });
            }
        }
        self.bytes.drain(..end);
        self.stamps.drain(..end);
        self.begins.retain(|begin| *begin > end);
        self.begins.iter_mut().for_each(|begin| *begin -= end);
    }

    fn clear(&mut self) {
        *self = Tolerant::new(self.timing, self.pause, self.traffic);
    }
}

/// The length of the frame that these bytes begin with, if it is predictable, all there, and its CRC right.
fn whole_frame(bytes: &[u8], traffic: Traffic) -> Option<usize> {
    let (unit, pdu) = bytes.split_first()?;
    let ends_here = |length: Length| match length {
        Length::Known(length) => {
            let frame = bytes.get(..length + 3)?;
            View(frame).problem().is_none().then_some(length + 3)
        }
        Length::Needs(_) | Length::Unknown => None,
    };
    match traffic {
        Traffic::Responses => ends_here(response_length(pdu)),
        Traffic::Requests { own } => {
            let others = own.is_some_and(|own| own != *unit && *unit != BROADCAST);
            ends_here(request_length(pdu)).or_else(|| others.then(|| ends_here(response_length(pdu)))?)
        }
    }
}

/// How many of the first bytes form a frame: by prediction and CRC, without any silence to go by; of a function whose
/// length is unknown, and of anything with a wrong CRC, all bytes.
#[must_use]
pub fn adu_length(bytes: &[u8], traffic: Traffic) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    Some(whole_frame(bytes, traffic).unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Adu::new(unit, pdu).encode(&mut out);
        out
    }

    fn line() -> LineSettings {
        "9600 8E1".parse().expect("valid settings")
    }

    fn at(micros: u64) -> Stamp {
        Stamp::exact(Time::from_nanos(micros * 1000))
    }

    fn frames(assembler: &mut Assembler) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| assembler.pop()).map(|frame| frame.bytes).collect()
    }

    #[test]
    fn the_crc_goes_low_byte_first() {
        // The example of AP 6.3 as an RTU frame to unit 17; libmodbus 3.1 sends these bytes.
        assert_eq!(frame(0x11, &[3, 0, 0x6b, 0, 3]), [0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87]);
        let mut swapped = frame(0x11, &[3, 0, 0x6b, 0, 3]);
        swapped.swap(6, 7);
        let problem = View(&swapped).problem().expect("wrong CRC").to_string();
        assert_eq!(problem, "CRC at offset 6 is 0x7687, the bytes before it give 0x8776");
        assert_eq!(View(&[1, 2, 3]).problem(), Some(FrameProblem::Length { length: 3 }));
    }

    #[test]
    fn a_predicted_frame_is_ready_at_its_last_byte() {
        let rules = LineRules::tolerant(&line());
        let mut assembler = Assembler::new(&rules, Traffic::Responses);
        let answer = frame(1, &[3, 4, 0, 1, 0, 2]);
        for (index, byte) in answer.iter().enumerate() {
            assert_eq!(frames(&mut assembler), Vec::<Vec<u8>>::new());
            // 20 ms pauses: a USB adapter with its default latency.
            assembler.push(&[*byte], Stamps::One(at(20_000 * index as u64)));
        }
        assert_eq!(frames(&mut assembler), [answer]);
        assert!(assembler.is_idle() && assembler.deadline().is_none());
    }

    #[test]
    fn an_unknown_function_ends_by_the_pause() {
        let rules = LineRules::tolerant(&line());
        let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
        let request = frame(1, &[0x41, 1, 2, 3]);
        assembler.push(&request, Stamps::One(at(0)));
        assert_eq!(frames(&mut assembler).len(), 0);
        let deadline = assembler.deadline().expect("bytes are pending");
        assembler.expire(deadline);
        assert_eq!(frames(&mut assembler), [request]);
    }

    #[test]
    fn noise_is_left_behind_at_a_silence() {
        let rules = LineRules::tolerant(&line());
        let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
        let request = frame(1, &[3, 0, 0, 0, 1]);
        assembler.push(&[0x55, 0xaa, 0x55], Stamps::One(at(0)));
        assembler.push(&request, Stamps::One(at(10_000)));
        assert_eq!(frames(&mut assembler), [vec![0x55, 0xaa, 0x55], request.clone()]);
        // Without a silence between, the whole burst is one bad frame (SL 2.5.1.1).
        assembler.push(&[0x55, 0xaa, 0x55], Stamps::One(at(100_000)));
        assembler.push(&request, Stamps::One(at(100_100)));
        assert_eq!(frames(&mut assembler).len(), 0);
        assembler.expire(Time::FAR);
        let all = frames(&mut assembler);
        assert_eq!(all.len(), 1);
        assert!(View(&all[0]).problem().is_some());
    }

    #[test]
    fn the_answer_of_another_unit_is_stepped_over() {
        let rules = LineRules::tolerant(&line());
        let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
        let (foreign, request) = (frame(2, &[3, 4, 0, 1, 0, 2]), frame(1, &[3, 0, 0, 0, 1]));
        assembler.push(&[foreign.clone(), request.clone()].concat(), Stamps::One(at(0)));
        assert_eq!(frames(&mut assembler), [foreign, request]);
    }

    #[test]
    fn endless_bytes_are_bounded() {
        let rules = LineRules::tolerant(&line());
        let mut assembler = Assembler::new(&rules, Traffic::Responses);
        for _ in 0..100 {
            assembler.push(&[0; 100], Stamps::One(at(0)));
        }
        assembler.expire(Time::FAR);
        let frame = assembler.pop().expect("one frame");
        assert!(frame.bytes.len() <= 2 * MAX_ADU);
        assert_eq!(frame.fault, Some(Fault::TooLong { length: 10_000, limit: MAX_ADU }));
        assert!(assembler.is_idle());
    }

    #[test]
    fn exact_framing_goes_by_silence_alone() {
        let mut assembler = Assembler::new(&LineRules::exact(&line()), Traffic::Responses);
        let answer = frame(1, &[3, 2, 0, 1]);
        let stamps: Vec<Stamp> = (0..answer.len() as u64).map(|index| at(1_146 * index)).collect();
        assembler.push(&answer, Stamps::PerByte(&stamps));
        assert_eq!(assembler.pop(), None);
        assembler.expire(Time::FAR);
        assert_eq!(frames(&mut assembler), [answer]);
    }
}
