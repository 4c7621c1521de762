//! Conversations over a pipe: what both ends see, and how they end.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;
use crate::config::{self, Overrides};

const SECOND: Duration = Duration::from_secs(1);

fn upstream(interrupt: &str) -> Arc<Upstream> {
    let text = format!(
        "upstreams: {{agent: {{endpoints: [\"ws://127.0.0.1:1\"], websocket: {{interrupt: {interrupt}}}}}}}"
    );
    let config = config::load(Some(("f", &text)), &Overrides::default()).unwrap();
    Arc::clone(&config.upstreams[0])
}

fn began(first: Option<&str>, interrupt: &str, ping: Duration) -> (Conversation, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let conversation = Conversation::new(Parts {
        io: Io::Other(Box::new(near)),
        early: Bytes::new(),
        socket: None,
        upstream: upstream(interrupt),
        first: first.map(str::to_owned),
        terms: Terms {
            ping,
            max_message: 1000,
        },
    });
    (conversation, far)
}

/// Reads until the end, or until nothing more happens for a while.
async fn said(conversation: &mut Conversation) -> (String, Option<Result<(), Broken>>) {
    let mut all = Vec::new();
    let ended = loop {
        let mut sink = |bytes: &[u8]| all.extend_from_slice(bytes);
        let read = poll_fn(|cx| conversation.poll_read(cx, &mut sink));
        match timeout(SECOND / 10, read).await {
            Err(_) => break None,
            Ok(Ok(Read::Data { .. })) => {}
            Ok(Ok(Read::Eof(_))) => break Some(Ok(())),
            Ok(Err(broken)) => break Some(Err(broken)),
        }
    };
    (String::from_utf8(all).unwrap(), ended)
}

/// Returns the next frame that the agent sees: its opcode and its payload.
async fn frame(agent: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    agent.read_exact(&mut head).await.unwrap();
    assert!(head[0] & 0x80 != 0 && head[1] & 0x80 != 0);
    let mut length = usize::from(head[1] & 0x7f);
    if length == 126 {
        length = usize::from(agent.read_u16().await.unwrap());
    }
    let mut mask = [0; 4];
    agent.read_exact(&mut mask).await.unwrap();
    let mut payload = vec![0; length];
    agent.read_exact(&mut payload).await.unwrap();
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    (head[0] & 0x0f, payload)
}

async fn say(agent: &mut DuplexStream, first: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let frame = [&[first, length], payload].concat();
    agent.write_all(&frame).await.unwrap();
}

fn close(code: u16) -> Vec<u8> {
    code.to_be_bytes().to_vec()
}

#[tokio::test(start_paused = true)]
async fn the_request_is_the_first_message_and_each_answer_is_an_event() {
    let (mut conversation, mut agent) = began(Some("{\"q\":1}"), "null", Duration::ZERO);
    assert_eq!(said(&mut conversation).await.0, "");
    assert_eq!(frame(&mut agent).await, (1, b"{\"q\":1}".to_vec()));
    say(&mut agent, 0x81, b"{\"token\":\"a\"}").await;
    say(&mut agent, 0x89, b"alive?").await;
    say(&mut agent, 0x81, b"b\nc").await;
    let (text, ended) = said(&mut conversation).await;
    assert_eq!(text, "data: {\"token\":\"a\"}\n\ndata: b\ndata: c\n\n");
    assert!(ended.is_none());
    assert_eq!(frame(&mut agent).await, (10, b"alive?".to_vec()));
    say(&mut agent, 0x88, &close(1000)).await;
    assert!(matches!(said(&mut conversation).await.1, Some(Ok(()))));
    drop(conversation);
    assert_eq!(frame(&mut agent).await, (8, close(1000)));
}

