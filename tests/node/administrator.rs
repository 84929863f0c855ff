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
use crate::support::wait::within;
use crate::support::{Catalog, Fixture, kubectl};

const MODELS: [&str; 3] = ["first", "second", "third"];

const BETWEEN_SAMPLES: Duration = Duration::from_millis(200);

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
            if images == ["model-server:2"; MODELS.len()] { Ok(()) } else { Err(format!("{images:?}")) }
        })
        .await;
        catalog.until_complete().await;
        fixture.until_all(MODELS.len(), Phase::Ready).await;
        is_over.store(true, Relaxed);
    };
    let (samples, ()) = futures::join!(follow(&addresses, &is_over), change);

    let seconds = |samples: usize| (BETWEEN_SAMPLES * u32::try_from(samples).expect("few")).as_secs_f32();
    for (number, name) in MODELS.iter().enumerate() {
        let down = samples.iter().filter(|answers| !answers[number]).count();
        println!("{name}: {:.1} s without an answer", seconds(down));
    }
    let down = |answers: &Vec<bool>| answers.iter().filter(|answers| !**answers).count();
    let most = samples.iter().map(down).max().unwrap_or_default();
    println!("{most} at most at a time; {} s for all", changed.elapsed().as_secs());
    assert_eq!(most, 1, "{samples:?}");
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

fn image(deployment: &Deployment) -> String {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.and_then(|pod| pod.containers[0].image.clone()).unwrap_or_default()
}

/// Which of them answered, sample by sample.
async fn follow(addresses: &[String], is_over: &AtomicBool) -> Vec<Vec<bool>> {
    let mut ticks = tokio::time::interval(BETWEEN_SAMPLES);
    let mut samples = Vec::new();
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        samples.push(join_all(addresses.iter().map(|address| answers(address))).await);
    }
    samples
}

/// Whether a new connection gets an answer before the next sample is due.
async fn answers(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((address, 80)).await?;
        stream.write_all(b"GET /v1/models HTTP/1.0\r\nHost: model\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.contains(" 200 "))
    };
    matches!(tokio::time::timeout(BETWEEN_SAMPLES * 9 / 10, ask).await, Ok(Ok(true)))
}
