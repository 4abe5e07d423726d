//! What a certificate says, as far as protocols ask: who it names, who signed it, and what an extension holds.
//!
//! Rules of this file:
//! - A [`Certificate`] holds any bytes. Whether it is genuine was decided by who made the connection; nothing here
//!   judges signatures or dates.
//! - DER is read strictly (X.690 10.1): definite lengths in their shortest form, nothing after the end. What is not read
//!   that way has no subject and no extensions.
//!
//! ```
//! use fieldrig_proto::certificate::Certificate;
//!
//! let nonsense = Certificate::new(b"no DER at all");
//! assert_eq!(nonsense.subject(), None);
//! assert!(nonsense.extensions(&[0x55, 0x1d, 0x11]).is_empty());
//! ```

use std::sync::Arc;

/// An X.509 certificate (RFC 5280 4.1) in DER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate(Arc<[u8]>);

/// DER tags (X.690 8, X.680 8.4).
mod tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(super) const UTF8_STRING: u8 = 0x0c;
    pub(super) const PRINTABLE_STRING: u8 = 0x13;
    pub(super) const IA5_STRING: u8 = 0x16;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    /// `[0]`, explicit.
    pub(super) const VERSION: u8 = 0xa0;
    /// `[3]`, explicit.
    pub(super) const EXTENSIONS: u8 = 0xa3;
}

/// The attributes of a name that are shown by a short name (RFC 4514 3): the last octet of `2.5.4.x`.
const ATTRIBUTES: [(u8, &str); 5] = [(3, "CN"), (6, "C"), (7, "L"), (10, "O"), (11, "OU")];

impl Certificate {
    /// A certificate of these bytes, whatever they are.
    #[must_use]
    pub fn new(der: &[u8]) -> Certificate {
        Certificate(der.into())
    }

    /// Its bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Whom it names, for people: `CN=meter 7, O=Works`. `None` if it is no certificate.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.fields().and_then(|fields| name(fields.subject))
    }

    /// Who signed it, for people. `None` if it is no certificate.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        self.fields().and_then(|fields| name(fields.issuer))
    }

    /// From when until when it is valid, in seconds since 1970-01-01 (UTC). `None` if it is no certificate.
    #[must_use]
    pub fn validity(&self) -> Option<(i64, i64)> {
        let mut dates = Reader(self.fields()?.validity);
        let (from, until) = (instant(dates.any()?)?, instant(dates.any()?)?);
        dates.0.is_empty().then_some((from, until))
    }

    /// The values of all extensions with this object identifier (its DER content), in order: what the octet string of
    /// each holds.
    #[must_use]
    pub fn extensions(&self, identifier: &[u8]) -> Vec<&[u8]> {
        let list = self.fields().map_or(&[][..], |fields| fields.extensions);
        let mut reader = Reader(list);
        let mut found = Vec::new();
        while !reader.0.is_empty() {
            let Some((known, value)) = reader.take(tag::SEQUENCE).and_then(extension) else { return Vec::new() };
            if known == identifier {
                found.push(value);
            }
        }
        found
    }

    /// RFC 5280 4.1: Certificate and TBSCertificate, the fields that are asked for.
    fn fields(&self) -> Option<Fields<'_>> {
        let mut whole = Reader(&self.0);
        let mut certificate = Reader(whole.take(tag::SEQUENCE)?);
        let mut signed = Reader(certificate.take(tag::SEQUENCE)?);
        if !whole.0.is_empty() {
            return None;
        }
        signed.take_if(tag::VERSION);
        signed.take(tag::INTEGER)?;
        signed.take(tag::SEQUENCE)?;
        let issuer = signed.take(tag::SEQUENCE)?;
        let validity = signed.take(tag::SEQUENCE)?;
        let subject = signed.take(tag::SEQUENCE)?;
        signed.take(tag::SEQUENCE)?;
        while signed.0.first().is_some_and(|first| *first != tag::EXTENSIONS) {
            signed.any()?;
        }
        let mut extensions: &[u8] = &[];
        if let Some(explicit) = signed.take_if(tag::EXTENSIONS) {
            extensions = Reader(explicit).only(tag::SEQUENCE)?;
        }
        signed.0.is_empty().then_some(Fields { issuer, validity, subject, extensions })
    }
}

struct Fields<'a> {
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    extensions: &'a [u8],
}

/// The text of a DER `UTF8String` that is all of `value`; `None` for every other type and for bytes that are not UTF-8.
#[must_use]
pub fn utf8_string(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(Reader(value).only(tag::UTF8_STRING)?).ok()
}

/// RFC 5280 4.2: identifier and value.
fn extension(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Reader(content);
    let identifier = parts.take(tag::OBJECT_IDENTIFIER)?;
    parts.take_if(tag::BOOLEAN);
    Some((identifier, parts.only(tag::OCTET_STRING)?))
}

