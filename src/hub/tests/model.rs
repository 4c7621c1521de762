//! A plain model: what a journal must hold, and what a viewer may get of it.

use super::*;
use crate::event::{Content, Keep, Merge, Span};

/// An event of the stream. The one with number N says `[N]`.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) block: Vec<u8>,
    pub(super) event: Event,
}

impl Said {
    /// `kind`: 0 and 1 are critical, the others tokens that can be merged; even ones have an id of the upstream.
    pub(super) fn new(number: u64, kind: u8, pad: usize) -> Self {
        let text = format!("[{number}]{}", "x".repeat(pad));
        let own = if kind.is_multiple_of(2) {
            format!("id: o.{number}\n")
        } else {
            String::new()
        };
        let head = format!("{own}data: {{\"t\":\"");
        let span = Span::new(head.len()..head.len() + text.len()).unwrap();
        let event = if kind < 2 {
            Event::bare(Class::Tool)
        } else {
            Event {
                content: Content::Token,
                text: Some(span),
                merge: Some(Merge {
                    key: 1,
                    text: span,
                    keep: Keep::First,
                    lists: false,
                    copies: 0,
                }),
                ..Event::bare(Class::Token)
            }
        };
        Self {
            block: format!("{head}{text}\"}}\n\n").into_bytes(),
            event: Event {
                agent: u8::try_from(number % 3).unwrap(),
                ..event
            },
        }
    }

    /// The last event, which Weir writes.
    pub(super) fn last(number: u64) -> Self {
        Self {
            block: format!("data: bye [{number}]\n\n").into_bytes(),
            event: Event::bare(Class::Error),
        }
    }

    /// What a client gets if the event is not merged.
    pub(super) fn sent(&self, number: u64) -> String {
        let block = String::from_utf8(self.block.clone()).unwrap();
        if block.starts_with("id: ") {
            return block;
        }
        let body = block.strip_suffix('\n').unwrap();
        format!("{body}id: s.{number}\n\n")
    }
}

/// What the journal must hold: the newest events that fit, each as it came.
pub(super) struct Model {
    pub(super) bounds: Bounds,
    /// The event with number N is at N - 1.
    pub(super) all: Vec<Said>,
    /// How many of these have been evicted.
    pub(super) gone: usize,
    pub(super) bytes: usize,
}

impl Model {
    pub(super) fn kept(&self) -> &[Said] {
        &self.all[self.gone..]
    }

    pub(super) fn first(&self) -> u64 {
        self.gone as u64 + 1
    }

    pub(super) fn last(&self) -> u64 {
        self.all.len() as u64
    }

    pub(super) fn fits(&self, len: usize) -> bool {
        let kept = self.kept().len();
        kept == 0 || (kept < self.bounds.max_events && self.bytes + len <= self.bounds.max_bytes)
    }

    pub(super) fn evict(&mut self) {
        self.bytes -= self.all[self.gone].block.len();
        self.gone += 1;
    }

    /// Appends an event. Returns how many others it evicts.
    pub(super) fn append(&mut self, said: Said) -> u64 {
        let before = self.gone;
        while !self.fits(said.block.len()) {
            self.evict();
        }
        self.bytes += said.block.len();
        self.all.push(said);
        (self.gone - before) as u64
    }
}

/// A client, and the numbers of the events that it has got.
pub(super) struct Viewer {
    pub(super) client: Client,
    pub(super) after: u64,
    pub(super) got: Vec<u64>,
}

impl Viewer {
    /// Takes once, at most `max` bytes if no event is larger.
    pub(super) fn take(&mut self, max: usize, model: &Model) {
        let client = &mut self.client;
        let mut cx = Context::from_waker(Waker::noop());
        let receiver = client.receiver.as_mut().unwrap();
        match receiver.poll_next(&mut cx, max, &mut client.got) {
            Poll::Ready(Next::Data { large, .. }) => client.got.extend(large),
            Poll::Ready(Next::End(close)) => client.end = Some(close),
            Poll::Pending => {}
        }
        client.step();
        self.read(model);
    }

    pub(super) fn take_all(&mut self, model: &Model) {
        let text = self.client.take_all();
        self.client.got = text.into_bytes();
        self.read(model);
    }

    /// Reads what the client has got: whole events in order, each with the id of its last part.
    fn read(&mut self, model: &Model) {
        let text = String::from_utf8(std::mem::take(&mut self.client.got)).unwrap();
        for block in text.split_terminator("\n\n") {
            let lines = block.lines().filter(|line| !line.starts_with(": "));
            let lines: Vec<&str> = lines.collect();
            let Some(last) = numbers(&lines.join("\n")).last().copied() else {
                assert!(lines.is_empty(), "{block}");
                continue;
            };
            let id = lines
                .iter()
                .rev()
                .find_map(|line| line.strip_prefix("id: "));
            let id: Option<u64> = id.and_then(|id| id.split_once('.')?.1.parse().ok());
            assert_eq!(id, Some(last), "{block}");
            let parts = numbers(&lines.join("\n"));
            if let [number] = parts[..] {
                let said = &model.all[usize::try_from(number - 1).unwrap()];
                assert_eq!(lines.join("\n") + "\n\n", said.sent(number));
            }
            for number in parts {
                let before = self.got.last().copied().unwrap_or(self.after);
                assert!(number > before, "{number} after {before}");
                self.got.push(number);
            }
        }
    }

    pub(super) fn reached(&self) -> u64 {
        self.got.last().copied().unwrap_or(self.after)
    }
}

/// The numbers that stand in brackets.
fn numbers(text: &str) -> Vec<u64> {
    let parts = text.split('[').skip(1);
    let inner = parts.filter_map(|part| part.split_once(']')?.0.parse().ok());
    inner.collect()
}
