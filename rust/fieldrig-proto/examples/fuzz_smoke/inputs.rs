//! Inputs: random octets, or a sample with a few things done to it.

use fieldrig_proto::fault::Chance;

/// Writes the next input to `out`.
pub(crate) fn next(samples: &[&[u8]], chance: &mut Chance, out: &mut Vec<u8>) {
    out.clear();
    if samples.is_empty() || chance.below(4) == 0 {
        random(chance, out);
        return;
    }
    out.extend_from_slice(pick(samples, chance));
    for _ in 0..chance.below(4) {
        mutate(samples, chance, out);
    }
}

fn random(chance: &mut Chance, out: &mut Vec<u8>) {
    let longest = if chance.below(64) == 0 { 700 } else { 40 };
    for _ in 0..chance.below(longest) {
        out.push(octet(chance));
    }
}

fn mutate(samples: &[&[u8]], chance: &mut Chance, out: &mut Vec<u8>) {
    let place = chance.below(out.len() as u64 + 1) as usize;
    match chance.below(7) {
        0 => out.truncate(place),
        1 => out.insert(place, octet(chance)),
        2 => out.extend_from_slice(pick(samples, chance)),
        3 => out.extend_from_within(place..),
        4 if place < out.len() => {
            out.remove(place);
        }
        5 if place < out.len() => out[place] ^= 1 << chance.below(8),
        _ if place < out.len() => out[place] = octet(chance),
        _ => {}
    }
}

/// Octets at the borders of ranges are the interesting ones.
fn octet(chance: &mut Chance) -> u8 {
    const BORDERS: [u8; 8] = [0x00, 0x01, 0x7d, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    let any = chance.next_u64();
    if any & 0x300 == 0 { BORDERS[(any & 7) as usize] } else { any as u8 }
}

fn pick<'a>(samples: &[&'a [u8]], chance: &mut Chance) -> &'a [u8] {
    samples[chance.below(samples.len() as u64) as usize]
}
