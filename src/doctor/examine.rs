//! Examines one URL: sends the requests, and returns what was observed.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use tokio::{join, select};

use super::connect::Connection;
use super::finding::Id;
use super::judge::probe::{Leave, Probed, timing};
use super::judge::request::Requested;
use super::judge::silence::Silence;
use super::judge::{Judged, refused};
use super::observation::{End, INTERRUPTED, Observation, span};
use super::observe::{Call, Observer};
use super::offset::Offset;
use super::readings::{Clocks, Reading, offset_of};
use crate::probe::Settings;
use crate::session::stream_id::StreamId;

/// How much longer than its script a stream may take.
const GRACE: Duration = Duration::from_secs(30);
/// How long a short question may take.
const ASK: Duration = Duration::from_secs(15);
/// How often the probe's clock is asked.
const CLOCKS: usize = 8;
/// A question that takes longer than this, in microseconds, is asked less often.
const SLOW: i64 = 500_000;
/// How often a probe that is busy is asked again, and the time between.
const RETRIES: usize = 20;
const PAUSE: Duration = Duration::from_secs(1);
/// The silence in which the doctor leaves.
const LEAVE: Duration = Duration::from_secs(4);
/// How often it is said that something lasts.
const TICK: Duration = Duration::from_secs(10);
/// How much later than the first request the second one is sent.
const SECOND_AFTER: Duration = Duration::from_millis(150);

/// Examines a URL with the probe at `path`. `idle` is the silence to test. If the user wants the report before the end,
/// streams that were not read to their end are left out, except for the main one.
pub(crate) async fn probe(
    observer: &Observer<'_>,
    path: &str,
    idle: Duration,
    say: &dyn Fn(&str),
) -> Probed {
    let plan = Settings {
        wait: Duration::from_millis(800),
        ..Settings::new(StreamId::random())
    };
    say("reading 20 events, ten per second ...");
    let mut probed = Probed {
        plan,
        main: stream(observer, path, &plan, None).await,
        offset: None,
        quick: None,
        silence: None,
        leave: None,
    };
    let is_answered = probed.main.status() == Some(200) && probed.main.facts.is_some();
    if !is_answered || observer.stop.is_set() {
        return probed;
    }
    let clocks = clocks(observer, path).await;
    probed.offset = offset_of(&probed.main, &clocks);
    if let Some(offset) = probed.offset
        && is_late(&probed, offset)
    {
        // A busy machine is late once; a hop is late every time.
        say("some events were late: reading the stream again ...");
        let again = stream(observer, path, &plan, None).await;
        let mut second = probed.clone();
        second.main = again;
        let other = offset_of(&second.main, &clocks);
        if second.main.is_whole() && other.is_some_and(|offset| !is_late(&second, offset)) {
            second.offset = other;
            probed = second;
        }
    }
    probed.quick = Box::pin(quick(observer, path, &probed)).await;
    if observer.stop.is_set() {
        probed.quick = probed.quick.filter(|quick| quick.is_whole());
        return probed;
    }
    say(&format!(
        "a silence of {} s, with and without heartbeats, and a client that leaves ...",
        idle.as_secs_f32()
    ));
    let offset = probed.offset;
    let both =
        Box::pin(async { join!(silence(observer, path, idle), leave(observer, path, offset)) });
    let (silence, leave) = ticking(observer, say, "still silent", both).await;
    let is_over = |seen: &Observation| seen.end != End::Interrupted;
    probed.silence = Some(silence).filter(|both| is_over(&both.idle) && is_over(&both.beats));
    probed.leave = Some(leave);
    probed
}

/// Waits for `work`, and says from time to time that it lasts.
async fn ticking<W: Future + Unpin>(
    observer: &Observer<'_>,
    say: &dyn Fn(&str),
    what: &str,
    mut work: W,
) -> W::Output {
    let began = observer.clock.now();
    loop {
        select! {
            done = &mut work => return done,
            () = sleep(TICK) => {
                let waited = span(observer.clock.now() - began);
                say(&format!("{what} after {waited}; Ctrl-C ends with a report ..."));
            }
        }
    }
}

/// Reads a stream whose events are closer together, if the times of the main stream are well. If it is late once, the
/// second one counts.
async fn quick(observer: &Observer<'_>, path: &str, probed: &Probed) -> Option<Observation> {
    let offset = probed.offset?;
    if is_late(probed, offset) {
        return None;
    }
    let mut tried = probed.clone();
    for _ in 0..2 {
        let plan = Settings {
            pace: Duration::from_millis(40),
            ..Settings::new(StreamId::random())
        };
        tried.quick = Some(stream(observer, path, &plan, None).await);
        if !is_late(&tried, offset) {
            break;
        }
    }
    tried.quick
}

