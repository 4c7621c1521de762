//! Requests beyond `limits.max_requests`, the share of an HTTP/2 connection, and file descriptors that run short.
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use tokio::time::Instant;

use crate::support::{Client, PATIENCE, Upstream, Weir, eventually, get};

const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\nworkers: 2";
const OVERLOADED: &str = "weir_requests_refused_total{reason=\"overloaded\"}";

fn with(limits: &str) -> String {
    format!("{PLAIN}\nlimits: {{ {limits} }}")
}

/// Starts an agent that answers `GET /quick` at once, and nothing else as long as the test runs.
fn silent_agent() -> SocketAddr {
    Upstream::start().serve(|mut agent| {
        if agent.request.starts_with("GET /quick ") {
            agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            return;
        }
        // Until Weir closes the connection.
        let _ = std::io::copy(&mut agent.stream, &mut std::io::sink());
    })
}

fn ask(address: &str, path: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"));
    client
}

fn active(weir: &Weir) -> usize {
    weir.count("weir_requests_active")
}

/// Checks that the admin listener answers within a second.
fn answers_probe(weir: &Weir) {
    let asked = Instant::now();
    assert_eq!(get(&weir.admin, "/healthz"), "ok\n");
    assert!(asked.elapsed() < Duration::from_secs(1));
}

/// A response of Weir itself to a request over HTTP/2.
#[derive(Debug)]
struct Refused {
    headers: HeaderMap,
    body: String,
}

/// Clients over HTTP/2 with as many requests as they can have.
struct Crowd {
    runtime: tokio::runtime::Handle,
    connections: Vec<h2::client::SendRequest<bytes::Bytes>>,
    asked: usize,
    refused: Arc<Mutex<Vec<Refused>>>,
}

impl Crowd {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        // It runs until the test ends.
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self {
            runtime: handle,
            connections: Vec::new(),
            asked: 0,
            refused: Arc::default(),
        }
    }

    /// Opens a connection and sends as many requests as Weir allows on it. Returns how many.
    fn ask(&mut self, address: &str) -> usize {
        let mut sender = self.runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::Builder::new()
                .initial_max_send_streams(1)
                .handshake(socket)
                .await
                .unwrap();
            self.runtime.spawn(async move {
                // It ends when the test does.
                let _ = connection.await;
            });
            sender
        });
        eventually("the settings", || sender.current_max_send_streams() > 1);
        let count = sender.current_max_send_streams();
        for _ in 0..count {
            let request = Request::get("http://h/slow").body(()).unwrap();
            sender = self.runtime.block_on(sender.ready()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            self.runtime
                .spawn(note(response, Arc::clone(&self.refused)));
        }
        self.connections.push(sender);
        self.asked += count;
        count
    }

    /// Waits until each request is in progress or refused, and returns how many are in progress.
    fn settle(&self, weir: &Weir) -> usize {
        let refused = || self.refused.lock().unwrap().len();
        eventually("each request is in progress or refused", || {
            active(weir) + refused() == self.asked
        });
        self.asked - refused()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let limited = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.unwrap().block_on(limited).unwrap()
}

async fn note(response: h2::client::ResponseFuture, refused: Arc<Mutex<Vec<Refused>>>) {
    let Ok(response) = response.await else { return };
    let (head, mut body) = response.into_parts();
    assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        text.extend_from_slice(&piece);
    }
    refused.lock().unwrap().push(Refused {
        headers: head.headers,
        body: String::from_utf8(text).unwrap(),
    });
}

#[test]
fn requests_beyond_the_limit_are_a_503_until_one_ends() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("max_requests: 2"), upstream.address());
    // A plain request counts like a stream.
    let mut first = ask(&weir.address, "/slow");
    let mut agent = upstream.accept();
    let mut second = Client::post(&weir.address, "/v1/chat/completions");
    let mut streaming = upstream.accept();
    streaming.head("text/event-stream");
    second.until("\r\n\r\n");
    let mut third = ask(&weir.address, "/slow");
    let refusal = third.until("ask again");
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert!(refusal.contains("overloaded"), "{refusal}");
    assert!(refusal.contains("limits.max_requests (2)"), "{refusal}");
    assert_eq!(weir.count(OVERLOADED), 1);
    assert_eq!(active(&weir), 2);
    assert_eq!(weir.count("weir_requests_limit"), 2);
    answers_probe(&weir);
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    first.until("\r\n\r\nok");
    eventually("a free place", || active(&weir) == 1);
    // The connection of the refused request is still open.
    third.send("GET /again HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(upstream.accept().request.starts_with("GET /again"));
}

#[test]
fn http2_connections_leave_room_for_others() {
    let weir = Weir::start(&with("max_requests: 100"), silent_agent());
    let mut crowd = Crowd::new();
    assert_eq!(crowd.ask(&weir.address), 72, "its share");
    assert_eq!(crowd.settle(&weir), 72, "who keeps to it is not refused");
    for _ in 0..3 {
        let count = crowd.ask(&weir.address);
        assert!((16..72).contains(&count), "{count}");
        crowd.settle(&weir);
    }
    let refused = crowd.refused.lock().unwrap();
    for Refused { headers, body } in &*refused {
        assert_eq!(headers["retry-after"], "1");
        assert!(body.contains("this connection has its share"), "{body}");
    }
    assert!(active(&weir) < 100);
    assert_eq!(weir.count(OVERLOADED), refused.len());
    let mut other = ask(&weir.address, "/quick");
    assert!(other.until("ok").starts_with("HTTP/1.1 200 "));
    answers_probe(&weir);
}

