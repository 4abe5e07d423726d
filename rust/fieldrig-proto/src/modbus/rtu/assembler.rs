//! Assembly of frames from bytes: by silence to the letter, or by what the first bytes predict.

use super::{BROADCAST, Framing, LineRules, MAX_ADU, View};
use crate::endpoint::Stamps;
use crate::line::silence::{Fault, Frame, Framer, Timing};
use crate::modbus::pdu::{Length, request_length, response_length};
use crate::time::{Duration, Stamp, Time};
use std::collections::VecDeque;

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

    /// A frame that we sent, and may hear ourselves. Its length is not the one that the first bytes of a response predict:
    /// where no response begins, it is a frame. Exact framing has no need of it.
    pub fn set_own(&mut self, frame: &[u8]) {
        if let Kind::Tolerant(tolerant) = &mut self.kind {
            tolerant.own.clear();
            if View(frame).problem().is_none() {
                tolerant.own.extend_from_slice(frame);
            }
        }
    }

    /// What has come is no frame, and no beginning of a response: none will end it but a pause.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        match &self.kind {
            Kind::Exact(_) => false,
            Kind::Tolerant(Tolerant { bytes, own, traffic, .. }) => {
                !bytes.is_empty() && (!under_way(bytes, *traffic) || (!own.is_empty() && bytes.starts_with(own)))
            }
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
    /// What we sent; empty if it is not to be heard.
    own: Vec<u8>,
    bytes: Vec<u8>,
    stamps: Vec<Stamp>,
    /// Where silences of t3.5 were seen: frames may begin there.
    begins: Vec<usize>,
    /// Where such a silence may have been, but the stamps do not tell.
    maybe: Vec<usize>,
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
            own: Vec::new(),
            bytes: Vec::new(),
            stamps: Vec::new(),
            begins: Vec::new(),
            maybe: Vec::new(),
            dropped: 0,
            fault: None,
            done: VecDeque::new(),
        }
    }

    fn push(&mut self, bytes: &[u8], stamps: Stamps<'_>) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = stamps.at(index, bytes.len());
            if let Some(before) = self.stamps.last() {
                let longest = at.latest().since(before.earliest()).saturating_sub(self.timing.character);
                if self.timing.silence(*before, at) >= self.timing.between {
                    self.begins.push(self.bytes.len());
                } else if longest >= self.timing.between {
                    self.maybe.push(self.bytes.len());
                }
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
        let sure = self.starts().find_map(|start| {
            let length = whole_frame(&self.bytes[start..], self.traffic)?;
            Some((start, start + length))
        });
        sure.or_else(|| self.own_frame()).or_else(|| self.hidden())
    }

    /// Our own frame, if what came begins with it and with no response: neither now nor once more has come.
    fn own_frame(&self) -> Option<(usize, usize)> {
        let behind = self.bytes.strip_prefix(&self.own[..]).filter(|_| !self.own.is_empty())?;
        let is_own = !under_way(&self.bytes, self.traffic) || whole_frame(behind, self.traffic).is_some();
        is_own.then_some((0, self.own.len()))
    }

    /// A request to us behind something that is no frame, in bytes whose stamps are too coarse to show the silence between
    /// them: a damaged or unknown frame of another unit must not cost us ours (SL 2.5.1.1: frames begin after a silence).
    fn hidden(&self) -> Option<(usize, usize)> {
        let Traffic::Requests { own: Some(own) } = self.traffic else { return None };
        if self.starts().any(|start| under_way(&self.bytes[start..], self.traffic)) {
            return None;
        }
        self.maybe.iter().find_map(|start| {
            let bytes = &self.bytes[*start..];
            let length = whole_frame(bytes, Traffic::Requests { own: None }).filter(|_| bytes[0] == own)?;
            Some((*start, start + length))
        })
    }

    fn starts(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.begins.iter().copied())
    }

    /// The pause is over: what there is, is all there is.
    fn end(&mut self) {
        if !self.own.is_empty() && self.bytes.len() > self.own.len() && self.bytes.starts_with(&self.own) {
            self.take(0, self.own.len());
            self.find();
        }
        if self.bytes.is_empty() {
            return;
        }
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
        for places in [&mut self.begins, &mut self.maybe] {
            places.retain(|begin| *begin > end);
            places.iter_mut().for_each(|begin| *begin -= end);
        }
    }

    fn clear(&mut self) {
        *self = Tolerant::new(self.timing, self.pause, self.traffic);
    }
}

