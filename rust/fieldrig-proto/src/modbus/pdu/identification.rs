//! 43 (0x2B) Encapsulated Interface Transport: MEI type 14, Read Device Identification; 13 and others raw (AP 6.19 to 6.21).
//!
//! Rules of this file:
//! - A stream (codes 01 to 03) gives objects in ascending order, never one in two parts; what did not fit follows from
//!   `next` on (AP 6.21).
//! - `more` is 00 or FF on the wire; objects are texts of their own length.

use super::{PduError, Request, Response, at_least, exactly};

/// MEI type 13: CANopen General Reference (AP 6.20).
pub const MEI_CANOPEN: u8 = 13;
/// MEI type 14: Read Device Identification (AP 6.21).
pub const MEI_DEVICE_IDENTIFICATION: u8 = 14;

/// The fields of an answer of MEI type 14 before its objects: function, MEI type, code, conformity level, more follows,
/// next object, number of objects.
pub(super) const HEADER: usize = 7;

/// The longest object that fits into a PDU of its own.
pub const MAX_OBJECT: usize = super::MAX_PDU - HEADER - 2;

/// What a device says of itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct DeviceIdentification {
    /// What was asked: 1 basic, 2 regular, 3 extended, 4 one object.
    pub code: u8,
    /// Conformity level: 1 to 3, with 0x80 if objects can be asked for one by one.
    pub conformity: u8,
    /// More objects follow from `next` on.
    pub more: bool,
    /// The object to ask for next, if more follow.
    pub next: u8,
    /// Objects by number.
    pub objects: Vec<(u8, Vec<u8>)>,
}

/// Name of an object (AP 6.21).
#[must_use]
pub fn object_name(object: u8) -> &'static str {
    match object {
        0 => "VendorName",
        1 => "ProductCode",
        2 => "MajorMinorRevision",
        3 => "VendorUrl",
        4 => "ProductName",
        5 => "ModelName",
        6 => "UserApplicationName",
        7..=0x7f => "reserved",
        0x80..=0xff => "private",
    }
}

impl DeviceIdentification {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let more = if self.more { 0xff } else { 0 };
        out.extend_from_slice(&[MEI_DEVICE_IDENTIFICATION, self.code, self.conformity, more, self.next]);
        out.push(self.objects.len() as u8);
        for (object, text) in &self.objects {
            out.extend_from_slice(&[*object, text.len() as u8]);
            out.extend_from_slice(text);
        }
    }

    /// Reads an answer of MEI type 14.
    fn parse(pdu: &[u8]) -> Result<DeviceIdentification, PduError> {
        at_least(pdu, HEADER)?;
        let more = match pdu[4] {
            0 => false,
            0xff => true,
            other => {
                let is = Some(u16::from(other));
                return Err(PduError::Value { what: "more follows", offset: 4, is, allowed: "0x00 or 0xff" });
            }
        };
        let mut objects = Vec::new();
        let mut at = HEADER;
        for _ in 0..pdu[6] {
            at_least(pdu, at + 2)?;
            let (length, left) = (usize::from(pdu[at + 1]), pdu.len() - at - 2);
            if length > left {
                return Err(PduError::Count { what: "the object length", offset: at + 1, says: length, is: left });
            }
            objects.push((pdu[at], pdu[at + 2..at + 2 + length].to_vec()));
            at += 2 + length;
        }
        exactly(pdu, at)?;
        Ok(DeviceIdentification { code: pdu[2], conformity: pdu[3], more, next: pdu[5], objects })
    }

    /// Adds what was answered to the request for `next`: everything there lies behind what is here, for else asking on
    /// would give the same again and again (AP 6.21).
    ///
    /// # Errors
    /// An object that was there before, or that lies before one that was.
    pub fn extend(&mut self, following: DeviceIdentification) -> Result<(), PduError> {
        let last = self.objects.iter().map(|(object, _)| *object).max();
        if let Some((object, _)) = following.objects.iter().find(|(object, _)| Some(*object) <= last) {
            let is = Some(u16::from(*object));
            return Err(PduError::Value {
                what: "an object that follows",
                offset: HEADER,
                is,
                allowed: "one not given before",
            });
        }
        let mut objects = std::mem::take(&mut self.objects);
        objects.extend(following.objects.iter().cloned());
        *self = DeviceIdentification { objects, ..following };
        Ok(())
    }

    /// It answers this: the code is repeated; of one object, that one comes, and nothing follows it; where more follow, the
    /// next one is behind those that came, for else asking would never end (AP 6.21).
    pub(super) fn answers(&self, code: u8, object: u8) -> Result<(), PduError> {
        if self.code != code {
            return Err(PduError::Echo { field: "code", offset: 2, is: self.code.into(), asked: code.into() });
        }
        let last = self.objects.iter().map(|(object, _)| *object).max();
        if self.more && last.is_none_or(|last| self.next <= last) {
            let is = Some(self.next.into());
            return Err(PduError::Value {
                what: "the next object",
                offset: 5,
                is,
                allowed: "one behind those that came",
            });
        }
        if code != 4 {
            return Ok(());
        }
        match &self.objects[..] {
            [(is, _)] if *is == object && !self.more => Ok(()),
            [(is, _)] if !self.more => {
                Err(PduError::Echo { field: "object", offset: HEADER, is: (*is).into(), asked: object.into() })
            }
            _ if self.more => {
                Err(PduError::Value { what: "more follows", offset: 4, is: Some(0xff), allowed: "0x00 of one object" })
            }
            objects => Err(PduError::Count { what: "the number of objects", offset: 6, says: objects.len(), is: 1 }),
        }
    }
}

/// How long an answer of function 43 is that begins with these bytes.
pub(super) fn response_length(pdu: &[u8]) -> super::Length {
    use super::Length;
    match pdu.get(1) {
        None => return Length::Needs(2),
        Some(&MEI_DEVICE_IDENTIFICATION) => {}
        Some(_) => return Length::Unknown,
    }
    let Some(count) = pdu.get(6) else { return Length::Needs(HEADER) };
    let mut at = HEADER;
    for _ in 0..*count {
        let Some(length) = pdu.get(at + 1) else { return Length::Needs(at + 2) };
        at += 2 + usize::from(*length);
    }
    if at > super::MAX_PDU { Length::Unknown } else { Length::Known(at) }
}

pub(super) fn parse_request(pdu: &[u8]) -> Result<Request, PduError> {
    at_least(pdu, 2)?;
    if pdu[1] != MEI_DEVICE_IDENTIFICATION {
        return Ok(Request::Encapsulated { mei: pdu[1], data: pdu[2..].to_vec() });
    }
    exactly(pdu, 4)?;
    Ok(Request::ReadDeviceIdentification { code: pdu[2], object: pdu[3] })
}

pub(super) fn parse_response(pdu: &[u8]) -> Result<Response, PduError> {
    at_least(pdu, 2)?;
    if pdu[1] != MEI_DEVICE_IDENTIFICATION {
        return Ok(Response::Encapsulated { mei: pdu[1], data: pdu[2..].to_vec() });
    }
    DeviceIdentification::parse(pdu).map(Response::DeviceIdentification)
}
