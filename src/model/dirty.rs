//! What may have changed in an InferenceService since its last reconcile; empty when there is nothing to do. Set by the
//! index from watch events, read by reconcile.

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Dirty: u8 {
        /// The spec, the configuration or the status was not acted on yet.
        const SPEC = 1;
        /// The Deployment vanished, is no longer ours, is being deleted, or was not read yet.
        const DEPLOYMENT = 1 << 1;
        /// The Service changed, vanished, or was not read yet.
        const SERVICE = 1 << 2;
        /// The children are written, the status is not.
        const STATUS = 1 << 3;
        /// The Deployment progressed: read how far it is, and whether it is as it was last written.
        const ROLLOUT = 1 << 4;
        /// Only the number of ready replicas in the status is out of date.
        const COUNT = 1 << 5;
        /// Replicas are missing, and no watch event marks the end of their load time, or tells why they do not start.
        const DUE = 1 << 6;
        /// The Deployment's revision is not the one last known: was something added, or one of our fields changed?
        const EDIT = 1 << 7;
        /// What is no more than a look, and can be late.
        const LOOK = Self::COUNT.bits() | Self::DUE.bits();
        const SPEC_AND_CHILDREN = Self::SPEC.bits() | Self::DEPLOYMENT.bits() | Self::SERVICE.bits();
    }
}
