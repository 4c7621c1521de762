//! Writes log lines in a separate thread, so that no other thread waits for the reader of the log.
//!
//! Lines wait in a bounded buffer. Lines that do not fit are dropped and counted. A first line is written at once;
//! lines that follow it within `PAUSE` are written together. Otherwise each of many short requests would wake the
//! thread.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes that wait; as many may be in the hands of the thread that writes.
const MAX_BYTES: usize = 1 << 20;

/// How long the thread lets lines gather after it has written some.
const PAUSE: Duration = Duration::from_millis(5);
/// How many bytes end the pause.
const MANY_BYTES: usize = MAX_BYTES / 4;

/// A handle to a log. Each write is one line.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, and no reason to wait with it.
    filled: Condvar,
    /// All has been written.
    emptied: Condvar,
    dropped: &'static AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The thread is writing what it has taken, or pauses. Either way it looks for more by itself.
    writing: bool,
    /// The process is about to end: there are no more pauses.
    ending: bool,
}

impl Writer {
    /// Starts a thread that writes to `out`. Lines that do not fit are counted in `dropped`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        dropped: &'static AtomicU64,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped,
        });
        let thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("weir-log".to_owned())
            .spawn(move || thread.write_to(out))?;
        Ok(Self(shared))
    }

    /// Waits until all lines so far are written, but not longer than `most`.
    pub(super) fn flush_within(&self, most: Duration) {
        let mut waiting = self.0.lock();
        waiting.ending = true;
        self.0.filled.notify_one();
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        // A poisoned lock or a time-out changes nothing: the process is about to end.
        let _ = self.0.emptied.wait_timeout_while(waiting, most, busy);
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() > MAX_BYTES {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            let before = waiting.lines.len();
            waiting.lines.extend_from_slice(line);
            let is_many = before < MANY_BYTES && waiting.lines.len() >= MANY_BYTES;
            let wakes = !waiting.writing || is_many;
            // Otherwise the thread would wake only to wait for the lock.
            drop(waiting);
            if wakes {
                self.0.filled.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut taken = Vec::new();
        loop {
            let mut waiting = self.lock();
            waiting.writing = false;
            if waiting.lines.is_empty() {
                self.emptied.notify_all();
                let idle = |waiting: &mut Waiting| waiting.lines.is_empty();
                waiting = self
                    .filled
                    .wait_while(waiting, idle)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut waiting.lines, &mut taken);
            waiting.writing = true;
            drop(waiting);
            // The reader may be gone. There is nobody to tell.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
            taken.clear();
            // A burst must not keep its memory for good.
            taken.shrink_to(MAX_BYTES / 16);
            self.pause();
        }
    }

    fn pause(&self) {
        let calm = |waiting: &mut Waiting| !waiting.ending && waiting.lines.len() < MANY_BYTES;
        // A poisoned lock shortens the pause, and that is all.
        let _ = self.filled.wait_timeout_while(self.lock(), PAUSE, calm);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read, pipe};

    use super::*;

    fn log() -> (Writer, impl Read, PipeWriter, &'static AtomicU64) {
        let (reader, writer) = pipe().unwrap();
        let dropped = Box::leak(Box::new(AtomicU64::new(0)));
        let again = writer.try_clone().unwrap();
        (
            Writer::start(writer, dropped).unwrap(),
            reader,
            again,
            dropped,
        )
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody() {
        let (mut log, mut reader, _open, dropped) = log();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        // More than the pipe, the thread and the buffer hold.
        for _ in 0..10_000 {
            log.write_all(&line).unwrap();
        }
        let lost = usize::try_from(dropped.load(Ordering::Relaxed)).unwrap();
        assert!(lost > 7_000 && lost < 10_000, "{lost}");
        let mut rest = vec![0; (10_000 - lost) * line.len()];
        reader.read_exact(&mut rest).unwrap();
        assert!(
            rest.chunks(line.len()).all(|read| read == line),
            "whole lines"
        );
        log.flush_within(Duration::from_secs(60));
        log.write_all(b"then\n").unwrap();
        let mut last = [0; 5];
        reader.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"then\n");
    }

    #[test]
    fn lines_that_come_in_a_pause_are_written_after_it() {
        let (mut log, mut reader, _open, _) = log();
        for number in 0..20_u8 {
            let line = [b'a' + number, b'\n'];
            log.write_all(&line).unwrap();
            let mut read = [0; 2];
            reader.read_exact(&mut read).unwrap();
            assert_eq!(read, line);
        }
    }

    #[test]
    fn what_was_logged_is_written_before_the_end() {
        let (mut log, mut reader, open, dropped) = log();
        log.write_all(b"the end\n").unwrap();
        log.flush_within(Duration::from_secs(60));
        drop(open);
        let mut read = [0; 8];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"the end\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }
}
