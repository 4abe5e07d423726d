//! Escapes: bytes that would be taken for markers are sent as two.
//!
//! Rules of this file:
//! - What stands in the map is sent as the escape byte and its partner; what is only in `also` is sent as the escape byte
//!   and the byte combined with `xor` (RFC 1662 4.2: 0x7d, exclusive or 0x20). SLIP has a map (RFC 1055: 0xdb, 0xdc, 0xdd).
//! - On receipt the map comes first, then `xor`, which undoes any byte (RFC 1662 4.2: "any").

/// How bytes are escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Escape {
    /// The byte that stands in front.
    pub byte: u8,
    /// Bytes and their partners.
    pub map: Vec<(u8, u8)>,
    /// What bytes outside the map are combined with.
    pub xor: Option<u8>,
    /// Bytes that are escaped by `xor`: the markers, the escape byte, and further ones.
    pub also: Vec<u8>,
}

impl Escape {
    /// That of HDLC in asynchronous framing (RFC 1662 4.2).
    #[must_use]
    pub fn hdlc() -> Escape {
        Escape { byte: 0x7d, map: Vec::new(), xor: Some(0x20), also: vec![0x7d, 0x7e] }
    }

    /// That of SLIP (RFC 1055).
    #[must_use]
    pub fn slip() -> Escape {
        Escape { byte: 0xdb, map: vec![(0xc0, 0xdc), (0xdb, 0xdd)], xor: None, also: Vec::new() }
    }

    /// Appends a byte as it goes over the wire.
    pub fn write(&self, byte: u8, out: &mut Vec<u8>) {
        if let Some((_, partner)) = self.map.iter().find(|(plain, _)| *plain == byte) {
            return out.extend([self.byte, *partner]);
        }
        match self.xor {
            Some(xor) if self.also.contains(&byte) => out.extend([self.byte, byte ^ xor]),
            _ => out.push(byte),
        }
    }

    /// What an escape byte and `partner` stand for; `None`: for nothing.
    #[must_use]
    pub fn undo(&self, partner: u8) -> Option<u8> {
        let mapped = self.map.iter().find(|(_, known)| *known == partner).map(|(plain, _)| *plain);
        mapped.or_else(|| self.xor.map(|xor| partner ^ xor))
    }

    /// Whether a byte never goes over the wire as it is, but as a marker or an escape.
    #[must_use]
    pub fn protects(&self, byte: u8) -> bool {
        self.map.iter().any(|(plain, _)| *plain == byte) || (self.xor.is_some() && self.also.contains(&byte))
    }
}
