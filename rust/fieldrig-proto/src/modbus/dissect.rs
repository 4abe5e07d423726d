//! Dissection of ADUs, field by field, with notes on what is wrong.
//!
//! What the bytes should be is taken from the function's diagram in AP 6.x; bytes that fit nowhere become a field too.

mod special;

use super::pdu::{
    Exception, Length, MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_REGISTERS, MAX_WRITE_COILS,
    MAX_WRITE_REGISTERS, exception_name, function as f, function_name, request_length, unpack, word,
};
use super::{ascii, rtu, tcp};
use crate::dissect::{Dissection, Sender, hex};

/// Takes a Modbus/TCP ADU apart.
#[must_use]
pub fn dissect_tcp(bytes: &[u8], sender: Sender) -> Dissection {
    let mut cursor = Cursor::new("modbus-tcp", bytes, sender);
    let view = tcp::View(bytes);
    if let Some(transaction) = cursor.word("transaction id") {
        cursor.summary.push_str(&format!("transaction {transaction}, "));
    }
    if cursor.word("protocol id").is_some_and(|protocol| protocol != tcp::PROTOCOL) {
        cursor.note("0 is Modbus");
    }
    if let Some(length) = cursor.word("length") {
        let follow = bytes.len() - 6;
        if !(1..=tcp::MAX_LENGTH).contains(&length) {
            cursor.note(format!("1 to {} are allowed", tcp::MAX_LENGTH));
        } else if usize::from(length) != follow {
            cursor.note(format!("says {length}, {follow} bytes follow"));
        }
    }
    cursor.unit();
    if view.unit().is_some() && view.pdu().is_empty() {
        cursor.complain("there is no PDU");
    }
    cursor.pdu(bytes.len());
    cursor.finish()
}

/// Takes a Modbus RTU frame apart.
#[must_use]
pub fn dissect_rtu(bytes: &[u8], sender: Sender) -> Dissection {
    let mut cursor = Cursor::new("modbus-rtu", bytes, sender);
    let end = if bytes.len() >= rtu::MIN_ADU { bytes.len() - 2 } else { bytes.len() };
    cursor.unit();
    cursor.pdu(end);
    if end < bytes.len() {
        let view = rtu::View(bytes);
        let (is, right) = (view.crc().unwrap_or_default(), view.right_crc());
        cursor.end = bytes.len();
        let field = cursor.dissection.field(end..bytes.len(), "CRC", format!("{is:#06x}"));
        if is != right {
            field.note = Some(format!("the bytes before it give {right:#06x}"));
        }
    } else if !bytes.is_empty() {
        cursor.complain(format!("a frame has {} bytes at least", rtu::MIN_ADU));
    }
    cursor.finish()
}

/// Takes a Modbus ASCII frame apart: the fields are those of its octets, the offsets those of its characters.
#[must_use]
pub fn dissect_ascii(characters: &[u8], sender: Sender) -> Dissection {
    let lenient = ascii::View { lower_case: true, ..ascii::View::new(characters) };
    let octets = lenient.octets();
    let (problem, begins) = (ascii::View::new(characters).problem(), lenient.begins());
    if !begins || octets.len() < 2 {
        let mut dissection = Dissection::new("modbus-ascii");
        dissection.summary = if begins { "an incomplete frame".to_owned() } else { "no frame".to_owned() };
        let shown = String::from_utf8_lossy(characters).escape_debug().to_string();
        dissection.field(0..characters.len(), "characters", shown).note = problem.map(|problem| problem.to_string());
        return dissection;
    }
    let end = if octets.len() > 2 { octets.len() - 1 } else { octets.len() };
    let mut cursor = Cursor::new("modbus-ascii", &octets, sender);
    cursor.unit();
    cursor.pdu(end);
    if let Some(lrc) = octets.get(end) {
        let right = crate::checksum::lrc(&octets[..end]);
        let field = cursor.dissection.field(end..end + 1, "LRC", format!("{lrc:#04x}"));
        field.note = (*lrc != right).then(|| format!("the octets before it give {right:#04x}"));
    }
    // Two characters are an octet, and a colon stands before them.
    for field in &mut cursor.dissection.fields {
        field.range = 1 + 2 * field.range.start..1 + 2 * field.range.end;
    }
    let rest = 1 + 2 * octets.len();
    let shown = String::from_utf8_lossy(&characters[rest..]).escape_debug().to_string();
    let told = cursor.dissection.fields.iter().any(|field| field.note.is_some());
    let field = cursor.dissection.field(rest..characters.len(), "end", shown);
    field.note = problem.filter(|_| !told).map(|problem| problem.to_string());
    cursor.finish()
}

