//! One request by the operator, a user or a stranger that both API servers can be sent. Drawn from the seed.

use simulation::api_server::{Kind, Propagation};
use simulation::chance::Chance;

#[derive(Clone, Debug)]
pub enum Action {
    /// A user's.
    Make(Name),
    Remove(Name),
    /// A stranger creates an object of that name, with a selector of its own.
    Take(Kind, Name),
    Edit(Kind, Name),
    /// Replaces the ports of a Service by one without a name.
    EditPorts(Name),
    /// Changes the label that the operator's watches select by.
    Relabel(Kind, Name),
    Delete(Kind, Name),
    /// Deletes with this propagation: dependents go first, or stay.
    DeleteAs(Kind, Name, Propagation),
    Annotate(Kind, Name),
    /// Adds a finalizer.
    Hold(Kind, Name),
    /// Removes all finalizers, including the garbage collector's, which is stopped.
    LetGo(Kind, Name),
    /// The operator's.
    Get(Kind, Name),
    CreateService(Name),
    Apply {
        kind: Kind,
        name: Name,
        /// The fields of the spec. With a batch size it has another Service too.
        replicas: i32,
        batch: Option<u32>,
        force: bool,
        known: Precondition,
    },
    /// Sets the port of a spec with a batch size, or without, and deletes the others of its name, as the operator does,
    /// or leaves them.
    ReplacePorts {
        name: Name,
        batch: Option<u32>,
        deletes: bool,
        known: Precondition,
    },
    Status {
        name: Name,
        replicas: i32,
        known: Precondition,
    },
    /// All pages of a list, with this limit.
    List {
        kind: Kind,
        managed_only: bool,
        limit: usize,
    },
    Watch {
        kind: Kind,
        managed_only: bool,
        from: From,
    },
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Where the last list or watch of this kind ended.
    WhereItWas,
    /// With a list.
    AList,
    /// At a version that the API server has compacted long ago.
    LongAgo,
    /// At a future version.
    TheFuture,
}

pub type Name = &'static str;

/// The request's precondition on its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    Nothing,
    Uid,
    AnotherUid,
    ResourceVersion,
    AnotherResourceVersion,
}

const NAMES: [Name; 2] = ["one", "two"];

impl Action {
    pub fn draw(chance: &mut Chance) -> Action {
        let name = chance.pick(&NAMES).copied().unwrap_or_default();
        let child = chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service);
        let replicas = i32::try_from(chance.below(3)).unwrap_or(0);
        match chance.below(34) {
            0 | 1 => Action::Make(name),
            2 => Action::Remove(name),
            3 => Action::Take(child, name),
            4 => Action::Edit(child, name),
            5 => Action::Delete(child, name),
            6 => Action::Get(chance.pick(&[Kind::InferenceService, child]).copied().unwrap_or(child), name),
            7 => Action::CreateService(name),
            8 | 9 => {
                Action::Status { name, replicas, known: known(chance, &[Precondition::Uid, Precondition::AnotherUid]) }
            }
            10..=12 => {
                let kind = any_kind(chance);
                Action::List {
                    kind,
                    managed_only: chance.per_mille(700),
                    limit: chance.pick(&[1, 2]).copied().unwrap_or(1),
                }
            }
            13 | 14 => {
                let all = [
                    From::WhereItWas,
                    From::WhereItWas,
                    From::WhereItWas,
                    From::AList,
                    From::AList,
                    From::LongAgo,
                    From::TheFuture,
                ];
                let from = chance.pick(&all).copied().unwrap_or(From::AList);
                // For other kinds the API server may still have the whole history.
                let kind = if from == From::LongAgo { Kind::InferenceService } else { any_kind(chance) };
                Action::Watch { kind, managed_only: chance.per_mille(700), from }
            }
            15 => Action::Relabel(child, name),
            22 => {
                let propagation = chance.pick(&[Propagation::Foreground, Propagation::Orphan]).copied();
                Action::DeleteAs(any_kind(chance), name, propagation.unwrap_or(Propagation::Orphan))
            }
            23 | 24 => Action::Annotate(any_kind(chance), name),
            25 | 26 => Action::Hold(any_kind(chance), name),
            27..=29 => Action::LetGo(any_kind(chance), name),
            30 => Action::EditPorts(name),
            31..=33 => {
                let is_right = chance.per_mille(800);
                let known = if is_right { Precondition::ResourceVersion } else { Precondition::AnotherResourceVersion };
                Action::ReplacePorts { name, batch: draw_batch(chance), deletes: chance.per_mille(800), known }
            }
            _ => {
                let batch = draw_batch(chance);
                let all = [
                    Precondition::Nothing,
                    Precondition::Uid,
                    Precondition::AnotherUid,
                    Precondition::ResourceVersion,
                    Precondition::AnotherResourceVersion,
                ];
                let known = known(chance, &all);
                // Like the operator, which forces only if it knows the existing object.
                Action::Apply { kind: child, name, replicas, batch, force: known != Precondition::Nothing, known }
            }
        }
    }
}

fn any_kind(chance: &mut Chance) -> Kind {
    chance.pick(&[Kind::InferenceService, Kind::Deployment, Kind::Service]).copied().unwrap_or(Kind::Service)
}

fn draw_batch(chance: &mut Chance) -> Option<u32> {
    chance.per_mille(500).then_some(8)
}

fn known(chance: &mut Chance, all: &[Precondition]) -> Precondition {
    chance.pick(all).copied().unwrap_or(Precondition::Nothing)
}
