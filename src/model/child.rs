//! The two kinds of children of an InferenceService.

use crate::model::Dirty;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    Deployment,
    Service,
}

impl ChildKind {
    pub const ALL: [ChildKind; 2] = [ChildKind::Deployment, ChildKind::Service];

    pub fn as_str(self) -> &'static str {
        match self {
            ChildKind::Deployment => "Deployment",
            ChildKind::Service => "Service",
        }
    }

    /// What to check when a child of this kind has changed.
    pub fn dirty(self) -> Dirty {
        match self {
            ChildKind::Deployment => Dirty::DEPLOYMENT,
            ChildKind::Service => Dirty::SERVICE,
        }
    }

    /// All that is to be done about a child of this kind, and over once it was read.
    pub fn looks(self) -> Dirty {
        match self {
            ChildKind::Deployment => Dirty::DEPLOYMENT | Dirty::ROLLOUT | Dirty::EDIT,
            ChildKind::Service => Dirty::SERVICE,
        }
    }
}
