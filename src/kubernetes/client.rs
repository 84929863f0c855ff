//! The kube::Client of an operator inside a cluster: one CA, a rotating token, timeouts, and none of the dependencies
//! that kube's own Config would link. Called by main; must never log a token.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use tower::{BoxError, Service};

use crate::kubernetes::tls;
use crate::kubernetes::token::Token;
use crate::settings::Settings;
use crate::telemetry::metrics::Metrics;

/// Enough, because data is read as soon as it arrives. Longer response heads are rejected, as
/// are those with more than 100 headers, which is hyper's own limit. An API server sends at most 4,096 characters of
/// warnings.
const READ_BUFFER: usize = 8192;

/// The same for the connections that last, each of which keeps its own: the warnings fit, and a kilobyte beside them. Of
/// another size, because musl's allocator keeps sizes apart: a buffer that lasts would otherwise keep a group of those of
/// a burst (measured: 100 kB after 5,000 InferenceServices).
const WATCH_BUFFER: usize = 5104;

/// Idle connections, other than those of the watches, are closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no client could be built: one line for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(String);

/// A client for the cluster that this process runs in, or for the one that the kubeconfig names.
#[cfg_attr(not(feature = "kubeconfig"), allow(clippy::unused_async))] // one signature for both builds
pub async fn connect(settings: &Settings, metrics: Arc<Metrics>) -> Result<kube::Client, ClientError> {
    #[cfg(feature = "kubeconfig")]
    if settings.kubeconfig.is_some() || settings.context.is_some() || !settings.service_account.exists() {
        return from_kubeconfig(settings).await;
    }
    in_cluster(settings, metrics)
}

#[cfg(feature = "kubeconfig")]
async fn from_kubeconfig(settings: &Settings) -> Result<kube::Client, ClientError> {
    use kube::config::{KubeConfigOptions, Kubeconfig};
    let refused = |error: &dyn std::fmt::Display| ClientError(format!("kubeconfig: {error}"));
    let kubeconfig = match &settings.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.map_err(|error| refused(&error))?, &options).await;
    kube::Client::try_from(config.map_err(|error| refused(&error))?).map_err(|error| refused(&error))
}

/// Reads the ServiceAccount's folder. Kubernetes sets the API server's address in the environment.
fn in_cluster(settings: &Settings, metrics: Arc<Metrics>) -> Result<kube::Client, ClientError> {
    let folder = &settings.service_account;
    let authority = api_server()?;
    let ca = Arc::new(Ca::new(folder.join("ca.crt")));
    ca.connector()?;
    let token = Token::new(folder.join("token"));
    token.header().map_err(|error| ClientError(error.to_string()))?;
    let connect = tower::service_fn(move |address: Uri| {
        let connector = ca.connector();
        Box::pin(async move { connector?.call(address).await.map_err(tls::in_words) })
    });
    let server = Arc::new(ApiServer::new(authority, token, connect, metrics));
    let service = tower::service_fn(move |request| {
        let server = server.clone();
        async move { server.send(request).await }
    });
    Ok(kube::Client::new(service, "default"))
}

/// Not kube's own Body: hyper would have to print its error, which links a YAML parser.
type Http<C> = hyper_util::client::legacy::Client<C, Full<Bytes>>;

fn http<C: Connect + Clone>(connect: C, read_buffer: usize) -> Http<C> {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_read_buf_exact_size(read_buffer)
        .build(connect)
}

fn api_server() -> Result<Authority, ClientError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let missing = |name: &str| {
        ClientError(format!(
            "{name} is not set: not in a pod? (outside a cluster, use a build with the feature kubeconfig)"
        ))
    };
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or_else(|| missing("KUBERNETES_SERVICE_HOST"))?;
    let port = variable("KUBERNETES_SERVICE_PORT").ok_or_else(|| missing("KUBERNETES_SERVICE_PORT"))?;
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host,
    };
    format!("{host}:{port}").parse().map_err(|_| {
        ClientError(format!(
            "KUBERNETES_SERVICE_HOST={host} and KUBERNETES_SERVICE_PORT={port} are not a valid address"
        ))
    })
}

/// The cluster's CA. Its file is read for each new connection, of which there are few, so that a replaced CA is used,
/// and a removed one no longer trusted, without a restart.
struct Ca {
    file: PathBuf,
    /// The last contents of the file, and the connector built from them.
    read: Mutex<Option<(Vec<u8>, HttpsConnector<HttpConnector>)>>,
}

impl Ca {
    fn new(file: PathBuf) -> Ca {
        Ca { file, read: Mutex::new(None) }
    }

    fn connector(&self) -> Result<HttpsConnector<HttpConnector>, ClientError> {
        let refused = |problem: &dyn std::fmt::Display| ClientError(format!("{}: {problem}", self.file.display()));
        let pem = std::fs::read(&self.file).map_err(|error| refused(&error))?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, connector)) = &*read
            && *known == pem
        {
            return Ok(connector.clone());
        }
        let connector = tls::https(&pem).map_err(|problem| refused(&problem))?;
        *read = Some((pem, connector.clone()));
        Ok(connector)
    }
}

