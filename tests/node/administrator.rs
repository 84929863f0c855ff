//! An administrator's change on a node whose GPUs are all in use: the models take turns, one is down at a time.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::join_all;
use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::installed;
use crate::support::fixture::image;
use crate::support::wait::within;
use crate::support::{Catalog, Fixture, kubectl};

const MODELS: [&str; 3] = ["first", "second", "third"];

const BETWEEN_SAMPLES: Duration = Duration::from_millis(200);

/// For an answer. One that is down refuses at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// From Ready to the first answer: kube-proxy writes its rules in between, for a moment on a quiet machine.
const SWITCH: Duration = Duration::from_secs(3);

/// Each of the three is ended, started and probed.
const ROLLOUT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn another_image_for_three_models_on_three_gpus_takes_down_one_at_a_time() {
    tag("model-server:1", "model-server:2");
    installed::install();
    let gpus = Gpus::only(MODELS.len());
    let fixture = Fixture::new("administrator").await;
    let catalog = Catalog::of(&fixture);
    let mut addresses = Vec::new();
    for name in MODELS {
        fixture.create(name, 1).await;
    }
    fixture.until_all(MODELS.len(), Phase::Ready).await;
    for name in MODELS {
        let service = fixture.services.get(name).await.expect("a Service");
        addresses.push(service.spec.and_then(|spec| spec.cluster_ip).expect("an address"));
    }

    let (is_over, changed) = (AtomicBool::new(false), Instant::now());
    let change = async {
        catalog
            .apply(
                json!({"engines": [{"name": "vllm", "image": "model-server:2", "args": ["{model}", "--port={port}"]}]}),
            )
            .await;
        within(ROLLOUT, "all three have it", || async {
            let deployments =
                fixture.deployments.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let images: Vec<_> = deployments.iter().map(image).collect();
            if images == [Some("model-server:2"); MODELS.len()] { Ok(()) } else { Err(format!("{images:?}")) }
        })
        .await;
        catalog.until_complete().await;
        fixture.until_all(MODELS.len(), Phase::Ready).await;
        is_over.store(true, Relaxed);
    };
    let (most, samples, ()) =
        futures::join!(most_unavailable(&fixture, &is_over), follow(&addresses, &is_over), change);

    assert_eq!(most, 1, "Deployments without a replica at a time");
    for (number, name) in MODELS.iter().enumerate() {
        println!("{name}: {:.1} s without an answer", during(&samples, |down| down.contains(&number)).as_secs_f32());
    }
    let together = during(&samples, |down| down.len() > 1);
    println!("{:.1} s more than one; {} s for all", together.as_secs_f32(), changed.elapsed().as_secs());
    assert!(together < SWITCH * 2, "of three, there are two switches");
    drop((catalog, gpus));
    fixture.clean_up().await;
}

/// So many, until it is dropped.
struct Gpus;

impl Gpus {
    fn only(count: usize) -> Gpus {
        set_gpus(count);
        Gpus
    }
}

impl Drop for Gpus {
    fn drop(&mut self) {
        set_gpus(64);
    }
}

fn set_gpus(count: usize) {
    let patch = json!({"status": {"capacity": {"nvidia.com/gpu": count.to_string()}}}).to_string();
    kubectl(&["patch", "node", "edge", "--subresource", "status", "--type", "merge", "-p", &patch]);
}

/// Another name of an image on the node.
fn tag(image: &str, name: &str) {
    let names = [image, name].map(|name| format!("docker.io/library/{name}"));
    let output = Command::new("ctr").args(["-n", "k8s.io", "images", "tag", "--force"]).args(names).output();
    let output = output.expect("ctr runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// As the Deployments say it.
async fn most_unavailable(fixture: &Fixture, is_over: &AtomicBool) -> usize {
    let mut ticks = tokio::time::interval(BETWEEN_SAMPLES);
    let mut most = 0;
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        let list = fixture.deployments.list(&ListParams::default()).await.expect("a list");
        let available = |deployment: &Deployment| deployment.status.as_ref()?.available_replicas;
        most = most.max(list.iter().filter(|deployment| available(deployment).is_none()).count());
    }
    most
}

/// When it was taken, and which of them did not answer.
type Sample = (Instant, Vec<usize>);

async fn follow(addresses: &[String], is_over: &AtomicBool) -> Vec<Sample> {
    let mut ticks = tokio::time::interval(BETWEEN_SAMPLES);
    let mut samples = Vec::new();
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        let taken = Instant::now();
        let answers = join_all(addresses.iter().map(|address| answers(address))).await;
        samples.push((taken, (0..answers.len()).filter(|number| !answers[*number]).collect()));
    }
    samples
}

/// How long it was so: from a sample that shows it to the next one.
fn during(samples: &[Sample], is_so: impl Fn(&[usize]) -> bool) -> Duration {
    let shown = samples.windows(2).filter(|pair| is_so(&pair[0].1));
    shown.map(|pair| pair[1].0 - pair[0].0).sum()
}

/// Whether a new connection gets an answer.
async fn answers(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((address, 80)).await?;
        stream.write_all(b"GET /v1/models HTTP/1.0\r\nHost: model\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.contains(" 200 "))
    };
    matches!(tokio::time::timeout(PATIENCE, ask).await, Ok(Ok(true)))
}
