//! What processes ask of each other about a stream.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use redis::Cmd;

use super::reply::Raw;
use super::terms::Control;

/// Maximum number of messages that wait for one stream.
const MAX_WAITING: usize = 64;
/// About how many messages wait for a process that does not read them.
const MAX_STORED: u64 = 1_000;

const ID: &str = "i";
const WHAT: &str = "w";
const INSTANCE: &str = "n";

impl Control {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Stop => ("stop", ""),
            Self::ViewerCame { instance } => ("came", instance),
            Self::ViewerLeft { instance } => ("left", instance),
        }
    }

    /// Returns the command that sends this about the stream `id` to the process with this key.
    pub(super) fn command(&self, key: &str, id: &str) -> Cmd {
        let (what, instance) = self.parts();
        let mut add = redis::cmd("XADD");
        add.arg(key).arg("MAXLEN").arg("~").arg(MAX_STORED).arg("*");
        add.arg(ID).arg(id).arg(WHAT).arg(what);
        add.arg(INSTANCE).arg(instance);
        add
    }

    /// Reads a message; returns the stream that it is about, too.
    pub(super) fn read(raw: &Raw) -> Option<(String, Self)> {
        let field = |wanted: &str| {
            let mut fields = raw.fields.iter();
            let (_, value) = fields.find(|(name, _)| name == wanted.as_bytes())?;
            String::from_utf8(value.clone()).ok()
        };
        let control = match &*field(WHAT)? {
            "stop" => Self::Stop,
            "came" => Self::ViewerCame {
                instance: field(INSTANCE)?,
            },
            "left" => Self::ViewerLeft {
                instance: field(INSTANCE)?,
            },
            _ => return None,
        };
        Some((field(ID)?, control))
    }
}

/// What was asked about one stream.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Control>,
    reader: Option<Waker>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. Beyond the bound, the newest is lost, but a stop never is.
    pub(super) fn put(&self, control: Control) {
        let mut waiting = self.lock();
        if control == Control::Stop {
            waiting.messages.push_front(control);
            waiting.messages.truncate(MAX_WAITING);
        } else if waiting.messages.len() < MAX_WAITING {
            waiting.messages.push_back(control);
        }
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Control> {
        let mut waiting = self.lock();
        if let Some(control) = waiting.messages.pop_front() {
            return Poll::Ready(control);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(instance: &str) -> Control {
        Control::ViewerCame {
            instance: instance.to_owned(),
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_sent() {
        let left = Control::ViewerLeft {
            instance: "b".to_owned(),
        };
        for control in [Control::Stop, came("a"), left] {
            let command = control.command("key", "id");
            let mut words = command.args_iter().filter_map(|arg| match arg {
                redis::Arg::Simple(word) => Some(word.to_vec()),
                _ => None,
            });
            let head: Vec<_> = words.by_ref().take(6).collect();
            assert_eq!(head[0], b"XADD");
            let words: Vec<_> = words.collect();
            let (pairs, rest) = words.as_chunks::<2>();
            assert!(rest.is_empty());
            let fields = pairs
                .iter()
                .map(|[name, value]| (name.clone(), value.clone()));
            let raw = Raw {
                stamp: "1-0".to_owned(),
                seq: 1,
                fields: fields.collect(),
            };
            assert_eq!(Control::read(&raw), Some(("id".to_owned(), control)));
        }
        let empty = Raw {
            stamp: String::new(),
            seq: 0,
            fields: Vec::new(),
        };
        assert_eq!(Control::read(&empty), None);
    }

    #[test]
    fn a_stop_always_finds_room_and_comes_first() {
        let mailbox = Mailbox::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll(&cx).is_pending());
        for _ in 0..=MAX_WAITING {
            mailbox.put(came("a"));
        }
        mailbox.put(Control::Stop);
        assert_eq!(mailbox.poll(&cx), Poll::Ready(Control::Stop));
        let mut left = 0;
        while mailbox.poll(&cx).is_ready() {
            left += 1;
        }
        assert_eq!(left, MAX_WAITING - 1);
    }
}
