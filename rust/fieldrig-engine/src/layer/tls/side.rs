//! One side of TLS, made once for a port and shared by its connections: files read and checked, suites chosen.
//!
//! Rules of this file:
//! - Files are read when a port is opened. What is wrong with one is an error that names it, what is there and a remedy;
//!   a certificate of ours that is not valid now is refused here, before any device could be blamed for refusing it.
//! - Whom the other side claims to be is kept even if it is not believed, so that a refusal can say what was presented.

use super::settings::{TlsSettings, TlsVersion};
use fieldrig_proto::certificate::Certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys, KeyLog,
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How many sessions one side remembers.
const SESSIONS: usize = 256;

/// What is wrong with settings or files, and a known remedy.
pub(crate) type Problem = (String, Option<String>);

/// What is wrong with settings or files.
fn problem<T>(what: String, hint: &str) -> Result<T, Problem> {
    Err((what, Some(hint.to_owned())))
}

/// What the other side presented last, believed or not.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Option<Certificate>>);

impl Seen {
    fn note(&self, certificate: &CertificateDer<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Certificate::new(certificate));
    }

    pub(crate) fn take(&self) -> Option<Certificate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who connects.
#[derive(Debug)]
pub(crate) struct ClientSide {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) sessions: Option<Arc<dyn ClientSessionStore>>,
    name: Option<ServerName<'static>>,
}

/// Who listens.
#[derive(Debug)]
pub(crate) struct ServerSide {
    pub(crate) config: ServerConfig,
    pub(crate) seen: Arc<Seen>,
    pub(crate) sessions: Option<Arc<ServerSessionMemoryCache>>,
    /// Cipher text is captured, too.
    pub(crate) capture: bool,
}

impl ClientSide {
    /// Reads the files of `settings`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(settings: &TlsSettings, keys: Option<Arc<dyn KeyLog>>) -> Result<ClientSide, Problem> {
        let provider = provider(settings)?;
        let seen = Arc::new(Seen::default());
        let roots = roots(settings.ca.as_deref().unwrap_or(Path::new("")))?;
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = builder.with_crls(revoked(settings)?).enforce_revocation_expiration();
        let inner = builder.build().map_err(|error| (error.to_string(), None))?;
        let any_name = settings.name.as_deref() == Some("*");
        let verifier = Arc::new(OfServer { inner, seen: Arc::clone(&seen), any_name });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&versions(settings)).map_err(nothing_in_common)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match identity(settings, &provider)? {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        let sessions: Option<Arc<dyn ClientSessionStore>> =
            settings.resume.then(|| Arc::new(ClientSessionMemoryCache::new(SESSIONS)) as _);
        config.resumption = sessions.clone().map_or_else(Resumption::disabled, Resumption::store);
        if let Some(keys) = keys {
            config.key_log = keys;
        }
        let name = settings.name.as_deref().filter(|name| *name != "*").map(server_name).transpose()?;
        Ok(ClientSide { config: Arc::new(config), seen, sessions, name })
    }

    /// The name the server must have: the one that was set, or the host of its address.
    ///
    /// # Errors
    /// The host is no name.
    pub(crate) fn name_for(&self, address: &str) -> Result<ServerName<'static>, Problem> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        server_name(host.trim_start_matches('[').trim_end_matches(']'))
    }
}

impl ServerSide {
    /// Reads the files of `settings`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(settings: &TlsSettings, keys: Option<Arc<dyn KeyLog>>) -> Result<ServerSide, Problem> {
        let provider = provider(settings)?;
        let seen = Arc::new(Seen::default());
        let verifier: Arc<dyn ClientCertVerifier> = match &settings.ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(ca) => {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), Arc::clone(&provider));
                let builder = builder.with_crls(revoked(settings)?).enforce_revocation_expiration();
                let inner = builder.build().map_err(|error| (error.to_string(), None))?;
                Arc::new(OfClient { inner, seen: Arc::clone(&seen) })
            }
        };
        let Some(own) = identity(settings, &provider)? else {
            return problem("who listens needs a certificate".to_owned(), "give `cert` and `key`");
        };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&versions(settings)).map_err(nothing_in_common)?;
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        let sessions = settings.resume.then(|| ServerSessionMemoryCache::new(SESSIONS));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(keys) = keys {
            config.key_log = keys;
        }
        Ok(ServerSide { config, seen, sessions, capture: settings.capture })
    }
}

