//! Reads the events of an agent: in full, or as the next piece of the text that is open.

use std::borrow::Cow;

use super::action::{Kind, OpenText};
use super::conversation::{Act, Conversation, LastWord};
use super::part::Part;
use super::raw;
use super::reading::{self, Reading};
use super::skipped::Skipped;
use crate::dialect::Dialect;
use crate::event::{Class, Content, Event, Keep, Span, Terminal};
use crate::wire::Frame;

/// The reading of an agent's stream.
#[derive(Debug)]
pub(super) struct Source {
    /// The dialect that is read.
    pub(super) dialect: Dialect,
    reading: Box<dyn Reading>,
    /// What the reading was left out of; `None` if it does not want to know.
    skipped: Option<Box<Skipped>>,
}

impl Source {
    /// Notes a piece of the open text of which the reading is left out.
    pub(super) fn skip(&mut self, text: &[u8]) {
        if let Some(skipped) = &mut self.skipped {
            skipped.add(text);
        }
    }
}

/// The open text of the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoesOn {
    /// The lane of its pieces in the source.
    lane: u64,
    /// What else they have in common: everything beside the text.
    key: u64,
    kind: Kind,
}

/// Reads an event of `dialect` in full, and passes what follows from it to `act`. Returns the text that the next event
/// may go on with.
pub(super) fn read(
    source: &mut Option<Source>,
    conversation: &mut Conversation,
    dialect: Dialect,
    frame: &Frame<'_>,
    event: &Event,
    act: Act<'_>,
) -> Option<GoesOn> {
    if frame.raw {
        // A body without framing is text.
        let text = raw::escaped(&frame.block);
        let msg = Cow::Borrowed(b"".as_slice());
        conversation.take(Part::Text { msg, text }, act);
        return None;
    }
    let source = match source {
        Some(source) if source.dialect == dialect => source,
        source => {
            let reading = reading::of(dialect, frame.data());
            source.insert(Source {
                dialect,
                skipped: reading.measures_skipped().then(Box::default),
                reading,
            })
        }
    };
    if let Some(skipped) = &mut source.skipped
        && skipped.length > 0
    {
        source.reading.skipped(&std::mem::take(&mut **skipped));
    }
    let mut pieces = 0;
    conversation.note(match (event.terminal, event.class) {
        (Some(Terminal::Done), _) => LastWord::Ends,
        (Some(Terminal::Error | Terminal::MayFail), _) | (_, Class::Error) => LastWord::Failed,
        _ => LastWord::No,
    });
    source.reading.read(frame, event, &mut |part| {
        pieces += usize::from(matches!(part, Part::Text { .. } | Part::Reasoning { .. }));
        conversation.take(part, act);
    });
    let may_skip = pieces == 1 && source.reading.may_skip_pieces();
    going_on(event).filter(|_| may_skip)
}

/// Returns the open text that an event goes on with, and the piece that it adds, if it is nothing else.
#[inline]
pub(super) fn piece<'a>(
    goes_on: Option<GoesOn>,
    conversation: &'a Conversation,
    frame: &'a Frame<'_>,
    event: &Event,
) -> Option<(&'a OpenText, &'a [u8])> {
    let (goes_on, text) = (goes_on?, event.text?);
    if Some(goes_on) != going_on(event) || !is_body(&frame.block, text) {
        return None;
    }
    let open = conversation.only_text()?;
    (open.kind == goes_on.kind).then(|| (open, text.of(&frame.block)))
}

/// Returns the text that an event goes on with, if it is nothing but a piece of a text.
fn going_on(event: &Event) -> Option<GoesOn> {
    let kind = match (event.class, event.content) {
        (Class::Token, Content::Token) => Kind::Answer,
        (Class::Reasoning, Content::Reasoning) => Kind::Reasoning,
        _ => return None,
    };
    let merge = event.merge.filter(|merge| merge.keep != Keep::Replace)?;
    (event.text == Some(merge.text) && event.terminal.is_none()).then_some(GoesOn {
        lane: event.lane,
        key: merge.key,
        kind,
    })
}

/// Reports whether a text is the body of a JSON string, and not plain text, and says something.
fn is_body(block: &[u8], text: Span) -> bool {
    let before = (text.start as usize).checked_sub(1);
    let quote = |at: usize| block.get(at) == Some(&b'"');
    !text.is_empty() && before.is_some_and(quote) && quote(text.end as usize)
}
