//! The simulated API server: objects and their history, lists and watches, and the faults between. Called through
//! kube's own client (`server::client`); simulated users and controllers write to the `Store` directly.

mod apply;
mod defaults;
pub mod faults;
pub mod lease;
mod list;
mod object;
pub mod outage;
mod refusal;
pub mod request;
pub mod server;
mod store;
mod watch;

pub use list::is_managed;
pub use object::{Key, Kind, Propagation, controller_uid, controllers, finalizers, is_deleting};
pub use refusal::{NAMESPACE_TERMINATING, Refusal, refusal};
pub use store::{Change, Store};
