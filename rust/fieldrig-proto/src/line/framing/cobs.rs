//! COBS: consistent overhead byte stuffing (S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM
//! Transactions on Networking 7(2), April 1999). No zero stands in the coded bytes, so that a zero can end the frame.
//!
//! Rules of this file: a code byte `n` stands before `n - 1` bytes that are not zero, and for a zero behind them; `0xff`
//! stands before 254 bytes and for no zero. The zero behind the last block is not part of the data (section III-B).

use super::Problem;

/// The coded bytes, without a zero at the end.
#[must_use]
pub fn encode(data: &[u8]) -> Vec<u8> {
    let mut coded = vec![0];
    let mut code_at = 0;
    for (index, byte) in data.iter().enumerate() {
        if *byte != 0 {
            coded.push(*byte);
        }
        let run = coded.len() - code_at;
        if *byte == 0 {
            coded[code_at] = run as u8;
        } else if run == 255 {
            coded[code_at] = 255;
            if index + 1 == data.len() {
                return coded;
            }
        } else {
            continue;
        }
        code_at = coded.len();
        coded.push(0);
    }
    coded[code_at] = (coded.len() - code_at) as u8;
    coded
}

/// The data, and what is wrong with the coded bytes: a block that is cut off ends the data; a zero is a byte like others.
#[must_use]
pub fn decode(coded: &[u8]) -> (Vec<u8>, Option<Problem>) {
    let mut data = Vec::with_capacity(coded.len());
    let mut at = 0;
    while let Some(code) = coded.get(at) {
        let says = usize::from(*code).max(1) - 1;
        let block = &coded[at + 1..coded.len().min(at + 1 + says)];
        data.extend_from_slice(block);
        if block.len() < says {
            return (data, Some(Problem::Cobs { offset: at, says, follow: block.len() }));
        }
        at += 1 + says;
        if *code != 255 && at < coded.len() {
            data.push(0);
        }
    }
    (data, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_paper_comes_out() {
        // Figure 3 of the paper: an IP header with zeros.
        let data = [0x45, 0x00, 0x00, 0x2c, 0x4c, 0x79, 0x00, 0x00, 0x40, 0x06, 0x4f, 0x37];
        let coded = [0x02, 0x45, 0x01, 0x04, 0x2c, 0x4c, 0x79, 0x01, 0x05, 0x40, 0x06, 0x4f, 0x37];
        assert_eq!(encode(&data), coded);
        assert_eq!(decode(&coded), (data.to_vec(), None));
        assert_eq!(encode(&[]), [1]);
        assert_eq!(encode(&[0]), [1, 1]);
    }

    #[test]
    fn a_block_that_is_cut_off_is_told() {
        let (data, problem) = decode(&[3, 0x11]);
        assert_eq!((data, problem), (vec![0x11], Some(Problem::Cobs { offset: 0, says: 2, follow: 1 })));
    }

    proptest! {
        #[test]
        fn what_is_coded_has_no_zero_and_comes_back(
            data in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..600),
            run in 0usize..600,
        ) {
            for data in [data, vec![7; run]] {
                let coded = encode(&data);
                prop_assert!(!coded.contains(&0));
                prop_assert!(coded.len() <= data.len() + 1 + data.len() / 254);
                prop_assert_eq!(decode(&coded), (data, None));
            }
        }
    }
}
