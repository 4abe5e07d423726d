//! Dissection of the functions that touch none of the four tables: 07, 08, 11, 12, 17, 20, 21, 24 and 43.

use super::{Cursor, registers};
use crate::dissect::hex;
use crate::modbus::pdu::{
    LAST_RECORD, MAX_EVENTS, MAX_FIFO, MEI_CANOPEN, MEI_DEVICE_IDENTIFICATION, REFERENCE_TYPE, function as f,
    object_name, sub_function_name,
};

impl Cursor<'_> {
    pub(super) fn special_request(&mut self, code: u8) {
        match code {
            f::DIAGNOSTICS => self.diagnostics(),
            f::READ_FILE_RECORD => self.parts(false),
            f::WRITE_FILE_RECORD => self.parts(true),
            f::READ_FIFO_QUEUE => {
                if let Some(address) = self.word("FIFO pointer address") {
                    self.summary.push_str(&format!(" at {address}"));
                }
            }
            f::ENCAPSULATED_INTERFACE => self.encapsulated(false),
            _ => {}
        }
    }

    pub(super) fn special_response(&mut self, code: u8) {
        match code {
            f::READ_EXCEPTION_STATUS => {
                if let Some(status) = self.byte("exception status", |status| format!("{status:08b}")) {
                    self.summary.push_str(&format!(": {status:08b}"));
                }
            }
            f::DIAGNOSTICS => self.diagnostics(),
            f::COMM_EVENT_COUNTER => self.event_counter(),
            f::COMM_EVENT_LOG => self.event_log(),
            f::REPORT_SERVER_ID => self.counted(None, |bytes| format!("{} \"{}\"", hex(bytes), text(bytes))),
            f::READ_FILE_RECORD => self.file_answer(),
            f::WRITE_FILE_RECORD => self.parts(true),
            f::READ_FIFO_QUEUE => self.fifo(),
            f::ENCAPSULATED_INTERFACE => self.encapsulated(true),
            _ => {}
        }
    }

    fn diagnostics(&mut self) {
        let Some(sub) = self.word_as("sub-function", |sub| format!("{sub:04x} {}", sub_function_name(sub))) else {
            return;
        };
        self.summary.push_str(&format!(" {sub:04x} {}", sub_function_name(sub)));
        while self.left() >= 2 {
            if let Some(data) = self.word_as("data", |data| format!("{data} ({data:#06x})")) {
                self.summary.push_str(&format!(" {data:04x}"));
            }
        }
        if self.left() == 1 {
            self.missing("data", 2);
        }
    }

    fn event_counter(&mut self) {
        self.word_as("status", |status| format!("{status:#06x}"));
        if let Some(events) = self.word("event count") {
            self.summary.push_str(&format!(": {events} events"));
        }
    }

    fn event_log(&mut self) {
        let Some(count) = self.byte("byte count", |count| count.to_string()) else { return };
        let (count, left) = (usize::from(count), self.left());
        if count != left {
            self.note(format!("says {count}, {left} bytes follow"));
        } else if !(6..=6 + MAX_EVENTS).contains(&count) {
            self.note(format!("6 to {} are allowed", 6 + MAX_EVENTS));
        }
        self.event_counter();
        self.word("message count");
        let size = count.saturating_sub(6).min(self.left());
        for _ in 0..size {
            self.byte("event", event);
        }
    }

    /// The parts of a request of function 20, or of either direction of function 21.
    fn parts(&mut self, written: bool) {
        let Some(count) = self.byte("byte count", |count| count.to_string()) else { return };
        let (count, left) = (usize::from(count), self.left());
        if count != left {
            self.note(format!("says {count}, {left} bytes follow"));
        } else if !written && (count == 0 || !count.is_multiple_of(7)) {
            self.note("each part has 7 bytes");
        }
        while self.left() > 0 {
            self.reference_type();
            let file = self.word("file");
            if file == Some(0) {
                self.note("files are numbered from 1");
            }
            let record = self.word("record");
            if record.is_some_and(|record| record > LAST_RECORD) {
                self.note(format!("0 to {LAST_RECORD} are allowed"));
            }
            let Some(length) = self.word("record length") else { return };
            if let (Some(file), Some(record)) = (file, record) {
                self.summary.push_str(&format!(" {length} from {record} of file {file}"));
            }
            if written {
                self.records(usize::from(length) * 2);
            }
        }
    }

    fn reference_type(&mut self) {
        if self.byte("reference type", |kind| kind.to_string()).is_some_and(|kind| kind != REFERENCE_TYPE) {
            self.note("6 is the only one");
        }
    }

    fn records(&mut self, bytes: usize) {
        let size = bytes.min(self.left());
        if size < bytes {
            self.note(format!("{bytes} bytes of data are needed, {size} follow"));
        }
        if size > 0 {
            let text = registers(&self.bytes[self.at..self.at + size]);
            self.dissection.field(self.at..self.at + size, "values", text);
            self.at += size;
        }
    }

    fn file_answer(&mut self) {
        let Some(count) = self.byte("byte count", |count| count.to_string()) else { return };
        let (count, left) = (usize::from(count), self.left());
        if count != left {
            self.note(format!("says {count}, {left} bytes follow"));
        }
        while self.left() > 0 {
            let Some(length) = self.byte("length", |length| length.to_string()) else { return };
            if length.is_multiple_of(2) {
                self.note("one byte and whole registers");
            }
            if length == 0 {
                continue;
            }
            self.reference_type();
            self.records(usize::from(length) - 1);
        }
    }

    fn fifo(&mut self) {
        let bytes = self.word("byte count");
        if let Some(bytes) = bytes.filter(|bytes| usize::from(*bytes) != self.left()) {
            self.note(format!("says {bytes}, {} bytes follow", self.left()));
        }
        let Some(count) = self.word("FIFO count") else { return };
        if count > MAX_FIFO {
            self.note(format!("at most {MAX_FIFO} are allowed"));
        } else if usize::from(count) * 2 != self.left() {
            self.note(format!("{count} registers take {} bytes, {} follow", count * 2, self.left()));
        }
        self.summary.push_str(&format!(": {count} registers"));
        let size = (usize::from(count) * 2).min(self.left());
        if size > 0 {
            self.records(size);
        }
    }

    fn encapsulated(&mut self, answer: bool) {
        let name = |mei: u8| match mei {
            MEI_CANOPEN => "CANopen General Reference",
            MEI_DEVICE_IDENTIFICATION => "Read Device Identification",
            _ => "reserved",
        };
        let Some(mei) = self.byte("MEI type", |mei| format!("{mei:02x} {}", name(mei))) else { return };
        self.summary.push_str(&format!(" {mei:02x} {}", name(mei)));
        if mei != MEI_DEVICE_IDENTIFICATION {
            return;
        }
        let code = self.byte("code", |code| format!("{code} {}", code_name(code)));
        if code.is_some_and(|code| !(1..=4).contains(&code)) {
            self.note("1 to 4 are allowed");
        }
        if !answer {
            if let Some(object) = self.byte("object", |object| format!("{object:#04x} {}", object_name(object))) {
                self.summary.push_str(&format!(" {} from {object:#04x}", code_name(code.unwrap_or_default())));
            }
            return;
        }
        self.objects();
    }

    fn objects(&mut self) {
        let level = self.byte("conformity level", |level| format!("{level:#04x}"));
        if level.is_some_and(|level| !(1..=3).contains(&(level & 0x7f))) {
            self.note("01 to 03 and 81 to 83 are allowed");
        }
        let more = self.byte("more follows", |more| format!("{more:#04x}"));
        if more.is_some_and(|more| !matches!(more, 0 | 0xff)) {
            self.note("only ff and 00 are allowed");
        }
        self.byte("next object", |object| format!("{object:#04x}"));
        let Some(count) = self.byte("number of objects", |count| count.to_string()) else { return };
        self.summary.push_str(&format!(": {count} objects"));
        for _ in 0..count {
            let Some(object) = self.byte("object", |object| format!("{object:#04x} {}", object_name(object))) else {
                return;
            };
            let Some(length) = self.byte("length", |length| length.to_string()) else { return };
            let size = usize::from(length).min(self.left());
            if size < usize::from(length) {
                self.note(format!("says {length}, {size} bytes follow"));
            }
            let shown = text(&self.bytes[self.at..self.at + size]);
            self.dissection.field(self.at..self.at + size, object_name(object), format!("\"{shown}\""));
            self.at += size;
        }
    }
}