#[tokio::test(start_paused = true)]
async fn each_end_has_a_name_and_an_answer() {
    for (bytes, want, answer) in [
        (&b"\x88\x00"[..], "", Some(1000)),
        (b"\x88\x02\x03\xe9", "Closed(1001)", Some(1001)),
        (b"\x88\x02\x0f\xa1", "Closed(4001)", Some(4001)),
        (b"\x81\x01\xff", "Malformed", Some(1007)),
        (b"\x82\x01\xff", "Malformed", Some(1003)),
        (b"\x83\x00", "Malformed", Some(1002)),
        (b"\x81\x7e\x03\xe9", "TooLarge", Some(1009)),
        (b"\x81\x05torn", "Truncated", None),
        (b"", "Truncated", None),
    ] {
        let (mut conversation, mut agent) = began(None, "stop", Duration::ZERO);
        agent.write_all(bytes).await.unwrap();
        if answer.is_none() {
            agent.shutdown().await.unwrap();
        }
        let (_, ended) = said(&mut conversation).await;
        match ended.expect("an end") {
            Ok(()) => assert_eq!(want, ""),
            Err(broken) => assert!(format!("{broken:?}").starts_with(want), "{broken:?}"),
        }
        drop(conversation);
        match answer {
            Some(code) => assert_eq!(frame(&mut agent).await, (8, close(code)), "{bytes:?}"),
            None => assert_eq!(agent.read(&mut [0]).await.unwrap(), 0, "{bytes:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_interrupts_and_closes() {
    for (interrupt, word) in [
        (
            "{type: interrupt, force: true, n: \"1\"}",
            "{\"type\":\"interrupt\",\"force\":true,\"n\":\"1\"}",
        ),
        ("stop", "stop"),
        ("null", ""),
    ] {
        let (mut conversation, mut agent) = began(Some("go"), interrupt, Duration::ZERO);
        assert!(said(&mut conversation).await.1.is_none());
        assert_eq!(frame(&mut agent).await.0, 1);
        drop(conversation);
        if !word.is_empty() {
            assert_eq!(frame(&mut agent).await, (1, word.as_bytes().to_vec()));
        }
        assert_eq!(frame(&mut agent).await, (8, close(1001)));
        // The agent does not close, and is left a second later.
        let left = Instant::now();
        assert_eq!(agent.read(&mut [0]).await.unwrap(), 0);
        assert!(left.elapsed() < 2 * SECOND, "{:?}", left.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_was_not_asked_is_not_interrupted() {
    let (conversation, mut agent) = began(Some("go"), "stop", Duration::ZERO);
    drop(conversation);
    assert_eq!(frame(&mut agent).await, (8, close(1001)));
}

#[tokio::test(start_paused = true)]
async fn after_a_good_end_weir_closes_well_and_says_nothing_else() {
    let (mut conversation, mut agent) = began(Some("go"), "stop", Duration::ZERO);
    assert!(said(&mut conversation).await.1.is_none());
    conversation.complete();
    say(&mut agent, 0x81, b"late").await;
    assert!(said(&mut conversation).await.1.is_none());
    assert_eq!(frame(&mut agent).await.0, 1);
    assert_eq!(frame(&mut agent).await, (8, close(1000)));
    say(&mut agent, 0x88, &close(1000)).await;
    assert!(matches!(said(&mut conversation).await.1, Some(Ok(()))));
    drop(conversation);
    assert_eq!(agent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_pinged_and_a_dead_one_is_given_up() {
    let (mut conversation, mut agent) = began(None, "null", SECOND);
    let began = Instant::now();
    let mut answers = 0;
    let ended = loop {
        let mut sink = |_: &[u8]| {};
        let read = poll_fn(|cx| conversation.poll_read(cx, &mut sink));
        tokio::select! {
            read = read => break read,
            (opcode, payload) = frame(&mut agent) => {
                assert_eq!((opcode, payload.len()), (9, 0));
                // It answers some, and then no more.
                if answers < 3 {
                    answers += 1;
                    say(&mut agent, 0x8a, b"").await;
                }
            }
        }
    };
    match ended {
        Err(Broken::Reset(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
    assert_eq!(answers, 3);
    assert!(began.elapsed() > 6 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn pings_of_an_agent_that_reads_nothing_are_bounded() {
    let (near, mut agent) = duplex(64);
    let mut conversation = Conversation::new(Parts {
        io: Io::Other(Box::new(near)),
        early: Bytes::new(),
        socket: None,
        upstream: upstream("null"),
        first: None,
        terms: Terms {
            ping: Duration::ZERO,
            max_message: 1000,
        },
    });
    for _ in 0..100 {
        say(&mut agent, 0x89, b"alive? alive?").await;
        assert!(said(&mut conversation).await.1.is_none());
    }
    assert!(conversation.out.len() < 64);
}