struct ApiServer<C> {
    authority: Authority,
    token: Token,
    watches: Http<C>,
    requests: Http<C>,
    metrics: Arc<Metrics>,
}

impl<C: Connect + Clone + Send + Sync + 'static> ApiServer<C> {
    fn new(authority: Authority, token: Token, connect: C, metrics: Arc<Metrics>) -> Self {
        let (watches, requests) = (http(connect.clone(), WATCH_BUFFER), http(connect, READ_BUFFER));
        ApiServer { authority, token, watches, requests, metrics }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "the request has no body")?.to_bytes();
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        head.uri = Uri::from_parts(uri)?;
        head.headers.insert(header::AUTHORIZATION, self.token.header()?);
        head.headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let mut counted = Counted { metrics: &self.metrics, method: head.method.clone(), code: None };
        let is_watch = head.uri.query().is_some_and(|query| query.starts_with("watch=true"));
        let http = if is_watch { &self.watches } else { &self.requests };
        let answer = http.request(Request::from_parts(head, Full::new(body))).await.map_err(explained)?;
        counted.code = Some(answer.status());
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.token.forget();
        }
        Ok(answer)
    }
}

/// Explains hyper's error for an oversized response head, which names neither the limit nor the likely culprit.
fn explained(error: hyper_util::client::legacy::Error) -> BoxError {
    let mut cause = Some(&error as &dyn std::error::Error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return format!(
                "{inner}: more than 8 kB or 100 headers (of a watch: 5 kB); an admission webhook with many warnings, or a \
                 proxy?"
            )
            .into();
        }
        cause = inner.source();
    }
    error.into()
}

/// Counts a request when it ends, even if it was cancelled before the response.
struct Counted<'a> {
    metrics: &'a Metrics,
    method: Method,
    code: Option<StatusCode>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.requested(&self.method, self.code);
    }
}

const USER_AGENT: &str = concat!("inference-operator/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const CERTIFICATE: &str = include_str!("../../fuzz/corpus/credentials/ca");

    #[test]
    fn a_ca_that_is_replaced_is_read_for_the_next_connection() {
        let file = std::env::temp_dir().join(format!("inference-operator-ca-{}", std::process::id()));
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        let ca = Ca::new(file.clone());
        write(CERTIFICATE);
        ca.connector().expect("a CA");
        write("gone");
        let problem = ca.connector().expect_err("no CA any more").to_string();
        assert!(problem.contains("inference-operator-ca-") && problem.contains("no certificate"), "{problem}");
        write(&format!("{CERTIFICATE}{CERTIFICATE}"));
        ca.connector().expect("the old and the new one");
        std::fs::remove_file(file).expect("removed");
    }

    /// Two requests of this path to a server that sends these headers with its first response, and none with the second.
    async fn asked_twice(path: &str, headers: String) -> [Result<u16, String>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string().parse().expect("an authority");
        let serving = tokio::spawn(async move {
            for headers in [headers, String::new()] {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let count = stream.read(&mut [0; 4096]).await.expect("a request");
                assert_ne!(count, 0, "a request");
                let answer = format!("HTTP/1.1 200 OK\r\n{headers}connection: close\r\ncontent-length: 2\r\n\r\n{{}}");
                // The client may hang up midway.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let file = std::env::temp_dir().join(format!("inference-operator-token-{}-{authority}", std::process::id()));
        std::fs::write(&file, "secret").expect("written");
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let server = ApiServer::new(authority, Token::new(file.clone()), tcp, Arc::default());
        let ask = || async {
            let request = Request::get(path).body(Body::from(Vec::new())).expect("a request");
            let answer = server.send(request).await.map_err(|error| error.to_string())?;
            let code = answer.status().as_u16();
            answer.into_body().collect().await.map_err(|error| error.to_string()).map(|_| code)
        };
        let answers = [ask().await, ask().await];
        std::fs::remove_file(file).expect("removed");
        serving.await.expect("served");
        answers
    }

    #[tokio::test]
    async fn answers_with_many_warnings_are_read_or_refused_in_clear_words_and_the_next_is_well() {
        let warnings =
            |count: usize, length: usize| format!("warning: 299 - \"{}\"\r\n", "x".repeat(length)).repeat(count);
        for (path, count, length) in [("/", 0, 0), ("/", 80, 51), ("/", 16, 256), ("/?watch=true", 16, 256)] {
            assert_eq!(
                asked_twice(path, warnings(count, length)).await,
                [Ok(200), Ok(200)],
                "{path} {count} of {length}"
            );
        }
        // Never sent by an API server, only by something in between: hundreds of headers, and 100 kB.
        for (path, count, length) in [("/", 300, 1), ("/", 400, 256), ("/?watch=true", 400, 256)] {
            let [refused, next] = asked_twice(path, warnings(count, length)).await;
            let refused = refused.expect_err("too many");
            assert!(refused.contains("more than 8 kB or 100 headers"), "{refused}");
            assert_eq!(next, Ok(200), "{count} of {length}");
        }
    }
}
