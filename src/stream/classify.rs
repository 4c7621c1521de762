//! What the frames of one stream mean: which dialect it speaks, and whether it is over.

use crate::dialect::{Choice, Classifier, Dialect, ErrorContext, Members, detect};
use crate::event::{Class, Event, Terminal};
use crate::wire::Frame;

/// Events of another kind after which an announced dialect is no longer expected.
const MAX_FOREIGN_FRAMES: usize = 8;

/// One stream's frames to events.
#[derive(Debug)]
#[repr(C)]
pub(super) struct StreamClassifier {
    /// The dialect is final: an event confirmed it.
    settled: bool,
    /// A terminal event was seen; nothing after it is forwarded.
    terminal: Option<Terminal>,
    /// An event after which the end of the input is an end, although more may follow.
    may_end: Option<Terminal>,
    heartbeats: u64,
    classifier: Classifier,
    announced: Announced,
    /// Events before the first of the announced dialect, and what the last of them showed.
    foreign_frames: (usize, Dialect),
    /// The dialect that was announced and never came.
    mismatched: Option<Dialect>,
    members: Members,
}

/// Who named the dialect before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    /// The route: no other is looked for.
    ByRoute,
    /// The request or the head of the answer.
    ByPeers,
    Nobody,
}

impl StreamClassifier {
    /// Before the first frame: the route's word on the dialect, what request and answer say of it, and what the
    /// request's body says.
    pub(super) fn new(choice: Choice, hint: Option<Dialect>, members: Members) -> Self {
        let (announced, dialect) = match (choice, hint) {
            (Choice::Fixed(dialect), _) => (Announced::ByRoute, dialect),
            (Choice::Auto, Some(dialect)) => (Announced::ByPeers, dialect),
            (Choice::Auto, None) => (Announced::Nobody, Dialect::Opaque),
        };
        Self {
            classifier: Classifier::of(dialect, &members),
            settled: false,
            announced,
            terminal: None,
            may_end: None,
            heartbeats: 0,
            foreign_frames: (0, Dialect::Opaque),
            mismatched: None,
            members,
        }
    }

    /// What the next frame means; `None` if it goes no further.
    pub(super) fn read(&mut self, frame: &Frame<'_>) -> Option<&Event> {
        if self.terminal.is_some() {
            return None;
        }
        if frame.raw && !self.dialect().is_opaque() {
            self.switch_to(Dialect::Opaque);
        }
        let foreign = if self.settled || frame.raw {
            None
        } else {
            self.settle(frame)
        };
        let event = match foreign {
            None => self.classifier.classify(frame),
            Some(dialect) => self.classifier.classify_foreign(dialect, frame),
        };
        if event.class == Class::Heartbeat {
            // Consumed: the proxy has its own timer.
            self.heartbeats += 1;
            return None;
        }
        match event.terminal {
            Some(may @ (Terminal::MayEnd | Terminal::MayFail)) => self.may_end = Some(may),
            Some(terminal) => self.terminal = Some(terminal),
            None => {}
        }
        Some(event)
    }

    /// The end of the input; says whether it is a good one.
    pub(super) fn finish(&mut self) -> bool {
        if !self.settled && self.foreign_frames.0 > 0 {
            // Nothing of what was announced ever came.
            self.switch_to(self.foreign_frames.1);
        }
        self.terminal = self.terminal.or(match self.may_end {
            Some(Terminal::MayFail) => Some(Terminal::Error),
            may_end => may_end,
        });
        self.terminal.is_some() || !self.classifier.needs_terminal()
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.classifier.dialect()
    }

    pub(super) const fn may_end(&self) -> Option<Terminal> {
        self.may_end
    }

    pub(super) const fn mismatched(&self) -> Option<Dialect> {
        self.mismatched
    }

    pub(super) fn error_context(&self) -> ErrorContext {
        self.classifier.error_context()
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

    /// The first frame that fits confirms what was announced; without an announcement the first one names the
    /// dialect. Gives what a frame speaks for itself while the announcement still stands: a trace id or a status
    /// ahead of the answer must not make the answer a foreign.
    #[inline(never)]
    fn settle(&mut self, frame: &Frame<'_>) -> Option<Dialect> {
        let dialect = self.dialect();
        if dialect.is_opaque() || !detect::fits(dialect, frame) {
            let shown = match self.announced {
                Announced::ByRoute => Dialect::Opaque,
                Announced::ByPeers | Announced::Nobody => detect::from_frame(frame),
            };
            let says_little = shown.is_generic();
            let is_announced = self.announced != Announced::Nobody && !dialect.is_opaque();
            if is_announced && says_little && self.foreign_frames.0 < MAX_FOREIGN_FRAMES {
                self.foreign_frames = (self.foreign_frames.0 + 1, shown);
                return Some(shown);
            }
            self.switch_to(shown);
        }
        self.settled = frame.data.is_some() && !detect::is_ambiguous(frame);
        None
    }

    /// It speaks `dialect`, whatever was announced.
    fn switch_to(&mut self, dialect: Dialect) {
        if self.announced != Announced::Nobody && dialect != self.dialect() {
            let expected = self.dialect();
            self.mismatched.get_or_insert(expected);
        }
        self.classifier = Classifier::of(dialect, &self.members);
    }
}
