//! Lists the pods of an InferenceService that is not Ready for a while, to say why. Nothing of them is kept, and none is
//! watched: a pod changes far more often than a Deployment.

use std::num::NonZeroU16;

use super::Context;
use super::cause::{Findings, Told, UNSCHEDULABLE};
use super::deployment::SELECTOR_LABEL;
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::request;
use crate::kubernetes::resource::{JSON_METADATA_LIST, Resource, decode};
use crate::kubernetes::selector::Selector;
use crate::model::Task;
use crate::model::view::pod::PodView;
use crate::time::Timestamp;

/// An InferenceService has few replicas; what keeps the first of very many from being ready keeps the others too.
const LIMIT: u8 = 100;

const NODES: &str = "/api/v1/nodes";

/// Of each node nothing but that it is there.
const COUNTED: Fields = &[("items", Keep::Each(&[]))];

/// `unready_since`: since when replicas are missing. With the load time of the newest one: see `Findings::load`.
pub async fn ask(
    context: &Context,
    task: &Task,
    unready_since: Timestamp,
) -> Result<(Told, Option<NonZeroU16>), kube::Error> {
    let selector = Selector::label(SELECTOR_LABEL, &task.name);
    let path = format!("{}?limit={LIMIT}{}", PodView::path(Some(&task.namespace)), selector.as_query());
    let mut findings = Findings::default();
    let mut look = |pod: &[u8]| {
        if let Ok(pod) = decode(pod) {
            findings.look_at(&pod, unready_since, (context.now)());
        }
    };
    let asked = request::items(&context.client, &path, PodView::ACCEPT_LIST, PodView::LIST, &mut look).await;
    if !is_allowed(asked)? {
        return Ok((Told::Forbidden, None));
    }
    let Some(mut cause) = findings.cause() else { return Ok((Told::Nothing, findings.load)) };
    if cause.reason == UNSCHEDULABLE && !cause.nodes.is_empty() && !has_node(context, &cause.nodes).await? {
        cause.message =
            format!("{}; no node has the labels that it needs: kubectl get nodes -l '{}'", cause.message, cause.nodes);
    }
    Ok((Told::Cause(cause), findings.load))
}

/// Is there a node with these labels? True also where nodes may not be listed.
async fn has_node(context: &Context, labels: &str) -> Result<bool, kube::Error> {
    let path = format!("{NODES}?limit=1{}", Selector::labels(labels).as_query());
    let mut found = false;
    let asked = request::items(&context.client, &path, JSON_METADATA_LIST, COUNTED, &mut |_| found = true).await;
    Ok(!is_allowed(asked)? || found)
}

fn is_allowed(asked: Result<(), kube::Error>) -> Result<bool, kube::Error> {
    match asked {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(error) => Err(error),
    }
}
