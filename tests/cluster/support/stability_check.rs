//! The invariants on a hostile cluster: the same process keeps running, its memory does not grow, it sends few
//! requests, and it reconciles the other InferenceServices.

use inference_operator::api::Phase;

use super::audit::{self, Mark, Request};
use super::fixture::Fixture;
use super::operator::Operator;

/// Bytes above the start value: three times the highest measured value, 150 kB (with glibc 104). It includes a
/// connection's buffers and the variation of malloc.
const GROWTH: u64 = 450 << 10;

/// The limit if many InferenceServices are reconciled at once, each with its buffers: 420 kB were measured, and 560
/// with glibc.
pub const GROWTH_OF_MANY: u64 = 1250 << 10;

pub struct StabilityCheck {
    pub operator: Operator,
    mark: Mark,
    bytes: u64,
    growth: u64,
}

impl StabilityCheck {
    /// Starts now, with an operator that is in sync.
    pub async fn of(operator: Operator) -> StabilityCheck {
        let bytes = operator.resident_bytes().await;
        StabilityCheck { operator, mark: audit::mark(), bytes, growth: GROWTH }
    }

    /// Replaces the default limit, in bytes, for a test whose measured value differs.
    pub fn may_grow_by(self, growth: u64) -> StabilityCheck {
        StabilityCheck { growth, ..self }
    }

    /// All requests since the start, except watches.
    pub fn requests(&self) -> Vec<Request> {
        let requests = audit::since(self.mark);
        requests.into_iter().filter(|request| request.verb != "watch").collect()
    }

    /// `most`: the limit for requests, without watches, including the 12 for the good neighbor. That name must be
    /// free.
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
