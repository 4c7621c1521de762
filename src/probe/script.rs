//! The stream of the probe.
//!
//! ```text
//! head · preamble · wait · event 1 · pace · event 2 ... event n · silence, with comments · event n + 1 · end
//! ```
//!
//! Each event is one line of JSON behind `data: `, with its number and the time at which it was sent. A comment has the
//! same after a colon.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Place, Settings};
use crate::reply::body::Source;

/// The most bytes of the preamble that are sent at once: as many as an event may have.
const PIECE: usize = 8 * 1024;

/// The name under which an event says what it is. By it, an event of the probe can be told from any other.
pub const MARK: &str = "weir_probe";

/// A stream that runs.
#[derive(Debug)]
pub struct Script {
    place: Place,
    settings: Settings,
    /// What is left of the preamble.
    preamble: Bytes,
    /// When the head was sent, in microseconds since 1970.
    began_micros: u64,
    began: Instant,
    version: Version,
    next: Next,
    timer: Pin<Box<Sleep>>,
}

/// What is sent next, once it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Event(u32),
    /// The comment with this number, from 1.
    Comment(u32),
    /// The event after the silence.
    Last,
    End,
    Over,
}

impl Script {
    /// Begins a stream. `version` is what the request came with.
    pub fn begin(place: Place, settings: Settings, version: Version) -> Self {
        let began = Instant::now();
        Self {
            began_micros: place.probes().now(),
            place,
            settings,
            preamble: Bytes::new(),
            began,
            version,
            next: Next::Event(1),
            timer: Box::pin(sleep_until(began + settings.wait)),
        }
    }

    /// Sends `preamble` ahead of everything.
    #[must_use]
    pub fn after_preamble(self, preamble: Bytes) -> Self {
        Self { preamble, ..self }
    }

    /// Returns when the head was sent, in microseconds since 1970.
    pub const fn began(&self) -> u64 {
        self.began_micros
    }

    /// Returns what comes after `now`, and when.
    fn after(&self, now: Next) -> (Next, Instant) {
        let Settings {
            events,
            pace,
            wait,
            silence,
            heartbeat,
            ..
        } = self.settings;
        let first = self.began + wait;
        let silent = first + pace * events.saturating_sub(1);
        let comment = |number: u32| {
            let at = heartbeat.map(|every| every * number);
            match at.filter(|at| *at < silence) {
                Some(at) => (Next::Comment(number), silent + at),
                None => (Next::Last, silent + silence),
            }
        };
        match now {
            Next::Event(number) if number < events => {
                (Next::Event(number + 1), first + pace * number)
            }
            Next::Event(_) if silence > Duration::ZERO => comment(1),
            Next::Comment(number) => comment(number + 1),
            Next::Event(_) | Next::Last => (Next::End, silent),
            Next::End | Next::Over => (Next::Over, silent),
        }
    }

    fn written(&self, what: Next) -> String {
        let now = self.place.probes().now();
        match what {
            Next::Event(1) => {
                let more = format!(
                    ",\"began_us\":{},\"instance\":\"{}\",\"version\":\"{:?}\"",
                    self.began_micros,
                    self.place.probes().instance(),
                    self.version,
                );
                self.event(1, now, &more)
            }
            Next::Event(number) => self.event(number, now, ""),
            Next::Last => self.event(self.settings.events.saturating_add(1), now, ""),
            Next::Comment(number) => format!(": {MARK} {number} {now}\n\n"),
            Next::End | Next::Over => format!("data: {{\"{MARK}\":\"end\",\"sent_us\":{now}}}\n\n"),
        }
    }

    fn event(&self, number: u32, now: u64, more: &str) -> String {
        let mut text = format!(
            "data: {{\"{MARK}\":\"event\",\"seq\":{number},\"sent_us\":{now}{more},\"pad\":\""
        );
        let fill = self.settings.size.saturating_sub(text.len() + 4);
        text.extend(std::iter::repeat_n('.', fill));
        text.push_str("\"}\n\n");
        text
    }
}

