//! One WebSocket: reads what the client says, gives each of its runs a turn, and ends for one reason.

mod clock;
mod on_message;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Start;
use super::close::{self, Why};
use super::frames::{Came, Frames, Gone};
use super::run::{Next, Run};
use crate::client_conn::ClientConn;
use crate::config::Ack;
use crate::end::End;
use crate::metrics::Active;
use crate::tasks;
use crate::tunnel::{Closer, Ended, Over};
use clock::NEVER;

/// Maximum number of runs and streams of a socket at the same time.
const MAX_RUNS: usize = 8;
/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of messages that are read in one turn of the task.
const TURN_MESSAGES: usize = 16;
/// Maximum number of bytes that are sent in one turn, unless one event is larger.
const TURN_BYTES: usize = 64 * 1024;

/// The end of a bridge that has begun.
#[derive(Clone, Copy, Debug)]
struct Ending {
    why: Why,
    /// When the bridge is over at the latest.
    until: Instant,
    /// The client is heard until it answers. After what cannot be understood it is not.
    hears: bool,
}

/// A bridge. Dropping it leaves all of its runs.
pub(crate) struct Socket<S> {
    frames: Frames<S>,
    start: Start,
    runs: Vec<Run>,
    /// Whose turn is first.
    turn: usize,
    /// The client has acknowledged something.
    has_acked: bool,
    /// When the client gets a ping.
    ping_at: Option<Instant>,
    /// How many pings it has not answered.
    missed: u8,
    /// The bridge ends when its runs have.
    drains: bool,
    ending: Option<Ending>,
    /// The client has closed, with this code.
    closed_with: Option<Option<u16>>,
    /// The time of the end has passed.
    is_late: bool,
    timer: Pin<Box<Sleep>>,
    /// `None` over HTTP/2.
    conn: Option<Arc<ClientConn>>,
    /// Counts the bridge in the metrics.
    _open: Active,
}