/// The length of the frame that these bytes begin with, if it is predictable, all there, and its CRC right.
fn whole_frame(bytes: &[u8], traffic: Traffic) -> Option<usize> {
    let (unit, pdu) = bytes.split_first()?;
    let ends_here = |length: Length| match length {
        Length::Known(length) | Length::Usually(length) => {
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

/// Whether these bytes may be the beginning of a frame whose rest is still to come.
fn under_way(bytes: &[u8], traffic: Traffic) -> bool {
    let Some((_, pdu)) = bytes.split_first() else { return true };
    let incomplete = |length: Length| match length {
        Length::Known(length) | Length::Usually(length) => bytes.len() < length + 3,
        Length::Needs(_) => true,
        Length::Unknown => false,
    };
    incomplete(response_length(pdu)) || (traffic != Traffic::Responses && incomplete(request_length(pdu)))
}

/// How many of the first bytes form a frame, by prediction and CRC, without any silence to go by: `None` while more bytes
/// may complete one. Of a function whose length is unknown, and of anything with a wrong CRC, all bytes.
#[must_use]
pub fn adu_length(bytes: &[u8], traffic: Traffic) -> Option<usize> {
    whole_frame(bytes, traffic).or_else(|| (!under_way(bytes, traffic)).then_some(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::LineSettings;
    use crate::modbus::rtu::Adu;

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
    fn a_bad_frame_of_another_unit_costs_no_request_of_ours_on_a_coarse_adapter() {
        let rules = LineRules::tolerant(&line());
        let lump = |latest: u64| Stamps::One(Stamp::between(at(latest - 16_000).latest(), at(latest).latest()));
        let request = frame(1, &[3, 0, 0, 0, 1]);
        let mut damaged = frame(2, &[3, 4, 0, 1, 0, 2]);
        damaged[4] ^= 1;
        for foreign in [damaged, frame(2, &[0x41, 1, 2, 3])] {
            let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
            assembler.push(&[foreign.clone(), request.clone()].concat(), lump(20_000));
            assert_eq!(frames(&mut assembler), [foreign, request.clone()]);
        }
        // What looks like a request to us inside a frame that is still coming is data of that frame.
        let write = frame(2, &[&[16, 0, 0, 0, 5, 10][..], &request, &[7, 7]].concat());
        let mut assembler = Assembler::new(&rules, Traffic::Requests { own: Some(1) });
        assembler.push(&write[..15], lump(20_000));
        assert_eq!(frames(&mut assembler).len(), 0);
        assembler.push(&write[15..], lump(36_000));
        assert_eq!(frames(&mut assembler), [write]);
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
    fn a_trace_waits_for_the_rest_of_a_frame() {
        let heard = Traffic::Requests { own: Some(0) };
        for (frame, traffic) in [
            (frame(2, &[3, 4, 0, 1, 0, 2]), Traffic::Responses),
            (frame(2, &[0x83, 2]), Traffic::Responses),
            (frame(2, &[3, 4, 0, 1, 0, 2]), heard),
            (frame(2, &[3, 2, 0, 1]), heard),
            (frame(2, &[16, 0, 1, 0, 1, 2, 0, 7]), heard),
        ] {
            for length in 0..frame.len() {
                assert_eq!(adu_length(&frame[..length], traffic), None, "{length} bytes");
            }
            assert_eq!(adu_length(&[&frame[..], &[1, 2]].concat(), traffic), Some(frame.len()));
            let mut damaged = frame.clone();
            damaged[frame.len() - 1] ^= 1;
            damaged.resize(300, 0x55);
            assert_eq!(adu_length(&damaged, traffic), Some(300));
        }
        assert_eq!(adu_length(&[2, 0x41, 9], heard), Some(3), "a function of unknown length");
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
