//! Agents that answer a POST before they have read it, and close the connection a moment later.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::streams::PLAIN;
use crate::support::{PATIENCE, Upstream, Weir, read_request};

const TURNS: usize = 20;
/// How long the agent waits between its answer and the end of the connection.
const MOMENT: Duration = Duration::from_millis(100);
const BODY: &str = "{\"ok\":true}";

fn answer(status: &str) -> String {
    let length = BODY.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}"
    )
}

/// Reads the head of a request and no more, answers, and closes the connection.
fn play(mut stream: impl Read + Write, status: &str) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 1000]);
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            // An idle connection that is not used again.
            Ok(0) | Err(_) => return,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
    if stream.write_all(answer(status).as_bytes()).is_ok() {
        thread::sleep(MOMENT);
    }
}

fn over_tcp(status: &'static str) -> Weir {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || play(stream, status));
        }
    });
    Weir::start(PLAIN, address)
}

fn over_unix(path: &Path, status: &'static str) -> Weir {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || play(stream, status));
        }
    });
    let target = format!("unix:{}", path.display());
    // The address is not in the configuration.
    Weir::start(
        &PLAIN.replace("$UPSTREAM", &target),
        ([127, 0, 0, 1], 1).into(),
    )
}

/// POSTs a body of so many bytes on a new connection, and returns the response.
fn post(weir: &Weir, size: usize) -> String {
    let mut stream = TcpStream::connect(&weir.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n");
    let request = [head.as_bytes(), &vec![b'x'; size]].concat();
    // The answer may come first, and then nobody reads the rest.
    let _ = stream.write_all(&request);
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(BODY.as_bytes()) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn each_is_answered(weir: &Weir, size: usize, status: &str) {
    for turn in 0..TURNS {
        let response = post(weir, size);
        let begins = format!("HTTP/1.1 {status}");
        assert!(
            response.starts_with(&begins) && response.ends_with(BODY),
            "{size} bytes, {status}, turn {turn}: {response}"
        );
    }
}

#[test]
fn no_post_is_lost_on_a_connection_that_is_about_to_close() {
    for status in ["200 OK", "401 Unauthorized"] {
        for size in [2_000, 10_000, 100_000, 3_000_000] {
            each_is_answered(&over_tcp(status), size, status);
        }
    }
}

#[test]
fn no_post_is_lost_on_a_unix_socket_that_is_about_to_close() {
    for status in ["200 OK", "401 Unauthorized"] {
        for size in [2_000, 100_000] {
            let folder = tempfile::tempdir().unwrap();
            let weir = over_unix(&folder.path().join("agent"), status);
            each_is_answered(&weir, size, status);
        }
    }
}

/// An agent that reads its requests and keeps its connections open.
#[test]
fn an_agent_that_keeps_its_connections_open_is_trusted() {
    let opened = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&opened);
    let address = Upstream::start().serve(move |mut agent| {
        count.fetch_add(1, Ordering::Relaxed);
        while !agent.request.is_empty() {
            agent.send(answer("200 OK"));
            agent.request = read_request(&mut agent.stream);
        }
    });
    // Each worker has connections of its own.
    let weir = Weir::start(&format!("workers: 1\n{PLAIN}"), address);
    let ask = || {
        let before = opened.load(Ordering::Relaxed);
        assert!(post(&weir, 8).ends_with(BODY));
        opened.load(Ordering::Relaxed) == before
    };
    assert!(!ask(), "the first");
    // The first connection is on probation for a moment.
    let limit = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < limit, "no connection is used again");
        thread::sleep(Duration::from_millis(50));
    }
    for turn in 0..TURNS {
        assert!(ask(), "turn {turn}");
    }
}
