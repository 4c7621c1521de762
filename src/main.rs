//! The `weir` binary: parses the arguments, runs the command and sets the exit code. All logic is in the library.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;

use weir::cli::{Cli, Command};
use weir::command::{
    Output, check, completions, doctor, drain, healthcheck, inject, record, replay, schema, serve,
};
use weir::{demo, log};

/// jemalloc, which returns freed memory to the system from a background thread (how soon: `.cargo/config.toml`).
/// The C library's allocator keeps all memory below the last block in use, and memory that is kept counts as used
/// where memory is limited.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Check(args) => {
            let file = args.file().map(ToOwned::to_owned);
            let options = check::Options {
                probe: args.probe,
                json: args.json,
            };
            let overrides = args.settings.into();
            finish(&check::check(file.as_deref(), &overrides, options))
        }
        Command::Completions(args) => finish(&completions::completions(args.shell)),
        Command::Demo(args) => match demo::run(&args, |text| say(&text)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ demo::Error::Flags(_)) => fail(&error.to_string(), 2),
            Err(error @ demo::Error::Io(_)) => fail(&error.to_string(), 1),
        },
        Command::Doctor(args) => finish(&doctor::doctor(&args, &|line| {
            let _ = writeln!(stderr(), "{line}");
        })),
        Command::Drain(args) => {
            let (admin, token) = (args.admin.as_deref(), args.token.as_deref());
            finish(&drain::drain(admin, &args.wait, token))
        }
        Command::Healthcheck(args) => {
            let (url, admin) = (args.url.as_deref(), args.admin.as_deref());
            finish(&healthcheck::healthcheck(url, admin))
        }
        Command::Inject(args) => finish(&inject::inject(&args.into())),
        Command::Man(args) => finish(&completions::man(&args.folder)),
        Command::Record(args) => finish(&record::record(&args, |text| {
            let _ = stderr().write_all(text.as_bytes());
        })),
        Command::Replay(args) => finish(&replay::replay(&args, |text| say(&text))),
        Command::Schema => finish(&schema::schema()),
        Command::Serve(args) => {
            let file = args.file().map(ToOwned::to_owned);
            let source = serve::Source {
                file,
                overrides: args.settings.into(),
            };
            let config = match source.load() {
                Ok(config) => config,
                Err(problems) => return fail(&problems.to_string(), 2),
            };
            let served =
                log::install(&config.log).and_then(|_flush| serve::serve(config, source, |_| {}));
            match served {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error.to_string(), 1),
            }
        }
        #[cfg(feature = "top")]
        Command::Top(args) => {
            let (admin, token) = (args.admin.as_deref(), args.token.as_deref());
            finish(&weir::command::top::top(admin, token))
        }
    }
}

fn finish(output: &Output) -> ExitCode {
    let _ = stderr().write_all(output.stderr.as_bytes());
    let written = stdout()
        .write_all(output.stdout.as_bytes())
        .and_then(|()| stdout().flush());
    match written {
        Ok(()) => ExitCode::from(output.code),
        // The reader closed the pipe early, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(output.code),
        Err(error) => fail(&format!("stdout: {error}"), 1),
    }
}

fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
    let _ = stdout().flush();
}

fn fail(problem: &str, code: u8) -> ExitCode {
    let _ = writeln!(stderr(), "weir: {}", problem.trim_end());
    ExitCode::from(code)
}
