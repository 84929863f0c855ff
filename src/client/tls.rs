//! TLS as this client speaks it: version 1.3, by one CA, without a key of its own. Called by client.rs for each CA that
//! it reads; must never trust anything else.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::{CryptoProvider, KeyProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use tower::BoxError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that vanished without a word is noticed after about a minute, without a wake-up of ours.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// HTTPS by the cluster's own CA and no other; TLS 1.3, which every API server in support speaks. `ca`: PEM.
pub fn https(ca: &[u8]) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("holds no certificate (expected: the cluster's CA as PEM)".into());
    }
    let provider = CryptoProvider { key_provider: &NoKeys, ..ring::default_provider() };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Connections live for minutes and there are few: a cache of sessions would cost more than it saves.
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

/// This client shows a token and no certificate of its own: what signs with RSA and elliptic curves is not linked,
/// which is 30 kB.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("this client has no key".into()))
    }
}
