//! What the servers hold: unit 1, 300 registers and 2400 coils from address 0, as the other foreign servers of the tests.
//!
//! Register n holds n * 257 modulo 65536, every third coil is set.

pub const UNIT: u8 = 1;
pub const REGISTERS: usize = 300;
pub const COILS: usize = 2400;

pub fn register(address: u16) -> u16 {
    address.wrapping_mul(257)
}

pub fn coil(address: u16) -> bool {
    address.is_multiple_of(3)
}

pub struct Memory {
    pub coils: Vec<bool>,
    pub discrete: Vec<bool>,
    pub holding: Vec<u16>,
    pub input: Vec<u16>,
}

impl Memory {
    pub fn new() -> Self {
        let coils: Vec<bool> = (0..COILS as u16).map(coil).collect();
        let registers: Vec<u16> = (0..REGISTERS as u16).map(register).collect();
        Self { discrete: coils.clone(), coils, input: registers.clone(), holding: registers }
    }
}
