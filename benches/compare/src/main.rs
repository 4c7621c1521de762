//! Compares Weir with other proxies: the same streams through each, in turns, on one machine.
//!
//! ```text
//! load ──► target ──► model         load and model are threads of this process,
//!   one thread   its own processes   one thread   the target is a child
//! ```
//!
//! `workload` defines the streams, `target` the proxies, `table` and `report` the output.

mod ask;
mod clock;
mod cores;
mod cost;
mod front;
mod load;
mod model;
mod net;
mod proc;
mod relay;
mod report;
mod results;
mod stamp;
mod stats;
mod table;
mod target;
mod websocket;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit};

use model::Model;
use results::Results;
use table::Table;
use target::Target;
use workload::{Bench, Row};

/// Measures Weir beside other proxies.
#[derive(Debug, Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what one target does for an event: system calls (needs strace), waits, time
    Cost {
        #[command(flatten)]
        weir: Weir,
        /// Which target
        #[arg(long, value_name = "NAME", default_value = "weir")]
        target: String,
        /// Which workload: paced, gateway, saturation, saturation16, websocket, websocket64k, tls, h2-clients, h2-tls or
        /// gzip-upstream
        #[arg(long, value_name = "NAME", default_value = "paced")]
        workload: String,
        /// Length of each of two windows
        #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
        seconds: f64,
    },
    /// Tell what an event costs with several numbers of workers, and how streams are spread over them
    Cores {
        #[command(flatten)]
        weir: Weir,
        /// The numbers of workers, by comma
        #[arg(
            long,
            value_name = "NUMBERS",
            value_delimiter = ',',
            default_value = "1,2,4,8"
        )]
        workers: Vec<usize>,
        /// Times that each is measured, in turns
        #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Length of a measured window
        #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
        seconds: f64,
        /// How many streams are spread
        #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
        streams: usize,
    },
    /// Copy bytes between clients and a server: the floor of what a proxy costs
    #[command(hide = true)]
    Relay {
        listen: SocketAddr,
        upstream: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Weir {
    /// The weir to measure [default: target/release/weir of the repository]
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Another weir, measured as `before`: what a change does is seen best in turns
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Compare {
    #[command(flatten)]
    weir: Weir,
    /// Times that everything is measured, in turns
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Length of a measured window
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Once, with short windows: to see that it works
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Which workloads, by comma [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workloads: Vec<String>,
    /// Which targets, by comma [default: all that are installed]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,
    /// Where every round goes, as lines of JSON [default: compare.jsonl in the directory of the build]
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Write the tables into docs/performance.md
    #[arg(long)]
    write: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Relay { listen, upstream }) = cli.command {
        return relay::run(listen, upstream);
    }
    // The children must end with this program, and a signal runs no destructors.
    ctrlc::set_handler(|| {
        target::kill_all();
        std::process::exit(130);
    })?;
    let files = raise_files();
    let model = Model::start()?;
    match &cli.command {
        Some(Command::Cost {
            weir,
            target,
            workload,
            seconds,
        }) => {
            let targets = weir.find(std::slice::from_ref(target))?;
            let workloads = workload::find(std::slice::from_ref(workload))?;
            for (target, workload) in targets.iter().zip(&workloads) {
                cost::cost(&model, target, workload, nanoseconds(*seconds))?;
            }
        }
        Some(Command::Cores {
            weir,
            workers,
            rounds,
            seconds,
            streams,
        }) => {
            let bench = Bench {
                model: &model,
                window: nanoseconds(*seconds),
                files,
            };
            for target in weir.find(&["weir".to_owned()])? {
                cores::cores(&bench, &target, workers, (*rounds).into(), *streams)?;
            }
        }
        _ => compare(&cli.compare, &model, files)?,
    }
    model.stop().context("the model")
}

fn compare(options: &Compare, model: &Model, files: u64) -> Result<()> {
    let workloads = workload::find(&options.workloads)?;
    let targets = options.weir.find(&options.targets)?;
    let (rounds, seconds) = if options.quick {
        (1, 2.0)
    } else {
        (options.rounds.into(), options.seconds)
    };
    let bench = Bench {
        model,
        window: nanoseconds(seconds),
        files,
    };
    let names = targets.iter().map(|target| target.name).collect();
    let raw = options.raw.clone().map_or_else(default_raw, Ok)?;
    let mut results = Results::new(names, &raw)?;
    for round in 0..rounds {
        for workload in &workloads {
            // Each target is first equally often, and runs before each other target as often as after it, so that
            // effects which a run has on the next one are the same for all.
            let turns = targets.iter().cycle().skip(round % targets.len());
            let mut turns: Vec<_> = turns.take(targets.len()).collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for target in turns {
                if !workload.wants(target) {
                    continue;
                }
                eprint!(
                    "round {} of {rounds}  {:<13}  {:<13}",
                    round + 1,
                    workload.name,
                    target.name
                );
                let row = workload.run(&bench, target).unwrap_or_else(|error| Row {
                    errors: [(format!("not measured: {error:#}"), 1)].into(),
                    ..Row::default()
                });
                eprintln!("  {}", line(workload, &row));
                results.add(round, workload.name, target.name, row)?;
            }
        }
    }
    for workload in &workloads {
        println!(
            "\n{}: {}\n{}",
            workload.name,
            workload.what,
            Table::of(workload, &results).aligned()
        );
    }
    if options.write {
        report::write(
            &target::root().join("docs/performance.md"),
            &workloads,
            &targets,
            &results,
            &options.command(),
        )?;
    }
    Ok(())
}

impl Weir {
    fn find(&self, names: &[String]) -> Result<Vec<Target>> {
        let weir = self
            .weir
            .clone()
            .unwrap_or_else(|| target::root().join("target/release/weir"));
        target::find(
            names,
            &target::Options {
                weir,
                before: self.before.clone(),
            },
        )
    }
}

impl Compare {
    /// Returns the command that repeats this run, without options that depend on this machine.
    fn command(&self) -> String {
        let mut command = "benches/compare/run".to_owned();
        if self.quick {
            command.push_str(" --quick");
        } else {
            command.push_str(&format!(
                " --rounds {} --seconds {}",
                self.rounds, self.seconds
            ));
        }
        for (name, values) in [("workloads", &self.workloads), ("targets", &self.targets)] {
            if !values.is_empty() {
                command.push_str(&format!(" --{name} {}", values.join(",")));
            }
        }
        command
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * clock::SECOND as f64) as u64
}

/// Returns the default file for raw results, in Cargo's build directory, which may be deleted.
fn default_raw() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let build = program
        .ancestors()
        .nth(2)
        .context("this program is not where Cargo builds")?;
    Ok(build.join("compare.jsonl"))
}

/// Formats a row in short, to show progress.
fn line(workload: &workload::Workload, row: &Row) -> String {
    let values = workload.columns.iter().filter_map(|column| {
        let value = row.values.get(column.name)?;
        Some(format!(
            "{} {value:.*}",
            column.name.trim_end(),
            column.digits
        ))
    });
    let errors = row
        .errors
        .iter()
        .map(|(what, times)| format!("! {times} x {what}"));
    let notes = row.notes.iter().cloned();
    values
        .chain(errors)
        .chain(notes)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Raises the limit of open files to what the crowd needs, if permitted, and returns the limit. Children inherit it.
fn raise_files() -> u64 {
    const WANTED: u64 = 65_536;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let hard = before.maximum.map_or(WANTED, |hard| hard.max(WANTED));
    let all = Rlimit {
        current: Some(WANTED),
        maximum: Some(hard),
    };
    // Only root may raise the hard limit. Anyone may raise the soft limit up to it.
    if rustix::process::setrlimit(Resource::Nofile, all).is_err() {
        let up = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        let _ = rustix::process::setrlimit(Resource::Nofile, up);
    }
    rustix::process::getrlimit(Resource::Nofile)
        .current
        .unwrap_or(WANTED)
}
