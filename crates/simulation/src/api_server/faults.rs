//! What goes wrong between the operator and the API server, drawn for each request and each line of a
//! watch. Used by the server; once `on` is false, nothing goes wrong any more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Kind;
use super::outage::Outage;
use crate::chance::Chance;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    Served,
    /// Refused with this code before anything was done.
    Refused(u16),
    /// The connection is gone before the server has it.
    NotReceived,
    /// It is done, and the answer is lost.
    Unanswered,
    /// It is done, and the answer never ends.
    Hanging,
    /// It is done, and the answer breaks off in the middle.
    CutShort,
    Late(Duration),
}

/// What becomes of a line of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineHandling {
    Sent,
    Late(Duration),
    /// The watch ends before it, as if the server had wanted so.
    Ended,
    /// The connection breaks in the middle of it.
    Broken,
    /// 410 in its place.
    Expired,
}

/// The operator's process is killed, and the server has done what it asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    BeforeTheAnswer,
    /// It has read the answer, and has not done anything about it that anybody can see.
    AfterTheAnswer,
}

/// How a watch is refused from one version on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    pub version: u64,
    /// 200, and then a line that says the error; else 504.
    pub inside: bool,
}

pub struct Faults {
    pub chance: Chance,
    pub on: bool,
    /// Faults in a thousand requests or lines.
    pub rate: u64,
    /// Kills in a thousand requests.
    pub kills: u64,
    /// False: the server refuses streaming lists, as with the feature WatchList off.
    pub streams_lists: bool,
    /// True: a streaming list begins well and then fails, inside the stream.
    pub breaks_streams: bool,
    /// What is refused for the time being.
    pub outage: Option<Outage>,
    /// A watch of this kind from here on is refused, until a list is asked for: as an error, or inside the stream.
    pub poisoned: BTreeMap<Kind, Poison>,
    /// How many there were.
    pub count: u64,
    /// Of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

const CODES: [u16; 8] = [429, 500, 503, 504, 403, 409, 401, 410];

impl Faults {
    /// Nothing goes wrong until somebody says so.
    pub fn none(chance: Chance) -> Faults {
        Faults {
            chance,
            on: false,
            rate: 0,
            kills: 0,
            streams_lists: true,
            breaks_streams: false,
            outage: None,
            poisoned: BTreeMap::new(),
            count: 0,
            kinds: BTreeMap::new(),
        }
    }

    pub fn kill(&mut self) -> Option<Kill> {
        if !self.on || !self.chance.per_mille(self.kills) {
            return None;
        }
        self.note("kills");
        self.chance.pick(&[Kill::BeforeTheAnswer, Kill::AfterTheAnswer]).copied()
    }

    pub fn handling(&mut self) -> Handling {
        if !self.on || !self.chance.per_mille(self.rate) {
            return Handling::Served;
        }
        let (handling, kind) = match self.chance.below(8) {
            0 => (Handling::NotReceived, "unheard"),
            1 => (Handling::Unanswered, "unanswered"),
            2 => (Handling::Hanging, "without end"),
            3 => (Handling::CutShort, "cut short"),
            4 => (Handling::Late(self.chance.up_to(Duration::from_secs(40))), "late"),
            _ => (Handling::Refused(self.chance.pick(&CODES).copied().unwrap_or(500)), "refused"),
        };
        self.note(kind);
        handling
    }

    pub fn line_handling(&mut self) -> LineHandling {
        if !self.on || !self.chance.per_mille(self.rate) {
            return LineHandling::Sent;
        }
        let (handling, kind) = match self.chance.below(5) {
            0 => (LineHandling::Ended, "watches ended"),
            1 => (LineHandling::Broken, "watches broken"),
            2 => (LineHandling::Expired, "watches expired"),
            _ => (LineHandling::Late(self.chance.up_to(Duration::from_secs(90))), "events late"),
        };
        self.note(kind);
        handling
    }

    /// How far a list from the API server's memory is behind, in resourceVersions.
    pub fn staleness(&mut self) -> u64 {
        self.up_to(300, 12, "lists from the past")
    }

    /// How many events a watch that is opened again repeats.
    pub fn repeats(&mut self) -> u64 {
        self.up_to(200, 6, "watches repeated")
    }

    fn up_to(&mut self, per_mille: u64, end: u64, kind: &'static str) -> u64 {
        if !self.on || self.rate == 0 || !self.chance.per_mille(per_mille) {
            return 0;
        }
        self.note(kind);
        self.chance.below(end)
    }

    fn note(&mut self, kind: &'static str) {
        self.count += 1;
        *self.kinds.entry(kind).or_default() += 1;
    }
}