impl Source for Script {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.next == Next::Over {
            return Poll::Ready(None);
        }
        if !self.preamble.is_empty() {
            let size = self.preamble.len().min(PIECE);
            return Poll::Ready(Some(self.preamble.split_to(size)));
        }
        ready!(self.timer.as_mut().poll(cx));
        let what = self.next;
        let text = self.written(what);
        let (next, at) = self.after(what);
        if next == Next::Over {
            self.place.complete();
        } else {
            self.place.note_sent();
            self.timer.as_mut().reset(at);
        }
        self.next = next;
        Poll::Ready(Some(Bytes::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::super::{Probes, State};
    use super::*;
    use crate::session::stream_id::StreamId;

    const MS: Duration = Duration::from_millis(1);

    async fn all(script: &mut Script) -> Vec<(u128, String)> {
        let mut found = Vec::new();
        while let Some(bytes) = poll_fn(|cx| script.poll_next(cx)).await {
            let at = script.began.elapsed().as_millis();
            found.push((at, String::from_utf8(bytes.to_vec()).unwrap()));
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn the_script_keeps_its_times() {
        let probes = Arc::new(Probes::default());
        let id = StreamId::random();
        let settings = Settings {
            events: 3,
            pace: 100 * MS,
            size: 300,
            wait: 50 * MS,
            silence: 500 * MS,
            heartbeat: Some(200 * MS),
            ..Settings::new(id)
        };
        let place = probes.begin(id).unwrap();
        let mut script = Script::begin(place, settings, Version::HTTP_11);
        let began = script.began();
        let sent = all(&mut script).await;
        let times: Vec<u128> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [50, 150, 250, 450, 650, 750, 750]);
        let (_, first) = &sent[0];
        assert_eq!(first.len(), 300);
        let json: serde_json::Value =
            serde_json::from_str(first.trim().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json[MARK], "event");
        assert_eq!(json["version"], "HTTP/1.1");
        assert_eq!(json["began_us"], began);
        assert_eq!(json["sent_us"], began + 50_000);
        assert!(sent[3].1.starts_with(": weir_probe 1 "));
        assert!(sent[5].1.contains("\"seq\":4"));
        assert!(sent[6].1.contains("\"end\""));
        drop(script);
        assert_eq!(probes.find(id).unwrap().state, State::Complete);
    }

    #[tokio::test(start_paused = true)]
    async fn without_silence_the_end_follows_the_last_event() {
        let probes = Arc::new(Probes::default());
        let id = StreamId::random();
        let place = probes.begin(id).unwrap();
        let settings = Settings {
            events: 2,
            ..Settings::new(id)
        };
        let mut script = Script::begin(place, settings, Version::HTTP_2);
        let sent = all(&mut script).await;
        let times: Vec<u128> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 100, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_preamble_comes_at_once_and_in_pieces() {
        let probes = Arc::new(Probes::default());
        let id = StreamId::random();
        let place = probes.begin(id).unwrap();
        let settings = Settings {
            events: 1,
            wait: 50 * MS,
            ..Settings::new(id)
        };
        let script = Script::begin(place, settings, Version::HTTP_11);
        let preamble = Bytes::from(vec![b' '; 2 * PIECE + 1]);
        let sent = all(&mut script.after_preamble(preamble)).await;
        let sizes = sent.iter().map(|(at, text)| (*at, text.len()));
        let pieces = [(0, PIECE), (0, PIECE), (0, 1)];
        assert_eq!(sizes.take(3).collect::<Vec<_>>(), pieces);
        assert_eq!(sent[3].0, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_that_is_dropped_was_left() {
        let probes = Arc::new(Probes::default());
        let id = StreamId::random();
        let place = probes.begin(id).unwrap();
        let mut script = Script::begin(place, Settings::new(id), Version::HTTP_11);
        poll_fn(|cx| script.poll_next(cx)).await.unwrap();
        drop(script);
        let found = probes.find(id).unwrap();
        assert_eq!((found.state, found.sent), (State::Left, 1));
    }
}
