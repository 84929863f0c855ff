//! Lines of a watch: filtered, decoded, taken into an index.

use inference_operator::controller::index::{Index, Seen};
use inference_operator::kubernetes::prune::Fields;
use inference_operator::kubernetes::resource::{Resource, Watched};
use inference_operator::kubernetes::watch::line::{self, Line};
use inference_operator::model::ChildKind;
use inference_operator::model::hashes::Standing;
use inference_operator::model::view::{InferenceServiceView, Meta, PartialDeployment, PartialService};

use super::pieces::{compare, picked, pieces};
use super::ways;

/// The first byte says whose watch it is.
pub fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut index = Index::new(Box::new(|_, _| Standing::UpToDate));
    match kind % 3 {
        0 => lines(data, InferenceServiceView::EVENT, |line: Line<InferenceServiceView>| match line {
            Line::Applied(object) => drop(index.observe(object, Seen::Event)),
            Line::Deleted(object) => index.remove(&object.meta.namespace, &object.meta.name),
            Line::Bookmark { .. } | Line::Error(_) => {}
        }),
        1 => lines(data, PartialDeployment::EVENT, |line| child(&mut index, ChildKind::Deployment, line)),
        _ => lines(data, PartialService::EVENT, |line| child(&mut index, ChildKind::Service, line)),
    }
}

fn lines<K: Watched>(data: &[u8], fields: Fields, mut take_in: impl FnMut(Line<K>)) {
    let ways = ways(data);
    for (_, kept) in pieces(fields, &ways).0 {
        if let Ok(line) = line::read::<K>(&kept) {
            take_in(line);
        }
    }
    compare(fields, &ways[0][0], |fields, value| vec![picked(fields, value)]);
}

fn child(index: &mut Index, kind: ChildKind, line: Line<Meta>) {
    match line {
        Line::Applied(object) => drop(index.observe_child(kind, &object, Seen::Event)),
        Line::Deleted(object) => drop(index.observe_child_gone(kind, &object)),
        Line::Bookmark { .. } | Line::Error(_) => {}
    }
}
