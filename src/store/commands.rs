//! The commands that store a stream.
//!
//! Ids of entries are explicit, so the server refuses what it has already: a pipeline whose answer was lost is sent
//! once more and stores nothing twice. Whatever may create a key gives it a time to live in the same transaction;
//! everything else leaves a stream that has expired as it is.

use redis::{Cmd, RedisWrite};

use super::entry::{CLEAN, Chunk, GAP, INDEX, ORPHANED, OUTCOME, PLAIN, SEALED, place};
use super::keys::Keys;
use super::meta::millis;
use super::seal::Sealer;
use super::terms::{Bounds, WRITTEN_BY_WEIR};

/// Maximum number of arguments of an `XADD` of events, and of its bytes beside the key, the index and the blocks.
const XADD_ARGS: usize = 11;
const XADD_BYTES: usize = 128;

/// The names of a stream's keys.
pub(super) struct Names<'a> {
    id: &'a str,
    events: String,
    meta: String,
}

impl<'a> Names<'a> {
    pub(super) fn new(keys: &Keys, id: &'a str) -> Self {
        Self {
            id,
            events: keys.events(id),
            meta: keys.meta(id),
        }
    }
}

/// The end of a stream.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: String,
    /// The last block, if Weir wrote one.
    pub(super) terminal: Vec<u8>,
    /// Whether the response ended as the protocol says.
    pub(super) is_clean: bool,
}

impl End {
    /// Returns about how many bytes it takes.
    pub(super) const fn size(&self) -> usize {
        self.outcome.len() + self.terminal.len()
    }

    /// Returns the number of the last event, if that before the end is `last`.
    pub(super) const fn number(&self, last: u64) -> u64 {
        if self.terminal.is_empty() {
            last
        } else {
            last.saturating_add(1)
        }
    }
}

fn expire(key: &str, milliseconds: u64) -> Cmd {
    let mut expire = redis::cmd("PEXPIRE");
    expire.arg(key).arg(milliseconds);
    expire
}

/// What is known of a stream, in its stored form.
pub(super) fn metadata(names: &Names<'_>, meta: &[u8], bounds: &Bounds) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(&*names.meta).arg(meta);
    set.arg("PX").arg(millis(bounds.live));
    set
}

/// Lets both keys of a live stream live on.
pub(super) fn renew(names: &Names<'_>, bounds: &Bounds, out: &mut Vec<Cmd>) {
    let live = millis(bounds.live);
    out.extend([expire(&names.events, live), expire(&names.meta, live)]);
}

/// Adds the fields of sealed or clear blocks. Returns whether they could be sealed.
fn blocks(add: &mut Cmd, names: &Names<'_>, last: u64, text: Vec<u8>, sealer: &Sealer) -> bool {
    if !sealer.is_on() {
        add.arg(PLAIN).arg(text.as_slice());
        return true;
    }
    let sealed = sealer.seal(text, &place(names.id, last));
    if let Some(sealed) = &sealed {
        add.arg(SEALED).arg(sealed.as_slice());
    }
    sealed.is_some()
}

/// Adds an entry with events. Entries before `below` may be deleted. `first` has the bounds of the journal if this
/// entry creates it. Returns whether the entry could be written.
pub(super) fn events(
    names: &Names<'_>,
    chunk: Chunk,
    below: Option<u64>,
    first: Option<&Bounds>,
    sealer: &Sealer,
    out: &mut Vec<Cmd>,
) -> bool {
    let mut add = Cmd::with_capacity(XADD_ARGS, names.events.len() + chunk.size() + XADD_BYTES);
    add.arg("XADD").arg(&*names.events);
    if first.is_none() {
        add.arg("NOMKSTREAM");
    }
    if let Some(below) = below {
        add.arg("MINID").arg("~").arg(below);
    }
    add.write_arg_fmt(format_args!("{}-0", chunk.last));
    add.arg(INDEX).arg(chunk.index.as_slice());
    if !blocks(&mut add, names, chunk.last, chunk.blocks, sealer) {
        return false;
    }
    match first {
        Some(bounds) => {
            let expire = expire(&names.events, millis(bounds.live));
            out.extend(atomically([add, expire]));
        }
        None => out.push(add),
    }
    true
}

/// The end, after the event with this number. Returns whether it could be written.
pub(super) fn end(
    names: &Names<'_>,
    end: End,
    number: u64,
    bounds: &Bounds,
    sealer: &Sealer,
    out: &mut Vec<Cmd>,
) -> bool {
    let mut add = redis::cmd("XADD");
    add.arg(&*names.events).arg(format!("{number}-1"));
    add.arg(OUTCOME).arg(&*end.outcome);
    add.arg(CLEAN).arg(u8::from(end.is_clean));
    if !end.terminal.is_empty() {
        let length = u32::try_from(end.terminal.len()).unwrap_or(u32::MAX);
        let index = Chunk::new(number, &[(WRITTEN_BY_WEIR, length)], &[], 0).index;
        add.arg(INDEX).arg(index.as_slice());
        if !blocks(&mut add, names, number, end.terminal, sealer) {
            return false;
        }
    }
    out.extend(closing(names, add, bounds));
    true
}