/// Reports whether something about the times of the main stream is wrong that a busy machine could have caused.
fn is_late(probed: &Probed, offset: Offset) -> bool {
    let mut judged = Judged::default();
    timing(probed, offset, &mut judged);
    [
        Id::Buffered,
        Id::Coalesced,
        Id::EventsDelayed,
        Id::HeadDelayed,
    ]
    .into_iter()
    .any(|id| judged.has(id))
}

/// Reads a stream of the probe. Waits for a place if the probe is busy, unless `limit` says how long all may take.
async fn stream(
    observer: &Observer<'_>,
    path: &str,
    plan: &Settings,
    limit: Option<Duration>,
) -> Observation {
    let call = Call::get(
        asking(observer, path, &plan.query()),
        limit.unwrap_or_else(|| plan.total() + GRACE),
    );
    let leaves = limit.is_some();
    let enough =
        |seen: &Observation| leaves && seen.stamped().len() as u64 >= u64::from(plan.events);
    for _ in 0..RETRIES {
        let seen = observer.observe(&call, enough).await;
        if seen.status() != Some(503) || observer.stop.is_set() {
            return seen;
        }
        observer.pause(PAUSE).await;
    }
    observer.observe(&call, enough).await
}

/// Returns the path of the probe with a query. What the URL has in its query stays in it: a hop may want a key there.
fn asking(observer: &Observer<'_>, path: &str, query: &str) -> String {
    match observer.target.query() {
        Some(own) => format!("{path}?{own}&{query}"),
        None => format!("{path}?{query}"),
    }
}

/// Asks the probe's clock, over one connection if the hops keep it.
async fn clocks(observer: &Observer<'_>, path: &str) -> Clocks {
    let mut found = Clocks::default();
    let call = Call::get(asking(observer, path, "clock"), ASK);
    let mut connection = None;
    let mut failed = 0;
    for _ in 0..2 * CLOCKS {
        if found.requests.len() >= CLOCKS || failed >= CLOCKS {
            break;
        }
        let Ok(open) = opened(observer, &mut connection).await else {
            break;
        };
        let sent = observer.clock.now();
        let answered = observer.ask(open, &call).await;
        let arrived = observer.clock.now();
        match answered {
            Ok((200, body)) => {
                let Some(reading) = Reading::of(&body) else {
                    break;
                };
                found.add(sent, arrived, reading);
                if arrived - sent > SLOW && found.requests.len() >= 2 {
                    // Something holds every response back.
                    break;
                }
            }
            Ok(_) => break,
            Err(_) => {
                // Some hops close the connection after each response.
                failed += 1;
                connection = None;
            }
        }
    }
    found
}

/// Reads two streams with a silence, at the same time.
async fn silence(observer: &Observer<'_>, path: &str, idle: Duration) -> Silence {
    let idle_plan = Settings {
        events: 2,
        silence: idle,
        ..Settings::new(StreamId::random())
    };
    // As often as Weir does by default, or else so often that several fit in.
    let often = (idle / 5).clamp(Duration::from_millis(200), Duration::from_secs(15));
    let beats_plan = Settings {
        id: StreamId::random(),
        heartbeat: Some(often),
        ..idle_plan
    };
    let (idle, beats) = join!(
        stream(observer, path, &idle_plan, None),
        stream(observer, path, &beats_plan, None)
    );
    Silence {
        idle_plan,
        idle,
        beats_plan,
        beats,
    }
}

