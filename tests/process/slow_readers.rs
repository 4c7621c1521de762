//! What a client that reads slowly gets: all of the text, and everything that it cannot do without.
//!
//! 1. The client has a small receive buffer, asks, and does not read.
//! 2. The agent sends far more events than the queue takes.
//! 3. Once events wait in the queue, the client reads all of them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use socket2::{Domain, SockRef, Socket, Type};

use crate::streams::with;
use crate::support::{Client, Upstream, Weir, eventually};

/// More than the buffers of the kernel and the queue hold.
const EVENTS: usize = 6_000;

/// Returns a connection that takes in very little before it is read.
fn small(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Returns what a slow reader gets of events with a number at `@`, and how many of them were dropped and merged.
fn read_slowly(dialect: &str, event: &str) -> (String, u64, u64) {
    let upstream = Upstream::start();
    let route = format!(
        "dialect: {dialect}, queue: {{ max_events: 8 }}, deadlines: {{ client_stall: 20s }}"
    );
    let weir = Weir::start(&with(&route), upstream.address());
    let mut client = Client::over(small(&weir.address));
    client.send("POST /agent HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}");
    let mut agent = upstream.accept();
    let event = event.to_owned();
    let end = match dialect {
        "adk" => r#"{"author":"a","invocationId":"i","content":{"parts":[{"text":"w"}]}}"#,
        "ag_ui" => r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
        _ => "[DONE]",
    };
    let writer = thread::spawn(move || {
        agent.head("text/event-stream");
        for at in 0..EVENTS {
            agent.chunk(format!("data: {}\n\n", event.replace('@', &at.to_string())));
        }
        let end = format!("data: {end}\n\n");
        agent.send(format!("{:x}\r\n{end}\r\n0\r\n\r\n", end.len()));
    });
    eventually("events wait", || {
        weir.metric("weir_queue_events{route=\"chat\"}") >= 1.0
    });
    SockRef::from(&client.stream)
        .set_recv_buffer_size(1 << 20)
        .unwrap();
    let all = client.rest();
    writer.join().unwrap();
    let ended = weir.ended();
    let number = |name: &str| ended[name].as_u64().unwrap();
    (all, number("dropped"), number("merged"))
}

/// Returns how often each number stands between `before` and `after`.
fn numbers(all: &str, before: &str, after: char) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for piece in all.split(before) {
        let number = piece
            .split_once(after)
            .and_then(|(number, _)| number.parse().ok());
        if let Some(number) = number {
            *found.entry(number).or_default() += 1;
        }
    }
    found
}

#[test]
fn text_beside_harmless_members_is_merged_and_not_lost() {
    let chat = |delta: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{{delta}}}}}]}}"#
        )
    };
    for (dialect, event, copies) in [
        // Groq, and padding against traffic analysis.
        (
            "openai_chat",
            chat(r#""channel":"final","content":"w@ ","padding":"@@@""#),
            1,
        ),
        // Google's OpenAI API.
        (
            "openai_chat",
            chat(r#""content":"w@ ","extra_content":{"google":{"thought":true}}"#),
            1,
        ),
        // OpenRouter and vLLM say the same twice, and clients read one or the other.
        (
            "openai_chat",
            chat(
                r#""content":"","reasoning":"w@ ","reasoning_details":[{"type":"reasoning.text","text":"w@ ","index":0}]"#,
            ),
            2,
        ),
        (
            "openai_chat",
            chat(r#""reasoning":"w@ ","reasoning_content":"w@ ""#),
            2,
        ),
        (
            "tgi",
            r#"{"index":@,"token":{"id":@,"text":"w@ ","logprob":-0.1,"special":false},"top_tokens":[{"id":@,"text":"x"}],"generated_text":null,"details":null}"#.to_owned(),
            1,
        ),
        (
            "cohere",
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"w@ "}}},"logprobs":{"text":"w","token_ids":[@],"logprobs":[-0.1]}}"#.to_owned(),
            1,
        ),
        (
            "ag_ui",
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"w@ ","rawEvent":{"x":@}}"#.to_owned(),
            1,
        ),
    ] {
        let (all, dropped, merged) = read_slowly(dialect, &event);
        assert_eq!(dropped, 0, "{event}");
        assert!(merged > 0, "{event}");
        let found = numbers(&all, "w", ' ');
        let expected = (0..EVENTS).map(|at| (at, copies)).collect();
        assert!(found == expected, "{event}: {} of {EVENTS}", found.len());
    }
}

#[test]
fn what_the_client_must_send_back_or_show_is_never_dropped() {
    for (dialect, event) in [
        (
            "openai_chat",
            r#"{"choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.encrypted","data":"S@;","index":0}]}}]}"#,
        ),
        (
            "openai_chat",
            r#"{"choices":[{"index":0,"delta":{"content":"w"}}],"citations":["S@;"]}"#,
        ),
        (
            "vercel_ui",
            r#"{"type":"reasoning-delta","id":"r","delta":"","providerMetadata":{"anthropic":{"signature":"S@;"}}}"#,
        ),
        (
            "adk",
            r#"{"author":"a","invocationId":"i","partial":true,"content":{"parts":[{"text":"w"}]},"actions":{"stateDelta":{"k":"S@;"}}}"#,
        ),
    ] {
        let (all, dropped, _) = read_slowly(dialect, event);
        assert_eq!(dropped, 0, "{event}");
        let found = numbers(&all, "\"S", ';');
        let expected = (0..EVENTS).map(|at| (at, 1)).collect();
        assert!(found == expected, "{event}: {} of {EVENTS}", found.len());
    }
}
