//! What of an InferenceService may have changed since it was last looked at: nothing, when there is nothing to do. Marked
//! by the index from what the watches bring, read by reconcile.

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Dirty: u8 {
        /// The spec, the configuration or the status is not one that was acted on.
        const SPEC = 1;
        /// The Deployment vanished, is no longer ours or about to go, or has not been looked at.
        const DEPLOYMENT = 1 << 1;
        /// The Service changed, vanished, or has not been looked at.
        const SERVICE = 1 << 2;
        /// The children are written and the status is not.
        const STATUS = 1 << 3;
        /// The Deployment went on: how far is it, and is it as it was left?
        const ROLLOUT = 1 << 4;
        /// Only the number of ready replicas in the status lags.
        const COUNT = 1 << 5;
        /// Replicas are on their way, and no watch tells when the time is over that they have.
        const DUE = 1 << 6;
        /// The Deployment's revision is another than it was left at: was something added, or one of our fields changed?
        const EDIT = 1 << 7;
        const SPEC_AND_CHILDREN = Self::SPEC.bits() | Self::DEPLOYMENT.bits() | Self::SERVICE.bits();
    }
}