struct Cursor<'a> {
    bytes: &'a [u8],
    sender: Sender,
    at: usize,
    /// Where the PDU ends.
    end: usize,
    summary: String,
    dissection: Dissection,
}

impl<'a> Cursor<'a> {
    fn new(protocol: &'static str, bytes: &'a [u8], sender: Sender) -> Cursor<'a> {
        let dissection = Dissection::new(protocol);
        Cursor { bytes, sender, at: 0, end: bytes.len(), summary: String::new(), dissection }
    }

    fn finish(mut self) -> Dissection {
        if self.summary.is_empty() {
            self.summary = "nothing".to_owned();
        }
        let wrong = self.dissection.fields.iter().find_map(|field| {
            let note = field.note.as_ref()?;
            Some(format!("{}: {note}", field.name))
        });
        if let Some(wrong) = wrong {
            self.summary.push_str(&format!(" [{wrong}]"));
        }
        self.dissection.summary = self.summary;
        self.dissection
    }

    fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// A 16-bit field, if it is there; a cut one becomes a field with a note.
    fn word(&mut self, name: &'static str) -> Option<u16> {
        self.word_as(name, |value| value.to_string())
    }

    fn word_as(&mut self, name: &'static str, show: impl Fn(u16) -> String) -> Option<u16> {
        if self.left() < 2 {
            self.missing(name, 2);
            return None;
        }
        let value = word(self.bytes, self.at);
        self.dissection.field(self.at..self.at + 2, name, show(value));
        self.at += 2;
        Some(value)
    }

    fn byte(&mut self, name: &'static str, show: impl Fn(u8) -> String) -> Option<u8> {
        if self.left() == 0 {
            self.missing(name, 1);
            return None;
        }
        let value = self.bytes[self.at];
        self.dissection.field(self.at..self.at + 1, name, show(value));
        self.at += 1;
        Some(value)
    }

    fn missing(&mut self, name: &'static str, size: usize) {
        let left = self.left();
        if self.dissection.fields.last().is_some_and(|field| field.value == "missing") {
            return;
        }
        let field = self.dissection.field(self.at..self.at + left, name, "missing");
        field.note = Some(format!("{size} bytes are needed, {left} follow"));
        self.at += left;
    }

    fn note(&mut self, note: impl Into<String>) {
        if let Some(field) = self.dissection.fields.last_mut() {
            field.note = Some(note.into());
        }
    }

    fn complain(&mut self, note: impl Into<String>) {
        let field = self.dissection.field(self.at..self.at, "ADU", "incomplete");
        field.note = Some(note.into());
    }

    fn unit(&mut self) {
        if self.at < self.bytes.len()
            && let Some(unit) = self.byte("unit id", |unit| unit.to_string())
        {
            self.summary.push_str(&format!("unit {unit}, "));
        }
    }

    fn pdu(&mut self, end: usize) {
        self.end = end;
        let start = self.at;
        if start >= end {
            return;
        }
        let Some(code) = self.byte("function", |code| format!("{code:02x} {}", function_name(code))) else { return };
        self.summary.push_str(&format!("{code:02x} {}", function_name(code)));
        match self.sender {
            _ if code & f::EXCEPTION_BIT != 0 => self.exception(),
            Sender::Client => self.request(code),
            Sender::Server => self.response(code),
        }
        if self.at < end {
            let rest = end - self.at;
            self.dissection.field(self.at..end, "data", hex(&self.bytes[self.at..end]));
            if is_known(code, &self.bytes[start..end]) {
                self.note(format!("{rest} bytes follow the end of the function's data"));
            }
            self.at = end;
        }
        let length = end - start;
        if length > super::pdu::MAX_PDU {
            self.note(format!("the PDU has {length} bytes, at most {} are allowed", super::pdu::MAX_PDU));
        }
    }

    fn exception(&mut self) {
        let shown = |code: u8| format!("{code:02x} {}", exception_name(code));
        if let Some(code) = self.byte("exception code", shown) {
            self.summary.push_str(&format!(" failed: {:02x} {}", code, exception_name(code)));
        }
        if self.sender == Sender::Client {
            self.note("a request has a function code below 80");
        }
    }

    fn request(&mut self, code: u8) {
        match code {
            f::READ_COILS | f::READ_DISCRETE_INPUTS => self.range(MAX_READ_BITS),
            f::READ_HOLDING_REGISTERS | f::READ_INPUT_REGISTERS => self.range(MAX_READ_REGISTERS),
            f::WRITE_SINGLE_COIL => self.coil(),
            f::WRITE_SINGLE_REGISTER => self.register(),
            f::WRITE_MULTIPLE_COILS => {
                let quantity = self.counted_range(MAX_WRITE_COILS);
                self.counted(quantity.map(|quantity| usize::from(quantity).div_ceil(8)), |bytes| bits(bytes, quantity));
            }
            f::WRITE_MULTIPLE_REGISTERS => {
                let quantity = self.counted_range(MAX_WRITE_REGISTERS);
                self.counted(quantity.map(|quantity| usize::from(quantity) * 2), registers);
            }
            f::MASK_WRITE_REGISTER => self.mask(),
            f::READ_WRITE_MULTIPLE_REGISTERS => {
                self.range(MAX_READ_REGISTERS);
                let quantity = self.counted_range(MAX_READ_WRITE_REGISTERS);
                self.counted(quantity.map(|quantity| usize::from(quantity) * 2), registers);
            }
            _ => self.special_request(code),
        }
    }

    fn response(&mut self, code: u8) {
        match code {
            f::READ_COILS | f::READ_DISCRETE_INPUTS => self.counted(None, |bytes| bits(bytes, None)),
            f::READ_HOLDING_REGISTERS | f::READ_INPUT_REGISTERS | f::READ_WRITE_MULTIPLE_REGISTERS => {
                self.counted(None, registers);
            }
            f::WRITE_SINGLE_COIL => self.coil(),
            f::WRITE_SINGLE_REGISTER => self.register(),
            f::WRITE_MULTIPLE_COILS => self.range(MAX_WRITE_COILS),
            f::WRITE_MULTIPLE_REGISTERS => self.range(MAX_WRITE_REGISTERS),
            f::MASK_WRITE_REGISTER => self.mask(),
            _ => self.special_response(code),
        }
    }

    fn range(&mut self, most: u16) {
        self.counted_range(most);
    }

    fn counted_range(&mut self, most: u16) -> Option<u16> {
        let address = self.word("address");
        let quantity = self.word("quantity")?;
        if let Some(address) = address {
            self.summary.push_str(&format!(" {quantity} from {address}"));
            if usize::from(address) + usize::from(quantity) > 0x1_0000 {
                self.note("ends beyond address 65535");
            }
        }
        if !(1..=most).contains(&quantity) {
            self.note(format!("1 to {most} are allowed"));
        }
        Some(quantity)
    }

    fn coil(&mut self) {
        let address = self.word("address");
        let shown = |value: u16| match value {
            0xff00 => "on".to_owned(),
            0 => "off".to_owned(),
            other => format!("{other:#06x}"),
        };
        let Some(value) = self.word_as("value", shown) else { return };
        if !matches!(value, 0 | 0xff00) {
            self.note("only ff00 and 0000 are allowed");
        }
        self.summary.push_str(&format!(" {} = {}", address.unwrap_or_default(), shown(value)));
    }

    fn register(&mut self) {
        let address = self.word("address");
        if let (Some(address), Some(value)) = (address, self.word("value")) {
            self.summary.push_str(&format!(" {address} = {value}"));
        }
    }

    fn mask(&mut self) {
        let address = self.word("address");
        let and = self.word_as("AND mask", |mask| format!("{mask:#06x}"));
        let or = self.word_as("OR mask", |mask| format!("{mask:#06x}"));
        if let (Some(address), Some(and), Some(or)) = (address, and, or) {
            self.summary.push_str(&format!(" {address} AND {and:04x} OR {or:04x}"));
        }
    }

    /// A byte count and the bytes it counts; `takes` is what it should say, if that is known.
    fn counted(&mut self, takes: Option<usize>, show: impl Fn(&[u8]) -> String) {
        let Some(count) = self.byte("byte count", |count| count.to_string()) else { return };
        let (count, left) = (usize::from(count), self.left());
        if count != left {
            self.note(format!("says {count}, {left} bytes follow"));
        } else if let Some(takes) = takes.filter(|takes| *takes != count) {
            self.note(format!("says {count}, the quantity takes {takes}"));
        }
        let size = count.min(left);
        if size > 0 {
            let bytes = &self.bytes[self.at..self.at + size];
            let text = show(bytes);
            self.summary.push_str(&format!(": {}", short(&text)));
            self.dissection.field(self.at..self.at + size, "values", text);
            self.at += size;
        }
    }
}

