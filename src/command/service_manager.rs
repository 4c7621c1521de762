//! Notifies the service manager (systemd with `Type=notify`) that Weir serves, reloads or drains, and that its workers
//! are alive (watchdog).
//!
//! Nothing is sent unless the environment has `NOTIFY_SOCKET`. Watchdog notifications also need `WATCHDOG_USEC`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::{App, Load};
use crate::server::workers::BEAT_EVERY;

/// Shorter watchdog times are not shorter than this to Weir. They would end it whenever the machine is busy.
const MIN_TIMEOUT: Duration = BEAT_EVERY.saturating_mul(3);
/// The watchdog is never told more often than this.
const MIN_TICK: Duration = Duration::from_millis(10);

/// Tells that the listeners are open.
pub(super) fn ready(addresses: &[String]) {
    let status = format!("serving on {}", addresses.join(", "));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Tells that the configuration is being read again.
pub(super) fn reloading() {
    // From systemd 253 on, units of type `notify-reload` want the time, too.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells that it was read, and what has become of it.
pub(super) fn reloaded(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the process drains.
pub(super) fn stopping(streams: usize) {
    let status = format!("draining: {streams} streams");
    tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// Returns how long the service manager waits for a beat; `None` if it does not.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// Tells twice in each `period` that the workers are alive, as long as all of them are.
pub(super) async fn beat(app: Arc<App>, period: Duration) {
    let mut ticks = interval((period / 2).max(MIN_TICK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pulse = Pulse::new(app.load.len(), period.max(MIN_TIMEOUT));
    loop {
        ticks.tick().await;
        let silent = pulse.silent(app.load.iter().map(Load::beats));
        match silent {
            None => tell(&[NotifyState::Watchdog]),
            Some(worker) => tracing::error!(
                worker,
                "a worker shows no sign of life: the watchdog of the service manager is not told that it is alive"
            ),
        }
    }
}

/// When each worker last showed a sign of life.
#[derive(Debug)]
struct Pulse {
    last: Vec<(u64, Instant)>,
    timeout: Duration,
}

impl Pulse {
    /// The workers have just begun.
    fn new(workers: usize, timeout: Duration) -> Self {
        Self {
            last: vec![(0, Instant::now()); workers],
            timeout,
        }
    }

    /// Takes how often each worker has beaten. Returns the first one that has been silent for too long.
    fn silent(&mut self, beats: impl Iterator<Item = u64>) -> Option<usize> {
        let now = Instant::now();
        let mut silent = None;
        for (index, (last, beats)) in self.last.iter_mut().zip(beats).enumerate() {
            if last.0 != beats {
                *last = (beats, now);
            } else if now.duration_since(last.1) > self.timeout {
                silent = silent.or(Some(index));
            }
        }
        silent
    }
}

fn tell(states: &[NotifyState<'_>]) {
    let told = without_file(states).unwrap_or_else(|| sd_notify::notify(states));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager could not be told (NOTIFY_SOCKET)");
    }
}

/// Tells a socket that has a name instead of a file (`@NAME`), which the library cannot. `None` if it is a file, or if
/// there is no socket.
#[cfg(target_os = "linux")]
fn without_file(states: &[NotifyState<'_>]) -> Option<io::Result<()>> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let socket = std::env::var_os("NOTIFY_SOCKET")?;
    let name = socket.as_encoded_bytes().strip_prefix(b"@")?;
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let message = lines.join("\n");
    let sent = SocketAddr::from_abstract_name(name)
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    Some(sent.map(drop))
}

/// Only Linux has such sockets.
#[cfg(not(target_os = "linux"))]
const fn without_file(_: &[NotifyState<'_>]) -> Option<io::Result<()>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_stands_still_is_noticed() {
        let mut pulse = Pulse::new(2, Duration::from_secs(10));
        assert_eq!(pulse.silent([0, 0].into_iter()), None);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(pulse.silent([8, 7].into_iter()), None);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(pulse.silent([16, 7].into_iter()), None, "8 s are not long");
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(pulse.silent([24, 7].into_iter()), Some(1));
        assert_eq!(pulse.silent([25, 8].into_iter()), None, "it goes on");
    }
}
