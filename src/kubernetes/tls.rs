//! TLS for this client: version 1.3, one CA, no client certificate. Called by client.rs for each CA that it reads; must
//! never trust anything else.

mod provider;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::KeyProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{AlertDescription, CertificateError, PeerIncompatible, RootCertStore};
use tower::BoxError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that vanished silently is detected after about a minute, without a timer of our own.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What ring can verify, for a person whose API server does not meet it.
const NEEDS: &str = "this operator needs TLS 1.3, and for the server and each CA above it a key of RSA (2048 to 8192 \
                     bits; with SHA-256, SHA-384 or SHA-512), ECDSA (P-256 or P-384; with SHA-256 or SHA-384) or Ed25519";

/// HTTPS that trusts only the cluster's own CA; TLS 1.3, which every supported API server speaks. `ca`: PEM.
pub fn https(ca: &[u8]) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let roots = trusted(ca)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider::provider(&NoKeys)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // There are few connections and they live for minutes: a session cache would cost more than it saves.
    tls.resumption = rustls::client::Resumption::disabled();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(Duration::from_secs(10)));
    tcp.set_keepalive_retries(Some(3));
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(tcp))
}

/// Explains connection errors for which rustls only dumps lists of object identifiers.
pub fn in_words(error: BoxError) -> BoxError {
    match tls_error(&*error).and_then(lack) {
        Some(lack) => format!("{lack}: {NEEDS}").into(),
        None => error,
    }
}

/// The rustls error inside nested io::Errors.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(outer) => tls_error(outer.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// The requirement that a server does not meet, as far as an error reveals it.
#[allow(deprecated)] // rustls still has an error for it that has no details
fn lack(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible as Incompatible};
    match error {
        AlertReceived(AlertDescription::ProtocolVersion)
        | Incompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => Some("the server does not speak TLS 1.3"),
        AlertReceived(AlertDescription::HandshakeFailure) | Incompatible(_) => {
            Some("the server has no key, key exchange or cipher that this operator supports")
        }
        InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithm
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Some("the server's certificate is signed with a key or hash that this operator does not support"),
        // rustls reports an RSA key that is too small with the same error as a signature by another key.
        InvalidCertificate(CertificateError::BadSignature) => {
            Some("the server's key or its CA's is too small, or a signature does not match ca.crt")
        }
        _ => None,
    }
}

/// Skips certificates that cannot be read and trusts the others, as Kubernetes' own clients do.
fn trusted(ca: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let mut refused = None;
    for (place, certificate) in (1..).zip(CertificateDer::pem_slice_iter(ca)) {
        let certificate = certificate.map_err(|error| described(&error));
        let added = certificate.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        if let Err(problem) = added {
            refused.get_or_insert(format!("certificate {place} cannot be read: {problem}"));
        }
    }
    match refused {
        Some(problem) if roots.is_empty() => return Err(problem),
        Some(problem) => tracing::warn!("the cluster's CA: {problem}; the other certificates are trusted"),
        None if roots.is_empty() => return Err("contains no certificate (expected: the cluster's CA as PEM)".into()),
        None => {}
    }
    Ok(roots)
}

/// Rewords two of pem's errors, which print lines of the file as numbers.
fn described(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its END line is missing".into(),
        pem::Error::IllegalSectionStart { .. } => "its BEGIN line does not end with -----".into(),
        error => error.to_string(),
    }
}

/// This client authenticates with a token and has no certificate, so signing with RSA and elliptic curves is not
/// linked, which saves 30 kB.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("this client has no private key".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../../fuzz/corpus/credentials/ca");

    #[test]
    fn a_certificate_that_cannot_be_read_takes_nothing_from_the_others() {
        for broken in [&CERTIFICATE[..300], &CERTIFICATE.replace("MII", "MI*"), &CERTIFICATE.replace("MII", "III")] {
            let problem = trusted(broken.as_bytes()).expect_err("none is left");
            assert!(problem.starts_with("certificate 1 cannot be read: "), "{problem}");
            let roots = trusted(format!("{CERTIFICATE}{broken}").as_bytes()).expect("one is left");
            assert_eq!(roots.len(), 1, "{problem}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_ca_is_said_in_words() {
        let lines = CERTIFICATE.replace('\n', "-\n");
        for (ca, expected) in [
            ("gone", "contains no certificate (expected: the cluster's CA as PEM)"),
            (&CERTIFICATE[..300], "certificate 1 cannot be read: its END line is missing"),
            (&lines, "certificate 1 cannot be read: its BEGIN line does not end with -----"),
        ] {
            assert_eq!(trusted(ca.as_bytes()).expect_err("refused"), expected);
        }
    }
}
