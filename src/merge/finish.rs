//! The rules by which a run of several agents ends.

use crate::config::{OnAgentFailure, OnAgentFinish};

/// The rules of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the end of an agent means.
    pub finish: OnAgentFinish,
    /// What the failure of an agent means.
    pub fail: OnAgentFailure,
}

/// What follows from the end of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The others go on.
    GoesOn,
    /// The run has finished. Those that still run are cancelled.
    Finishes,
    /// The run has failed. Those that still run are cancelled.
    Fails,
}

impl Rules {
    /// Decides what follows. For each agent, whether it has finished well; `None` if it still runs.
    pub fn decide(self, agents: &[Option<bool>]) -> Verdict {
        let any = |fate: Option<bool>| agents.contains(&fate);
        match (any(None), any(Some(true)), any(Some(false))) {
            (_, _, true) if self.stops_at_failure() => Verdict::Fails,
            (_, true, _) if self.finish == OnAgentFinish::Any => Verdict::Finishes,
            (true, ..) => Verdict::GoesOn,
            (false, true, _) => Verdict::Finishes,
            (false, false, _) => Verdict::Fails,
        }
    }

    /// Reports whether the failure of one agent is that of the run.
    pub fn stops_at_failure(self) -> bool {
        self.fail == OnAgentFailure::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_end_means_what_the_route_says() {
        use OnAgentFailure::{Continue, Stop};
        use OnAgentFinish::{All, Any};
        use Verdict::{Fails, Finishes, GoesOn};

        let (runs, well, failed) = (None, Some(true), Some(false));
        let table = [
            (All, Continue, vec![runs, well], GoesOn),
            (All, Continue, vec![runs, failed], GoesOn),
            (All, Continue, vec![well, failed], Finishes),
            (All, Continue, vec![well, well], Finishes),
            (All, Continue, vec![failed, failed], Fails),
            (All, Stop, vec![runs, failed], Fails),
            (All, Stop, vec![well, failed], Fails),
            (All, Stop, vec![runs, well], GoesOn),
            (Any, Continue, vec![runs, well], Finishes),
            (Any, Continue, vec![runs, failed], GoesOn),
            (Any, Continue, vec![failed, failed], Fails),
            (Any, Stop, vec![failed, runs], Fails),
        ];
        for (finish, fail, agents, expected) in table {
            let rules = Rules { finish, fail };
            assert_eq!(rules.decide(&agents), expected, "{rules:?} {agents:?}");
        }
    }
}
