//! Sets up logging to stderr, as JSON or as text.

pub mod access;
pub(crate) mod address;
mod json;
mod text;
mod writer;

use std::env;
use std::io::{self, IsTerminal, stderr};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

use json::Json;
use text::Text;
pub(crate) use text::printable;
use writer::Writer;

/// How long the end of the process waits for the log to be written.
const FLUSH: Duration = Duration::from_millis(900);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines were dropped because the log was not read fast enough.
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Has what was logged written before the process ends.
#[derive(Debug)]
#[must_use = "dropped at the end of the process"]
pub struct Flush(Writer);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flush_within(FLUSH);
    }
}

/// Installs the logger for the life of the process.
///
/// # Errors
/// The thread that writes cannot be started.
pub fn install(log: &Log) -> io::Result<Flush> {
    access::set(log.access);
    let writer = Writer::start(stderr(), &DROPPED)?;
    let flush = Flush(writer.clone());
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match log.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Otherwise a failed write (full disk, closed pipe) would itself be reported on stderr, which panics.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let installed = if json {
        builder.event_format(Json).try_init()
    } else {
        let colours = shows_colours();
        builder.event_format(Text { colours }).try_init()
    };
    // A second call in the same process (tests) keeps the first logger.
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(flush)
}

/// Reports whether stderr shows colours: a terminal does, unless somebody says that it does not
/// (<https://no-color.org>).
fn shows_colours() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    stderr().is_terminal() && !is_refused && !is_dumb
}

/// Logs a panic as a defect in Weir, in the format of all other lines. A panic message that was formatted at run time
/// is left out, because it may contain data from a peer.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let words = info.payload().downcast_ref::<&str>().copied();
    tracing::error!(
        place,
        words,
        "a panic: this is a defect in Weir, please report it"
    );
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_a_line_without_what_was_put_into_its_words() {
        let lines = Lines::default();
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        tracing::subscriber::with_default(builder.event_format(Json).finish(), || {
            let _ = panic::catch_unwind(|| panic!("a mistake"));
            let prompt = "secret";
            let _ = panic::catch_unwind(|| panic!("a mistake with {prompt}"));
        });
        panic::set_hook(before);
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(lines.matches("this is a defect in Weir").count(), 2);
        assert_eq!(lines.matches("src/log/mod.rs").count(), 2);
        assert!(lines.contains("\"words\":\"a mistake\""), "{lines}");
        assert!(!lines.contains("secret"));
    }
}
