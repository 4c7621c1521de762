//! Classifies the frames of one stream: detects its dialect, and finds its terminal event.

use crate::dialect::{Choice, Classifier, Dialect, ErrorContext, Members, detect};
use crate::event::{Class, Content, Event, Terminal};
use crate::wire::Frame;

/// After this many events that do not fit it, an announced dialect is no longer expected.
const MAX_FOREIGN_FRAMES: u8 = 8;

/// What an event of an unknown stream means. Nothing has to be looked up for it.
static OPAQUE: Event = Event::opaque();

/// Converts the frames of one stream to events.
#[derive(Debug)]
#[repr(C)]
pub(super) struct StreamClassifier {
    /// The dialect is final, because an event has confirmed it.
    settled: bool,
    /// The terminal event, once it has been seen. Nothing after it is forwarded.
    terminal: Option<Terminal>,
    /// Set by an event after which the stream may end, although more events may follow.
    may_end: Option<Terminal>,
    /// The upstream has reported a failure, and no other end since.
    failed: bool,
    heartbeats: u64,
    classifier: Classifier,
    announced: Announced,
    /// The number of events before the first one of the announced dialect, and the dialect of the last of them.
    foreign_frames: (u8, Dialect),
    /// The dialect that was announced but not used.
    mismatched: Option<Dialect>,
    members: Members,
}

/// Who announced the dialect before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    /// The route: no other dialect is considered.
    ByRoute,
    /// The request, or the head of the response.
    ByPeers,
    Nobody,
}

/// How the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// The body was complete.
    Clean,
    /// The body broke off: a reset, or a framing that is not finished.
    Broken,
}

impl StreamClassifier {
    /// Creates a classifier. `choice` is the dialect that the route sets, `hint` the one that the request and the head
    /// of the response indicate, and `members` are what the request says about its stream.
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
            failed: false,
            heartbeats: 0,
            foreign_frames: (0, Dialect::Opaque),
            mismatched: None,
            members,
        }
    }

    /// Returns a classifier that says about the stream so far what this one says. It is for a time in which this one is
    /// on another thread.
    pub(super) fn stand_in(&self) -> Self {
        Self {
            classifier: self.classifier.stand_in(),
            members: Members::default(),
            heartbeats: 0,
            ..*self
        }
    }

    /// Classifies the next frame. Returns `None` if it is not forwarded.
    /// `parsed` is room for its meaning: see [`Classifier::classify`].
    pub(super) fn read<'e>(
        &'e mut self,
        frame: &Frame<'_>,
        parsed: &'e mut Option<Event>,
    ) -> Option<&'e Event> {
        // What was recognised has a text, and says nothing about the end. Nearly every event is like that.
        let is_plain =
            self.settled && self.may_end.is_none() && self.terminal.is_none() && !frame.raw;
        if is_plain && self.dialect().is_opaque() && !frame.data().is_empty() {
            return Some(&OPAQUE);
        }
        if is_plain && self.classifier.recognises(frame) {
            return Some(self.classifier.meaning());
        }
        self.read_slowly(frame, is_plain, parsed)
    }

    /// The rest of [`StreamClassifier::read`]. `is_unknown`: the frame was not recognised.
    #[inline(never)]
    fn read_slowly<'e>(
        &'e mut self,
        frame: &Frame<'_>,
        is_unknown: bool,
        parsed: &'e mut Option<Event>,
    ) -> Option<&'e Event> {
        if self.terminal.is_some() {
            return None;
        }
        if frame.raw && !self.dialect().is_opaque() {
            self.switch_to(Dialect::Opaque);
        }
        let foreign = if self.settled || frame.raw {
            None
        } else if self.may_begin_with_ping() && detect::is_ping(frame) {
            // Every dialect may begin with one, so it shows none.
            self.heartbeats += 1;
            return None;
        } else {
            self.settle(frame)
        };
        let event = match foreign {
            None if is_unknown => self.classifier.classify_unknown(frame, parsed),
            None => self.classifier.classify(frame, parsed),
            // A frame in another dialect than the rest of the stream.
            Some(dialect) => parsed.insert(Classifier::new(dialect).read(frame)),
        };
        if event.class == Class::Heartbeat {
            // Not forwarded: the proxy sends heartbeats of its own.
            self.heartbeats += 1;
            return None;
        }
        match event.terminal {
            None if self.may_end.is_none() => {}
            Some(terminal @ (Terminal::Done | Terminal::Error)) => self.terminal = Some(terminal),
            terminal => {
                self.failed = fails(self.failed, terminal);
                self.may_end = possible_end(self.may_end, terminal, event.content);
            }
        }
        Some(event)
    }

    /// Ends the input. `how` decides whether a possible end was one. Returns whether the stream may end here.
    pub(super) fn finish(&mut self, how: InputEnd) -> bool {
        if !self.settled && self.foreign_frames.0 > 0 {
            // No event of the announced dialect was received.
            self.switch_to(self.foreign_frames.1);
        }
        self.terminal = self.terminal.or(match (self.may_end, how) {
            _ if self.failed => Some(Terminal::Error),
            // A client without Weir would see the body break, too.
            (_, InputEnd::Broken) => None,
            (may_end, InputEnd::Clean) => may_end,
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

    /// Settles the dialect: the first frame that fits confirms the announced dialect, and without an announcement the
    /// first frame determines it. Returns the frame's own dialect if the frame does not fit but the announcement still
    /// stands: a trace id or a status ahead of the response must not change the dialect of the response.
    #[inline(never)]
    fn settle(&mut self, frame: &Frame<'_>) -> Option<Dialect> {
        if frame.data.is_none() && frame.name.is_none() {
            // Only an id or a field of its own. It shows no dialect, so no dialect has to look at it.
            return None;
        }
        let short = detect::abridged(frame);
        let frame = short.as_ref().unwrap_or(frame);
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

    /// Reports whether a ping may come before the first event. Where the route sets a dialect that any event may belong
    /// to, the dialect itself decides what a ping is.
    const fn may_begin_with_ping(&self) -> bool {
        !(matches!(self.announced, Announced::ByRoute) && self.dialect().is_generic())
    }

    /// Switches to `dialect`, whatever was announced.
    fn switch_to(&mut self, dialect: Dialect) {
        if self.announced != Announced::Nobody && dialect != self.dialect() {
            let expected = self.dialect();
            self.mismatched.get_or_insert(expected);
        }
        self.classifier = Classifier::of(dialect, &self.members);
    }
}

/// Reports whether the upstream has failed after an event with this statement about the end; `before` it, it may have.
/// Only another end changes that: what begins after a failure is waited for, but need not make up for it.
const fn fails(before: bool, terminal: Option<Terminal>) -> bool {
    match terminal {
        None | Some(Terminal::Reopens) => before,
        Some(terminal) => matches!(terminal, Terminal::MayFail),
    }
}

/// Returns the possible end after an event with this statement about the end and this content; `before` it, there may
/// have been one. More content takes a possible end back.
#[inline(never)]
fn possible_end(
    before: Option<Terminal>,
    terminal: Option<Terminal>,
    content: Content,
) -> Option<Terminal> {
    let goes_on = match terminal {
        Some(Terminal::Reopens) => true,
        Some(_) => return terminal,
        None => matches!(content, Content::Reasoning | Content::Token | Content::Tool),
    };
    before.filter(|_| !goes_on)
}
