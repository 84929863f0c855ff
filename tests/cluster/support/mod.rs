//! The support code of the cluster tests, one noun a file.

pub mod audit;
pub mod catalog;
pub mod fixture;
pub mod fleet;
pub mod helm;
pub mod obstacle;
pub mod operator;
pub mod port;
pub mod prometheus;
pub mod reader;
pub mod recorder;
pub mod shell;
pub mod stability_check;
pub mod temporary;
pub mod wait;
pub mod witness;

pub const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests");
/// Those for one namespace alone.
pub const STANDBY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-standby");
pub const SINGLE_NAMESPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-single-namespace");

pub use audit::Request;
pub use catalog::Catalog;
pub use fixture::Fixture;
pub use fleet::Fleet;
pub use operator::Operator;
pub use reader::Reader;
pub use recorder::Recorder;
pub use shell::{kubectl, kubectl_fails};
pub use stability_check::StabilityCheck;
pub use temporary::Temporary;
pub use wait::eventually;
pub use witness::Witness;
