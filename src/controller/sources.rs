//! All watches as one stream of observations. Used by the controller, which applies them one after the other; a further
//! watch costs a line in `Sources::new`.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{self, Poll};

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::api::catalog::CATALOG_NAME;
use crate::controller::election::LEASE;
use crate::kubernetes::resource::{Kind, Watched};
use crate::kubernetes::selector::Selector;
use crate::kubernetes::watch::{Event, Watch};
use crate::model::ChildKind;
use crate::model::labels::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::model::view::catalog::CatalogView;
use crate::model::view::lease::LeaseView;
use crate::model::view::{InferenceServiceView, Meta, PartialDeployment, PartialService};
use crate::reconcile::Context;
use crate::telemetry::metrics::Metrics;

/// An event of one of the watches.
pub enum Observation {
    /// Its parts are those of an InferenceService.
    Catalog(Event<InferenceServiceView>),
    InferenceService(Event<InferenceServiceView>),
    /// Its parts are those of an InferenceService.
    Lease(Event<InferenceServiceView>),
    Child(ChildKind, Event<Meta>),
}

/// The kinds that are watched, in the order in which they are listed: InferenceServices are judged by the catalogue, and
/// children are joined with the status of their InferenceService.
pub struct Sources {
    /// Only with an election; listed whenever it is.
    lease: Vec<Source>,
    catalog: Vec<Source>,
    owners: Vec<Source>,
    children: Vec<Source>,
}

struct Source {
    /// The first list has been read.
    is_listed: bool,
    /// Number of requests to list again.
    relists: Arc<AtomicU32>,
    observations: BoxStream<'static, Observation>,
}

impl Sources {
    /// `seed` determines all jitter.
    pub fn new(context: &Context, metrics: &Arc<Metrics>, seed: u64) -> Sources {
        let open = Open { context, metrics, seed };
        let (kind, namespace) = (Kind::of::<CatalogView>(), Some(&*context.settings.catalog_namespace));
        let catalog = open.watch(4, kind, namespace, Selector::name(CATALOG_NAME)).optional();
        let (kind, namespace) = (Kind::of::<InferenceServiceView>(), context.settings.namespace.as_deref());
        let owners = open.watch(1, kind, namespace, Selector::everything());
        let managed = || Selector::label(MANAGED_BY_LABEL, MANAGED_BY);
        let deployments = open.watch(2, Kind::of::<PartialDeployment>(), namespace, managed());
        let services = open.watch(3, Kind::of::<PartialService>(), namespace, managed());
        let children = vec![
            Source::new(deployments, |event| Observation::Child(ChildKind::Deployment, event)),
            Source::new(services, |event| Observation::Child(ChildKind::Service, event)),
        ];
        let catalog = vec![Source::new(catalog, Observation::Catalog)];
        let lease = || {
            let namespace = Some(&*context.settings.catalog_namespace);
            let watch = open.watch(5, Kind::of::<LeaseView>(), namespace, Selector::name(LEASE));
            Source::new(watch, Observation::Lease)
        };
        let lease = context.settings.leader_elect.then(lease).into_iter().collect();
        Sources { lease, catalog, owners: vec![Source::new(owners, Observation::InferenceService)], children }
    }

