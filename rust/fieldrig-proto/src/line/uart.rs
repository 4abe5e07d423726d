//! What a UART hears of what another one sends: bit by bit, where both are not set alike or bits are wrong.
//!
//! ```text
//!   idle  start  d0 d1 d2 d3 d4 d5 d6 d7  parity  stop  idle
//!   ‾‾‾‾‾|_____|xx xx xx xx xx xx xx xx|xxxxxxxx|‾‾‾‾|‾‾‾‾
//! ```
//! Rules of this file:
//! - The sender holds each bit for one bit time of its own. The receiver waits for a falling edge, and looks at the middle
//!   of every bit as its own speed has it: the start bit (a high one is a glitch), data, parity, the first stop bit.
//! - A low stop bit is a framing error; a character that is low throughout is a break. Either way the receiver waits until
//!   the line is high again.
//! - Before and after the characters given the line is idle. All arithmetic is exact.
//! - A speed that is a few percent off is heard well, as by a real UART; a wrong one gives fewer, more and other bytes.

use super::{LineSettings, Parity};
use crate::time::Duration;

/// A character on its way, and which of its bits are turned over.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Character {
    /// The byte as sent.
    pub value: u8,
    /// Bits that arrive turned over: bits 0 to 7 of the data, [`Character::PARITY`], [`Character::STOP`].
    pub flips: u16,
}

impl Character {
    /// The parity bit, if there is one.
    pub const PARITY: u16 = 0x100;
    /// The first stop bit.
    pub const STOP: u16 = 0x200;

    /// An undisturbed one.
    #[must_use]
    pub fn new(value: u8) -> Character {
        Character { value, flips: 0 }
    }

    /// What a receiver hears that is set as the sender is; without settings, one that knows no parity.
    #[must_use]
    pub fn heard(self, line: Option<&LineSettings>) -> Heard {
        let data_bits = line.map_or(8, |line| line.data_bits.min(8));
        let data = self.flips & ((1 << data_bits) - 1);
        let parity = match line {
            Some(line) if line.parity == Parity::None => false,
            Some(line) if matches!(line.parity, Parity::Mark | Parity::Space) => self.flips & Character::PARITY != 0,
            Some(_) => !(data | (self.flips & Character::PARITY)).count_ones().is_multiple_of(2),
            None => self.flips & Character::PARITY != 0,
        };
        let framing = self.flips & Character::STOP != 0;
        Heard { value: self.value ^ data as u8, parity, framing, is_break: false }
    }
}

/// What a receiver makes of a character.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// The byte.
    pub value: u8,
    /// Its parity bit is wrong.
    pub parity: bool,
    /// Its stop bit is missing.
    pub framing: bool,
    /// All of it was low: this is no byte.
    pub is_break: bool,
}

/// What a receiver set to `receiver` hears of characters that follow each other without a pause, from a sender set to
/// `sender`: each with the time from the first start bit until it is there.
#[must_use]
pub fn hear(characters: &[Character], sender: &LineSettings, receiver: &LineSettings) -> Vec<(Heard, Duration)> {
    let wave = wave(characters, sender);
    let level = |index: usize| wave.get(index).copied().unwrap_or(true);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(edge) = falling_edge(&wave, from) {
        // Where the middle of bit `number` of the receiver lies, in bits of the sender.
        let middle = |number: u64| {
            let offset = u128::from(2 * number + 1) * u128::from(sender.baud) / (2 * u128::from(receiver.baud.max(1)));
            edge + usize::try_from(offset).unwrap_or(usize::MAX / 2)
        };
        if level(middle(0)) {
            from = middle(0) + 1;
            continue;
        }
        let (heard, stop) = sample(receiver, |number| level(middle(number)));
        let until = Duration::from_nanos(edge as u64 * 1_000_000_000 / u64::from(sender.baud.max(1)));
        found.push((heard, until + receiver.character_time()));
        from = middle(stop);
        while !level(from) {
            from += 1;
        }
    }
    found
}

/// The levels of the line, one for each bit time of the sender.
fn wave(characters: &[Character], sender: &LineSettings) -> Vec<bool> {
    let mut wave = Vec::with_capacity(characters.len() * 12);
    for Character { value, flips } in characters {
        wave.push(false);
        let mut ones = 0;
        for bit in 0..sender.data_bits {
            let sent = value >> bit & 1 == 1;
            ones += u32::from(sent);
            wave.push(sent ^ (flips >> bit & 1 == 1));
        }
        if let Some(parity) = parity_bit(sender.parity, ones) {
            wave.push(parity ^ (flips & Character::PARITY != 0));
        }
        wave.push(flips & Character::STOP == 0);
        if sender.stop_bits == super::StopBits::Two {
            wave.push(true);
        }
    }
    wave
}

fn parity_bit(parity: Parity, ones: u32) -> Option<bool> {
    match parity {
        Parity::None => None,
        Parity::Even => Some(!ones.is_multiple_of(2)),
        Parity::Odd => Some(ones.is_multiple_of(2)),
        Parity::Mark => Some(true),
        Parity::Space => Some(false),
    }
}

