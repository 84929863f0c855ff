//! Why an InferenceService is not settled: a set of reasons, empty when there is nothing to do. Set
//! by the fleet from what the watches bring, read by reconcile.

use std::ops::{BitOr, BitOrAssign};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u8);

impl Reasons {
    pub const NONE: Reasons = Reasons(0);
    /// The spec, the configuration or the status is not one that was acted on.
    pub const SPEC: Reasons = Reasons(1);
    /// The Deployment vanished, is no longer ours or about to go, or has not been looked at.
    pub const DEPLOYMENT: Reasons = Reasons(1 << 1);
    /// The Service changed, vanished, or has not been looked at.
    pub const SERVICE: Reasons = Reasons(1 << 2);
    /// The children are written and the status is not.
    pub const STATUS: Reasons = Reasons(1 << 3);
    /// The Deployment went on: how far is it, and is it as it was left?
    pub const PROGRESS: Reasons = Reasons(1 << 4);
    /// Only the number of ready replicas in the status lags.
    pub const COUNT: Reasons = Reasons(1 << 5);
    /// Replicas are on their way, and no watch tells when the time is over that they have.
    pub const DUE: Reasons = Reasons(1 << 6);
    /// The Deployment's revision is another than it was left at: did somebody add something, or change what is ours?
    pub const EDIT: Reasons = Reasons(1 << 7);
    pub const ALL: Reasons = Reasons(0b111);

    pub fn contains(self, other: Reasons) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn without(self, other: Reasons) -> Reasons {
        Reasons(self.0 & !other.0)
    }
}

impl BitOr for Reasons {
    type Output = Reasons;
    fn bitor(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }
}

impl BitOrAssign for Reasons {
    fn bitor_assign(&mut self, other: Reasons) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_is_a_part_of_another() {
        let each = [
            Reasons::SPEC,
            Reasons::DEPLOYMENT,
            Reasons::SERVICE,
            Reasons::STATUS,
            Reasons::PROGRESS,
            Reasons::COUNT,
            Reasons::DUE,
            Reasons::EDIT,
        ];
        for (position, one) in each.into_iter().enumerate() {
            assert!(!one.is_none());
            for (other_position, other) in each.into_iter().enumerate() {
                assert_eq!(one.contains(other), position == other_position, "{one:?} {other:?}");
                assert_eq!((one | other).without(other).is_none(), position == other_position, "{one:?} {other:?}");
                assert!((one | other).contains(one), "{one:?} {other:?}");
            }
            assert_eq!(Reasons::ALL.contains(one), position < 3, "{one:?}");
        }
    }
}
