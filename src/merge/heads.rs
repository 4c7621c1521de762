//! When the head of a merged stream goes out: with the head of the first agent that streams, or when the route does not
//! wait any longer.

use std::future::poll_fn;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::agent::{Head, Opening, Refused};
use super::finish::Rules;

/// How the agents have answered.
#[derive(Debug)]
pub enum Heads {
    /// The stream begins.
    Begin(Vec<Head>),
    /// Nobody streams, or the route asks for all: this was the first refusal.
    Refused(Refused),
}

/// Waits for the first agent that streams, for the refusals of all, or until `until`. Dropping the future cancels all
/// calls.
pub async fn first(openings: Vec<Opening>, rules: Rules, until: Option<Instant>) -> Heads {
    let mut heads: Vec<Head> = openings.into_iter().map(Head::Opening).collect();
    let mut timer = until.map(|at| Box::pin(sleep_until(at)));
    let mut refusal = None;
    poll_fn(|cx| {
        let (mut streams, mut waits) = (false, false);
        for (index, head) in heads.iter_mut().enumerate() {
            let Head::Opening(opening) = head else {
                continue;
            };
            let answered = opening.as_mut().poll(cx);
            match answered {
                Poll::Pending => waits = true,
                Poll::Ready(Ok(opened)) => {
                    streams = true;
                    *head = Head::Opened(opened);
                }
                Poll::Ready(Err(refused)) => {
                    refusal.get_or_insert(index);
                    *head = Head::Refused(refused);
                }
            }
        }
        let is_over = rules.stops_at_failure() || (!streams && !waits);
        if is_over
            && let Some(first) = refusal
            && let Some(Head::Refused(refused)) = std::mem::take(&mut heads).into_iter().nth(first)
        {
            return Poll::Ready(Heads::Refused(refused));
        }
        let late = (timer.as_mut()).is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if streams || late || !waits {
            return Poll::Ready(Heads::Begin(std::mem::take(&mut heads)));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use tokio::time::sleep;

    use super::*;
    use crate::config::{OnAgentFailure, OnAgentFinish};
    use crate::end::End;
    use crate::merge::tests::opened;

    fn after(millis: u64, status: Option<u16>) -> Opening {
        Box::pin(async move {
            sleep(Duration::from_millis(millis)).await;
            match status {
                None => Ok(opened(Vec::new())),
                Some(status) => Err(Refused {
                    failure: End::UpstreamError.into(),
                    status: StatusCode::from_u16(status).unwrap(),
                    answer: None,
                }),
            }
        })
    }

    async fn outcome(agents: Vec<Opening>, fail: OnAgentFailure, until: Option<u64>) -> String {
        let rules = Rules {
            finish: OnAgentFinish::All,
            fail,
        };
        let until = until.map(|millis| Instant::now() + Duration::from_millis(millis));
        match first(agents, rules, until).await {
            Heads::Begin(heads) => format!("{heads:?}"),
            Heads::Refused(refused) => refused.status.as_u16().to_string(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_stream_begins_and_only_refusals_of_all_are_one() {
        use OnAgentFailure::{Continue, Stop};

        let agents = || vec![after(5, Some(503)), after(10, None), after(20, Some(429))];
        let begun = "[Refused, Opened, Opening]";
        assert_eq!(outcome(agents(), Continue, None).await, begun);
        assert_eq!(outcome(agents(), Stop, None).await, "503");
        let refused = || vec![after(10, Some(503)), after(5, Some(429))];
        assert_eq!(outcome(refused(), Continue, None).await, "429");
        let late = outcome(agents(), Continue, Some(7)).await;
        assert_eq!(late, "[Refused, Opening, Opening]");
    }
}
