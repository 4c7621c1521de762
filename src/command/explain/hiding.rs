//! What `hide` would leave out of a stream.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{Class, Event, Span};
use crate::filter;
use crate::stream::pipeline::Sink;

/// The most excerpts of one stream, and the most characters of each.
const MAX_EXCERPTS: usize = 20;
const MAX_CHARACTERS: usize = 100;

/// What would be left out.
#[derive(Debug, Serialize)]
pub(super) struct Hidden {
    pub(super) reasoning: Amount,
    pub(super) tools: Amount,
    /// Events that no client gets, by class. A token that is held back because it may begin a marker counts as well.
    pub(super) events: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) excerpts: Vec<Excerpt>,
}

/// How much of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Amount {
    pub(super) spans: u64,
    pub(super) characters: u64,
}

/// The beginning of a text that no client gets.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Excerpt {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// Receives the events of a stream of which all is hidden that can be.
pub(super) struct Hiding {
    shows: bool,
    /// The last event that arrived, unless it has left.
    pending: Option<(Class, String)>,
    events: BTreeMap<&'static str, u64>,
    excerpts: Vec<Excerpt>,
}

impl Hiding {
    pub(super) const fn new(shows: bool) -> Self {
        Self {
            shows,
            pending: None,
            events: BTreeMap::new(),
            excerpts: Vec::new(),
        }
    }

    /// Returns what was left out, of which the filter has counted `hidden`.
    pub(super) fn done(mut self, hidden: filter::Hidden) -> Hidden {
        self.settle();
        let [reasoning, tools] = [0, 1].map(|kind: usize| Amount {
            spans: hidden.spans.get(kind).copied().unwrap_or(0),
            characters: hidden.characters.get(kind).copied().unwrap_or(0),
        });
        Hidden {
            reasoning,
            tools,
            events: self.events,
            excerpts: self.excerpts,
        }
    }

    /// Counts the last event if it has not left.
    fn settle(&mut self) {
        let Some((class, text)) = self.pending.take() else {
            return;
        };
        *self.events.entry(class.as_str()).or_default() += 1;
        if self.shows && !text.is_empty() && self.excerpts.len() < MAX_EXCERPTS {
            self.excerpts.push(Excerpt {
                class: class.as_str(),
                text,
            });
        }
    }
}

impl Sink for Hiding {
    fn arrived(&mut self, block: &[u8], event: &Event) {
        self.settle();
        let text = match event.text {
            Some(text) if self.shows => said(block, text).chars().take(MAX_CHARACTERS).collect(),
            _ => String::new(),
        };
        self.pending = Some((event.class, text));
    }

    fn leaves(&mut self, _: &[u8], _: &Event) {
        self.pending = None;
    }
}

/// Returns what a text of an event says. One between quotes is the inside of a JSON string, with its escapes.
fn said(block: &[u8], text: Span) -> String {
    let raw = text.of(block);
    let before = block.get(..text.start as usize).and_then(<[u8]>::last);
    let decoded = (before == Some(&b'"'))
        .then(|| serde_json::from_slice(&[b"\"", raw, b"\""].concat()).ok())
        .flatten();
    decoded.unwrap_or_else(|| String::from_utf8_lossy(raw).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_what_a_person_would_read() {
        let said = |block: &str, text: &str| {
            let start = block.find(text).unwrap();
            let span = Span::new(start..start + text.len()).unwrap();
            said(block.as_bytes(), span)
        };
        let block = r#"data: {"content":"\u65e5\u672c:\na \"b\""}"#;
        assert_eq!(said(block, r#"\u65e5\u672c:\na \"b\""#), "日本:\na \"b\"");
        assert_eq!(said(r#"data: "\ud83d""#, r"\ud83d"), r"\ud83d");
        assert_eq!(said(r"data: C:\new", r"C:\new"), r"C:\new");
    }
}
