//! The tests' own certificate authority. Used by everything that acts as the API server; must never sign with the
//! cluster's own key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Authority {
    folder: PathBuf,
    /// The certificate of the authority.
    pub pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("inference-operator-ca-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let subject = format!("/CN=authority {number}");
        let days = ["-days", "2", "-keyout", "ca.key", "-out", "ca.crt", "-subj", &subject];
        openssl(&folder, &[&["req", "-x509"][..], &KEY, &days].concat());
        let pem = fs::read_to_string(folder.join("ca.crt")).expect("a certificate");
        Authority { folder, pem }
    }

    /// The TLS configuration of a server at this machine's loopback address.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.sign("IP:127.0.0.1", "2")
    }

    /// `name`: a subjectAltName in OpenSSL's syntax; `days` "0": it expires at once.
    pub fn sign(&self, name: &str, days: &str) -> Arc<ServerConfig> {
        fs::write(self.folder.join("extensions"), format!("subjectAltName={name}\n")).expect("written");
        let request = ["-keyout", "server.key", "-out", "request", "-subj", "/CN=server"];
        openssl(&self.folder, &[&["req", "-new"][..], &KEY, &request].concat());
        let signed = ["x509", "-req", "-in", "request", "-extfile", "extensions", "-days", days, "-out", "server.crt"];
        let by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(&self.folder, &[&signed[..], &by].concat());
        let certificate = CertificateDer::from_pem_file(self.folder.join("server.crt")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("a certificate with its key"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
