//! Where operators elect a leader: does none write but the one that holds the Lease? Called by the server when a request
//! arrives, and when the Lease is taken or released.

use std::time::Duration;

use inference_operator::kubernetes::lease::RENEW_EVERY;

use super::invariants;
pub use super::pauses::Process;
use super::violation::ViolationKind;
use crate::api_server::request::ApiRequest;
use crate::cluster::Inner;

/// How long after that nothing is expected: the one that leads now reads first what the one before has left.
const RECOVERY: Duration = Duration::from_secs(120);

/// The Lease has another holder, or none.
pub fn changes(inner: &mut Inner) {
    inner.disturbances.add(None);
    invariants::leader_changes(inner, RECOVERY);
}

/// While nobody renews the Lease, nobody acts. To be called all the time.
pub fn check(inner: &mut Inner) {
    if inner.invariants.elect && inner.leases.age() > RENEW_EVERY {
        invariants::leader_changes(inner, RECOVERY);
    }
}

pub fn request_arrives(inner: &mut Inner, process: Process, request: &ApiRequest) {
    let writes = matches!(
        request,
        ApiRequest::Create { .. }
            | ApiRequest::Apply { .. }
            | ApiRequest::ReplacePorts { .. }
            | ApiRequest::Status { .. }
            | ApiRequest::CatalogStatus { .. }
            | ApiRequest::Event { .. }
    );
    let holder = inner.leases.holder();
    if inner.invariants.elect && writes && holder != Some(process) {
        let what =
            format!("process {process}: {} {:?}, and {holder:?} holds the Lease", request.verb(), request.about());
        invariants::report_once(inner, ViolationKind::TwoLeaders, process.to_string(), what);
    }
}
