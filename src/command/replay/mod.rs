//! `weir replay`: answers as a recorded agent did, with the same heads, bytes and pace, and with faults on request.
//!
//! A `script::Script` is made once for each exchange of the file. Each request of a client gets one, from its beginning
//! (`connection`, `play`).

mod connection;
mod faults;
mod gzip;
mod pick;
mod play;
mod script;
mod speed;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::problem::{self, Problem, usage};
use super::{Output, explain};
use crate::cli::Replay;
use crate::config::{self, Address};
use crate::recording::Recording;
use crate::recording::read::read;
use crate::tasks;
use connection::Stage;
use faults::Faults;
use pick::Picks;
use play::Manner;
use script::Script;
use speed::Speed;

/// The largest recording.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The status of a response after which the connection speaks another protocol.
const UPGRADED: u16 = 101;
/// The most clients at once. Further ones wait until a client leaves.
const MAX_CONNECTIONS: usize = 1024;
/// The pause after a connection could not be accepted, for example because there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Replays or explains a recording. Calls `say` with the greeting once clients can connect: its first line is the URL.
pub fn replay(args: &Replay, say: impl FnOnce(String)) -> Output {
    let done = load(&args.file).and_then(|recording| {
        if args.explain {
            Ok(explain::explain(&recording, args.json, args.show))
        } else {
            serve(args, &recording, say).map(|()| Output::default())
        }
    });
    done.unwrap_or_else(|Problem { message, code }| Output {
        stderr: format!("weir replay: {message}\n"),
        code,
        ..Output::default()
    })
}

/// Reads a recording with at least one exchange.
fn load(path: &Path) -> Result<Recording, Problem> {
    let shown = path.display();
    let wrong = |why: String| usage(format!("{shown}: {why}"));
    let opened = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut file = Vec::new();
    // A pipe has no size, and a device may have no end.
    opened
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut file)
        .map_err(|error| wrong(error.to_string()))?;
    if file.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(
            "expected a recording of at most 1 GiB, and there is more".to_owned(),
        ));
    }
    let recording = read(&file).map_err(|error| wrong(error.to_string()))?;
    if recording.exchanges.is_empty() {
        return Err(wrong(
            "no response was recorded: expected at least one line of type `response`".to_owned(),
        ));
    }
    Ok(recording)
}

fn serve(args: &Replay, recording: &Recording, say: impl FnOnce(String)) -> Result<(), Problem> {
    let faults = Faults::parse(&args.faults).map_err(usage)?;
    let speed = Speed::parse(&args.speed).map_err(usage)?;
    let (upgraded, replayed): (Vec<_>, Vec<_>) = recording
        .exchanges
        .iter()
        .partition(|exchange| exchange.response.status == UPGRADED);
    if replayed.is_empty() {
        return Err(usage(format!(
            "{}: holds WebSockets or other upgraded connections only, which cannot be replayed",
            args.file.display()
        )));
    }
    let scripts = replayed
        .into_iter()
        .map(|exchange| Script::new(exchange, &faults, args.loops))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage)?;
    let listen = args.listen.as_deref().unwrap_or_default();
    let address = match config::read_listen(listen) {
        Ok(Address::Tcp(address)) => address,
        Ok(Address::Unix(_)) => {
            return Err(usage("--listen: expected HOST:PORT, not a Unix socket"));
        }
        Err(why) => return Err(usage(format!("--listen: {why}"))),
    };
    let picks = Picks::new(&scripts);
    let count = scripts.len();
    let stage = Stage {
        scripts,
        picks,
        manner: Manner { faults, speed },
    };
    let failed = |error: std::io::Error| problem::failed(format!("--listen {address}: {error}"));
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let url = format!("http://{bound}");
        say(greeting(&url, count, upgraded.len(), args));
        tokio::select! {
            () = accept(listener, Arc::new(stage)) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

fn greeting(url: &str, count: usize, upgraded: usize, args: &Replay) -> String {
    let noun = if count == 1 { "exchange" } else { "exchanges" };
    let mut text = format!(
        "{url}\nreplaying {}: {count} {noun}, speed {}",
        args.file.display(),
        args.speed
    );
    if upgraded > 0 {
        text.push_str(&format!(
            " (without {upgraded} upgraded to another protocol, such as WebSocket)"
        ));
    }
    if args.loops {
        text.push_str(", in a loop");
    }
    if !args.faults.is_empty() {
        text.push_str(&format!(", faults: {}", args.faults.join(", ")));
    }
    text.push_str("; stop with Ctrl-C\n");
    text
}

/// Serves each client in a task of its own.
async fn accept(listener: TcpListener, stage: Arc<Stage>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let permit = Arc::clone(&places).acquire_owned().await.ok();
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let stage = Arc::clone(&stage);
        tasks::spawn(async move {
            let _permit = permit;
            stage.serve(client).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, change: impl Fn(&mut Replay)) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut args = Replay {
            file: file.path().to_owned(),
            listen: Some("127.0.0.1:0".into()),
            speed: "1".into(),
            loops: false,
            faults: Vec::new(),
            explain: false,
            json: false,
            show: false,
        };
        change(&mut args);
        replay(&args, |_| panic!("nobody may connect"))
    }

    #[test]
    fn invalid_recordings_and_flags_are_rejected() {
        let whole = "{\"weir_recording\":1}\n{\"type\":\"request\",\"method\":\"GET\",\"target\":\"/\"}\n\
            {\"type\":\"response\",\"status\":200}\n";
        for (output, expected) in [
            (run("hello", |_| {}), "line 1: expected the first line"),
            (
                run("{\"weir_recording\":1}\n", |_| {}),
                "no response was recorded",
            ),
            (
                run(whole, |args| args.faults = vec!["stall".into()]),
                "--fault `stall`",
            ),
            (
                run(whole, |args| args.speed = "fast".into()),
                "--speed `fast`",
            ),
            (
                run(whole, |args| args.listen = Some("nowhere".into())),
                "--listen: ",
            ),
            (
                run(whole, |args| args.listen = Some("unix:/a".into())),
                "--listen: ",
            ),
            (
                run(whole, |args| args.file = "/no/such/file".into()),
                "/no/such/file",
            ),
            (
                run(&whole.replace("200", "101"), |_| {}),
                "upgraded connections only",
            ),
        ] {
            assert_eq!(output.code, 2, "{expected}: {}", output.stderr);
            assert!(output.stderr.contains(expected), "{}", output.stderr);
        }
    }
}
