//! The real HorizontalPodAutoscaler controller on an InferenceService, with a metric from outside: the test is its own
//! metrics adapter, behind the API server's aggregation layer.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use inference_operator::api::Phase;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::shell::{apply, variable};
use crate::support::wait::within;
use crate::support::{Fixture, Operator, Temporary, kubectl};

/// As people have it: so many waiting requests are one replica's share.
const SHARE: u32 = 4;

/// The controller looks every 15 s, and pods take four seconds here.
const PATIENCE: Duration = Duration::from_secs(180);

/// On threads: while kubectl waits, the adapter answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_follows_a_metric_and_sees_the_pods_that_exist() {
    let fixture = Fixture::new("autoscaler").await;
    let _operator = Operator::start("autoscaler", &[]).await;
    let namespace = fixture.namespace.as_str();
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let adapter = Adapter::serving(namespace).await;
    apply(&[autoscaler(namespace)]);
    for replicas in [3, 1, 2] {
        adapter.waiting.store(replicas * SHARE, Relaxed);
        within(PATIENCE, &format!("the autoscaler has made it {replicas}"), || async {
            let object = fixture.inference_services.get("demo").await.map_err(|error| error.to_string())?;
            let told = kubectl(&["-n", namespace, "get", "hpa/demo", "-o", "json"]);
            let seen = serde_json::from_str::<Value>(&told).expect("JSON")["status"].take();
            let status = object.status.unwrap_or_default();
            let count = i32::try_from(replicas).expect("a few");
            let is_so = object.spec.replicas == count && status.replicas == Some(count) && status.phase == Phase::Ready;
            if is_so && seen["currentReplicas"] == count { Ok(()) } else { Err(format!("{status:?} {seen}")) }
        })
        .await;
    }
    fixture.clean_up().await;
}

/// Without the wait before it scales down.
fn autoscaler(namespace: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": "demo"},
            "minReplicas": 1, "maxReplicas": 4,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [{"type": "External", "external": {
                "metric": {"name": "waiting"}, "target": {"type": "AverageValue", "averageValue": SHARE.to_string()}}}]
        }
    })
}

/// Serves one metric at `/apis/external.metrics.k8s.io`.
struct Adapter {
    waiting: Arc<AtomicU32>,
    task: JoinHandle<()>,
    objects: Temporary,
}

impl Adapter {
    async fn serving(namespace: &str) -> Adapter {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let waiting = Arc::<AtomicU32>::default();
        let task = tokio::spawn(accept(listener, acceptor(), waiting.clone()));
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "adapter", "namespace": namespace},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
        });
        let registered = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {"group": "external.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": "adapter", "namespace": namespace, "port": port}}
        });
        let objects =
            Temporary::new(&json!({"apiVersion": "v1", "kind": "List", "items": [service, registered]}).to_string());
        kubectl(&["apply", "-f", objects.path()]);
        kubectl(&["wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=60s"]);
        Adapter { waiting, task, objects }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.task.abort();
        kubectl(&["delete", "-f", self.objects.path(), "--ignore-not-found"]);
    }
}

/// With the API server's own certificate: nobody checks it.
fn acceptor() -> TlsAcceptor {
    let folder = PathBuf::from(variable("CA")).with_file_name("apiserver");
    let certificates = CertificateDer::pem_file_iter(folder.with_extension("crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.with_extension("key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = certificates.collect::<Result<_, _>>().expect("certificates");
    let config = builder.expect("TLS").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, waiting: Arc<AtomicU32>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), waiting.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, waiting: Arc<AtomicU32>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answer(request.uri().path(), waiting.load(Relaxed)).to_string();
        let response = Response::builder().header("content-type", "application/json");
        let response = response.body(http_body_util::Full::new(Bytes::from(answer))).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    });
    // A client may leave at any time.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(path: &str, waiting: u32) -> Value {
    const VERSION: &str = "external.metrics.k8s.io/v1beta1";
    if path.contains("/namespaces/") {
        let value = json!({"metricName": "waiting", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": waiting.to_string()});
        return json!({"kind": "ExternalMetricValueList", "apiVersion": VERSION, "metadata": {}, "items": [value]});
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [
        {"name": "waiting", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"]}]})
}
