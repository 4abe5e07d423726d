//! Checksums of framed protocols.

/// CRC-16 of Modbus RTU: reflected polynomial 0xA001, start 0xFFFF; sent low byte first (V1.02 2.5.1.2, appendix B).
#[must_use]
pub fn crc16_modbus(bytes: &[u8]) -> u16 {
    crc16_modbus_more(CRC16_MODBUS_START, bytes)
}

/// The value of [`crc16_modbus`] over no bytes at all.
pub const CRC16_MODBUS_START: u16 = 0xffff;

/// Carries a CRC on over further bytes: `crc(a ++ b) == more(crc(a), b)`.
#[must_use]
pub fn crc16_modbus_more(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        let index = (crc ^ u16::from(*byte)) & 0xff;
        (crc >> 8) ^ TABLE[index as usize]
    })
}

/// The longitudinal redundancy check of Modbus ASCII: two's complement of the 8-bit sum (SL 2.5.2.2, appendix B).
#[must_use]
pub fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values_come_out() {
        // CRC-16/MODBUS in the RevEng catalogue of parametrised CRC algorithms: check 0x4b37, residue 0.
        assert_eq!(crc16_modbus(b"123456789"), 0x4b37);
        // V1.02 appendix B: the frame 02 07 has the CRC 0x1241, sent 41 12.
        assert_eq!(crc16_modbus(&[0x02, 0x07]), 0x1241);
        assert_eq!(crc16_modbus(&[0x02, 0x07, 0x41, 0x12]), 0);
        assert_eq!(crc16_modbus(&[]), CRC16_MODBUS_START);
    }

    #[test]
    fn a_crc_can_be_carried_on() {
        let whole = crc16_modbus(b"123456789");
        assert_eq!(crc16_modbus_more(crc16_modbus(b"1234"), b"56789"), whole);
    }
}
