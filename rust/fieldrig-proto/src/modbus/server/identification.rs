//! What a device says of itself: functions 17 and 43/14 (AP 6.13, 6.21).
//!
//! Rules of this file:
//! - The MEI type is judged first (01), then the code (03), then the object (02; AP 6.21).
//! - A stream that begins with an object it does not have begins with object 0. It ends where a PDU is full: no object is
//!   split, the next request goes on where `next` says.
//! - A device asked beyond its conformity level answers with what it has.

use crate::modbus::pdu::{DeviceIdentification, Exception, MAX_OBJECT, MEI_DEVICE_IDENTIFICATION, Request, Response};
use std::collections::BTreeMap;

/// Objects of the device identification, by number, and how much of it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identification {
    objects: BTreeMap<u8, Vec<u8>>,
    conformity: u8,
}

/// Set in the conformity level if objects can be asked for one by one.
const INDIVIDUAL: u8 = 0x80;

impl Identification {
    /// A device with these objects. Without a conformity level, it has the one that shows them all, also one by one.
    ///
    /// # Errors
    /// One of objects 0, 1 and 2 is missing (AP 6.21: they are mandatory), one is too long to be sent, no such level.
    pub fn new(objects: BTreeMap<u8, Vec<u8>>, conformity: Option<u8>) -> Result<Identification, String> {
        if let Some(missing) = (0..=2).find(|object| !objects.contains_key(object)) {
            return Err(format!("object {missing} is missing: 0, 1 and 2 are mandatory"));
        }
        if let Some((object, text)) = objects.iter().find(|(_, text)| text.len() > MAX_OBJECT) {
            return Err(format!("object {object} has {} bytes, at most {MAX_OBJECT} fit into a PDU", text.len()));
        }
        let last = objects.last_key_value().map_or(0, |(object, _)| *object);
        let conformity = conformity.unwrap_or(INDIVIDUAL | level_of(last));
        if !(1..=3).contains(&(conformity & !INDIVIDUAL)) {
            return Err(format!("conformity level {conformity:#04x} is none of 0x01 to 0x03 and 0x81 to 0x83"));
        }
        Ok(Identification { objects, conformity })
    }

    pub(super) fn read(&self, pdu: &[u8]) -> Result<Response, u8> {
        if pdu.get(1).is_some_and(|mei| *mei != MEI_DEVICE_IDENTIFICATION) {
            return Err(Exception::ILLEGAL_FUNCTION);
        }
        let Ok(Request::ReadDeviceIdentification { code, object }) = Request::parse(pdu) else {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        };
        let found = match code {
            1..=3 => self.stream(code, object),
            4 if self.conformity & INDIVIDUAL != 0 => self.one(object)?,
            _ => return Err(Exception::ILLEGAL_DATA_VALUE),
        };
        Ok(Response::DeviceIdentification(found))
    }

    fn one(&self, object: u8) -> Result<DeviceIdentification, u8> {
        let shown = level_of(object) <= self.conformity & !INDIVIDUAL;
        let text = self.objects.get(&object).filter(|_| shown).ok_or(Exception::ILLEGAL_DATA_ADDRESS)?;
        let objects = vec![(object, text.clone())];
        Ok(DeviceIdentification { code: 4, conformity: self.conformity, more: false, next: 0, objects })
    }

    fn stream(&self, code: u8, from: u8) -> DeviceIdentification {
        let level = code.min(self.conformity & !INDIVIDUAL);
        let shown: Vec<(&u8, &Vec<u8>)> =
            self.objects.iter().filter(|(object, _)| level_of(**object) <= level).collect();
        let start = shown.iter().position(|(object, _)| **object == from).unwrap_or(0);
        let mut answer = DeviceIdentification { code, conformity: self.conformity, ..DeviceIdentification::default() };
        let mut room = MAX_OBJECT + 2;
        for (object, text) in &shown[start..] {
            if text.len() + 2 > room {
                answer.more = true;
                answer.next = **object;
                break;
            }
            room -= text.len() + 2;
            answer.objects.push((**object, (*text).clone()));
        }
        answer
    }
}

/// The least level that shows an object (AP 6.21): basic up to 0x02, regular up to 0x7F, extended beyond.
fn level_of(object: u8) -> u8 {
    match object {
        0..=2 => 1,
        3..=0x7f => 2,
        0x80..=0xff => 3,
    }
}

/// The run indicator of function 17: the device is on (AP 6.13).
const RUNNING: u8 = 0xff;

/// 17 (0x11) Report Server ID.
pub(super) fn report_server_id(id: &[u8], pdu: &[u8]) -> Result<Response, u8> {
    if pdu.len() != 1 {
        return Err(Exception::ILLEGAL_DATA_VALUE);
    }
    let mut data = id.to_vec();
    data.push(RUNNING);
    Ok(Response::ServerId { data })
}