fn code_name(code: u8) -> &'static str {
    match code {
        1 => "basic",
        2 => "regular",
        3 => "extended",
        4 => "one object",
        _ => "reserved",
    }
}

/// An event of the communication event log (AP 6.10).
fn event(event: u8) -> String {
    const RECEIVED: [(u8, &str); 4] =
        [(1, "communication error"), (4, "character overrun"), (5, "listen only"), (6, "broadcast")];
    const SENT: [(u8, &str); 6] = [
        (0, "read exception"),
        (1, "abort exception"),
        (2, "busy exception"),
        (3, "NAK exception"),
        (4, "write time-out"),
        (5, "listen only"),
    ];
    let (what, bits) = match event {
        0 => return format!("{event:02x} restart"),
        4 => return format!("{event:02x} entered listen only mode"),
        0x80.. => ("received", &RECEIVED[..]),
        0x40..=0x7f => ("sent", &SENT[..]),
        _ => return format!("{event:02x} unknown"),
    };
    let set: Vec<&str> = bits.iter().filter(|(bit, _)| event >> bit & 1 == 1).map(|(_, name)| *name).collect();
    let set = if set.is_empty() { String::new() } else { format!(": {}", set.join(", ")) };
    format!("{event:02x} {what}{set}")
}

/// Bytes as text; what cannot be printed is a dot.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '.' }).collect()
}