/// Leaves a stream in a silence, and asks the probe whether it has noticed.
async fn leave(observer: &Observer<'_>, path: &str, offset: Option<Offset>) -> Leave {
    let plan = Settings {
        events: 3,
        pace: Duration::from_millis(50),
        silence: LEAVE,
        ..Settings::new(StreamId::random())
    };
    // If something holds the events back, it leaves without them.
    let seen = stream(observer, path, &plan, Some(Duration::from_secs(2))).await;
    let left = seen.ended;
    if let Some(status) = seen.status().filter(|status| *status != 200) {
        return Leave::Unknown(refused(status));
    }
    match &seen.end {
        End::Left | End::StillGoing | End::TimedOut => {}
        End::Interrupted => return Leave::Unknown(INTERRUPTED.to_owned()),
        End::Failed(problem) | End::Broken(problem) => return Leave::Unknown(problem.clone()),
        End::Complete => {
            return Leave::Unknown("the stream ended before the client could leave".to_owned());
        }
    }
    let call = Call::get(asking(observer, path, &format!("left={}", plan.id)), ASK);
    let until = left + 2 * micros(LEAVE) + 2_000_000;
    let mut connection = None;
    let mut unknown = 0;
    loop {
        if observer.stop.is_set() {
            return Leave::Unknown(INTERRUPTED.to_owned());
        }
        let answered = match opened(observer, &mut connection).await {
            Ok(open) => observer.ask(open, &call).await,
            Err(problem) => Err(problem),
        };
        match answered {
            Ok((200, body)) => match became(&body, left, offset) {
                Became::Over(leave) => return leave,
                Became::Runs => unknown = 0,
                Became::Unreadable => unknown += 1,
            },
            Ok((404, _)) => {
                // Another instance may have it.
                unknown += 1;
                connection = None;
                if unknown > 10 {
                    return Leave::Unknown(
                        "none of the instances that answered knew the stream".to_owned(),
                    );
                }
            }
            Ok((status, _)) => {
                return Leave::Unknown(format!("the question got the status {status}"));
            }
            Err(problem) => {
                connection = None;
                unknown += 1;
                if unknown > 10 {
                    return Leave::Unknown(problem);
                }
            }
        }
        if unknown > 10 {
            return Leave::Unknown("the probe's answers could not be read".to_owned());
        }
        if observer.clock.now() > until {
            return Leave::Never;
        }
        observer.pause(Duration::from_millis(150)).await;
    }
}

/// Returns the open connection, or a new one.
async fn opened<'a>(
    observer: &Observer<'_>,
    connection: &'a mut Option<Connection>,
) -> Result<&'a mut Connection, String> {
    let open = match connection.take() {
        Some(open) => open,
        None => observer.dial().await?,
    };
    Ok(connection.insert(open))
}

/// What the probe says of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Over(Leave),
    Runs,
    Unreadable,
}

/// Reads what became of the stream that was left at this time.
fn became(body: &[u8], left: i64, offset: Option<Offset>) -> Became {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let state = value.get("state").and_then(Value::as_str);
    let number = |name: &str| value.get(name).and_then(Value::as_i64);
    match state {
        Some("complete") => Became::Over(Leave::Never),
        Some("runs") => Became::Runs,
        Some("left") => {
            let ended = number("ended_us").unwrap_or_default();
            let after = offset.map_or(0, |offset| (offset.local(ended) - left).max(0));
            // The three events, and the one after the silence.
            let sent = number("sent").unwrap_or_default();
            let leave = if sent > 3 || after >= micros(LEAVE) - 300_000 {
                Leave::AtNextEvent(after)
            } else {
                Leave::Noticed(after)
            };
            Became::Over(leave)
        }
        _ => Became::Unreadable,
    }
}

/// Examines a URL with the user's own request, `twice` at once if so.
pub(crate) async fn request(
    observer: &Observer<'_>,
    call: &Call,
    twice: bool,
    say: &dyn Fn(&str),
) -> Requested {
    if !twice {
        say("sending the request ...");
        let main = Box::pin(observer.observe(call, |_| false));
        return Requested {
            main: ticking(observer, say, "not over", main).await,
            second: None,
        };
    }
    say("sending the request twice at the same time ...");
    let second = async {
        observer.pause(SECOND_AFTER).await;
        observer.observe(call, |seen| seen.head.is_some()).await
    };
    let both = Box::pin(async { join!(observer.observe(call, |_| false), second) });
    let (main, second) = ticking(observer, say, "not over", both).await;
    Requested {
        main,
        second: Some(second),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::offset::estimate;
    use super::*;

    #[test]
    fn what_became_of_a_stream_is_read_from_its_answer() {
        let offset = estimate(&[(0, 1_000)], &[(1_000, 0)], 0);
        let found = |state: &str, ended: i64, sent: u32| {
            let body = serde_json::json!({ "state": state, "ended_us": ended, "sent": sent });
            became(body.to_string().as_bytes(), 50_000, offset)
        };
        let over = Became::Over;
        assert_eq!(found("runs", 0, 3), Became::Runs);
        assert_eq!(found("left", 61_000, 3), over(Leave::Noticed(10_000)));
        assert_eq!(found("complete", 61_000, 4), over(Leave::Never));
        let at_event = over(Leave::AtNextEvent(4_000_000));
        assert_eq!(found("left", 4_051_000, 4), at_event);
        assert_eq!(became(b"<html>", 0, offset), Became::Unreadable);
    }
}
