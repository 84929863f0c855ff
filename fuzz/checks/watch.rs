//! Lines of a watch: filtered, decoded, taken into a fleet.

use inference_operator::controller::index::Index;
use inference_operator::controller::record::ChildKind;
use inference_operator::kubernetes::resource::Resource;
use inference_operator::kubernetes::watch::line::{self, Line};
use inference_operator::model::view::{InferenceServiceView, Meta, PartialDeployment, PartialService};

use super::pieces::{compare, picked, pieces};
use super::ways;

/// The first byte says whose watch it is.
pub fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut fleet = Index::new(7);
    match kind % 3 {
        0 => lines(data, |line: Line<InferenceServiceView>| match line {
            Line::Applied(object) => drop(fleet.observe(object, false)),
            Line::Deleted(object) => fleet.remove(&object.meta.namespace, &object.meta.name),
            Line::Bookmark { .. } | Line::Error(_) => {}
        }),
        1 => lines(data, |line: Line<PartialDeployment>| child(&mut fleet, ChildKind::Deployment, line)),
        _ => lines(data, |line: Line<PartialService>| child(&mut fleet, ChildKind::Service, line)),
    }
}

fn lines<K: Resource>(data: &[u8], mut take_in: impl FnMut(Line<K>)) {
    let ways = ways(data);
    for (_, kept) in pieces(K::EVENT, &ways).0 {
        if let Ok(line) = line::read::<K>(&kept) {
            take_in(line);
        }
    }
    compare(K::EVENT, &ways[0][0], |fields, value| vec![picked(fields, value)]);
}

fn child<K: Resource + AsRef<Meta>>(fleet: &mut Index, kind: ChildKind, line: Line<K>) {
    match line {
        Line::Applied(object) => drop(fleet.observe_child(kind, object.as_ref(), false)),
        Line::Deleted(object) => drop(fleet.observe_child_gone(kind, object.as_ref())),
        Line::Bookmark { .. } | Line::Error(_) => {}
    }
}
