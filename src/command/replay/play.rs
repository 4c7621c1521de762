//! Plays one response to one client, with its faults.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::faults::{Faults, When};
use super::gzip::Gzip;
use super::script::{Delimiter, Script};
use super::speed::Speed;
use crate::recording::Ending;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Closes,
    /// The connection cannot be written to.
    Gone,
    Resets,
    Stays,
}

/// The facts of the request that a response depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestFacts {
    /// When all of it had come.
    pub(super) at: Instant,
    /// The client closes the connection after the response.
    pub(super) closes: bool,
    /// HTTP/1.0.
    pub(super) is_old: bool,
    /// The response has no body.
    pub(super) is_head: bool,
}

/// How all responses are played.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) faults: Faults,
    pub(super) speed: Speed,
}

/// Plays `script` to `out`. Faults at a time count from the request on, whatever the speed.
pub(super) async fn play(
    out: &mut (impl AsyncWrite + Unpin),
    script: &Script,
    manner: &Manner,
    request: RequestFacts,
) -> Outcome {
    let faults = &manner.faults;
    let player = Player {
        out,
        script,
        manner,
        request,
        delimiter: script.delimiter(request.is_old),
        gzip: script.gzip.then(Gzip::new),
        sent: 0,
    };
    let playing = async {
        tokio::select! {
            biased;
            () = due(faults.stall, request.at) => pending().await,
            outcome = player.run() => match outcome {
                Ok(outcome) => outcome,
                Err(Stop::Fault(outcome)) => outcome,
                Err(Stop::Io) => Outcome::Gone,
            },
        }
    };
    tokio::select! {
        biased;
        () = due(faults.reset, request.at) => Outcome::Resets,
        () = due(faults.cut, request.at) => Outcome::Closes,
        outcome = playing => outcome,
    }
}

/// Waits until a fault is due by the clock.
async fn due(when: Option<When>, since: Instant) {
    match when {
        Some(When::After(time)) => sleep_until(later(since, time)).await,
        Some(When::At(_)) | None => pending().await,
    }
}

/// Why a response was not played to its end.
#[derive(Debug)]
enum Stop {
    Fault(Outcome),
    Io,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

struct Player<'a, W> {
    out: &'a mut W,
    script: &'a Script,
    manner: &'a Manner,
    request: RequestFacts,
    delimiter: Delimiter,
    gzip: Option<Gzip>,
    /// How many bytes of the body were sent.
    sent: u64,
}

impl<W: AsyncWrite + Unpin> Player<'_, W> {
    async fn run(mut self) -> Result<Outcome, Stop> {
        let script = self.script;
        let closes = self.request.closes || script.closes(self.delimiter);
        self.wait(script.head_at).await;
        let head = script.head(self.delimiter, closes);
        self.out.write_all(&head).await?;
        self.out.flush().await?;
        let after = if closes {
            Outcome::Closes
        } else {
            Outcome::Stays
        };
        if self.request.is_head || script.is_empty {
            return Ok(after);
        }
        self.fail_if_due().await?;
        let round = script.end_at.saturating_sub(script.head_at);
        let mut begun: u64 = 0;
        loop {
            for piece in &script.pieces {
                self.wait(piece.at.saturating_add(begun)).await;
                match &mut self.gzip {
                    None => self.body(&piece.bytes).await?,
                    Some(gzip) => {
                        let coded = gzip.piece(&piece.bytes)?;
                        self.body(&coded).await?;
                    }
                }
            }
            if !script.loops {
                break;
            }
            begun = begun.saturating_add(round);
        }
        self.wait(script.end_at).await;
        match script.how {
            Ending::Clean => {}
            Ending::Reset => return Ok(Outcome::Resets),
            Ending::Truncated => return Ok(Outcome::Closes),
        }
        if let Some(gzip) = &mut self.gzip {
            let coded = gzip.finish()?;
            self.body(&coded).await?;
        }
        if self.delimiter == Delimiter::Chunks {
            self.out.write_all(b"0\r\n\r\n").await?;
            self.out.flush().await?;
        }
        Ok(after)
    }

    /// Waits for this recorded time, in microseconds after the request.
    async fn wait(&self, micros: u64) {
        let slow = self.manner.faults.slow_head.unwrap_or_default();
        let delay = slow.saturating_add(self.manner.speed.delay(micros));
        if !delay.is_zero() {
            sleep_until(later(self.request.at, delay)).await;
        }
    }

    /// Sends some bytes of the body, up to where a fault is due.
    async fn body(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        let most = self.manner.faults.split.unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let left = self
                .next_fault()
                .map_or(u64::MAX, |(at, _)| at.saturating_sub(self.sent));
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let (piece, rest) = bytes
                .split_at_checked(most.min(left))
                .unwrap_or((bytes, [].as_slice()));
            if !piece.is_empty() {
                self.piece(piece).await?;
                self.sent += piece.len() as u64;
            }
            self.fail_if_due().await?;
            bytes = rest;
        }
        Ok(())
    }

    /// Sends a piece of the body in one write: a chunk of its own, if the body is chunked.
    async fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.delimiter == Delimiter::Chunks {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            self.out.write_all(&chunk).await?;
        } else {
            self.out.write_all(piece).await?;
        }
        self.out.flush().await
    }

    /// Returns the next fault at a number of bytes.
    fn next_fault(&self) -> Option<(u64, Fault)> {
        let faults = &self.manner.faults;
        let all = [
            (faults.stall, Fault::Stall),
            (faults.reset, Fault::Reset),
            (faults.cut, Fault::Cut),
        ];
        all.into_iter()
            .filter_map(|(when, fault)| match when {
                Some(When::At(bytes)) => Some((bytes, fault)),
                Some(When::After(_)) | None => None,
            })
            .min_by_key(|(bytes, _)| *bytes)
    }

    /// Fails if the place of a fault is reached. At a stall, it never returns.
    async fn fail_if_due(&self) -> Result<(), Stop> {
        match self.next_fault().filter(|(at, _)| *at <= self.sent) {
            None => Ok(()),
            Some((_, Fault::Stall)) => pending().await,
            Some((_, Fault::Cut)) => Err(Stop::Fault(Outcome::Closes)),
            Some((_, Fault::Reset)) => Err(Stop::Fault(Outcome::Resets)),
        }
    }
}

