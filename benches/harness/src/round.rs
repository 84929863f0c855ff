//! One round: a fresh cluster, one operator, all phases, and everything ended again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::isvc::InferenceService;
use crate::ledger::Ledger;
use crate::machine::NoiseMeter;
use crate::operator::{self, Launch, Program};
use crate::phases::{bulky, changes, create, noise, restart, scale, settled, soak, start};
use crate::progress::Progress;
use crate::results::Round;
use crate::sampler::Sampler;
use crate::settings::{Mode, OURS, Settings, Target};
use crate::world::World;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Each look takes a few requests then.
const SAMPLE_PODS_EVERY: Duration = Duration::from_secs(5);

/// `folder`: for the round's files, which may be looked at after a failure.
pub async fn run(
    settings: &Settings,
    operator: &str,
    number: usize,
    folder: &Path,
    progress: &Progress,
) -> Result<Round> {
    let (began, started) = (Instant::now(), Timestamp::now());
    progress.at("bringing up a control plane", "");
    let cluster = Cluster::up(settings, folder).await?;
    refuse_used_cluster(&cluster).await?;
    refuse_running_operator(&cluster).await?;
    let version = cluster.access.client.apiserver_version().await?;
    let meter = NoiseMeter::begin(&cluster.pids());
    progress.at("installing the CRD and the rights", "");
    install(settings, operator, &cluster)?;
    let program = program(settings, operator, number, folder, &cluster)?;
    let is_pod = matches!(program, Program::Image(_));
    let plan = &settings.plan;
    let mut bench = Bench {
        plan,
        progress,
        operator: None,
        sampler: Sampler::begin(if is_pod { SAMPLE_PODS_EVERY } else { SAMPLE_EVERY }),
        ledger: Ledger::open(&cluster.access)?,
        world: World::watch(&cluster.access.client),
        launch: Launch { name: operator.to_owned(), program, folder: folder.to_owned() },
        cluster,
        round: Round {
            operator: operator.to_owned(),
            number,
            started: started.to_string(),
            kubernetes: version.git_version,
            ..Round::default()
        },
        ended_seconds: 0.0,
    };
    if bench.cluster.access.audit_log.is_none() {
        bench.round.note("requests are what the operator itself counts, by method, watches among them");
    }
    let phases = phases(&mut bench).await;
    if !bench.cluster.is_kept() {
        progress.at("taking away what was made", "");
        clean_up(&mut bench).await?;
    }
    phases?;
    bench.stop_operator()?;
    bench.round.noise = meter.end(&bench.cluster.pids(), bench.ended_seconds);
    bench.round.memory = bench.sampler.take();
    bench.round.duration_seconds = began.elapsed().as_secs_f64();
    Ok(std::mem::take(&mut bench.round))
}

async fn phases(bench: &mut Bench<'_>) -> Result<()> {
    if bench.plan.mode == Mode::Scale {
        let is_peer = !bench.launch.is_ours();
        let points = bench.plan.scale_points.iter().copied();
        let points: Vec<usize> = points.filter(|&crs| !is_peer || crs <= crate::settings::MOST_FOR_PEERS).collect();
        return scale::run(bench, &points).await;
    }
    if bench.plan.mode == Mode::Soak {
        return soak::run(bench).await;
    }
    start::run(bench).await?;
    create::run(bench).await?;
    settled::run(bench).await?;
    // Before what ends the controller-manager: it would have to catch up first.
    restart::run(bench).await?;
    changes::run(bench).await?;
    noise::run(bench).await?;
    bulky::run(bench).await
}

/// A cluster in which there are InferenceServices already would be changed by an operator that is
/// new there, and would change its figures.
async fn refuse_used_cluster(cluster: &Cluster) -> Result<()> {
    let api = Api::<InferenceService>::all(cluster.access.client.clone());
    match api.list_metadata(&ListParams::default().limit(1)).await {
        Ok(list) => ensure!(
            list.items.is_empty(),
            "the cluster holds InferenceServices already: the bench needs one that holds none"
        ),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
        Err(error) => return Err(error).context("the cluster does not say whether it holds InferenceServices"),
    }
    Ok(())
}

/// It would do the work of the one that is measured.
async fn refuse_running_operator(cluster: &Cluster) -> Result<()> {
    let there = Api::<Deployment>::namespaced(cluster.access.client.clone(), operator::NAMESPACE);
    let there = there.list_metadata(&ListParams::default()).await?.items;
    let name = there.first().and_then(|deployment| deployment.metadata.name.as_deref());
    ensure!(
        there.is_empty(),
        "Deployment {} is in namespace {}: an operator that runs beside the measured one would do its work",
        name.unwrap_or_default(),
        operator::NAMESPACE
    );
    Ok(())
}

fn install(settings: &Settings, operator: &str, cluster: &Cluster) -> Result<()> {
    let mut files = ["namespace", "crd", "rbac"].map(|name| format!("k3s-manifests/{name}.yaml")).to_vec();
    if operator != OURS {
        files.push("benches/peers/rbac.yaml".into());
    }
    for file in files {
        let path = settings.repository.join(file);
        let manifest = std::fs::read_to_string(&path).with_context(|| format!("no file {}", path.display()))?;
        cluster.access.apply(&manifest)?;
    }
    let crd = "crd/inferenceservices.ai.example.com";
    // Not --for=condition=Established, which fails where there are no conditions yet.
    let established = r#"--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True"#;
    cluster.access.kubectl(&["wait", established, crd, "--timeout=60s"]).map(drop)
}

/// Pods need an image: one that is there, or on kind and on a node one that is made of the binary.
fn program(settings: &Settings, operator: &str, number: usize, folder: &Path, cluster: &Cluster) -> Result<Program> {
    let binary = settings.binaries.get(operator);
    if let Some(image) = &settings.image {
        return Ok(Program::Image(image.replace("{operator}", operator)));
    }
    let binary =
        binary.with_context(|| format!("no program of {operator}: bench.sh passes --binary {operator}=PATH"))?;
    if !matches!(settings.plan.target, Target::Kind | Target::Node) {
        return Ok(Program::Binary(binary.clone()));
    }
    let image = format!("inference-operator-bench/{operator}:{}-{number}", std::process::id());
    cluster.load_image(&image, binary, &folder.join("image"))?;
    Ok(Program::Image(image))
}

/// In a cluster that stays: our namespaces, with all that is in them. The CRD and the operator's
/// own namespace may be the owner's.
async fn clean_up(bench: &mut Bench<'_>) -> Result<()> {
    drop(bench.stop_operator());
    let namespaces = Api::<Namespace>::all(bench.cluster.access.client.clone());
    let ours = ListParams::default().labels("bench=yes");
    for namespace in namespaces.list_metadata(&ours).await?.items {
        if let Some(name) = namespace.metadata.name {
            namespaces.delete(&name, &DeleteParams::background()).await?;
        }
    }
    let end = Instant::now() + Duration::from_secs(1800);
    loop {
        let left = namespaces.list_metadata(&ours).await?.items.len();
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{left} namespaces with the label bench=yes do not go");
        bench.progress.at("taking away what was made", &format!("{left} namespaces left"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
