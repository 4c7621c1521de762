//! Decides when and why a stream ends: with its input, or by a deadline. A client that leaves and a stop on request are
//! decided where they are noticed, in the pump.

use tokio::time::Instant;

use super::Pump;
use super::api::{Failure, Progress};
use super::state::State;
use crate::end::End;
use crate::stream::pipeline::{InputEnd, Verdict};

impl Pump {
    /// Returns how the stream ends with this read, if it does.
    pub(super) fn end_of_input(
        &mut self,
        result: Result<Progress, Failure>,
        now: Instant,
    ) -> Option<Failure> {
        let (intake, egress) = (&mut self.ingress.intake, &mut self.egress);
        if intake.merges {
            // Each of them has ended before, for a reason of its own.
            return match result {
                Ok(Progress::End) => Some(End::Finished.into()),
                Ok(_) => None,
                Err(failure) => Some(failure),
            };
        }
        if let Some(end) = intake.fault().or_else(|| intake.terminal()) {
            return Some(end.into());
        }
        if matches!(result, Ok(Progress::More | Progress::Drained)) {
            return None;
        }
        let how = if result.is_ok() {
            InputEnd::Clean
        } else {
            InputEnd::Broken
        };
        let verdict = intake.finish(how, egress, now);
        if verdict == Verdict::Complete
            && let Some(end) = intake.terminal()
        {
            // The dialect's terminal event was received; how the transport ended does not matter.
            return Some(end.into());
        }
        Some(match (result, verdict) {
            (Err(failure), _) => failure,
            (Ok(_), Verdict::Complete) => End::Finished.into(),
            (Ok(_), Verdict::Truncated) => End::Truncated.into(),
        })
    }

    /// Returns how the stream ends because a deadline has passed at `now`, if one has.
    pub(super) fn end_by_deadline(&mut self, now: Instant) -> Option<Failure> {
        let end = self.expired(now)?;
        // `Finished` and `UpstreamError` by deadline: nothing followed a possible end for `after_end`.
        let silence = !matches!(end, End::ClientStalled | End::TotalTimeout);
        if silence && matches!(self.state, State::Resting { .. }) {
            // The source was not read: the upstream may have sent something.
            self.state = State::Reading;
            return None;
        }
        // Nothing followed a possible end for `after_end`, so it was the end.
        let possible = self.ingress.intake.possible_end().filter(|_| silence);
        let end = possible.unwrap_or(end);
        if end == End::FirstEventTimeout {
            self.ingress.report_failure();
        }
        Some(end.into())
    }

    /// Returns the deadline that has passed at `now`; the earliest one if several have.
    fn expired(&self, now: Instant) -> Option<End> {
        let total = (self.total_at <= now).then_some((self.total_at, End::TotalTimeout));
        let all = [
            self.ingress.intake.clocks.expired(now),
            total,
            self.egress.clocks.expired(now),
        ];
        let passed = all.into_iter().flatten();
        passed.min_by_key(|(at, _)| *at).map(|(_, end)| end)
    }
}
