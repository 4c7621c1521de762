//! A real Weir process, a scripted upstream on a raw socket, and a raw client.
//!
//! Ports come from the operating system. Starting a process returns when its listener is bound, so no test sleeps to
//! wait for it. Every wait has a limit.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// The longest time that any step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running Weir. Killed when dropped.
pub(crate) struct Weir {
    child: Child,
    file: tempfile::NamedTempFile,
    pub(crate) address: String,
    pub(crate) admin: String,
    log: Receiver<serde_json::Value>,
}

impl Weir {
    /// Starts `weir --config` with `yaml`, in which `$UPSTREAM` is `upstream`.
    pub(crate) fn start(yaml: &str, upstream: SocketAddr) -> Self {
        Self::start_with(yaml, upstream, &[])
    }

    /// Starts Weir with these environment variables.
    pub(crate) fn start_with(
        yaml: &str,
        upstream: SocketAddr,
        variables: &[(&str, &std::ffi::OsStr)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.envs(variables.iter().copied());
        Self::spawn(yaml, upstream, command)
    }

    /// Like `start`, with a limit of open files.
    pub(crate) fn start_with_files(yaml: &str, upstream: SocketAddr, files: usize) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_weir")]);
        Self::spawn(yaml, upstream, command)
    }

    fn spawn(yaml: &str, upstream: SocketAddr, mut command: Command) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            yaml.replace("$UPSTREAM", &format!("http://{upstream}")),
        )
        .unwrap();
        let mut child = command
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--config",
            ])
            .arg(file.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tx, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("{line}");
                if let Ok(value) = serde_json::from_str(&line)
                    && tx.send(value).is_err()
                {
                    return;
                }
            }
        });
        let mut weir = Self {
            child,
            file,
            address: String::new(),
            admin: String::new(),
            log,
        };
        let ready = |listener: &str, weir: &Self| {
            let line = weir
                .log_line(|line| line["message"] == "listening" && line["listener"] == listener);
            line["address"].as_str().unwrap().to_owned()
        };
        weir.address = ready("traffic", &weir);
        weir.admin = ready("admin", &weir);
        weir
    }

    /// Returns the next log line that `is` accepts, and skips earlier ones.
    pub(crate) fn log_line(&self, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let line = self.log.recv_timeout(PATIENCE).expect("a log line in time");
            if is(&line) {
                return line;
            }
        }
    }

    /// Returns the log line of the next stream that ends.
    pub(crate) fn ended(&self) -> serde_json::Value {
        self.log_line(|line| line["message"] == "stream ended")
    }

    /// Returns the value of a series, given its full name with labels.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.sample(series).parse().unwrap()
    }

    /// Returns the value of a series whose values are whole numbers.
    pub(crate) fn count(&self, series: &str) -> usize {
        self.sample(series).parse().unwrap()
    }

    fn sample(&self, series: &str) -> String {
        let text = get(&self.admin, "/metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
            .to_owned()
    }

    /// Waits until a series has a value that `is` accepts, and returns it.
    pub(crate) fn metric_until(&self, series: &str, is: impl Fn(f64) -> bool) -> f64 {
        let started = Instant::now();
        loop {
            let value = self.metric(series);
            if is(value) {
                return value;
            }
            assert!(started.elapsed() < PATIENCE, "{series} is still {value}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Rewrites the configuration file and requests a reload.
    pub(crate) fn reload(&self, yaml: &str) {
        std::fs::write(self.file.path(), yaml).unwrap();
        self.signal("HUP");
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the process to exit on its own.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that the upstream accepted, with the request already read.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) request: String,
}

impl Accepted {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Starts a chunked response.
    pub(crate) fn head(&mut self, content_type: &str) {
        self.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ));
    }

    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    pub(crate) fn end(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Waits until the peer closes the connection.
    pub(crate) fn closed(mut self) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

/// A listening upstream whose connections the test handles itself.
pub(crate) struct Upstream(TcpListener);

impl Upstream {
    pub(crate) fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Accepts the next connection and reads its first request: the head, and the body if its length is known.
    pub(crate) fn accept(&self) -> Accepted {
        let (stream, _) = self.0.accept().unwrap();
        let mut accepted = Accepted {
            stream,
            request: String::new(),
        };
        accepted.request = read_request(&mut accepted.stream);
        accepted
    }

    /// Handles every connection with `play`, each in its own thread.
    pub(crate) fn serve(self, play: impl Fn(Accepted) + Clone + Send + 'static) -> SocketAddr {
        let address = self.address();
        thread::spawn(move || {
            for stream in self.0.incoming().map_while(Result::ok) {
                let play = play.clone();
                thread::spawn(move || {
                    let mut accepted = Accepted {
                        stream,
                        request: String::new(),
                    };
                    accepted.request = read_request(&mut accepted.stream);
                    play(accepted);
                });
            }
        });
        address
    }
}

/// Reads one request: its head, and its body if the length is known.
pub(crate) fn read_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).unwrap() == 0 {
            return request;
        }
    }
    let lower = request.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    request.push_str(&String::from_utf8_lossy(&body));
    request
}

/// A raw client connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            seen: Vec::new(),
        }
    }

    /// POSTs `{}` to `path`.
    pub(crate) fn post(address: &str, path: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        client
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads until `text` was received, and returns everything read so far.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 65536];
        loop {
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if seen.contains(text) {
                return seen;
            }
            let read = self
                .stream
                .read(&mut buffer)
                .unwrap_or_else(|error| panic!("{error} after {seen}"));
            assert!(read > 0, "closed before {text:?}, after {seen}");
            self.seen.extend_from_slice(&buffer[..read]);
        }
    }

    /// Reads the response up to its last chunk.
    pub(crate) fn rest(&mut self) -> String {
        self.until("\r\n0\r\n\r\n")
    }

    /// Reads until the connection closes.
    pub(crate) fn closed(mut self) -> String {
        let mut rest = Vec::new();
        // A reset also closes the connection.
        let _ = self.stream.read_to_end(&mut rest);
        self.seen.extend(rest);
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

/// Waits until `is` returns true.
pub(crate) fn eventually(what: &str, is: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < limit, "{what}: not in time");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a plain GET on a new connection and returns the response body.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut client = Client::connect(address);
    client.send(format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    ));
    let text = client.closed();
    text.split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned())
}

/// Returns an OpenAI-style chunk with `text`.
pub(crate) fn token(text: &str) -> String {
    format!(
        "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    )
}
