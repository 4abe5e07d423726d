//! TLS on the links of a bench: whose certificates each side shows.
//!
//! ```toml
//! [link.secure]
//! protocol = "modbus-tls"
//! tls = { ca = "ca.pem", cert = "tester.pem", key = "tester.key" }                  # who connects: fieldrig, or a peer
//! emulated = { tls = { ca = "ca.pem", cert = "meter.pem", key = "meter.key" } }     # the emulated device
//! real = { port = "tls://10.0.0.5:802" }
//! ```
//! Rules of this file:
//! - The keys are those of a `tls://` URL ([`crate::TlsSettings`]); files stand beside the bench file.
//! - What can be known without opening anything is checked when the file is read: files that are not there, keys that do
//!   not go together, a protocol without TLS.

use super::keys;
use super::place::{BenchFileError, Outcome, Place};
use super::section::{Located, Section};
use crate::layer::tls::TlsSettings;
use fieldrig_proto::protocol::Protocol;
use std::path::PathBuf;

/// Keys that name files.
const FILES: [&str; 4] = ["ca", "cert", "key", "crl"];

/// A table `tls`.
#[derive(Clone, Debug)]
pub(super) struct TlsTable {
    place: Place,
    values: Vec<(&'static str, Located<String>)>,
}

/// The queries of the URLs by which a link is opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkTls {
    /// For who connects.
    pub client: Option<String>,
    /// For the emulated device, which listens.
    pub device: Option<String>,
}

/// Whether a protocol stands on TLS.
pub(super) fn has_tls(protocol: &Protocol) -> bool {
    protocol.schemes.contains(&"tls")
}

/// Reads the table under `tls`.
pub(super) fn read(outer: &mut Section<'_>, protocol: &Protocol) -> Outcome<Option<TlsTable>> {
    let Some(mut section) = outer.section("tls")? else { return Ok(None) };
    if !has_tls(protocol) {
        let message = format!("{} has no TLS, and {} says how it is secured", protocol.name, section.name);
        return Err(section.place.error(message).hint("write protocol = \"modbus-tls\", or leave `tls` out"));
    }
    let mut table = TlsTable { place: section.place.clone(), values: Vec::new() };
    for name in crate::layer::tls::KEYS {
        table.values.extend(section.text(name)?.map(|value| (name, value)));
    }
    section.finish(&keys::TLS)?;
    Ok(Some(table))
}

impl TlsTable {
    /// The query of a URL; `beside` finds files.
    pub(super) fn query(&self, listens: bool, beside: &dyn Fn(&str) -> PathBuf) -> Outcome<String> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for (key, value) in &self.values {
            let text = if FILES.contains(key) { file(key, value, beside)? } else { value.value.clone() };
            pairs.push((key, text));
        }
        let find = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        TlsSettings::read(find, listens).map_err(|problem| self.place.error(problem))?;
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        Ok(pairs.join("&"))
    }
}

/// A value of a query (RFC 3986 2.1): what would end it, and what begins a code.
fn encoded(value: &str) -> String {
    value.replace('%', "%25").replace('&', "%26").replace(' ', "%20")
}

fn file(key: &str, value: &Located<String>, beside: &dyn Fn(&str) -> PathBuf) -> Outcome<String> {
    let path = beside(&value.value);
    let shown = path.display().to_string();
    if !path.is_file() {
        let message = format!("there is no file `{}` for `{key}`", value.value);
        return Err(value.place.error(message).hint("it is looked for beside the bench file"));
    }
    Ok(shown)
}

/// Nobody says which certificates are shown.
pub(super) fn missing(place: &Place, link: &str, device: bool) -> BenchFileError {
    let (who, hint) = match device {
        true => (
            "the emulated device",
            "write emulated = { tls = { ca = \"ca.pem\", cert = \"meter.pem\", key = \"meter.key\" } }",
        ),
        false => {
            ("the side that connects", "write tls = { ca = \"ca.pem\", cert = \"tester.pem\", key = \"tester.key\" }")
        }
    };
    place.error(format!("[link.{link}] does not say which certificate {who} shows, and TLS needs one")).hint(hint)
}
