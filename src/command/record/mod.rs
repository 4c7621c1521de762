//! `weir record`: writes what an agent answers to a file, with the time of every read.
//!
//! Either one request is sent (`ask`), or Weir stands between clients and an agent as a tap (`tap`). Both pass what
//! comes from the agent to an `exchange::Exchange`, which writes it to the `book::Book`.

mod ask;
mod book;
mod exchange;
mod file;
mod place;
mod sent_request;
mod tap;

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::Output;
use super::problem::{Problem, failed, usage};
use crate::cli::Record;
use crate::config;
use crate::recording::INTERRUPTED;
use crate::recording::redact::Redaction;
use ask::Ask;
use book::Book;
use file::Target;
use place::Place;
use tap::Tap;

/// The smallest size that makes sense: the heads of one exchange.
const MIN_BYTES: u64 = 4 << 10;

/// What is to be done.
enum Job {
    Ask(Box<Ask>),
    Tap(Tap),
}

/// Records until the response is over, or until Ctrl-C. Calls `say` with the progress, for people.
pub fn record(args: &Record, say: impl FnMut(&str) + Send + 'static) -> Output {
    match run(args, Box::new(say)) {
        Ok(()) => Output::default(),
        Err(Problem { message, code }) => Output {
            stderr: format!("weir record: {}\n", message.trim_end()),
            code,
            ..Output::default()
        },
    }
}

fn run(args: &Record, say: Box<dyn FnMut(&str) + Send>) -> Result<(), Problem> {
    let max = config::read_size(&args.max_size)
        .map_err(|why| usage(format!("--max-size `{}` {why}", args.max_size)))?;
    if max < MIN_BYTES {
        return Err(usage(format!(
            "--max-size `{}`: expected at least 4KiB",
            args.max_size
        )));
    }
    let job = job(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let redaction = Redaction {
        is_off: args.no_redact,
        names: args.redact.clone(),
    };
    let file = Target::open(&args.output, args.force)?;
    let undo = file.undo();
    let name = args.output.display().to_string();
    let book = Book::begin(file, &name, max, redaction, say).map_err(failed)?;
    let book = Arc::new(book);
    let result = runtime.block_on(until_interrupted(&book, job));
    let recorded = book.close();
    if recorded == 0 {
        // A file without a response is of no use to anybody.
        undo.run();
    }
    result?;
    match book.problem() {
        Some(problem) => Err(failed(problem)),
        None if recorded == 0 => Err(failed(
            "stopped before a response came: nothing is recorded",
        )),
        None => Ok(()),
    }
}

/// Does the job, or stops at Ctrl-C. Either way, all exchanges in the file have their end.
async fn until_interrupted(book: &Arc<Book>, job: Job) -> Result<(), Problem> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = async {
        match job {
            Job::Ask(ask) => ask.record(book).await,
            Job::Tap(tap) => tap.run(book).await,
        }
    };
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => {
            book.stop(INTERRUPTED);
            Ok(())
        }
        _ = terminate.recv() => {
            book.stop(INTERRUPTED);
            Ok(())
        }
    }
}

fn job(args: &Record) -> Result<Job, Problem> {
    let ca_file = args.ca_file.clone();
    match (&args.url, &args.listen, &args.upstream) {
        (Some(url), ..) => Ask::new(args, url, ca_file).map(|ask| Job::Ask(Box::new(ask))),
        (None, Some(listen), Some(upstream)) => {
            let place = Place::new("--upstream", upstream, ca_file)?;
            Tap::bind(listen, place).map(Job::Tap)
        }
        _ => Err(usage("expected a URL, or --listen and --upstream")),
    }
}
