//! The faults between the operator and the API server, drawn for each request and each line of a watch. Used by the
//! server; there are none once `on` is false.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Kind;
use super::outage::Outage;
use crate::chance::Chance;

/// How a request is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    Served,
    /// Rejected with this code before it is processed.
    Refused(u16),
    /// The connection is lost before the server receives it.
    NotReceived,
    /// Processed, but the response is lost.
    Unanswered,
    /// Processed, but the response never ends.
    Hanging,
    /// Processed, but the response is cut off in the middle.
    CutShort,
    Late(Duration),
}

/// How a line of a watch is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineHandling {
    Sent,
    Late(Duration),
    /// The watch ends before it, as if the server had closed it.
    Ended,
    /// The connection breaks in the middle of the line.
    Broken,
    /// Replaced by 410.
    Expired,
}

/// The operator's process is killed after the server has processed its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    BeforeTheAnswer,
    /// The process has read the response, but done nothing visible about it yet.
    AfterTheAnswer,
}

/// How a watch is rejected from a version on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    pub version: u64,
    /// True: 200, then an error line in the stream; false: 504.
    pub inside: bool,
}

#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Faults {
    pub chance: Chance,
    pub on: bool,
    /// Faults per thousand requests or lines.
    pub rate: u64,
    /// Kills per thousand requests.
    pub kills: u64,
    /// False: the server rejects streaming lists, as without the feature gate WatchList.
    pub streams_lists: bool,
    /// True: a streaming list starts normally and then fails, inside the stream.
    pub breaks_streams: bool,
    /// Requests about the catalogue meet no fault and draw nothing, so that seeds in which there is none mean what they
    /// meant before.
    pub spares_catalog: bool,
    /// The requests that are currently rejected.
    pub outage: Option<Outage>,
    /// Watches of this kind from this version on are rejected until the next list, with an error or inside the
    /// stream.
    pub poisoned: BTreeMap<Kind, Poison>,
    /// The number of faults.
    pub count: u64,
    /// The number of faults of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

const CODES: [u16; 8] = [429, 500, 503, 504, 403, 409, 401, 410];

/// A kind of fault: see `Faults::staleness`.
pub const FROM_THE_PAST: &str = "lists from the past";

impl Faults {
    /// No faults until they are switched on.
    pub fn none(chance: Chance) -> Faults {
        Faults {
            chance,
            on: false,
            rate: 0,
            kills: 0,
            streams_lists: true,
            breaks_streams: false,
            spares_catalog: true,
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

    /// How many resourceVersions a list from the watch cache is behind.
    pub fn staleness(&mut self) -> u64 {
        self.up_to(300, 12, FROM_THE_PAST)
    }

    /// How many events a reopened watch repeats.
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
