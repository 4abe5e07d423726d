//! Why a connection was refused, in words: by whom, with which alert, and what was presented.

use fieldrig_proto::certificate::Certificate;
use rustls::{AlertDescription, CertificateError, Error};

/// Why a layer refused a connection, or had it refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) reason: String,
    /// We do not believe the certificate that the other side presented.
    pub(crate) untrusted: bool,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), untrusted: false }
    }

    /// What rustls says; `seen` is what the other side presented.
    pub(super) fn of(error: &Error, seen: Option<&Certificate>) -> Refusal {
        match error {
            Error::AlertReceived(alert) => {
                Refusal::new(format!("the other side refused us: {}{}", alert_text(*alert), meaning(*alert)))
            }
            Error::InvalidCertificate(error) => {
                let alert = alert_text(AlertDescription::from(error.clone()));
                let reason = format!("we refused its certificate{}: {}; {alert} sent", presented(seen), wrong(error));
                Refusal { reason, untrusted: true }
            }
            Error::NoCertificatesPresented => {
                let alert = alert_text(AlertDescription::CertificateRequired);
                Refusal::new(format!("we refused it: it presented no certificate; {alert} sent"))
            }
            Error::PeerIncompatible(what) => Refusal::new(format!("we refused it, nothing in common: {what:?}")),
            Error::PeerMisbehaved(what) => Refusal::new(format!("we refused it, it breaks the protocol: {what:?}")),
            Error::DecryptError => {
                Refusal::new("we refused it: a record cannot be decrypted; alert 20 bad_record_mac sent")
            }
            Error::InvalidMessage(what) => Refusal::new(format!("we refused it, its bytes are no TLS: {what:?}")),
            other => Refusal::new(format!("we refused it: {other}")),
        }
    }
}

fn presented(seen: Option<&Certificate>) -> String {
    let Some(certificate) = seen else { return String::new() };
    match (certificate.subject(), certificate.issuer()) {
        (Some(subject), Some(issuer)) => format!(" ({subject}; signed by {issuer})"),
        _ => " (which is no X.509)".to_owned(),
    }
}

fn wrong(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "nobody of our `ca` signed it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::Revoked => "it is revoked".to_owned(),
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        other => other.to_string(),
    }
}

/// What an alert means for who gets it.
fn meaning(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => " (it wants a certificate of ours)",
        AlertDescription::UnknownCA => " (it does not know who signed our certificate)",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            " (it does not like our certificate)"
        }
        AlertDescription::CertificateExpired => " (our certificate is not valid now, by its clock)",
        AlertDescription::CertificateRevoked => " (our certificate is revoked)",
        AlertDescription::HandshakeFailure => " (nothing in common, or it wants a certificate of ours)",
        AlertDescription::ProtocolVersion => " (no version of TLS in common)",
        _ => "",
    }
}

/// `alert 48 unknown_ca`, the names as in RFC 8446 6.2.
fn alert_text(alert: AlertDescription) -> String {
    let mut name = String::new();
    // The names of rustls are those of the standard in another case; runs of capitals are one word.
    let mut after_capital = true;
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !after_capital {
            name.push('_');
        }
        after_capital = letter.is_ascii_uppercase();
        name.push(letter.to_ascii_lowercase());
    }
    format!("alert {} {name}", u8::from(alert))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        assert_eq!(alert_text(AlertDescription::UnknownCA), "alert 48 unknown_ca");
        assert_eq!(alert_text(AlertDescription::CertificateRequired), "alert 116 certificate_required");
        assert_eq!(alert_text(AlertDescription::BadRecordMac), "alert 20 bad_record_mac");
    }

    #[test]
    fn who_refused_whom_is_said() {
        let refusal = Refusal::of(&Error::AlertReceived(AlertDescription::UnknownCA), None);
        assert_eq!(
            refusal.reason,
            "the other side refused us: alert 48 unknown_ca (it does not know who signed our certificate)"
        );
        assert!(!refusal.untrusted);
        let refusal = Refusal::of(&Error::InvalidCertificate(CertificateError::Expired), None);
        assert_eq!(refusal.reason, "we refused its certificate: it has expired; alert 45 certificate_expired sent");
        assert!(refusal.untrusted);
    }
}
