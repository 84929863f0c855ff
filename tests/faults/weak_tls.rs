//! Servers with a TLS version or certificate that the operator rejects: the log says in one plain line what it needs.
//! OpenSSL makes their certificates and serves them, because rustls would not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;

use crate::support::Operator;
use crate::support::port::free_port;
use crate::support::wait::within;

const NEEDS: &str = "this operator needs TLS 1.3, and for the server and each CA above it a key of RSA (2048 to 8192 \
                     bits; with SHA-256, SHA-384 or SHA-512), ECDSA (P-256 or P-384; with SHA-256 or SHA-384) or \
                     Ed25519";

const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];

/// An API server's certificate, and the key and signature that made it.
struct Certificate<'a> {
    name: &'a str,
    ca_key: &'a [&'a str],
    key: &'a [&'a str],
    hash: &'a str,
    /// Options of s_server.
    options: &'a [&'a str],
}

const fn of<'a>(name: &'a str, ca_key: &'a [&'a str], key: &'a [&'a str], hash: &'a str) -> Certificate<'a> {
    Certificate { name, ca_key, key, hash, options: &[] }
}

struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    fn start(certificate: &Certificate, port: u16) -> Server {
        let folder = std::env::temp_dir().join(format!("inference-operator-tls-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\n").expect("written");
        let ca = ["-nodes", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"];
        openssl(&folder, &[&["req", "-x509", "-newkey"], certificate.ca_key, &ca].concat());
        let request = ["-nodes", "-subj", "/CN=server", "-keyout", "server.key", "-out", "request"];
        openssl(&folder, &[&["req", "-new", "-newkey"], certificate.key, &request].concat());
        let signed = ["x509", "-req", "-in", "request", "-extfile", "extensions", "-days", "2", "-out", "server.crt"];
        let by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        let hash = if certificate.hash.is_empty() { vec![] } else { vec![certificate.hash] };
        openssl(&folder, &[&signed[..], &by, &hash].concat());
        // Level 0: by default OpenSSL itself rejects the weakest ones.
        let serve = ["s_server", "-www", "-cert", "server.crt", "-key", "server.key", "-cipher", "ALL:@SECLEVEL=0"];
        let process = Command::new("openssl")
            .args(serve)
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .args(certificate.options)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        Server { process, folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The log of an operator that has connected to this server, once it says what it waits for.
async fn log_of(certificate: &Certificate<'_>) -> String {
    let free = free_port();
    let server = Server::start(certificate, free);
    let ca = fs::read_to_string(server.folder.join("ca.crt")).expect("a CA");
    let operator = Operator::spawn_at(certificate.name, "secret", &free.to_string(), &ca, &[]);
    within(Duration::from_secs(30), &format!("{} is met", certificate.name), || async {
        let log = operator.log();
        // The first attempt may come before the server listens.
        if log.contains("JSON") || log.contains("client error (Connect): the server") { Ok(log) } else { Err(log) }
    })
    .await
}

#[tokio::test]
async fn what_a_server_lacks_is_said_in_one_line_of_words() {
    let no_tls13 = Certificate { options: &["-tls1_2"], ..of("tls12", P256, P256, "-sha256") };
    let signed = "the server's certificate is signed with a key or hash that this operator does not support";
    let other = "the server's key or its CA's is too small, or a signature does not match ca.crt";
    let cases = [
        (no_tls13, "the server does not speak TLS 1.3"),
        (
            of("p521-server", P256, P521, "-sha256"),
            "the server has no key, key exchange or cipher that this operator supports",
        ),
        (of("p521-ca", P521, P256, "-sha512"), signed),
        (of("p521-ca-sha256", P521, P256, "-sha256"), signed),
        (of("p256-sha512", P256, P256, "-sha512"), signed),
        (of("sha1", P256, P256, "-sha1"), signed),
        (of("rsa1024-server", P256, &["rsa:1024"], "-sha256"), other),
        (of("rsa1024-ca", &["rsa:1024"], P256, "-sha256"), other),
    ];
    join_all(cases.iter().map(|(certificate, lack)| async move {
        let log = log_of(certificate).await;
        let expected = format!("waiting for the API server: client error (Connect): {lack}: {NEEDS} resource=");
        assert!(log.contains(&expected), "{}: {log}", certificate.name);
        assert!(!log.contains("AlgorithmIdentifier"), "{}: {log}", certificate.name);
    }))
    .await;
}

/// The requirement in the message above is really accepted.
#[tokio::test]
async fn a_server_with_what_is_needed_is_understood() {
    let cases = [
        of("p256", P256, P256, "-sha256"),
        of("p384", P384, P384, "-sha384"),
        of("p384-sha256", P384, P256, "-sha256"),
        of("rsa2048", &["rsa:2048"], &["rsa:2048"], "-sha512"),
        of("ed25519", &["ed25519"], &["ed25519"], ""),
    ];
    join_all(cases.iter().map(|certificate| async move {
        let log = log_of(certificate).await;
        assert!(log.contains("not the expected JSON"), "{}: {log}", certificate.name);
    }))
    .await;
}
