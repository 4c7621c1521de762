//! Tunnels over in-memory sockets, with a paused clock.

mod calls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::time::Instant;

use super::report::tests::{account, has};
use super::*;
use crate::end::End;
use crate::metrics::Metrics;
use crate::session::registry::Registry;
use crate::upstream::Upgraded;

const SECOND: Duration = Duration::from_secs(1);

struct Ends {
    client: DuplexStream,
    agent: DuplexStream,
    tunnel: Tunnel<DuplexStream>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

/// Returns a tunnel over sockets that hold `room` bytes, and both ends of it.
fn tunnel(room: usize) -> Ends {
    let (client, near) = duplex(room);
    let (far, agent) = duplex(room);
    let (account, registry, metrics) = account();
    Ends {
        client,
        agent,
        tunnel: Tunnel::new(near, Bytes::new(), start(far, account), None),
        registry,
        metrics,
    }
}

fn start(agent: DuplexStream, account: Account) -> Start {
    Start {
        agent: Upgraded::example(agent),
        limits: Limits {
            idle: 10 * SECOND,
            stall: 5 * SECOND,
            total_at: Instant::now() + 60 * SECOND,
        },
        account,
    }
}

async fn run(tunnel: &mut Tunnel<DuplexStream>) -> Over {
    std::future::poll_fn(|cx| tunnel.poll(cx)).await
}

async fn rest(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// A close frame as a server sends it.
fn closing(code: u16, word: &str) -> Vec<u8> {
    let length = u8::try_from(word.len() + 2).unwrap();
    [&[0x88, length][..], &code.to_be_bytes(), word.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_both_ways_and_a_close_handshake_ends_it() {
    let Ends {
        mut client,
        mut agent,
        mut tunnel,
        metrics,
        ..
    } = tunnel(16);
    let from_client = b"\x81\x85maskhello\x88\x80mask";
    let from_agent = [b"\x81\x03abc".as_slice(), &closing(1000, "")].concat();
    let told = async {
        client.write_all(from_client).await.unwrap();
        rest(client).await
    };
    let heard = async {
        let mut got = [0; 17];
        agent.read_exact(&mut got).await.unwrap();
        agent.write_all(&from_agent).await.unwrap();
        drop(agent);
        got
    };
    let ran = async {
        let over = run(&mut tunnel).await;
        drop(tunnel);
        over
    };
    let (over, told, heard) = tokio::join!(ran, told, heard);
    assert_eq!(over, Over::Closed);
    assert_eq!(told, from_agent);
    assert_eq!(&heard, from_client);
    assert!(has(
        &metrics,
        "weir_streams_total",
        "outcome=\"finished\"",
        1
    ));
    assert!(has(
        &metrics,
        "weir_websocket_closes_total",
        "code=\"1005\"",
        1
    ));
    assert!(has(
        &metrics,
        "weir_websocket_frames_total",
        "direction=\"in\"",
        2
    ));
}

#[tokio::test(start_paused = true)]
async fn silence_and_time_close_both_ends() {
    let Ends {
        client,
        agent,
        mut tunnel,
        metrics,
        ..
    } = tunnel(1000);
    let started = Instant::now();
    let ran = async {
        let over = run(&mut tunnel).await;
        drop(tunnel);
        over
    };
    let (over, told, heard) = tokio::join!(ran, rest(client), rest(agent));
    assert_eq!(over, Over::Closed);
    assert_eq!(
        started.elapsed().as_secs(),
        11,
        "idle, and a moment to answer"
    );
    assert_eq!(told, closing(1001, "idle_timeout"));
    assert_eq!(heard.len(), told.len() + 4, "masked");
    assert!(has(
        &metrics,
        "weir_streams_total",
        "outcome=\"idle_timeout\"",
        1
    ));
    assert!(has(
        &metrics,
        "weir_websocket_closes_total",
        "code=\"1001\"",
        1
    ));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_end_of_the_frame_that_is_under_way() {
    let Ends {
        client,
        mut agent,
        mut tunnel,
        registry,
        metrics,
    } = tunnel(1000);
    agent.write_all(b"\x82\x04ab").await.unwrap();
    let ran = async {
        let over = run(&mut tunnel).await;
        drop(tunnel);
        over
    };
    let stopping = async {
        tokio::time::sleep(SECOND).await;
        registry.list()[0].stop(End::Drained);
        tokio::time::sleep(SECOND / 2).await;
        agent.write_all(b"cd\x81\x02no").await.unwrap();
        rest(agent).await;
    };
    let (over, told, ()) = tokio::join!(ran, rest(client), stopping);
    assert_eq!(over, Over::Closed);
    assert_eq!(
        told,
        [b"\x82\x04abcd".as_slice(), &closing(1001, "drained")].concat()
    );
    assert!(has(
        &metrics,
        "weir_streams_total",
        "outcome=\"drained\"",
        1
    ));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let Ends {
        client,
        mut agent,
        mut tunnel,
        metrics,
        ..
    } = tunnel(8);
    let started = Instant::now();
    let sending = async {
        // The tunnel takes it, and the client does not.
        let _ = agent
            .write_all(&[b"\x82\x7e\x01\0".as_slice(), &[7; 256]].concat())
            .await;
        rest(agent).await
    };
    let ran = async {
        let over = run(&mut tunnel).await;
        drop(tunnel);
        over
    };
    let (_, heard) = tokio::join!(ran, sending);
    assert_eq!(
        started.elapsed().as_secs(),
        6,
        "client_stall, and a moment to answer"
    );
    assert_eq!(heard.first(), Some(&0x88));
    assert!(has(
        &metrics,
        "weir_streams_total",
        "outcome=\"client_stalled\"",
        1
    ));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn who_vanishes_is_named() {
    for (is_client, outcome) in [(true, "client_gone"), (false, "truncated")] {
        let Ends {
            client,
            agent,
            mut tunnel,
            metrics,
            ..
        } = tunnel(1000);
        let (vanishes, mut stays) = if is_client {
            (client, agent)
        } else {
            (agent, client)
        };
        drop(vanishes);
        let noticing = async {
            let mut byte = [0];
            assert_eq!(stays.read(&mut byte).await.unwrap(), 0);
            drop(stays);
        };
        tokio::join!(run(&mut tunnel), noticing);
        assert!(has(
            &metrics,
            "weir_streams_total",
            &format!("outcome=\"{outcome}\""),
            1
        ));
        assert!(has(
            &metrics,
            "weir_websocket_closes_total",
            "code=\"1006\"",
            1
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_a_mask_is_answered_and_does_not_pass() {
    let Ends {
        mut client,
        agent,
        mut tunnel,
        metrics,
        ..
    } = tunnel(1000);
    client.write_all(b"\x81\x80mask\x81\x02hi").await.unwrap();
    let ran = async {
        run(&mut tunnel).await;
        drop(tunnel);
    };
    let ((), told, heard) = tokio::join!(ran, rest(client), rest(agent));
    assert_eq!(told, closing(1002, "protocol_error"));
    assert_eq!(&heard[..6], b"\x81\x80mask");
    assert_eq!(heard.get(6), Some(&0x88));
    assert!(has(
        &metrics,
        "weir_websocket_closes_total",
        "code=\"1002\"",
        1
    ));
}

/// A wake-up that is lost would stop one direction until the tunnel is idle for too long.
#[tokio::test(start_paused = true)]
async fn directions_that_move_at_the_same_time_do_not_stop_each_other() {
    for room in [1, 7, 64, 1000] {
        let Ends {
            client,
            agent,
            mut tunnel,
            metrics,
            ..
        } = tunnel(room);
        let messages = |is_client: bool| -> Vec<u8> {
            let mask: &[u8] = if is_client { b"mask" } else { b"" };
            let bit = if is_client { 0x80 } else { 0 };
            let frames = (0..100_u8).map(|length| {
                let payload = vec![7; usize::from(length)];
                [&[0x82, bit | length][..], mask, &payload[..]].concat()
            });
            frames.collect::<Vec<_>>().concat()
        };
        let (up, down) = (messages(true), messages(false));
        let started = Instant::now();
        let (mut client_reads, mut client_writes) = split(client);
        let (mut agent_reads, mut agent_writes) = split(agent);
        let saying = async {
            client_writes.write_all(&up).await.unwrap();
            client_writes.shutdown().await.unwrap();
        };
        let answering = async {
            for piece in down.chunks(33) {
                agent_writes.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            agent_writes.shutdown().await.unwrap();
        };
        let (mut heard, mut told) = (Vec::new(), Vec::new());
        let hearing = agent_reads.read_to_end(&mut heard);
        let being_told = client_reads.read_to_end(&mut told);
        let ran = run(&mut tunnel);
        let (over, (), (), ..) = tokio::join!(ran, saying, answering, hearing, being_told);
        assert_eq!(over, Over::Closed);
        assert!(started.elapsed() < 5 * SECOND, "a socket of {room} bytes");
        assert!(heard == up && told == down, "a socket of {room} bytes");
        for direction in ["direction=\"in\"", "direction=\"out\""] {
            assert!(has(&metrics, "weir_websocket_frames_total", direction, 100));
        }
    }
}