#[test]
fn a_refused_client_that_does_not_take_its_answer_holds_nothing() {
    let yaml = with("max_requests: 1, request_head: 300ms");
    let upstream = Upstream::start();
    let weir = Weir::start(&yaml, upstream.address());
    let _held = ask(&weir.address, "/slow");
    let _agent = upstream.accept();
    let reset = block_on(async move {
        let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(0)
            .handshake::<_, bytes::Bytes>(socket)
            .await
            .unwrap();
        let asking = async {
            let request = Request::get("http://h/").body(()).unwrap();
            let mut sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            response.into_body().data().await.unwrap().unwrap_err()
        };
        tokio::select! {
            reset = asking => reset,
            ended = connection => panic!("{ended:?}"),
        }
    });
    assert!(reset.is_reset(), "{reset}");
}

#[test]
fn heads_with_too_many_headers_are_refused_over_http2_as_well() {
    let weir = Weir::start(&with("max_headers: 10"), silent_agent());
    let statuses = block_on(async move {
        let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        let asking = async {
            let mut statuses = Vec::new();
            let mut sender = sender.ready().await.unwrap();
            for count in [10, 11] {
                let mut request = Request::get("http://h/quick").body(()).unwrap();
                for number in 0..count {
                    let value = number.to_string().parse().unwrap();
                    request.headers_mut().append("x-number", value);
                }
                let (response, _) = sender.send_request(request, true).unwrap();
                statuses.push(response.await.unwrap().status().as_u16());
            }
            statuses
        };
        tokio::select! {
            statuses = asking => statuses,
            ended = connection => panic!("{ended:?}"),
        }
    });
    assert_eq!(statuses, [200, 431]);
}

#[test]
fn streams_of_one_connection_leave_room_for_others() {
    let agent = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        // Until Weir closes the connection.
        let _ = std::io::copy(&mut agent.stream, &mut std::io::sink());
    });
    let weir = Weir::start(&with("max_requests: 1000, max_streams: 20"), agent);
    let mut crowd = Crowd::new();
    assert_eq!(crowd.ask(&weir.address), 256);
    eventually("its share", || !crowd.refused.lock().unwrap().is_empty());
    let text = crowd.refused.lock().unwrap()[0].body.clone();
    assert!(text.contains("limits.max_streams (20)"), "{text}");
    let mut other = Client::post(&weir.address, "/v1/chat/completions");
    assert!(other.until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn clients_and_agents_leave_descriptors_for_the_admin_listener() {
    const FILES: usize = 160;
    let weir = Weir::start_with_files(PLAIN, silent_agent(), FILES);
    let mut crowd = Crowd::new();
    for _ in 0..3 {
        crowd.ask(&weir.address);
        crowd.settle(&weir);
    }
    let limit = weir.count("weir_requests_limit");
    assert!((30..80).contains(&limit), "{limit}");
    assert!((limit - 8..limit).contains(&active(&weir)));
    // As many connections as are accepted, and more.
    let connections: Vec<_> = (0..FILES)
        .map(|_| TcpStream::connect(&weir.address).unwrap())
        .collect();
    let refused = || weir.count("weir_connections_refused_total");
    eventually("connections are refused", || refused() > 0);
    for _ in 0..5 {
        answers_probe(&weir);
    }
    assert!(weir.count("process_open_fds") < FILES);
    drop(connections);
    eventually("connections are accepted", || {
        weir.count("weir_connections_active") <= 4
    });
    let mut other = ask(&weir.address, "/quick");
    assert!(other.until("ok").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_reload_closes_idle_connections_to_agents_and_no_others() {
    let agent = Upstream::start().serve(|mut agent| {
        if agent.request.starts_with("GET /quick ") {
            agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
        // Until Weir closes the connection.
        let _ = std::io::copy(&mut agent.stream, &mut std::io::sink());
    });
    let yaml = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"], pool_idle: 10m } }";
    let weir = Weir::start(yaml, agent);
    let is_open = |count| weir.count("weir_upstream_connections") == count;
    let _slow = ask(&weir.address, "/slow");
    eventually("the slow request", || is_open(1));
    ask(&weir.address, "/quick").until("ok");
    assert!(is_open(2), "one is idle");
    weir.reload(&yaml.replace("$UPSTREAM", &format!("http://{agent}")));
    eventually("the idle one is closed", || is_open(1));
    assert_eq!(active(&weir), 1);
}

#[test]
fn more_requests_than_descriptors_are_a_503_that_blames_no_agent() {
    let yaml = with("max_requests: 100000, max_connections: 100000");
    let weir = Weir::start_with_files(&yaml, silent_agent(), 100);
    let mut crowd = Crowd::new();
    assert_eq!(crowd.ask(&weir.address), 256);
    crowd.settle(&weir);
    for Refused { headers, body } in &*crowd.refused.lock().unwrap() {
        assert_eq!(headers["retry-after"], "1");
        assert!(body.contains("no file descriptor is left"), "{body}");
    }
    answers_probe(&weir);
    let open = weir.count("weir_upstream_connections");
    assert!((10..60).contains(&open), "{open}");
    let blamed = "weir_upstream_errors_total{reason=\"upstream_connect\",route=\"default\"}";
    assert_eq!(weir.count(blamed), 0);
    let ejected = "weir_upstream_endpoints_ejected{upstream=\"agent\"}";
    assert_eq!(weir.count(ejected), 0);
}
