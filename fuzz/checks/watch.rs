//! Lines of a watch: filtered, decoded, taken into a fleet.

use inference_operator::controller::fleet::Fleet;
use inference_operator::controller::record::ChildKind;
use inference_operator::controller::watch::line::{self, Line};
use inference_operator::projection::{DeploymentMetadata, InferenceService, Kind, Service};

use super::pieces::{compare, picked, pieces};
use super::ways;

/// The first byte says whose watch it is.
pub fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut fleet = Fleet::new(7);
    match kind % 3 {
        0 => lines(data, |line: Line<InferenceService>| match line {
            Line::Applied(object) => drop(fleet.observe(object, false)),
            Line::Deleted(object) => fleet.remove(&object.identity.namespace, &object.identity.name),
            Line::Bookmark { .. } | Line::Error(_) => {}
        }),
        1 => lines(data, |line: Line<DeploymentMetadata>| child(&mut fleet, ChildKind::Deployment, line)),
        _ => lines(data, |line: Line<Service>| child(&mut fleet, ChildKind::Service, line)),
    }
}

fn lines<K: Kind>(data: &[u8], mut take_in: impl FnMut(Line<K>)) {
    let ways = ways(data);
    for (_, kept) in pieces(K::EVENT, &ways).0 {
        if let Ok(line) = line::read::<K>(&kept) {
            take_in(line);
        }
    }
    compare(K::EVENT, &ways[0][0], |fields, value| vec![picked(fields, value)]);
}

fn child<K: Kind>(fleet: &mut Fleet, kind: ChildKind, line: Line<K>) {
    match line {
        Line::Applied(object) => drop(fleet.observe_child(kind, object.identity(), false)),
        Line::Deleted(object) => drop(fleet.observe_child_gone(kind, object.identity())),
        Line::Bookmark { .. } | Line::Error(_) => {}
    }
}
