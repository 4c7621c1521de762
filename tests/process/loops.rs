//! An upstream that leads back to Weir: the request is refused once it has come round.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::support::{Client, Upstream, Weir};

const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
routes: [ { name: chat, upstream: agent } ]";
const REFUSED: &str = "weir_requests_refused_total{reason=\"loop_detected\"}";

/// Carries each connection to the address, once that is known.
fn relay(to: &Arc<OnceLock<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let to = Arc::clone(to);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(to.get().unwrap()).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                // An end that is gone ends the other.
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn a_request_that_comes_round_is_refused() {
    let back = Arc::new(OnceLock::new());
    let weir = Weir::start(PLAIN, relay(&back));
    back.set(weir.address.clone()).unwrap();
    let mut client = Client::connect(&weir.address);
    client.send("GET /x HTTP/1.1\r\nhost: h\r\nx-request-id: round\r\n\r\n");
    let all = client.until("lead back here");
    assert!(all.starts_with("HTTP/1.1 508 "), "{all}");
    assert!(all.contains("\"code\":\"loop_detected\""), "{all}");
    for part in ["chat", "upstreams.agent.endpoints"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert_eq!(weir.metric(REFUSED), 1.0);
    let line = weir.log_line(|line| line["code"] == "loop_detected");
    assert_eq!(
        (&line["status"], &line["level"]),
        (&508.into(), &"WARN".into())
    );
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("upstreams.agent.endpoints"),
        "{line}"
    );
}

#[test]
fn ten_weirs_are_too_many_and_each_adds_itself() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let chain = |count: usize| {
        let items: Vec<String> = (0..count)
            .map(|index| format!("weir;id={index:016x}"))
            .collect();
        let mut client = Client::connect(&weir.address);
        client.send(format!(
            "GET /x HTTP/1.1\r\nhost: h\r\nconnection: cdn-loop\r\ncdn-loop: other.example, {}\r\n\r\n",
            items.join(", ")
        ));
        client
    };
    let mut client = chain(9);
    let mut agent = upstream.accept();
    let asked = agent.request.to_ascii_lowercase();
    let all: Vec<&str> = (asked.lines())
        .filter_map(|line| line.strip_prefix("cdn-loop: "))
        .flat_map(|value| value.split(", "))
        .collect();
    assert_eq!(all.len(), 11, "{asked}");
    assert!(
        all[10].starts_with("weir;id=") && all[10].len() == 24,
        "{asked}"
    );
    agent.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    client.until("ok");
    let all = chain(10).until("lead back here");
    assert!(all.starts_with("HTTP/1.1 508 "), "{all}");
    assert_eq!(weir.metric(REFUSED), 1.0);
}