/// A fault at a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    Reset,
    Stall,
}

/// Returns the time `time` after `from`, or one in the distant future if that cannot be expressed.
fn later(from: Instant, time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from.checked_add(time).unwrap_or_else(|| from + YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::read::read;

    /// Two reads, 1 s apart, and the end after 3 s.
    fn script(faults: &Faults, loops: bool) -> Script {
        let file = "{\"weir_recording\":1}\n\
            {\"type\":\"request\",\"method\":\"GET\",\"target\":\"/\"}\n\
            {\"type\":\"response\",\"at_us\":500000,\"status\":200,\"headers\":[[\"transfer-encoding\",\"chunked\"]]}\n\
            {\"type\":\"read\",\"at_us\":1000000,\"text\":\"0123456789\"}\n\
            {\"type\":\"read\",\"at_us\":2000000,\"text\":\"abc\"}\n\
            {\"type\":\"end\",\"at_us\":3000000,\"end\":\"clean\"}\n";
        let recording = read(file.as_bytes()).unwrap();
        Script::new(&recording.exchanges[0], faults, loops).unwrap()
    }

    /// Plays for at most an hour. Returns what was written after the head, the outcome, and how long it took.
    async fn played(words: &str, speed: &str, loops: bool) -> (String, Option<Outcome>, f64) {
        let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
        let manner = Manner {
            faults: Faults::parse(&words).unwrap(),
            speed: Speed::parse(speed).unwrap(),
        };
        let script = script(&manner.faults, loops);
        let at = Instant::now();
        let request = RequestFacts {
            at,
            closes: false,
            is_old: false,
            is_head: false,
        };
        let mut out = Vec::new();
        let limit = Duration::from_secs(3600);
        let outcome = tokio::time::timeout(limit, play(&mut out, &script, &manner, request)).await;
        let text = String::from_utf8_lossy(&out).into_owned();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (body.to_owned(), outcome.ok(), at.elapsed().as_secs_f64())
    }

    const FIRST: &str = "a\r\n0123456789\r\n";
    const WHOLE: &str = "a\r\n0123456789\r\n3\r\nabc\r\n0\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_response_has_the_bytes_and_the_pace_of_its_recording() {
        for (speed, expected) in [("1", 3.0), ("2.5", 1.2), ("10", 0.3), ("max", 0.0)] {
            let (body, outcome, took) = played("", speed, false).await;
            assert_eq!((body.as_str(), outcome), (WHOLE, Some(Outcome::Stays)));
            assert!((took - expected).abs() < 0.01, "{speed}: {took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_happen_where_they_are_asked_for() {
        let (body, outcome, took) = played("cut@1500ms", "1", false).await;
        assert_eq!((body.as_str(), outcome), (FIRST, Some(Outcome::Closes)));
        assert!((took - 1.5).abs() < 0.01, "{took}");
        let (body, outcome, _) = played("reset@4B", "max", false).await;
        assert_eq!(
            (body.as_str(), outcome),
            ("4\r\n0123\r\n", Some(Outcome::Resets))
        );
        let (body, outcome, _) = played("cut@13B", "max", false).await;
        assert_eq!(outcome, Some(Outcome::Closes));
        assert_eq!(body, WHOLE.trim_end_matches("0\r\n\r\n"));
        let (body, outcome, _) = played("stall@10B", "max", false).await;
        assert_eq!((body.as_str(), outcome), (FIRST, None));
        let (body, ..) = played("split=4", "max", false).await;
        assert_eq!(
            body,
            "4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        let (body, _, took) = played("slow-head=2s", "1", false).await;
        assert_eq!(body, WHOLE);
        assert!((took - 5.0).abs() < 0.01, "{took}");
        let (body, outcome, _) = played("status=503", "max", false).await;
        assert!(
            body.contains("status=503") && outcome == Some(Outcome::Stays),
            "{body}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn faults_add_up() {
        let (body, outcome, took) = played("stall@10B cut@5s slow-head=1s", "1", false).await;
        assert_eq!((body.as_str(), outcome), (FIRST, Some(Outcome::Closes)));
        assert!((took - 5.0).abs() < 0.01, "{took}");
        let (body, outcome, _) = played("split=7 reset@9B cut@12B", "max", false).await;
        assert_eq!(outcome, Some(Outcome::Resets));
        assert_eq!(body, "7\r\n0123456\r\n2\r\n78\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_begins_again_until_somebody_ends_it() {
        let (body, outcome, took) = played("cut@10s", "1", true).await;
        assert_eq!(outcome, Some(Outcome::Closes));
        assert!((took - 10.0).abs() < 0.01, "{took}");
        // A round is 2.5 s, from the head to the end.
        assert_eq!(body.matches("0123456789").count(), 4, "{body}");
        assert!(!body.contains("\r\n0\r\n"));
    }
}
