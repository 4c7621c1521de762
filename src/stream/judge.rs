//! What the frames of one stream mean: which dialect it speaks, and whether it is over.

use crate::dialect::{Choice, Classifier, Dialect, detect};
use crate::event::{Class, Event, Terminal};
use crate::wire::Frame;

/// Events of another kind after which an announced dialect is no longer expected.
const MAX_STRANGERS: usize = 8;

/// One stream's frames to events.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Judge {
    /// The dialect is final: fixed by the route, or confirmed by an event.
    settled: bool,
    /// The request announced a dialect.
    hinted: bool,
    /// A terminal event was seen; nothing after it is forwarded.
    terminal: Option<Terminal>,
    /// An event after which the end of the input is a good end, although more may follow.
    may_end: Option<Terminal>,
    heartbeats: u64,
    classifier: Classifier,
    /// Events before the first of the announced dialect, and what the last of them showed.
    strangers: (usize, Dialect),
}

impl Judge {
    /// Before the first frame: the route's word on the dialect, and what the request says of it.
    pub(super) fn new(choice: Choice, hint: Option<Dialect>) -> Self {
        let fixed = match choice {
            Choice::Auto => None,
            Choice::Fixed(dialect) => Some(dialect),
        };
        Self {
            classifier: Classifier::new(fixed.or(hint).unwrap_or(Dialect::Opaque)),
            settled: fixed.is_some(),
            hinted: hint.is_some(),
            terminal: None,
            may_end: None,
            heartbeats: 0,
            strangers: (0, Dialect::Opaque),
        }
    }

    /// What the next frame means; `None` if it goes no further.
    pub(super) fn read(&mut self, frame: &Frame<'_>) -> Option<&Event> {
        if self.terminal.is_some() {
            return None;
        }
        if frame.raw && self.dialect() != Dialect::Opaque {
            self.classifier = Classifier::new(Dialect::Opaque);
        }
        let stranger = if self.settled || frame.raw {
            None
        } else {
            self.settle(frame)
        };
        let dialect = stranger.unwrap_or_else(|| self.dialect());
        let event = match stranger {
            None => self.classifier.classify(frame),
            Some(dialect) => self.classifier.classify_stranger(dialect, frame),
        };
        if event.class == Class::Heartbeat {
            // Consumed: the proxy has its own timer.
            self.heartbeats += 1;
            return None;
        }
        if event.terminal.is_some() {
            // Conventions have no rule that nothing follows `done` or `error`: a step may have ended. What they
            // took from OpenAI has one.
            let goes_on = dialect == Dialect::Convention && !frame.data().starts_with(b"[DONE]");
            if goes_on || event.terminal == Some(Terminal::MayEnd) {
                self.may_end = event.terminal;
            } else {
                self.terminal = event.terminal;
            }
        }
        Some(event)
    }

    /// The end of the input; says whether it is a good one.
    pub(super) fn finish(&mut self) -> bool {
        if !self.settled && self.strangers.0 > 0 {
            // Nothing of what was announced ever came.
            self.classifier = Classifier::new(self.strangers.1);
        }
        self.terminal = self.terminal.or(self.may_end);
        self.terminal.is_some() || !self.dialect().needs_terminal()
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.classifier.dialect()
    }

    pub(super) const fn may_end(&self) -> bool {
        self.may_end.is_some()
    }

    pub(super) const fn terminal(&self) -> Option<Terminal> {
        self.terminal
    }

    pub(super) const fn note_heartbeats(&mut self, count: u64) {
        self.heartbeats += count;
    }

    pub(super) const fn take_heartbeats(&mut self) -> u64 {
        std::mem::replace(&mut self.heartbeats, 0)
    }

    /// The first frame that fits confirms what the request announced; without an announcement the first one
    /// names the dialect. Gives what a frame speaks for itself while the announcement still stands: a trace id or
    /// a status ahead of the answer must not make the answer a stranger.
    #[inline(never)]
    fn settle(&mut self, frame: &Frame<'_>) -> Option<Dialect> {
        let dialect = self.dialect();
        if dialect == Dialect::Opaque || !detect::fits(dialect, frame) {
            let shown = detect::from_frame(frame);
            let says_little = matches!(shown, Dialect::Convention | Dialect::Opaque);
            if self.hinted && says_little && self.strangers.0 < MAX_STRANGERS {
                self.strangers = (self.strangers.0 + 1, shown);
                return Some(shown);
            }
            self.classifier = Classifier::new(shown);
        }
        self.settled = frame.data.is_some() && !detect::is_ambiguous(frame);
        None
    }
}