    /// The next observation: of the catalogue alone, until it was decided what it means. Cancel safe: can be dropped and
    /// called again without losing anything.
    pub async fn next(&mut self, is_catalog_decided: bool) -> Observation {
        poll_fn(|context| {
            // A fixed order, so that a simulation depends on its seed alone.
            let of_lease = poll_first(&mut self.lease, context);
            if of_lease.is_ready() {
                return of_lease;
            }
            if !is_catalog_decided || !are_listed(&self.catalog) {
                return poll_first(&mut self.catalog, context);
            }
            // It changes the least.
            for sources in [&mut self.owners, &mut self.children, &mut self.catalog] {
                let observation = poll_first(sources, context);
                if observation.is_ready() || !are_listed(sources) {
                    return observation;
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Has the first list of each watch been read?
    pub fn are_listed(&self) -> bool {
        [&self.catalog, &self.owners, &self.children].into_iter().all(|sources| are_listed(sources))
    }

    /// A change was missed: closes the open watches and lists again.
    pub fn list_again(&self) {
        self.list_owners_again();
        self.children.iter().for_each(Source::list_again);
    }

    /// The same of the InferenceServices alone.
    pub fn list_owners_again(&self) {
        self.owners.iter().for_each(Source::list_again);
    }
}

fn are_listed(sources: &[Source]) -> bool {
    sources.iter().all(|source| source.is_listed)
}

fn poll_first(sources: &mut [Source], context: &mut task::Context<'_>) -> Poll<Observation> {
    for source in sources {
        // A watch never ends.
        if let Poll::Ready(Some(observation)) = source.observations.poll_next_unpin(context) {
            source.is_listed |= matches!(
                observation,
                Observation::Catalog(Event::InitDone | Event::Absent | Event::Forbidden)
                    | Observation::InferenceService(Event::InitDone)
                    | Observation::Child(_, Event::InitDone)
            );
            return Poll::Ready(observation);
        }
    }
    Poll::Pending
}

/// The arguments that all watches share.
struct Open<'a> {
    context: &'a Context,
    metrics: &'a Arc<Metrics>,
    seed: u64,
}

impl Open<'_> {
    /// `number`: a different one for each watch, for its jitter.
    fn watch<K: Watched>(&self, number: u64, kind: Kind, namespace: Option<&str>, selector: Selector) -> Watch<K> {
        let client = self.context.client.clone();
        Watch::new(client, kind, namespace, selector, self.seed ^ number, self.metrics.clone())
    }
}

impl Source {
    fn new<K: Watched>(watch: Watch<K>, show: fn(Event<K>) -> Observation) -> Source {
        let relists: Arc<AtomicU32> = Arc::default();
        let asked_for = relists.clone();
        let observations = stream::unfold((Box::new(watch), 0), move |(mut watch, mut answered)| {
            let relists = asked_for.clone();
            async move {
                loop {
                    let known = answered;
                    let asked = poll_fn(|_| match relists.load(Relaxed) {
                        count if count == known => Poll::Pending,
                        count => Poll::Ready(count),
                    });
                    tokio::select! {
                        biased;
                        count = asked => {
                            answered = count;
                            watch.list_again();
                        }
                        event = watch.next() => return Some((show(event), (watch, answered))),
                    }
                }
            }
        });
        Source { is_listed: false, relists, observations: observations.boxed() }
    }

    fn list_again(&self) {
        self.relists.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::reconcile::event::Limit;
    use crate::reconcile::instances::Instances;
    use crate::settings::Settings;
    use crate::testing::fake_api_server::{self, Asked, Part, Reply};
    use crate::testing::fixtures::CONFIG_HASH;
    use crate::time::Timestamp;

    /// A streaming list without an object, which goes on as a watch.
    fn empty_list() -> Reply {
        let end = json!({"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}});
        let line = json!({"type": "BOOKMARK", "object": {"metadata": end}}).to_string() + "\n";
        Reply::parts([Part::Text(line), Part::Pause(Duration::from_secs(3600))])
    }

    fn sources(replies: usize) -> (Sources, Asked) {
        let (client, asked) = fake_api_server::client((0..replies).map(|_| empty_list()));
        let (settings, events) = (Settings::default(), Arc::<Limit>::default());
        let instances = Arc::new(Instances::new(Timestamp(1000).into()));
        let context =
            Context { client, settings, config_hash: CONFIG_HASH, now: || Timestamp(1000), events, instances };
        (Sources::new(&context, &Arc::default(), 1), asked)
    }

    async fn take(sources: &mut Sources, count: usize) -> Vec<&'static str> {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(match sources.next(true).await {
                Observation::Catalog(_) => "InferenceCatalog",
                Observation::InferenceService(_) => "InferenceService",
                Observation::Lease(_) => "Lease",
                Observation::Child(ChildKind::Deployment, _) => "Deployment",
                Observation::Child(ChildKind::Service, _) => "Service",
            });
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn the_catalogue_is_listed_first_and_the_children_last() {
        let (mut sources, asked) = sources(4);
        assert_eq!(take(&mut sources, 1).await, ["InferenceCatalog"]);
        assert_eq!(take(&mut sources, 1).await, ["InferenceCatalog"]);
        assert_eq!(asked.take().len(), 1);
        let undecided = tokio::time::timeout(Duration::from_secs(60), sources.next(false)).await;
        assert!(undecided.is_err() && asked.take().is_empty(), "nothing else is listed before that was decided on");
        assert_eq!(take(&mut sources, 2).await, ["InferenceService", "InferenceService"]);
        assert_eq!(asked.take().len(), 1);
        assert!(!sources.are_listed());
        let mut children = take(&mut sources, 4).await;
        children.sort_unstable();
        assert_eq!(children, ["Deployment", "Deployment", "Service", "Service"]);
        assert!(sources.are_listed());
        assert_eq!(asked.take().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn where_something_was_missed_each_kind_is_listed_again_once() {
        let (mut sources, asked) = sources(7);
        take(&mut sources, 8).await;
        asked.take();
        sources.list_again();
        take(&mut sources, 6).await;
        let mut asked = asked.take();
        asked.sort_unstable();
        let lists = |kind: &str| asked.iter().filter(|line| line.contains(kind)).count();
        assert_eq!([lists("/inferenceservices"), lists("/deployments"), lists("/services")], [1, 1, 1], "{asked:?}");
        let quiet = tokio::time::timeout(Duration::from_secs(60), sources.next(true)).await;
        assert!(quiet.is_err() && sources.are_listed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_catalogue_costs_one_list() {
        let (mut sources, asked) = sources(5);
        take(&mut sources, 8).await;
        asked.take();
        sources.list_owners_again();
        take(&mut sources, 2).await;
        let asked = asked.take();
        assert!(asked.len() == 1 && asked[0].contains("/inferenceservices"), "{asked:?}");
        let quiet = tokio::time::timeout(Duration::from_secs(60), sources.next(true)).await;
        assert!(quiet.is_err());
    }
}
