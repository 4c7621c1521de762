//! Findings of the streams with a silence, without heartbeats and with them.

use std::time::Duration;

use super::super::finding::Id;
use super::super::observation::{End, Observation, span};
use super::{Judged, refused, together, why};
use crate::probe::Settings;

/// Two streams with a silence, at the same time: without heartbeats, and with them.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    pub(crate) idle_plan: Settings,
    pub(crate) idle: Observation,
    pub(crate) beats_plan: Settings,
    pub(crate) beats: Observation,
}

/// Finds what a silence does to a stream.
pub(crate) fn judge(silence: &Silence, judged: &mut Judged) {
    let Silence {
        idle_plan,
        idle,
        beats_plan,
        beats,
    } = silence;
    together(idle, beats, judged);
    if let Some(status @ (500..=502 | 504..)) = idle.status() {
        // The silence was over before the head had been passed on.
        judged.find(
            Id::IdleCut,
            format!(
                "a stream with a silence of {} got the status {status} after {}",
                span(micros(idle_plan.silence)),
                span(idle.ended - idle.asked)
            ),
        );
        return;
    }
    let is_left = |seen: &Observation| seen.is_unfinished() || seen.end == End::TimedOut;
    if [idle, beats]
        .into_iter()
        .any(|seen| is_left(seen) && seen.head.is_some())
    {
        let why = "silence, because streams with one did not end in time";
        judged.not_examined.push(why.to_owned());
        return;
    }
    let asked = |seen: &Observation| seen.status() == Some(200);
    if !asked(idle) || !asked(beats) {
        let status = idle.status().into_iter().chain(beats.status()).max();
        let why = match status {
            Some(status) if status != 200 => refused(status),
            _ => "a second stream got no response".to_owned(),
        };
        judged.not_examined.push(format!("silence, because {why}"));
        return;
    }
    let every = micros(beats_plan.heartbeat.unwrap_or_default()).max(1);
    let lives = beats.is_whole();
    let silent = micros(beats_plan.silence);
    let lasted = if lives {
        silent
    } else {
        cut_after(beats, beats_plan).min(silent)
    };
    // One that is due at the very end may be missed.
    let expected = (lasted - 100_000).max(0) / every;
    let came = i64::try_from(beats.heartbeats()).unwrap_or(i64::MAX);
    let stripped = expected >= 2 && came * 2 < expected;
    let age = |seen: &Observation| seen.ended - seen.asked;
    let at_one_age = (age(idle) - age(beats)).abs() < 300_000 + age(beats) / 10;
    // A cut before the first heartbeat says nothing about a limit for the whole response.
    let limited = !lives && !stripped && came > 0 && (idle.is_whole() || at_one_age);
    if !idle.is_whole() && !limited {
        let with = if stripped {
            String::new()
        } else if lives {
            format!("; with a heartbeat every {} the stream stays", span(every))
        } else {
            format!("; a heartbeat every {} is too seldom", span(every))
        };
        judged.find(
            Id::IdleCut,
            format!(
                "the stream was cut after {} of a silence of {}{}{with}",
                span(cut_after(idle, idle_plan)),
                span(micros(idle_plan.silence)),
                why(&idle.end)
            ),
        );
    }
    if stripped {
        judged.find(
            Id::HeartbeatsStripped,
            format!(
                "{came} of {expected} comments arrived, one was sent every {}",
                span(every)
            ),
        );
    }
    if limited {
        judged.find(
            Id::Cut,
            format!(
                "the stream was cut {} after its begin, although a heartbeat came every {}{}: a limit for the whole response",
                span(age(beats)),
                span(every),
                why(&beats.end)
            ),
        );
    }
}

/// Returns how long a stream had been silent when it was cut.
fn cut_after(seen: &Observation, plan: &Settings) -> i64 {
    let paced = micros(plan.wait) + micros(plan.pace) * i64::from(plan.events.saturating_sub(1));
    let events = seen.events();
    let since = events.last().copied().unwrap_or(seen.asked + paced);
    (seen.ended - since).max(0)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