/// Where its data ends is known.
fn is_known(code: u8, pdu: &[u8]) -> bool {
    code & f::EXCEPTION_BIT != 0 || request_length(pdu) != Length::Unknown
}

fn registers(bytes: &[u8]) -> String {
    let mut shown: Vec<String> = super::pdu::words(bytes).iter().map(u16::to_string).collect();
    if bytes.len() % 2 == 1 {
        shown.push(format!("half a register: {:02x}", bytes[bytes.len() - 1]));
    }
    shown.join(" ")
}

fn bits(bytes: &[u8], quantity: Option<u16>) -> String {
    let quantity = quantity.map_or(bytes.len() * 8, usize::from).min(bytes.len() * 8);
    unpack(bytes, quantity).iter().map(|bit| if *bit { '1' } else { '0' }).collect()
}

fn short(text: &str) -> String {
    const MOST: usize = 40;
    if text.len() <= MOST { text.to_owned() } else { format!("{}..", &text[..MOST]) }
}

impl Exception {
    /// Its code and name, for people: `02 illegal data address`.
    #[must_use]
    pub fn shown(self) -> String {
        format!("{:02x} {}", self.code, exception_name(self.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_field_by_field() {
        let adu = [0, 1, 0, 0, 0, 6, 255, 3, 0, 4, 0, 2];
        let text = dissect_tcp(&adu, Sender::Client).render(&adu);
        let expected = "transaction 1, unit 255, 03 Read Holding Registers 2 from 4
     0  00 01                     transaction id: 1
     2  00 00                     protocol id: 0
     4  00 06                     length: 6
     6  ff                        unit id: 255
     7  03                        function: 03 Read Holding Registers
     8  00 04                     address: 4
    10  00 02                     quantity: 2";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_wrong_is_noted_where_it_is() {
        let notes = |bytes: &[u8], sender| -> Vec<String> {
            let dissection = dissect_tcp(bytes, sender);
            let noted = dissection.fields.into_iter().filter_map(|field| Some((field.name, field.note?)));
            noted.map(|(name, note)| format!("{name}: {note}")).collect()
        };
        assert_eq!(
            notes(&[0, 1, 0, 9, 0, 7, 1, 3, 6, 0, 1, 0, 2], Sender::Server),
            ["protocol id: 0 is Modbus", "byte count: says 6, 4 bytes follow"]
        );
        assert_eq!(
            notes(&[0, 1, 0, 0, 1, 0, 1, 3, 0, 0], Sender::Client),
            ["length: 1 to 254 are allowed", "quantity: 2 bytes are needed, 0 follow"]
        );
        assert_eq!(
            notes(&[0, 1, 0, 0, 0, 6, 1, 3, 0xff, 0xff, 0, 0x7e], Sender::Client),
            ["quantity: 1 to 125 are allowed"]
        );
        assert_eq!(
            notes(&[0, 1, 0, 0, 0, 8, 1, 3, 0, 0, 0, 1, 9, 9], Sender::Client),
            ["data: 2 bytes follow the end of the function's data"]
        );
        assert_eq!(
            notes(&[0, 1, 0, 0, 0, 6, 1, 5, 0, 0, 1, 0], Sender::Client),
            ["value: only ff00 and 0000 are allowed"]
        );
        assert_eq!(notes(&[0, 1, 0, 0, 0, 1, 1], Sender::Client), ["ADU: there is no PDU"]);
        assert_eq!(notes(&[0, 1, 0], Sender::Client), ["protocol id: 2 bytes are needed, 1 follow"]);
    }

    #[test]
    fn summaries_say_it_in_one_line() {
        let summary = |hex: &[u8], sender| dissect_rtu(hex, sender).summary;
        let exception = [1, 0x83, 2, 0xc0, 0xf1];
        assert_eq!(
            summary(&exception, Sender::Server),
            "unit 1, 83 Read Holding Registers failed: 02 illegal data address"
        );
        let spoiled = [1, 0x83, 2, 0xc0, 0xf0];
        assert!(summary(&spoiled, Sender::Server).ends_with("[CRC: the bytes before it give 0xf1c0]"));
        let coils = [1, 15, 0, 0x13, 0, 0x0a, 2, 0xcd, 1, 0, 0];
        assert!(summary(&coils, Sender::Client).starts_with("unit 1, 0f Write Multiple Coils 10 from 19: 1011001110"));
        assert_eq!(summary(&[], Sender::Client), "nothing");
    }
}
