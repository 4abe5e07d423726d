//! Bytes and messages: one octet of length, then text.

use fieldrig_proto::dissect::{Dissection, Sender};

/// Appends a message; what is longer than 255 octets is cut.
pub fn write(text: &str, out: &mut Vec<u8>) {
    let text = &text.as_bytes()[..text.len().min(255)];
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

/// How many octets the first message has; none while its length is unknown.
pub fn length(bytes: &[u8], _sender: Sender) -> Option<usize> {
    bytes.first().map(|length| usize::from(*length) + 1)
}

/// Takes the first whole message out of `held`.
pub fn take(held: &mut Vec<u8>) -> Option<String> {
    let end = length(held, Sender::Client).filter(|end| *end <= held.len())?;
    let text = String::from_utf8_lossy(&held[1..end]).into_owned();
    held.drain(..end);
    Some(text)
}

/// What the octets of a message mean.
pub fn dissect(bytes: &[u8], sender: Sender) -> Dissection {
    let mut found = Dissection::new("toy");
    let Some((length, text)) = bytes.split_first() else { return found };
    found.summary = match sender {
        Sender::Client => format!("asks {}", String::from_utf8_lossy(text)),
        Sender::Server => format!("says {}", String::from_utf8_lossy(text)),
    };
    let field = found.field(0..1, "length", length.to_string());
    if usize::from(*length) != text.len() {
        field.note = Some(format!("says {length}, {} octets follow", text.len()));
    }
    found.field(1..bytes.len(), "text", String::from_utf8_lossy(text));
    found
}