/// The first bit at or after `from` that is low behind a high one.
fn falling_edge(wave: &[bool], from: usize) -> Option<usize> {
    let falls = |index: &usize| !wave[*index] && index.checked_sub(1).is_none_or(|before| wave[before]);
    (from..wave.len()).find(falls)
}

/// Reads one character; and the number of the stop bit. `level` is that in the middle of a bit, start bit first.
fn sample(receiver: &LineSettings, level: impl Fn(u64) -> bool) -> (Heard, u64) {
    let bits = u64::from(receiver.data_bits);
    let mut heard = Heard::default();
    let mut ones = 0;
    for bit in 0..bits {
        let one = level(1 + bit);
        heard.value |= u8::from(one) << bit;
        ones += u32::from(one);
    }
    let mut stop = 1 + bits;
    let mut low = ones == 0;
    if let Some(expected) = parity_bit(receiver.parity, ones) {
        heard.parity = level(stop) != expected;
        low &= !level(stop);
        stop += 1;
    }
    heard.framing = !level(stop);
    heard.is_break = low && heard.framing;
    (heard, stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LineSettings {
        text.parse().expect("valid settings")
    }

    fn characters(bytes: &[u8]) -> Vec<Character> {
        bytes.iter().map(|byte| Character::new(*byte)).collect()
    }

    fn values(bytes: &[u8], sender: &str, receiver: &str) -> Vec<u8> {
        hear(&characters(bytes), &line(sender), &line(receiver)).iter().map(|(heard, _)| heard.value).collect()
    }

    #[test]
    fn who_is_set_alike_hears_every_byte_when_its_last_bit_is_there() {
        let all: Vec<u8> = (0..=255).collect();
        for settings in ["9600 8N1", "19200 8E1", "115200 8O2"] {
            let line = line(settings);
            let heard = hear(&characters(&all), &line, &line);
            for (index, (heard, at)) in heard.iter().enumerate() {
                let expected = Heard { value: all[index], ..Heard::default() };
                assert_eq!((*heard, *at), (expected, line.time_of(index) + line.character_time()), "{settings}");
            }
            assert_eq!(heard.len(), 256);
        }
    }

    #[test]
    fn a_speed_a_few_percent_off_is_heard_and_a_wrong_one_is_not() {
        let text = b"01\x03\xff\x00 fieldrig";
        assert_eq!(values(text, "9600 8N1", "9900 8N1"), text);
        assert_eq!(values(text, "9900 8N1", "9600 8N1"), text);
        for (sender, receiver) in [("9600 8N1", "19200 8N1"), ("19200 8N1", "9600 8N1"), ("9600 8E1", "115200 8E1")] {
            assert_ne!(values(text, sender, receiver), text, "{sender} {receiver}");
        }
    }

    #[test]
    fn a_zero_at_half_the_speed_is_a_break_for_the_faster_one() {
        // Nine bits of 1/9600 s are eighteen of 1/19200 s: low for longer than a character.
        let heard = hear(&characters(&[0]), &line("9600 8N1"), &line("19200 8N1"));
        assert_eq!(heard.len(), 1);
        assert!(heard[0].0.is_break && heard[0].0.framing);
        // 0x55 alternates: at twice the speed each bit is two, 0b0011_0011 and so on.
        let heard = hear(&characters(&[0x55]), &line("9600 8N1"), &line("19200 8N1"));
        assert_eq!(heard[0].0.value, 0b0110_0110);
    }

    #[test]
    fn parity_that_is_not_expected_is_taken_for_a_stop_bit() {
        // 0x01 has an odd number of ones: even parity makes the bit 1, which looks like a stop bit; 0x03 makes it 0.
        let heard = hear(&characters(&[0x01]), &line("9600 8E1"), &line("9600 8N1"));
        assert_eq!(heard[0].0, Heard { value: 1, ..Heard::default() });
        let heard = hear(&characters(&[0x03]), &line("9600 8E1"), &line("9600 8N1"));
        assert_eq!(heard[0].0, Heard { value: 3, framing: true, ..Heard::default() });
        let heard = hear(&characters(&[0x03]), &line("9600 8E1"), &line("9600 8O1"));
        assert_eq!(heard[0].0, Heard { value: 3, parity: true, ..Heard::default() });
    }

    #[test]
    fn a_bit_that_is_turned_over_is_seen_alike_in_short_and_in_full() {
        let settings = line("9600 8E1");
        for text in ["9600 8E1", "9600 8O2", "9600 8N1", "9600 8M1", "9600 8S1"] {
            let line = line(text);
            for flips in [0x01, 0x03, 0x80, Character::PARITY, Character::PARITY | 0x10, Character::STOP] {
                let flips = if line.parity == Parity::None { flips & !Character::PARITY } else { flips };
                let character = Character { value: 0x35, flips };
                let full = hear(&[character], &line, &line);
                assert_eq!(full[0].0, character.heard(Some(&line)), "{text} {flips:#x}");
            }
        }
        assert!(Character { value: 1, flips: 4 }.heard(Some(&settings)).parity);
        assert!(!Character { value: 1, flips: 4 }.heard(Some(&line("9600 8N1"))).parity);
    }
}
