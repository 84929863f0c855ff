//! The lean type of a Lease.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{CODE, InferenceServiceView, MESSAGE, METADATA, REASON};
use crate::kubernetes::lease::LeaseSpec;
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::resource::Resource;

/// A Lease. It is watched as an InferenceService, whose parts it has: a watch of another type would add 16 kB to the
/// program.
#[derive(Clone, Debug)]
pub struct LeaseView(pub InferenceServiceView);

/// The spec of a Lease that was watched as an InferenceService. One that cannot be decoded is nobody's.
pub fn spec(lease: &InferenceServiceView) -> LeaseSpec {
    // By a Value: a type of its own would add a decoder to the program.
    let spec: Value = lease.spec.text().and_then(|spec| serde_json::from_str(spec).ok()).unwrap_or_default();
    LeaseSpec {
        holder_identity: spec["holderIdentity"].as_str().map(str::to_owned),
        lease_transitions: spec["leaseTransitions"].as_u64().and_then(|count| count.try_into().ok()),
    }
}

impl<'de> Deserialize<'de> for LeaseView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        InferenceServiceView::deserialize(deserializer).map(LeaseView)
    }
}

impl Resource for LeaseView {
    const GROUP: &'static str = "coordination.k8s.io";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "leases";
    const FIELDS: Fields = &[("metadata", METADATA), ("spec", Keep::WholeOrLength), CODE, MESSAGE, REASON];
}
