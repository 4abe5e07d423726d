//! Dissection: what the bytes of one message mean, field by field, for failure texts and traces.
//!
//! A dissector never fails: what it cannot read becomes a field with a note.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

/// Which way a message went, seen from fieldrig.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// fieldrig received it.
    In,
    /// fieldrig sent it.
    Out,
}

/// Who sent a message, where the bytes alone do not tell.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    /// The client (master) sent it: a request.
    Client,
    /// The server (slave, broker) sent it: an answer.
    Server,
}

/// One field of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its name in the words of the standard.
    pub name: Cow<'static, str>,
    /// Its value, for people.
    pub value: String,
    /// What is wrong with it, if something is: `says 6, 4 bytes follow`.
    pub note: Option<String>,
}

/// A message, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dissection {
    /// Protocol name.
    pub protocol: &'static str,
    /// The message in one line.
    pub summary: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
    /// The name of the protocol that is spoken on this connection from here on, if the message says so: an MQTT
    /// CONNECT names its version, whatever the link was declared to be.
    pub speaks: Option<&'static str>,
}

impl Dissection {
    /// A dissection without fields yet.
    #[must_use]
    pub fn new(protocol: &'static str) -> Dissection {
        Dissection { protocol, summary: String::new(), fields: Vec::new(), speaks: None }
    }

    /// Adds a field.
    pub fn field(
        &mut self,
        range: Range<usize>,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> &mut Field {
        self.fields.push(Field { range, name: name.into(), value: value.into(), note: None });
        let last = self.fields.len() - 1;
        &mut self.fields[last]
    }

    /// Lines for people: offset, bytes, name, value, note.
    #[must_use]
    pub fn render(&self, bytes: &[u8]) -> String {
        let mut text = self.summary.clone();
        for field in &self.fields {
            let hex = hex(bytes.get(field.range.clone()).unwrap_or_default());
            let shown = if hex.len() > 24 { format!("{}..", &hex[..22]) } else { hex };
            let _ = write!(text, "\n  {:>4}  {shown:<24}  {}: {}", field.range.start, field.name, field.value);
            if let Some(note) = &field.note {
                let _ = write!(text, "  <- {note}");
            }
        }
        text
    }
}

/// Octets as lower-case hex with spaces: `00 01 ff`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if index == 0 { "" } else { " " });
    }
    text
}

/// Takes one message apart.
pub type Dissector = &'static (dyn Fn(&[u8], Sender) -> Dissection + Send + Sync);
