//! Weir beside other proxies: the same streams through each, in turns, on one machine.
//!
//! ```text
//! load ──► target ──► model         load and model are threads of this process,
//!   one thread   its own processes   one thread   the target is a child
//! ```
//!
//! `workload` says what the streams do, `target` what they go through, `table` and `report` how it is told.

mod ask;
mod clock;
mod load;
mod model;
mod net;
mod proc;
mod relay;
mod results;
mod stamp;
mod stats;
mod table;
mod target;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit};

use model::Model;
use results::Results;
use table::Table;
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
    /// Copy bytes between clients and a server: the floor of what a proxy costs
    #[command(hide = true)]
    Relay {
        listen: SocketAddr,
        upstream: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Compare {
    /// The weir to measure [default: target/release/weir of the repository]
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Times that everything is measured, in turns
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
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
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Beside the program, where Cargo puts what may be deleted.
fn default_raw() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let build = program
        .ancestors()
        .nth(2)
        .context("this program is not where Cargo builds")?;
    Ok(build.join("compare.jsonl"))
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Relay { listen, upstream }) = cli.command {
        return relay::run(listen, upstream);
    }
    // Whatever ends this program must end its children; no destructor runs when a signal does.
    ctrlc::set_handler(|| {
        target::kill_all();
        std::process::exit(130);
    })?;
    compare(&cli.compare)
}

fn compare(options: &Compare) -> Result<()> {
    let workloads = workload::find(&options.workloads)?;
    let weir = options
        .weir
        .clone()
        .unwrap_or_else(|| root().join("target/release/weir"));
    let targets = target::find(&options.targets, &target::Options { weir })?;
    let files = raise_files();
    let rounds = if options.quick { 1 } else { options.rounds };
    let seconds = if options.quick { 2.0 } else { options.seconds };
    let model = Model::start()?;
    let bench = Bench {
        model: &model,
        window: (seconds * clock::SECOND as f64) as u64,
        files,
    };
    let names = targets.iter().map(|target| target.name).collect();
    let raw = options.raw.clone().map_or_else(default_raw, Ok)?;
    let mut results = Results::new(names, &raw)?;
    for round in 0..rounds {
        for workload in &workloads {
            // Each target is first as often as the others: what the one before leaves behind is for all.
            for target in targets
                .iter()
                .cycle()
                .skip(round % targets.len())
                .take(targets.len())
            {
                if !workload.wants(target) {
                    continue;
                }
                eprint!(
                    "round {} of {rounds}  {:<12}  {:<8}",
                    round + 1,
                    workload.name,
                    target.name
                );
                let row = workload.run(&bench, target).unwrap_or_else(|error| Row {
                    errors: vec![format!("not measured: {error:#}")],
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
    model.stop().context("the model")
}

/// A row in short, for whoever waits.
fn line(workload: &workload::Workload, row: &Row) -> String {
    let values = workload.columns.iter().filter_map(|column| {
        let value = row.values.get(column.name)?;
        Some(format!(
            "{} {value:.*}",
            column.name.trim_end(),
            column.digits
        ))
    });
    let errors = row.errors.iter().map(|error| format!("! {error}"));
    values.chain(errors).collect::<Vec<_>>().join(", ")
}

/// As many open files as the crowd needs, if this user may; children get the same. Returns the limit.
fn raise_files() -> u64 {
    const WANTED: u64 = 65_536;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let hard = before.maximum.map_or(WANTED, |hard| hard.max(WANTED));
    let all = Rlimit {
        current: Some(WANTED),
        maximum: Some(hard),
    };
    // Only root may raise the hard limit; everyone may go up to it.
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
