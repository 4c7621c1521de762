//! The log as an operator reads it: what the start says, and how short the text format is.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::logs::agent;
use crate::support::{Client, PATIENCE};

#[test]
fn the_start_is_one_line() {
    let upstream = agent();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]);
    command.arg("--upstream").arg(format!("http://{upstream}"));
    let weir = Text::start(command);
    let line: Value =
        serde_json::from_str(&weir.line(|line| line.contains("\"started\""))).unwrap();
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    let routes = line["routes"].as_str().unwrap();
    assert!(
        routes.starts_with("default \u{2192} ")
            && routes.ends_with(&format!(" (http://{upstream})")),
        "{line}"
    );
    assert!(
        line["listeners"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert!(
        line["admin"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert!(
        line["features"].is_string() && line["workers"].is_u64(),
        "{line}"
    );
}

#[test]
fn text_is_short_and_begins_with_a_banner() {
    let upstream = agent();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "off",
        "--log-format",
        "text",
    ]);
    command.arg("--upstream").arg(format!("http://{upstream}"));
    let weir = Text::start(command);
    let begin = weir.line(|line| line.contains(" weir "));
    assert!(begin.contains(env!("CARGO_PKG_VERSION")), "{begin}");
    let listens = weir.line(|line| line.starts_with("    listens on "));
    let address = listens
        .trim()
        .trim_start_matches("listens on http://")
        .to_owned();
    let leads = weir.line(|line| line.starts_with("    route default \u{2192} "));
    assert!(leads.ends_with(&format!(" (http://{upstream})")), "{leads}");
    weir.line(|line| line == "    admin off");

    let long = format!("/v1/{}", "x".repeat(500));
    let mut client = Client::connect(&address);
    client.send(format!(
        "POST {long} HTTP/1.1\r\nhost: h\r\nx-request-id: 0123456789abcdef\r\ncontent-length: 2\r\n\r\n{{}}"
    ));
    client.until("[DONE]");
    let line = weir.line(|line| line.contains(" POST /v1/"));
    assert!(line.chars().count() < 160, "{line}");
    for part in [
        " finished ",
        " ttft=",
        " 127.0.0.1 ",
        " #01234567",
        "\u{2026}",
    ] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    assert!(!line.contains('\x1b'), "stderr is no terminal: {line}");
    let mut client = Client::connect(&address);
    client.send("nonsense\r\n\r\n");
    client.until("\r\n\r\n");
    let line = weir.line(|line| line.contains("malformed"));
    assert!(line.contains(" - - 400 malformed "), "{line}");
}

/// A Weir whose lines are read as they are. Killed when dropped.
struct Text {
    child: Child,
    lines: Receiver<String>,
}

impl Text {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tx, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr.take(1 << 20))
                .lines()
                .map_while(Result::ok)
            {
                eprintln!("{line}");
                if tx.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Returns the next line that `is` accepts, and skips earlier ones.
    fn line(&self, is: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .expect("a log line in time");
            if is(&line) {
                return line;
            }
        }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
