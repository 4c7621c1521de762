//! What a target does per event: its system calls, its waits and its processor time.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::clock::{self, MILLISECOND, SECOND};
use crate::model::Model;
use crate::target::{self, Group, Running, Target};
use crate::workload::{Shape, Steady, Window, Workload};

/// The number of calls of one system call, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    all: u64,
    failed: u64,
}

pub fn cost(model: &Model, target: &Target, workload: &Workload, window: u64) -> Result<()> {
    let Some(shape) = workload.shape() else {
        bail!(
            "the cost of {} cannot be told by event: take paced, gateway, saturation, saturation16, websocket, websocket64k, \
             tls, h2-clients, h2-tls or gzip-upstream",
            workload.name
        )
    };
    if let Some(why) = target.cannot(workload.setup()) {
        bail!("{} cannot do {}: {why}", target.name, workload.name);
    }
    if !target.is_proxy() {
        bail!("{} has no process to look at", target.name);
    }
    let Shape {
        streams,
        rate,
        batch,
        ..
    } = shape;
    println!(
        "{} {}, {}: {streams} streams, rate {rate}, {batch} in a write",
        target.name, target.version, workload.name
    );
    let running = target.start_as(model.address, workload.setup())?;
    let mut steady = Steady::begin(model, &running, shape)?;

    let Window {
        events,
        nanoseconds,
        usage,
    } = steady.watch(&running, window)?;
    let per_event = |count: f64| count / events as f64;
    println!(
        "\nunwatched: {:.0} events/s",
        events as f64 / clock::seconds(nanoseconds)
    );
    println!(
        "{:>10.3}  CPU us/event",
        per_event(usage.cpu as f64) / 1000.0
    );
    println!(
        "{:>10.3}  of it user",
        per_event(usage.user_part()) / 1000.0
    );
    println!(
        "{:>10.3}  waits/event (voluntary context switches)",
        per_event(usage.waits as f64)
    );

    let (traced, calls) = trace(&mut steady, &running, window)?;
    println!(
        "\nunder strace, which slows it down, so that more is there each time it looks: {:.0} events/s",
        traced.events as f64 / clock::seconds(traced.nanoseconds)
    );
    println!("{:>10}  {:>10}  system call", "per event", "failed");
    let mut calls: Vec<_> = calls.into_iter().collect();
    calls.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.all));
    for (name, Calls { all, failed }) in calls {
        let per_event = |count: u64| count as f64 / traced.events as f64;
        println!(
            "{:>10.4}  {:>10.4}  {name}",
            per_event(all),
            per_event(failed)
        );
    }
    for (what, times) in steady.end(model)? {
        println!("! {times} x {what}");
    }
    Ok(())
}

/// Measures a window with strace on the target.
fn trace(
    steady: &mut Steady,
    running: &Running,
    window: u64,
) -> Result<(Window, BTreeMap<String, Calls>)> {
    let processes = running.processes()?;
    let directory = target::directory()?;
    let summary = directory.path().join("summary");
    let mut command = Command::new(target::on_path("strace"));
    command
        .args(["-c", "-f", "-qq", "-o"])
        .arg(&summary)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    for process in &processes {
        command.args(["-p", &process.to_string()]);
    }
    let mut strace = Group::spawn(&mut command, directory)?;
    let deadline = clock::now() + 10 * SECOND;
    while !traced(&processes)? {
        if clock::now() > deadline || strace.ended()?.is_some() {
            bail!("strace does not attach");
        }
        steady.load.during(MILLISECOND)?;
    }
    let traced = steady.watch(running, window)?;
    strace.interrupt()?;
    let summary = fs::read_to_string(&summary).context("strace says nothing")?;
    Ok((traced, summary.lines().filter_map(calls).collect()))
}

/// Reports whether every thread of these processes is traced.
fn traced(processes: &[u32]) -> Result<bool> {
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            if status.lines().any(|line| {
                line.strip_prefix("TracerPid:")
                    .is_some_and(|pid| pid.trim() == "0")
            }) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Parses a line of the summary: share, seconds, microseconds per call, calls, errors if there were any, name.
fn calls(line: &str) -> Option<(String, Calls)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (failed, name) = match words[..] {
        [_, _, _, _, name] => (0, name),
        [_, _, _, _, failed, name] => (failed.parse().ok()?, name),
        _ => return None,
    };
    let all = words[3].parse().ok()?;
    (name != "total").then(|| (name.to_owned(), Calls { all, failed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 53.12    0.123456           3     41000           writev
 20.00    0.050000           2     20500       500 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.232323           2     61500       500 total
";
        let read: Vec<_> = summary.lines().filter_map(calls).collect();
        let expected = [
            (
                "writev".to_owned(),
                Calls {
                    all: 41000,
                    failed: 0,
                },
            ),
            (
                "recvfrom".to_owned(),
                Calls {
                    all: 20500,
                    failed: 500,
                },
            ),
        ];
        assert_eq!(read, expected);
    }
}