fn provider(settings: &TlsSettings) -> Result<Arc<CryptoProvider>, Problem> {
    let mut provider = ring::default_provider();
    if settings.suites.is_empty() {
        return Ok(Arc::new(provider));
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    // rustls marks the suites of TLS 1.3 by a number in their names, IANA does not.
    let named = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    for wanted in &settings.suites {
        let Some(found) = all.iter().find(|suite| named(suite) == *wanted) else {
            let names: Vec<String> = all.iter().map(named).collect();
            return problem(format!("there is no cipher suite `{wanted}`"), &format!("there are {}", names.join(", ")));
        };
        provider.cipher_suites.push(*found);
    }
    Ok(Arc::new(provider))
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all: [(TlsVersion, &'static SupportedProtocolVersion); 2] =
        [(TlsVersion::V13, &TLS13), (TlsVersion::V12, &TLS12)];
    let wanted = all.into_iter().filter(|(version, _)| (settings.min..=settings.max).contains(version));
    wanted.map(|(_, version)| version).collect()
}

fn nothing_in_common(error: Error) -> Problem {
    (format!("no cipher suite is of a version that is allowed: {error}"), Some("see `suites`, `min`, `max`".to_owned()))
}

fn server_name(text: &str) -> Result<ServerName<'static>, Problem> {
    let hint = "write name=NAME as it stands in the certificate of the server, or name=* to take any";
    ServerName::try_from(text.to_owned()).or_else(|_| problem(format!("`{text}` is no name of a server"), hint))
}

fn roots(path: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "ca")? {
        roots.add(certificate).map_err(|error| (format!("`{}` (ca): {error}", path.display()), None))?;
    }
    Ok(roots)
}

fn revoked(settings: &TlsSettings) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let Some(path) = &settings.crl else { return Ok(Vec::new()) };
    let lists = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
    let lists: Vec<_> = lists.map_err(|error| unreadable(path, "crl", &error))?;
    if lists.is_empty() {
        return problem(format!("`{}` (crl) holds no revocation list", path.display()), "it must be PEM");
    }
    Ok(lists)
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unreadable(path, key, &error))?;
    if found.is_empty() {
        let hint = "it must be PEM: -----BEGIN CERTIFICATE-----";
        return problem(format!("`{}` ({key}) holds no certificate", path.display()), hint);
    }
    Ok(found)
}

fn unreadable(path: &Path, key: &str, error: &rustls::pki_types::pem::Error) -> Problem {
    use rustls::pki_types::pem::Error as Pem;
    let what = match error {
        Pem::Io(error) => format!("`{}` ({key}) cannot be read: {error}", path.display()),
        Pem::NoItemsFound => format!("`{}` ({key}) holds nothing of that kind in PEM", path.display()),
        other => format!("`{}` ({key}) is no PEM file: {other}", path.display()),
    };
    (what, Some(format!("is the path right? {key}=FILE counts from the working directory")))
}

/// Our certificate and key, if there are any, checked.
fn identity(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Option<CertifiedKey>, Problem> {
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else { return Ok(None) };
    let chain = certificates(cert, "cert")?;
    let leaf = Certificate::new(&chain[0]);
    let who = leaf.subject().unwrap_or_else(|| "no X.509 certificate".to_owned());
    if !settings.expired {
        check_dates(&leaf, cert, &who)?;
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, "key", &error))?;
    match CertifiedKey::from_der(chain, private, provider) {
        Ok(identity) => Ok(Some(identity)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => problem(
            format!(
                "the key in `{}` does not belong to the certificate in `{}` ({who})",
                key.display(),
                cert.display()
            ),
            "`openssl pkey -in KEY -pubout` and `openssl x509 -in CERT -noout -pubkey` must print the same",
        ),
        Err(error) => Err((format!("`{}` and `{}`: {error}", cert.display(), key.display()), None)),
    }
}

fn check_dates(leaf: &Certificate, path: &Path, who: &str) -> Result<(), Problem> {
    let Some((from, until)) = leaf.validity() else { return Ok(()) };
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let hint = "make a new one, or write expired=allow to present it on purpose";
    let path = path.display();
    if now > until {
        return problem(format!("the certificate in `{path}` ({who}) expired {}", days_ago(now - until)), hint);
    }
    if now < from {
        let what = format!("the certificate in `{path}` ({who}) is not valid yet: not before {}", in_days(from - now));
        return problem(what, hint);
    }
    Ok(())
}

fn days_ago(seconds: i64) -> String {
    format!("{} ago", span(seconds))
}

fn in_days(seconds: i64) -> String {
    format!("{} from now", span(seconds))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Judges servers, and remembers what they presented.
#[derive(Debug)]
struct OfServer {
    inner: Arc<WebPkiServerVerifier>,
    seen: Arc<Seen>,
    any_name: bool,
}

impl ServerCertVerifier for OfServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.note(end_entity);
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is judged last: everything else was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

/// Judges clients, and remembers what they presented.
#[derive(Debug)]
struct OfClient {
    inner: Arc<dyn ClientCertVerifier>,
    seen: Arc<Seen>,
}

impl ClientCertVerifier for OfClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.seen.note(end_entity);
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
