//! In which order the bytes of a value stand in its registers. The standard knows big-endian registers only (AP 4.2);
//! what a device does with values of several registers is its maker's choice.

/// The order of bytes on the wire.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Whole words and whole bytes turned round, or not.
    Turned {
        /// The low word comes first.
        low_word_first: bool,
        /// The low byte of each register comes first.
        low_byte_first: bool,
    },
    /// Any order: the byte at place i of the wire is byte `letters[i]` of the value, counted from its highest.
    Letters {
        /// Which byte of the value stands at each place.
        letters: [u8; 8],
        /// How many bytes the value has.
        length: u8,
    },
}

impl Order {
    /// Highest byte first, as the standard has it.
    pub const BIG: Order = Order::Turned { low_word_first: false, low_byte_first: false };

    /// Reads letters such as `CDAB`: A is the highest byte of the value.
    ///
    /// # Errors
    /// Another number of letters than the value has bytes, or letters that are not each of the first ones once.
    pub fn from_letters(text: &str, bytes: usize) -> Result<Order, String> {
        let mut letters = [0u8; 8];
        let all: Vec<u8> = text.bytes().map(|letter| letter.to_ascii_uppercase().wrapping_sub(b'A')).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        if bytes > letters.len() || !sorted.iter().map(|letter| usize::from(*letter)).eq(0..bytes) {
            let right: String = (0..bytes.min(8)).map(|index| char::from(b'A' + index as u8)).collect();
            return Err(format!("`{text}` is no order of {bytes} bytes: each letter of {right} stands in it once"));
        }
        letters[..bytes].copy_from_slice(&all);
        Ok(Order::Letters { letters, length: bytes as u8 })
    }

    /// Where on the wire byte `index` of a value of `length` bytes stands; 0 is its highest.
    fn place(&self, index: usize, length: usize) -> usize {
        match self {
            Order::Letters { letters, length } => {
                letters[..usize::from(*length)].iter().position(|letter| usize::from(*letter) == index).unwrap_or(index)
            }
            Order::Turned { low_word_first, low_byte_first } => {
                let (word, byte) = (index / 2, index % 2);
                let word = if *low_word_first { length / 2 - 1 - word } else { word };
                word * 2 + if *low_byte_first { 1 - byte } else { byte }
            }
        }
    }

    /// Puts the bytes of a value, the highest first, into registers; there are half as many of these.
    pub(super) fn put(&self, bytes: &[u8], registers: &mut [u16]) {
        registers.fill(0);
        for (index, byte) in bytes.iter().enumerate() {
            let place = self.place(index, bytes.len());
            if let Some(register) = registers.get_mut(place / 2) {
                *register |= u16::from(*byte) << (8 * (1 - place % 2));
            }
        }
    }

    /// The bytes of a value, the highest first. Registers that are missing read as 0.
    pub(super) fn take(&self, registers: &[u16], bytes: &mut [u8]) {
        let length = bytes.len();
        for (index, byte) in bytes.iter_mut().enumerate() {
            let place = self.place(index, length);
            let register = registers.get(place / 2).copied().unwrap_or_default();
            *byte = (register >> (8 * (1 - place % 2))) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_puts_and_takes_the_same() {
        let value = [1, 2, 3, 4];
        for (text, order, registers) in [
            ("ABCD", Order::BIG, [0x0102, 0x0304]),
            ("CDAB", Order::Turned { low_word_first: true, low_byte_first: false }, [0x0304, 0x0102]),
            ("BADC", Order::Turned { low_word_first: false, low_byte_first: true }, [0x0201, 0x0403]),
            ("DCBA", Order::Turned { low_word_first: true, low_byte_first: true }, [0x0403, 0x0201]),
        ] {
            for order in [order, Order::from_letters(text, 4).expect("an order")] {
                let (mut put, mut back) = ([0; 2], [0; 4]);
                order.put(&value, &mut put);
                order.take(&put, &mut back);
                assert_eq!((put, back), (registers, value), "{text}");
            }
        }
        let mixed = Order::from_letters("efghabcd", 8).expect("an order");
        let mut put = [0; 4];
        mixed.put(&[1, 2, 3, 4, 5, 6, 7, 8], &mut put);
        assert_eq!(put, [0x0506, 0x0708, 0x0102, 0x0304]);
    }

    #[test]
    fn letters_stand_for_each_byte_once() {
        let told = "`ABCC` is no order of 4 bytes: each letter of ABCD stands in it once";
        assert_eq!(Order::from_letters("ABCC", 4), Err(told.to_owned()));
        assert!(Order::from_letters("AB", 4).is_err());
        assert!(Order::from_letters("ABCDEFGHIJ", 10).is_err());
    }
}
