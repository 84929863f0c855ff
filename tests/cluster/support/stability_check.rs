//! What must hold however hostile the cluster is: the same process lives on, in the same memory, asks for little, and
//! serves the others.

use inference_operator::api::Phase;

use super::audit::{self, Mark, Request};
use super::fixture::Fixture;
use super::operator::Operator;

/// Bytes on top of what it had when it began: three times the most that was measured, 150 kB (with glibc 104). A
/// connection's buffers and a malloc's mood are in it.
const GROWTH: u64 = 450 << 10;

/// Where many are served at once, each of which has buffers: 420 kB were measured, and 560 with glibc.
pub const GROWTH_OF_MANY: u64 = 1250 << 10;

pub struct StabilityCheck {
    pub operator: Operator,
    mark: Mark,
    bytes: u64,
    growth: u64,
}

impl StabilityCheck {
    /// Begins now, with an operator that is in sync.
    pub async fn of(operator: Operator) -> StabilityCheck {
        let bytes = operator.resident_bytes().await;
        StabilityCheck { operator, mark: audit::mark(), bytes, growth: GROWTH }
    }

    /// By so many bytes and no more, because other than the rest was measured.
    pub fn may_grow_by(self, growth: u64) -> StabilityCheck {
        StabilityCheck { growth, ..self }
    }

    /// All that was asked for since it began.
    pub fn requests(&self) -> Vec<Request> {
        let requests = audit::since(self.mark);
        requests.into_iter().filter(|request| request.verb != "watch").collect()
    }

    /// `most`: requests but for watches, of the good neighbour too, which has 12. Its name must be free.
    pub async fn ends_well(mut self, fixture: &Fixture, most: usize) -> Operator {
        fixture.create("good-neighbour", 1).await;
        fixture.until("good-neighbour", Phase::Ready).await;
        assert!(self.operator.is_alive(), "it ended");
        let grown = self.operator.resident_bytes().await.saturating_sub(self.bytes);
        let requests = self.requests();
        println!("{} requests of {most}, {} kB more", requests.len(), grown >> 10);
        assert!(grown < self.growth, "it has grown by {grown} bytes");
        assert!(requests.len() <= most, "{} requests instead of {most}: {requests:?}", requests.len());
        self.operator
    }
}