impl<S> std::fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl<S> Socket<S> {
    /// Begins a bridge. `early` are the bytes that followed the client's request. `conn` is the client's connection, if
    /// it carries nothing else.
    pub(crate) fn new(
        client: S,
        early: Vec<u8>,
        start: Start,
        conn: Option<Arc<ClientConn>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            _open: start.metrics.bridge_active(),
            frames: Frames::new(client, early, start.max_message_bytes),
            ping_at: (!start.heartbeat.is_zero()).then(|| now + start.heartbeat),
            start,
            runs: Vec::new(),
            turn: 0,
            has_acked: false,
            missed: 0,
            drains: false,
            ending: None,
            closed_with: None,
            is_late: false,
            timer: Box::pin(sleep_until(now + NEVER)),
            conn,
        }
    }

    /// Returns the client's side, once the bridge is over.
    pub(crate) fn into_client(self) -> S {
        self.frames.into_inner()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Drives the bridge. Ready when it is over and reported.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        tasks::rehearse_defect(|| "bridge".to_owned());
        self.look_for_stop(cx);
        loop {
            let more = self.take_turn(cx);
            if let Some(over) = self.over() {
                // The runs are left before the bridge is reported.
                self.runs.clear();
                self.start.account.report(self.ended());
                return Poll::Ready(over);
            }
            if self.poll_timer(cx).is_pending() {
                if more {
                    // Other tasks have their turn.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Ends when the process drains and nothing runs, or when the bridge was stopped.
    fn look_for_stop(&mut self, cx: &mut Context<'_>) {
        if self.ending.is_some() || self.drains {
            return;
        }
        match self.start.account.poll_stop(cx) {
            Poll::Ready(End::Drained) => self.drains = true,
            Poll::Ready(End::ClientStalled) => self.end(cx, Why::Stalled),
            Poll::Ready(_) => self.end(cx, Why::Stopped),
            Poll::Pending => {}
        }
    }

    /// Does what can be done now. Reports whether there is more, for which nobody wakes the task.
    fn take_turn(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.frames.totals();
        let mut more = self.read(cx);
        if self.ending.is_none() && self.closed_with.is_none() {
            more |= self.serve(cx);
            if self.drains && self.runs.is_empty() {
                self.end(cx, Why::Drained);
            }
        }
        let waits = !self.frames.is_free();
        // What is sent makes room for what was not.
        more |= self.frames.poll_flush(cx).is_ready() && waits;
        let totals = self.frames.totals();
        if totals.bytes_in != before.bytes_in {
            self.missed = 0;
        }
        if totals != before {
            self.start.account.note(totals, Instant::now());
        }
        more
    }

    /// Reads what the client says, as long as answers can be sent to it.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..TURN_MESSAGES {
            let hears = match &self.ending {
                Some(ending) => ending.hears,
                None => self.frames.is_free(),
            };
            if !hears || self.frames.is_closed() || self.frames.has_failed() {
                // Unread bytes are in the way of the client's end. A flush then looks for it.
                self.note_listening(false);
                self.frames.forget_half();
                return false;
            }
            let came = match self.frames.poll_read(cx) {
                Poll::Ready(came) => came,
                Poll::Pending => {
                    self.note_listening(true);
                    return false;
                }
            };
            match came {
                Ok(Came::Close(code)) => {
                    if self.ending.is_none() {
                        self.closed_with.get_or_insert(code);
                        self.runs.clear();
                    }
                }
                Ok(Came::Sign) => {}
                Ok(Came::Text(text)) => {
                    if self.ending.is_none() {
                        self.on_message(cx, &text);
                    }
                }
                Err(Gone::Closed | Gone::Left) => return false,
                Err(Gone::Must(why)) => match &mut self.ending {
                    Some(ending) => ending.hears = false,
                    None => self.end(cx, why),
                },
            }
        }
        true
    }

    fn note_listening(&self, listens: bool) {
        if let Some(conn) = &self.conn {
            conn.note_listening(listens);
        }
    }

    /// Reports whether the client is held to its acknowledgements.
    fn is_held(&self) -> bool {
        match self.start.settings.ack {
            Ack::Off => false,
            Ack::Optional => self.has_acked,
            Ack::Required => true,
        }
    }

    /// Sends what the runs have, in turns. Reports whether there may be more.
    fn serve(&mut self, cx: &mut Context<'_>) -> bool {
        let held = self.is_held();
        for run in &mut self.runs {
            run.drive(cx);
        }
        let first = self.turn.checked_rem(self.runs.len()).unwrap_or_default();
        self.turn = self.turn.wrapping_add(1);
        let mut left = TURN_BYTES;
        let mut over = [false; MAX_RUNS];
        let mut went = true;
        while went && left > 0 {
            went = false;
            let (before, after) = self.runs.split_at_mut(first);
            let ends = over.split_at_mut(first);
            let after = after.iter_mut().zip(ends.1);
            let before = before.iter_mut().zip(ends.0);
            for (run, is_over) in after.chain(before) {
                if !self.frames.is_free() || *is_over {
                    continue;
                }
                match run.poll_next(cx, held) {
                    Poll::Ready(Next::Text(text)) => {
                        left = left.saturating_sub(text.len());
                        self.frames.send(cx, text);
                        went = true;
                    }
                    Poll::Ready(Next::Over) => *is_over = true,
                    Poll::Pending => {}
                }
            }
        }
        let is_free = self.frames.is_free();
        for run in &self.runs {
            run.note_taking(is_free && !run.waits_for_ack(held));
        }
        let mut over = over.into_iter();
        self.runs.retain(|_| !over.next().unwrap_or_default());
        went
    }

    /// Ends the bridge: its runs are left, and the client gets a close frame.
    fn end(&mut self, cx: &mut Context<'_>, why: Why) {
        if self.ending.is_some() {
            return;
        }
        self.runs.clear();
        if why.is_told() {
            self.frames.close(cx, why.code(), why.word());
        }
        self.ending = Some(Ending {
            why,
            until: Instant::now() + CLOSE_TIMEOUT,
            hears: matches!(
                why,
                Why::Binary
                    | Why::Drained
                    | Why::NoPong
                    | Why::Stopped
                    | Why::Unacknowledged
                    | Why::Unfinished
            ),
        });
    }

    /// Returns what is left of the client if the bridge is over.
    fn over(&self) -> Option<Over> {
        if self.frames.has_failed() {
            return Some(Over::Left);
        }
        let is_over = match &self.ending {
            Some(ending) if !ending.why.is_told() => return Some(Over::Left),
            // Whatever else the client has sent is not read here.
            Some(ending) => self.is_late || (!ending.hears && self.frames.is_free()),
            None => false,
        };
        (is_over || self.frames.is_closed()).then_some(Over::Closed)
    }

    /// Returns how it ended.
    fn ended(&self) -> Ended {
        match (self.closed_with, &self.ending) {
            (Some(code), _) => Ended {
                closed: Some((Closer::Client, code)),
                ..close::by_client(code).into()
            },
            (None, Some(ending)) => Ended {
                end: ending.why.end(),
                code: ending.why.word(),
                closed: (ending.why.is_told()).then(|| (Closer::Weir, Some(ending.why.code()))),
            },
            (None, None) => End::ClientGone.into(),
        }
    }
}
