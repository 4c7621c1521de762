//! What becomes of the file of `weir record`, and which requests and files work at the edges.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::channel;

use crate::recordings::{Running, recording, text, weir};
use crate::support::{Client, PATIENCE, Upstream, token};

#[test]
fn a_failure_leaves_an_earlier_recording_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("earlier.weir.jsonl");
    std::fs::write(&output, "an earlier recording").unwrap();
    let free = Upstream::start().address();
    let done = weir(&["record", &format!("http://{free}/"), "--force", "-o"])
        .arg(&output)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    let kept = std::fs::read_to_string(&output).unwrap();
    assert_eq!(kept, "an earlier recording");
}

#[test]
fn who_stops_before_a_response_is_told_that_nothing_is_recorded() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("none.weir.jsonl");
    let url = format!("http://{}/", upstream.address());
    let child = weir(&["record", &url, "-o"])
        .arg(&output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _accepted = upstream.accept();
    let id = child.id().to_string();
    let sent = interrupt(&id);
    assert!(sent.success());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(
        text(&done).contains("nothing is recorded"),
        "{}",
        text(&done)
    );
    assert!(!output.exists());
}

fn interrupt(id: &str) -> std::process::ExitStatus {
    std::process::Command::new("kill")
        .args(["-INT", id])
        .status()
        .unwrap()
}

#[test]
fn an_answer_before_the_end_of_the_request_is_recorded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, is_done) = channel();
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            .unwrap();
        // It reads no more, and does not close the connection.
        is_done.recv_timeout(PATIENCE).is_ok()
    });
    let folder = tempfile::tempdir().unwrap();
    let (body, output) = (folder.path().join("body"), folder.path().join("f"));
    std::fs::write(&body, vec![b'x'; 32 << 20]).unwrap();
    let url = format!("http://{address}/");
    let recorded = weir(&["record", &url, "-d", &format!("@{}", body.display()), "-o"])
        .arg(&output)
        .output()
        .unwrap();
    // The agent may have lost its patience.
    let _ = done.send(());
    assert_eq!(recorded.status.code(), Some(0), "{}", text(&recorded));
    assert!(agent.join().unwrap(), "the answer ended the recording");
    let file = std::fs::read_to_string(&output).unwrap();
    assert!(file.contains("\"status\":413") && file.contains("\"end\":\"clean\""));
}

#[test]
fn a_body_may_come_from_the_standard_input() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/", upstream.address());
    let mut child = weir(&["record", &url, "-d", "@-", "-o"])
        .arg(folder.path().join("f"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"a\":1}").unwrap();
    drop(stdin);
    let mut accepted = upstream.accept();
    assert!(
        accepted.request.contains("ontent-Length: 7\r\n"),
        "{}",
        accepted.request
    );
    accepted.head("text/plain");
    accepted.end();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
}

#[test]
fn a_recording_with_websockets_can_be_replayed() {
    let file = recording(&[&token("one "), "data: [DONE]\n\n"]);
    let mut lines = std::fs::read_to_string(file.path()).unwrap();
    lines.push_str(concat!(
        "{\"type\":\"request\",\"exchange\":2,\"method\":\"GET\",\"target\":\"/ws\"}\n",
        "{\"type\":\"response\",\"exchange\":2,\"at_us\":1,\"status\":101}\n",
        "{\"type\":\"end\",\"exchange\":2,\"at_us\":2,\"end\":\"truncated\",\"reason\":\"upgraded\"}\n",
    ));
    std::fs::write(file.path(), lines).unwrap();
    let replay = Running::replay(file.path(), &["--speed", "max"]);
    let mut client = Client::post(&replay.address, "/v1/chat/completions");
    client.until("[DONE]");
}

#[test]
fn a_tap_names_a_request_that_has_no_response() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let agent = format!("http://{}", upstream.address());
    let mut child = weir(&["record", "--listen", "127.0.0.1:0", "--upstream", &agent])
        .arg("-o")
        .arg(folder.path().join("f"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let (_, rest) = first.split_once("http://").unwrap();
    let (address, _) = rest.split_once(',').unwrap();
    let _client = Client::post(address, "/a?token=s3cret");
    let mut accepted = upstream.accept();
    accepted.send("SSH-2.0\r\n\r\n");
    let said = lines.next().unwrap().unwrap();
    let expected =
        "POST /a?token=[redacted]: not recorded: the agent did not send an HTTP/1.1 response";
    assert!(said.starts_with(expected), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
}
