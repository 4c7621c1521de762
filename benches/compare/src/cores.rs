//! Weir with several numbers of workers, each worker pinned to a core: what an event costs then, and how the streams
//! are spread over the workers.
//!
//! A machine with few cores cannot show how Weir scales. It shows what stops a proxy from scaling: cost that grows with
//! the number of threads, because they share data, and workers that have more streams than others. More workers than
//! cores take turns on a core, and each turn is paid for by a cold cache, so they cost somewhat more than they would on
//! their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::stats::{paired, summary};
use crate::target::{Running, Setup, Target};
use crate::workload::{Bench, Shape, Steady};

/// The names of Weir's worker threads, before the number of the worker.
const WORKER: &str = "weir-";
/// The gauge that says how much each worker has.
const LOAD: &str = "weir_worker_load{worker=\"";
/// The shape of `paced`.
const PACED: Shape = Shape {
    streams: 200,
    rate: 50,
    batch: 1,
    message: 0,
};
/// Files of one process that are not streams.
const SPARE: u64 = 1024;

/// Measures each number of workers in turns, and prints the results.
pub fn cores(
    bench: &Bench<'_>,
    weir: &Target,
    workers: &[usize],
    rounds: usize,
    streams: usize,
) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} {}: {} streams of {} events a second; workers are pinned to {cores} cores in turns",
        weir.name, weir.version, PACED.streams, PACED.rate
    );
    let mut costs = vec![Vec::new(); workers.len()];
    for round in 0..rounds {
        for (count, costs) in workers.iter().zip(&mut costs) {
            let cost = cost(bench, weir, *count, cores)?;
            eprintln!(
                "round {} of {rounds}  {count} workers  {cost:.2} us/event",
                round + 1
            );
            costs.push(Some(cost));
        }
    }
    let first = costs.first().cloned().unwrap_or_default();
    println!(
        "\n{:>8}  {:>26}  {:>12}",
        "workers",
        "CPU us/event",
        format!("x {} workers", workers.first().copied().unwrap_or_default())
    );
    for (count, costs) in workers.iter().zip(&costs) {
        let all: Vec<f64> = costs.iter().copied().flatten().collect();
        let all = summary(&all).context("no round was measured")?;
        let ratio = paired(costs, &first, |ours, theirs| ours / theirs).unwrap_or(f64::NAN);
        let range = format!("{:.2} ({:.2}..{:.2})", all.median, all.least, all.most);
        println!("{count:>8}  {range:>26}  {ratio:>12.2}");
    }
    let wanted = streams.min((bench.files.saturating_sub(SPARE) / 2) as usize);
    println!(
        "\n{wanted} streams, each on a connection of its own: connections and requests of each worker"
    );
    println!(
        "{:>8}  {:>8}  {:>8}  {:>14}",
        "workers", "least", "most", "most over mean"
    );
    for count in workers {
        let loads = spread(bench, weir, *count, wanted)?;
        let (least, most) = (loads.iter().min(), loads.iter().max());
        let (Some(least), Some(most)) = (least, most) else {
            bail!("Weir says nothing about its workers");
        };
        let mean = loads.iter().sum::<u64>() as f64 / loads.len() as f64;
        let over = (*most as f64 / mean - 1.0) * 100.0;
        println!("{count:>8}  {least:>8}  {most:>8}  {over:>12.1} %");
    }
    Ok(())
}

fn start(bench: &Bench<'_>, weir: &Target, workers: usize) -> Result<Running> {
    bench.model.settle()?;
    let setup = Setup {
        workers,
        admin: true,
        ..Setup::PLAIN
    };
    weir.start_as(bench.model.address, setup)
}

/// Returns the processor time of an event, in microseconds.
fn cost(bench: &Bench<'_>, weir: &Target, workers: usize, cores: usize) -> Result<f64> {
    let running = start(bench, weir, workers)?;
    pin(&running, workers, cores)?;
    let mut steady = Steady::begin(bench.model, &running, PACED)?;
    let window = steady.watch(&running, bench.window)?;
    for (what, times) in steady.end(bench.model)? {
        eprintln!("! {times} x {what}");
    }
    Ok(window.usage.cpu as f64 / 1000.0 / window.events as f64)
}

/// Pins each worker to a core.
fn pin(running: &Running, workers: usize, cores: usize) -> Result<()> {
    let mut pinned = 0;
    for process in running.processes()? {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let index = name.trim().strip_prefix(WORKER);
            let index = index.and_then(|index| index.parse::<usize>().ok());
            let id = thread.file_name().to_str().and_then(|id| id.parse().ok());
            if let (Some(index), Some(id)) = (index, id.and_then(Pid::from_raw)) {
                let mut core = CpuSet::new();
                core.set(index % cores);
                sched_setaffinity(Some(id), &core)?;
                pinned += 1;
            }
        }
    }
    if pinned != workers {
        bail!("{pinned} threads are named `{WORKER}` and a number, and there should be {workers}");
    }
    Ok(())
}

/// Opens streams, and returns how many connections and requests each worker has.
fn spread(bench: &Bench<'_>, weir: &Target, workers: usize, streams: usize) -> Result<Vec<u64>> {
    let running = start(bench, weir, workers)?;
    let shape = Shape {
        streams,
        rate: 1,
        ..PACED
    };
    let steady = Steady::begin(bench.model, &running, shape)?;
    let admin = running.admin.context("Weir is not asked for its figures")?;
    let loads = loads(&ask(admin)?);
    for (what, times) in steady.end(bench.model)? {
        eprintln!("! {times} x {what}");
    }
    Ok(loads)
}

/// Returns the metrics of Weir. A few thousand streams do not make them longer.
fn ask(admin: SocketAddr) -> Result<String> {
    let patience = Duration::from_secs(10);
    let mut socket = TcpStream::connect_timeout(&admin, patience)?;
    socket.set_read_timeout(Some(patience))?;
    write!(
        socket,
        "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads what each worker has.
fn loads(metrics: &str) -> Vec<u64> {
    let of_workers = metrics.lines().filter_map(|line| line.strip_prefix(LOAD));
    of_workers
        .filter_map(|rest| rest.split_once("\"} ")?.1.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_each_worker_is_read() {
        let metrics = "# HELP weir_worker_load Connections.\nweir_worker_load{worker=\"0\"} 5\r\n\
                       weir_worker_load{worker=\"1\"} 7\nweir_other{worker=\"2\"} 9\n";
        assert_eq!(loads(metrics), [5, 7]);
    }
}
