//! `weir record` and `weir replay`: the real program between raw sockets. Its taps are in `recordings_tap`, and what
//! becomes of the file in `recordings_file`.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{Client, Upstream, Weir, token};

const HEAD: &str = r#"{"weir_recording":1}
{"type":"request","method":"POST","target":"/v1/chat/completions"}
{"type":"response","at_us":1000,"status":200,"reason":"OK","headers":[["content-type","text/event-stream"],["x-odd","caf\u00e9"],["transfer-encoding","chunked"]]}
"#;

/// A recording whose reads hold these texts, 1 ms apart.
pub(crate) fn recording(texts: &[&str]) -> tempfile::NamedTempFile {
    let mut lines = HEAD.to_owned();
    for (index, text) in texts.iter().enumerate() {
        let at = 2000 + index * 1000;
        let read = serde_json::json!({ "type": "read", "at_us": at, "text": text });
        lines.push_str(&format!("{read}\n"));
    }
    lines.push_str("{\"type\":\"end\",\"at_us\":50000,\"end\":\"clean\"}\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    file
}

/// A running `weir replay` or tap. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn replay(file: &Path, flags: &[&str]) -> Self {
        let mut child = weir(&["replay", "--listen", "127.0.0.1:0"])
            .arg(file)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    pub(crate) fn tap(upstream: &str, output: &Path) -> Self {
        let mut child = weir(&[
            "record",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            upstream,
            "-o",
        ])
        .arg(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        // What else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, _) = rest.split_once(',').unwrap();
        let address = address.to_owned();
        Self { child, address }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args);
    command
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The body of a recorded exchange, and the lines of the file.
fn recorded(path: &Path) -> (Vec<u8>, Vec<serde_json::Value>) {
    let file = std::fs::read(path).unwrap();
    let read = weir::recording::read::read(&file).unwrap();
    let body = read.exchanges[0]
        .reads
        .iter()
        .flat_map(|read| read.bytes.to_vec());
    let body = body.collect();
    let text = String::from_utf8(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (body, lines.collect())
}

#[test]
fn many_clients_get_the_response_from_its_beginning() {
    let file = recording(&["data: one\n\n", "data: \u{1f30a}\n\n"]);
    let replay = Running::replay(file.path(), &[]);
    let mut clients: Vec<Client> = (0..20)
        .map(|_| Client::post(&replay.address, "/v1/chat/completions"))
        .collect();
    for client in &mut clients {
        let seen = client.rest();
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"),
            "{head}"
        );
        // The byte of the recording is not UTF-8.
        assert!(head.contains("x-odd: caf\u{fffd}\r\n"), "{head}");
        assert_eq!(
            body,
            "b\r\ndata: one\n\n\r\nc\r\ndata: \u{1f30a}\n\n\r\n0\r\n\r\n"
        );
    }
    // The connection stays, for any request.
    let client = clients.first_mut().unwrap();
    client.send("GET /other HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let all = clients.remove(0).closed();
    assert_eq!(all.matches("data: one").count(), 2, "{all}");
    replay.signal("INT");
    assert_eq!(replay.exit_code(), Some(0));
}

#[test]
fn a_cut_and_a_reset_are_seen_as_such() {
    let file = recording(&["data: one\n\n", "data: two\n\n"]);
    for (fault, is_reset) in [("cut@11B", false), ("reset@11B", true)] {
        let replay = Running::replay(file.path(), &["--fault", fault, "--speed", "max"]);
        let mut client = Client::post(&replay.address, "/");
        client.until("data: one\n\n");
        let mut rest = Vec::new();
        let mut stream = client.stream;
        let ended = loop {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => rest.extend_from_slice(&buffer[..count]),
                Err(error) => break Err(error.kind()),
            }
        };
        let rest = String::from_utf8(rest).unwrap();
        assert!(
            !rest.contains("two") && !rest.contains("0\r\n\r\n"),
            "{fault}: {rest:?}"
        );
        let expected = if is_reset {
            Err(std::io::ErrorKind::ConnectionReset)
        } else {
            Ok(())
        };
        assert_eq!(ended, expected, "{fault}");
    }
}

#[test]
fn weir_in_front_of_a_replay_says_how_it_ended() {
    let (first, second) = (token("one "), token("two"));
    let file = recording(&[&first, &second, "data: [DONE]\n\n"]);
    for (flags, outcome, tokens) in [
        (vec!["--speed", "max"], "finished", 2),
        (
            vec!["--fault", "gzip,split=5", "--speed", "10"],
            "finished",
            2,
        ),
        (vec!["--fault", "cut@150B"], "truncated", 1),
        (vec!["--fault", "reset@150B"], "upstream_reset", 1),
    ] {
        let replay = Running::replay(file.path(), &flags);
        let proxy = Weir::start(
            "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }",
            replay.address.parse().unwrap(),
        );
        let client = Client::post(&proxy.address, "/v1/chat/completions");
        let ended = proxy.ended();
        assert_eq!(ended["outcome"], outcome, "{flags:?}: {ended}");
        assert_eq!(ended["dialect"], "openai_chat", "{flags:?}: {ended}");
        assert_eq!(ended["tokens"], tokens, "{flags:?}: {ended}");
        drop(client);
    }
}

#[test]
fn what_is_recorded_is_what_was_replayed() {
    let file = recording(&["data: \u{1f30a} one\n\n", "data: \"two\"\n\n"]);
    let replay = Running::replay(file.path(), &["--fault", "split=9"]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("new.weir.jsonl");
    let url = format!(
        "http://{}/v1/chat/completions?a=b&key=s3cret",
        replay.address
    );
    let record = |flags: &[&str]| {
        weir(&[
            "record",
            &url,
            "-H",
            "Authorization: Bearer s3cret",
            "-d",
            "{\"stream\":true}",
            "-o",
        ])
        .arg(&output)
        .args(flags)
        .output()
        .unwrap()
    };
    let done = record(&[]);
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("1  clean"), "{}", text(&done));
    let (body, lines) = recorded(&output);
    assert_eq!(body, "data: \u{1f30a} one\n\ndata: \"two\"\n\n".as_bytes());
    let file = std::fs::read_to_string(&output).unwrap();
    assert!(
        !file.contains("s3cret") && !text(&done).contains("s3cret"),
        "{file}"
    );
    assert_eq!(
        lines[1]["target"],
        "/v1/chat/completions?a=b&key=[redacted]"
    );
    assert_eq!(lines[1]["asks_for"], "openai_chat");
    assert_eq!(lines[2]["framing"], "chunked");
    assert_eq!(lines.last().unwrap()["end"], "clean");
    let mode = std::fs::metadata(&output).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = record(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains("--force"), "{}", text(&again));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), file);
    assert!(record(&["--force", "--no-redact"]).status.success());
    assert!(std::fs::read_to_string(&output).unwrap().contains("s3cret"));
}