/// RFC 5280 4.1.2.5: `YYMMDDHHMMSSZ` (years 1950 to 2049) or `YYYYMMDDHHMMSSZ`.
fn instant((kind, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let (year, rest) = match kind {
        tag::UTC_TIME if digits.len() == 12 => {
            let short = number(&digits[..2]);
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        tag::GENERALIZED_TIME if digits.len() == 14 => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |index: usize| number(&rest[index * 2..index * 2 + 2]);
    Some(days_to(year, part(0), part(1)) * 86_400 + part(2) * 3600 + part(3) * 60 + part(4))
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that the leap day comes last.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// RFC 5280 4.1.2.4: a sequence of sets of attributes.
fn name(content: &[u8]) -> Option<String> {
    let mut sets = Reader(content);
    let mut shown = Vec::new();
    while !sets.0.is_empty() {
        let mut set = Reader(sets.take(tag::SET)?);
        while !set.0.is_empty() {
            let mut attribute = Reader(set.take(tag::SEQUENCE)?);
            let identifier = attribute.take(tag::OBJECT_IDENTIFIER)?;
            let (kind, value) = attribute.any()?;
            let known = identifier.strip_prefix(&[0x55, 0x04]).and_then(|last| last.first());
            let short = ATTRIBUTES.iter().find(|(number, _)| Some(number) == known).map_or("?", |(_, short)| short);
            let text = matches!(kind, tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING);
            let value = if text { String::from_utf8_lossy(value) } else { "?".into() };
            shown.push(format!("{short}={value}"));
        }
    }
    Some(shown.join(", "))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: tag and content.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            // X.690 8.1.3.5: the long form; 10.1: never longer than needed. Four octets are more than enough here.
            let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|_| first <= 0x84)?;
            length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            if length < 0x80 || octets.first() == Some(&0) {
                return None;
            }
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The content of the next element if it has this tag; else nothing is read.
    fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.take(tag) } else { None }
    }

    /// The content of the one element that is left.
    fn only(mut self, tag: u8) -> Option<&'a [u8]> {
        self.take(tag).filter(|_| self.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..0x80 => out.push(short as u8),
            middle @ 0x80..0x100 => out.extend([0x81, middle as u8]),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend_from_slice(content);
        out
    }

    fn named(text: &str) -> Vec<u8> {
        let attribute = [der(tag::OBJECT_IDENTIFIER, &[0x55, 4, 3]), der(tag::UTF8_STRING, text.as_bytes())].concat();
        der(tag::SEQUENCE, &der(tag::SET, &der(tag::SEQUENCE, &attribute)))
    }

    fn with_extensions(extensions: &[(&[u8], &[u8])]) -> Certificate {
        let empty = der(tag::SEQUENCE, &[]);
        let one = |(identifier, value): &(&[u8], &[u8])| {
            let content = [der(tag::OBJECT_IDENTIFIER, identifier), der(tag::OCTET_STRING, value)].concat();
            der(tag::SEQUENCE, &content)
        };
        let all: Vec<u8> = extensions.iter().flat_map(one).collect();
        let dates = [der(tag::UTC_TIME, b"000229120001Z"), der(tag::GENERALIZED_TIME, b"20500101000000Z")].concat();
        let parts = [
            der(tag::VERSION, &der(tag::INTEGER, &[2])),
            der(tag::INTEGER, &[9]),
            empty.clone(),
            named("the works"),
            der(tag::SEQUENCE, &dates),
            named("meter 7"),
            empty.clone(),
            der(tag::EXTENSIONS, &der(tag::SEQUENCE, &all)),
        ];
        let signed = der(tag::SEQUENCE, &parts.concat());
        Certificate::new(&der(tag::SEQUENCE, &[signed, empty].concat()))
    }

    #[test]
    fn names_and_extensions_are_read() {
        let certificate = with_extensions(&[(&[0x2a, 3], b"one"), (&[0x2a, 4], b"other"), (&[0x2a, 3], b"two")]);
        assert_eq!(certificate.subject().as_deref(), Some("CN=meter 7"));
        assert_eq!(certificate.issuer().as_deref(), Some("CN=the works"));
        assert_eq!(certificate.validity(), Some((951_825_601, 2_524_608_000)));
        assert_eq!(certificate.extensions(&[0x2a, 3]), [&b"one"[..], &b"two"[..]]);
        assert!(certificate.extensions(&[0x2a]).is_empty());
    }

    #[test]
    fn only_a_utf8_string_that_fills_its_place_is_one() {
        assert_eq!(utf8_string(&der(tag::UTF8_STRING, "Überwacher".as_bytes())), Some("Überwacher"));
        for wrong in [
            der(tag::PRINTABLE_STRING, b"Operator"),
            der(tag::IA5_STRING, b"Operator"),
            der(tag::UTF8_STRING, &[0xff]),
            [der(tag::UTF8_STRING, b"Operator"), vec![0]].concat(),
            // The long form of a length that has a short one.
            vec![tag::UTF8_STRING, 0x81, 1, b'x'],
            // The indefinite form, which is BER.
            vec![tag::UTF8_STRING, 0x80, b'x', 0, 0],
        ] {
            assert_eq!(utf8_string(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn torn_and_changed_bytes_are_no_reason_to_panic() {
        let whole = with_extensions(&[(&[0x2a, 3], &[7; 200])]);
        for end in 0..whole.der().len() {
            assert_eq!(Certificate::new(&whole.der()[..end]).subject(), None, "{end} bytes");
        }
        for at in 0..whole.der().len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.der().to_vec();
                changed[at] = value;
                let changed = Certificate::new(&changed);
                let _ = (changed.subject(), changed.issuer(), changed.validity(), changed.extensions(&[0x2a, 3]));
            }
        }
    }
}