/// Says that what came after the event with this number is not stored.
pub(super) fn seal_off(names: &Names<'_>, last: u64, bounds: &Bounds) -> Vec<Cmd> {
    let mut add = redis::cmd("XADD");
    add.arg(&*names.events).arg(format!("{last}-2"));
    add.arg(GAP).arg("1");
    closing(names, add, bounds)
}

/// Says that the process of a stream is gone. `keep`: how long the stream stays, in milliseconds.
pub(super) fn orphaned(names: &Names<'_>, last: u64, keep: u64) -> Vec<Cmd> {
    let mut add = redis::cmd("XADD");
    add.arg(&*names.events).arg("NOMKSTREAM");
    add.arg(format!("{last}-3")).arg(ORPHANED).arg("1");
    vec![add, expire(&names.events, keep), expire(&names.meta, keep)]
}

pub(super) fn delete(names: &Names<'_>) -> Cmd {
    let mut delete = redis::cmd("DEL");
    delete.arg(&*names.events).arg(&*names.meta);
    delete
}

/// A last entry, and the time that everything stays.
fn closing(names: &Names<'_>, add: Cmd, bounds: &Bounds) -> Vec<Cmd> {
    let keep = millis(bounds.after_end());
    let expiries = [expire(&names.events, keep), expire(&names.meta, keep)];
    atomically(std::iter::once(add).chain(expiries))
}

/// Puts commands into a transaction. It is written as commands, because a pipeline has several transactions.
fn atomically(commands: impl IntoIterator<Item = Cmd>) -> Vec<Cmd> {
    let mut all = vec![redis::cmd("MULTI")];
    all.extend(commands);
    all.push(redis::cmd("EXEC"));
    all
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::store) const BOUNDS: Bounds = Bounds {
        keep: Duration::from_secs(60),
        live: Duration::from_secs(600),
        max_events: 100,
        max_bytes: 1 << 20,
    };

    /// Commands as text.
    pub(in crate::store) fn written(commands: &[Cmd]) -> Vec<String> {
        let word = |arg: redis::Arg<&[u8]>| match arg {
            redis::Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => String::new(),
        };
        let line = |command: &Cmd| command.args_iter().map(word).collect::<Vec<_>>().join(" ");
        commands.iter().map(line).collect()
    }

    fn names() -> (Keys, &'static str) {
        (Keys::new("w:"), "id")
    }

    #[test]
    fn what_creates_a_stream_lets_it_expire() {
        let (keys, id) = names();
        let names = Names::new(&keys, id);
        let sealer = Sealer::new(false, None, None);
        let chunk = || Chunk::new(3, &[(65, 66)], b"xyz", 0);
        let mut out = Vec::new();
        assert!(events(
            &names,
            chunk(),
            None,
            Some(&BOUNDS),
            &sealer,
            &mut out
        ));
        let want = [
            "MULTI",
            "XADD w:{id}:s 3-0 e AB d xyz",
            "PEXPIRE w:{id}:s 600000",
            "EXEC",
        ];
        assert_eq!(written(&out), want);
        out.clear();
        assert!(events(&names, chunk(), Some(2), None, &sealer, &mut out));
        let want = "XADD w:{id}:s NOMKSTREAM MINID ~ 2 3-0 e AB d xyz";
        assert_eq!(written(&out), [want]);
        assert_eq!(
            written(&[metadata(&names, b"{}", &BOUNDS)]),
            ["SET w:{id}:m {} PX 600000"]
        );
    }

    #[test]
    fn an_end_has_its_own_number_only_with_an_event() {
        let (keys, id) = names();
        let names = Names::new(&keys, id);
        let sealer = Sealer::new(false, None, None);
        for (terminal, number, entry) in [
            ("", 4, "XADD w:{id}:s 4-1 o stopped c 0"),
            (
                "xy",
                5,
                "XADD w:{id}:s 5-1 o stopped c 0 e \u{fffd}\u{2} d xy",
            ),
        ] {
            let last = End {
                outcome: "stopped".to_owned(),
                terminal: terminal.as_bytes().to_vec(),
                is_clean: false,
            };
            assert_eq!(last.number(4), number);
            let mut out = Vec::new();
            assert!(end(&names, last, number, &BOUNDS, &sealer, &mut out));
            let want = [
                "MULTI",
                entry,
                "PEXPIRE w:{id}:s 60000",
                "PEXPIRE w:{id}:m 60000",
                "EXEC",
            ];
            assert_eq!(written(&out), want);
        }
    }

    #[test]
    fn nothing_is_written_in_clear_if_sealing_fails() {
        let (keys, id) = names();
        let names = Names::new(&keys, id);
        let sealer = Sealer::new(true, None, None);
        let mut out = Vec::new();
        let chunk = Chunk::new(1, &[(0, 1)], b"x", 0);
        assert!(!events(&names, chunk, None, None, &sealer, &mut out));
        assert!(out.is_empty());
    }
}