#[test]
fn a_recording_stops_at_its_largest_size_and_stays_valid() {
    let long = "data: word\n\n".repeat(100);
    let texts: Vec<&str> = std::iter::repeat_n(long.as_str(), 40).collect();
    let file = recording(&texts);
    let replay = Running::replay(file.path(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("short.weir.jsonl");
    let done = weir(&[
        "record",
        &format!("http://{}/", replay.address),
        "--max-size",
        "16KiB",
        "-o",
    ])
    .arg(&output)
    .output()
    .unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(
        text(&done).contains("--max-size (16 KiB)"),
        "{}",
        text(&done)
    );
    let (_, lines) = recorded(&output);
    assert!(std::fs::metadata(&output).unwrap().len() <= 16 << 10);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["end"], &last["reason"]),
        (&"truncated".into(), &"max_size".into())
    );
}

#[test]
fn nothing_is_left_of_a_recording_without_a_response() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("none.weir.jsonl");
    let free = Upstream::start().address();
    let done = weir(&["record", &format!("http://{free}/"), "-o"])
        .arg(&output)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(
        text(&done).contains("did not accept a connection"),
        "{}",
        text(&done)
    );
    assert!(!output.exists());
}

#[test]
fn a_recording_is_explained() {
    let first = token("one ");
    let file = recording(&[&first, "data: [DONE]\n\n"]);
    let explained = weir(&["replay", "--explain", "--json"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(explained.status.success(), "{}", text(&explained));
    let json: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    let stream = &json["exchanges"][0]["stream"];
    assert_eq!(
        (&stream["dialect"], &stream["end"]),
        (&"openai_chat".into(), &"finished".into())
    );
    let wrong = weir(&["replay", "--explain", "/no/such/file"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
}
