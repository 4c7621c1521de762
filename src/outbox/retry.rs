//! When a record is sent again after an attempt failed, and when it is given up.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::room::{GivenUp, Phase, Place};

/// Maximum number of attempts of one record.
const MAX_ATTEMPTS: u32 = 8;
/// The longest pause after the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(5 * 60);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another attempt may succeed, after the time that the receiver asks for, if it does.
    Later(Option<Duration>),
    /// The receiver does not want the record.
    Refused,
}

/// Makes attempts until one succeeds, the receiver refuses, there were enough, or the process ends.
pub(super) async fn deliver<F>(place: Place, mut attempt: impl FnMut() -> F)
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut phase = place.phase();
    let end = tokio::select! {
        end = tries(&place, &mut attempt) => end,
        () = reached(&mut phase, Phase::Over) => Err(GivenUp::Shutdown),
    };
    place.settle(end);
}

async fn tries<F>(place: &Place, attempt: &mut impl FnMut() -> F) -> Result<(), GivenUp>
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut phase = place.phase();
    let mut failures = 0;
    loop {
        let is_last = *phase.borrow() != Phase::Open;
        let asked = match attempt().await {
            Ok(()) => return Ok(()),
            Err(Failure::Refused) => return Err(GivenUp::Refused),
            Err(Failure::Later(asked)) => asked,
        };
        failures += 1;
        if is_last {
            return Err(GivenUp::Shutdown);
        }
        let pause = pause(failures, asked, share()).ok_or(GivenUp::Failed)?;
        tokio::select! {
            () = sleep(pause) => {}
            () = reached(&mut phase, Phase::Draining) => {}
        }
        place.retried();
    }
}

/// Waits until the process is as near to its end.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender lives as long as the place.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Returns how long to wait after this many failures, or `None` if there were enough. `share` is the part of the pause
/// that is waited for: it differs from record to record, so that they do not all come back at once.
fn pause(failures: u32, asked: Option<Duration>, share: f64) -> Option<Duration> {
    if failures >= MAX_ATTEMPTS {
        return None;
    }
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let own = doubled.min(LONGEST).mul_f64(share);
    Some(own.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
}

/// Returns a random number from 0.5 to 1. Without a random source it is 1.
fn share() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::outbox::room::tests::kept;
    use crate::outbox::room::{Counted, Room};

    /// Delivers a record whose attempts end as `outcomes` say, the last one again and again. Returns the pauses between
    /// them in milliseconds, and what was counted.
    async fn deliver_to(outcomes: &[Result<(), Failure>]) -> (Vec<u128>, Vec<Counted>) {
        let (tally, counted) = kept();
        let room = Arc::new(Room::new(tally));
        let mut times = Vec::new();
        deliver(room.enter(1).unwrap(), || {
            let outcome = outcomes[times.len().min(outcomes.len() - 1)];
            times.push(Instant::now());
            ready(outcome)
        })
        .await;
        assert_eq!(room.waiting().records, 0);
        let pauses = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis());
        (pauses.collect(), counted.take())
    }

    const LATER: Result<(), Failure> = Err(Failure::Later(None));

    const fn after(seconds: u64) -> Result<(), Failure> {
        Err(Failure::Later(Some(Duration::from_secs(seconds))))
    }

    #[tokio::test(start_paused = true)]
    async fn each_pause_is_longer_and_the_eighth_failure_is_the_last() {
        let (pauses, counted) = deliver_to(&[LATER]).await;
        assert_eq!(pauses.len(), 7);
        for (pause, most) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60_u128]) {
            // A timer is up to a millisecond late.
            assert!((most * 500..=most * 1000 + 1).contains(pause), "{pauses:?}");
        }
        let mut want = vec![Counted::Retried; 7];
        want.push(Counted::GivenUp(GivenUp::Failed));
        assert_eq!(counted, want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_may_ask_for_five_minutes() {
        let outcomes = [after(0), after(90), after(86_400), Ok(())];
        let (pauses, counted) = deliver_to(&outcomes).await;
        assert!((500..=1001).contains(&pauses[0]), "{pauses:?}");
        assert!((90_000..=90_001).contains(&pauses[1]), "{pauses:?}");
        assert!((300_000..=300_001).contains(&pauses[2]), "{pauses:?}");
        assert_eq!(counted[3], Counted::Sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        let (pauses, counted) = deliver_to(&[LATER, Err(Failure::Refused), Ok(())]).await;
        assert_eq!(pauses.len(), 1);
        let refused = Counted::GivenUp(GivenUp::Refused);
        assert_eq!(counted, [Counted::Retried, refused]);
    }

    #[test]
    fn pauses_have_bounds() {
        let whole = |failures| pause(failures, None, 1.0).map(|pause| pause.as_secs());
        assert_eq!(
            [1, 2, 6, 7].map(whole),
            [Some(1), Some(2), Some(32), Some(60)]
        );
        assert_eq!(whole(8), None);
        assert_eq!(pause(8, Some(FIRST), 1.0), None, "however politely it asks");
        for _ in 0..100 {
            assert!((0.5..=1.0).contains(&share()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_makes_one_more_attempt_at_once() {
        let (tally, counted) = kept();
        let room = Arc::new(Room::new(tally));
        let began = Instant::now();
        let mut attempts = 0;
        let delivery = deliver(room.enter(1).unwrap(), || {
            attempts += 1;
            ready(after(300))
        });
        let lost = async {
            tokio::task::yield_now().await;
            room.drain(began + Duration::from_secs(5)).await
        };
        let ((), lost) = tokio::join!(delivery, lost);
        assert_eq!((attempts, lost), (2, 1));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let shutdown = Counted::GivenUp(GivenUp::Shutdown);
        assert_eq!(counted.take(), [Counted::Retried, shutdown]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_ends_with_the_drain() {
        let (tally, counted) = kept();
        let room = Arc::new(Room::new(tally));
        let began = Instant::now();
        let delivery = deliver(room.enter(1).unwrap(), pending);
        let drain = room.drain(began + Duration::from_secs(5));
        let ((), lost) = tokio::join!(delivery, drain);
        assert_eq!((lost, began.elapsed().as_secs()), (1, 5));
        assert_eq!(counted.take(), [Counted::GivenUp(GivenUp::Shutdown)]);
    }
}
