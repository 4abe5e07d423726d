//! What a TLS layer is to be, as it stands in a URL.

use std::path::PathBuf;

/// A version of TLS. Older ones are not spoken: their MACs and key derivations are broken (RFC 8996).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    V12,
    /// TLS 1.3, RFC 8446.
    V13,
}

/// Settings of a TLS layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// PEM file with the certificates of those whose signature is trusted. Who listens asks for a certificate if, and
    /// only if, this is given; who connects must give it.
    pub ca: Option<PathBuf>,
    /// PEM file with our certificate and what stands between it and the CA.
    pub cert: Option<PathBuf>,
    /// PEM file with our private key.
    pub key: Option<PathBuf>,
    /// PEM file with lists of revoked certificates of the other side.
    pub crl: Option<PathBuf>,
    /// The name the certificate of the server must be for; `*` takes any; without it the host of the address.
    pub name: Option<String>,
    /// The oldest version.
    pub min: TlsVersion,
    /// The newest version.
    pub max: TlsVersion,
    /// Cipher suites by their IANA names, in order of preference; empty for all.
    pub suites: Vec<String>,
    /// Present our certificate although it is not valid now.
    pub expired: bool,
    /// Offer and accept the resumption of sessions.
    pub resume: bool,
    /// Capture the cipher text, too, with the keys to read it.
    pub capture: bool,
}

/// The keys of a URL.
pub(crate) const KEYS: [&str; 11] =
    ["ca", "cert", "key", "crl", "name", "min", "max", "suites", "expired", "resume", "capture"];

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            ca: None,
            cert: None,
            key: None,
            crl: None,
            name: None,
            min: TlsVersion::V12,
            max: TlsVersion::V13,
            suites: Vec::new(),
            expired: false,
            resume: true,
            capture: false,
        }
    }
}

impl TlsSettings {
    /// Reads the values of [`KEYS`].
    ///
    /// # Errors
    /// What is wrong with one of them, or with all of them together.
    pub(crate) fn read<'a>(value: impl Fn(&str) -> Option<&'a str>, listens: bool) -> Result<TlsSettings, String> {
        let path = |key: &str| value(key).map(PathBuf::from);
        let version = |key: &str, default| match value(key) {
            None => Ok(default),
            Some("1.2") => Ok(TlsVersion::V12),
            Some("1.3") => Ok(TlsVersion::V13),
            Some(other) => Err(format!("`{key}={other}` is not 1.2 or 1.3, the versions of TLS there are here")),
        };
        let switch = |key: &str, on: &str, off: &str, default| match value(key) {
            None => Ok(default),
            Some(text) if text == on => Ok(true),
            Some(text) if text == off => Ok(false),
            Some(other) => Err(format!("`{key}={other}` is not {on} or {off}")),
        };
        let suites = value("suites").unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let settings = TlsSettings {
            ca: path("ca"),
            cert: path("cert"),
            key: path("key"),
            crl: path("crl"),
            name: value("name").map(str::to_owned),
            min: version("min", TlsVersion::V12)?,
            max: version("max", TlsVersion::V13)?,
            suites: suites.map(|name| name.trim().to_owned()).collect(),
            expired: switch("expired", "allow", "refuse", false)?,
            resume: switch("resume", "on", "off", true)?,
            capture: switch("capture", "cipher", "plain", false)?,
        };
        settings.check(listens).map(|()| settings)
    }

    fn check(&self, listens: bool) -> Result<(), String> {
        let problem = match (&self.cert, &self.key) {
            (Some(_), None) => "there is `cert` without its private `key`",
            (None, Some(_)) => "there is `key` without its `cert`",
            (None, None) if listens => "who listens needs a certificate: give `cert` and `key` (PEM files)",
            _ if !listens && self.ca.is_none() => {
                "nothing says whom to trust: give `ca`, a PEM file with the certificate of who signs those of devices"
            }
            _ if listens && self.name.is_some() => "`name` is for who connects",
            _ if self.crl.is_some() && self.ca.is_none() => "`crl` without `ca` has nothing to look at",
            _ if self.min > self.max => "`min` is newer than `max`",
            _ => return Ok(()),
        };
        Err(problem.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, listens: bool) -> Result<TlsSettings, String> {
        let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        TlsSettings::read(|key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value), listens)
    }

    #[test]
    fn settings_are_read() {
        let settings = read("ca=ca.pem&cert=c.pem&key=k.pem&name=meter&min=1.3&suites=A,B&capture=cipher", false);
        let expected = TlsSettings {
            ca: Some("ca.pem".into()),
            cert: Some("c.pem".into()),
            key: Some("k.pem".into()),
            name: Some("meter".into()),
            min: TlsVersion::V13,
            suites: vec!["A".into(), "B".into()],
            capture: true,
            ..TlsSettings::default()
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for (query, listens, problem) in [
            ("", false, "nothing says whom to trust"),
            ("", true, "who listens needs a certificate"),
            ("cert=c.pem", true, "there is `cert` without its private `key`"),
            ("ca=a&key=k.pem", false, "there is `key` without its `cert`"),
            ("cert=c&key=k&name=x", true, "`name` is for who connects"),
            ("cert=c&key=k&crl=x", true, "`crl` without `ca`"),
            ("ca=a&min=1.3&max=1.2", false, "`min` is newer than `max`"),
            ("ca=a&min=1.1", false, "`min=1.1` is not 1.2 or 1.3"),
            ("ca=a&expired=yes", false, "`expired=yes` is not allow or refuse"),
        ] {
            let found = read(query, listens).expect_err(query);
            assert!(found.starts_with(problem), "{query}: {found}");
        }
    }
}
