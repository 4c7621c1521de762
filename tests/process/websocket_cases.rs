//! The protocol of WebSockets (RFC 6455), case by case, against the bridge of a real process: framing, fragmentation,
//! UTF-8, control frames, reserved bits, close handshakes and limits.

use std::io::Read as _;

use crate::bridge_client::{Bridge, CLOSE, PING, PONG, TEXT, frame};
use crate::support::{Upstream, Weir};

const ROUTE: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\n\
    routes: [ { name: chat, upstream: agent, websocket: bridge, max_request_bytes: 1KiB } ]\n";

/// A message that is answered by `{"type":"pong"}`.
const ASK: &[u8] = b"{\"type\":\"ping\"}";
const ANSWER: &[u8] = b"{\"type\":\"pong\"}";

/// What is sent, and what comes back.
struct Case {
    name: String,
    sent: Vec<u8>,
    /// Frames that come first.
    frames: Vec<(u8, Vec<u8>)>,
    /// The code of the close frame that comes then; 1005 for one without.
    closes: Option<u16>,
}

fn case(name: impl Into<String>, sent: impl Into<Vec<u8>>) -> Case {
    Case {
        name: name.into(),
        sent: sent.into(),
        frames: Vec::new(),
        closes: None,
    }
}

impl Case {
    fn answers(mut self, first: u8, payload: &[u8]) -> Self {
        self.frames.push((first, payload.to_vec()));
        self
    }

    fn closes(mut self, code: u16) -> Self {
        self.closes = Some(code);
        self
    }
}

fn joined(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let frames = frames.iter().map(|(first, payload)| frame(*first, payload));
    frames.collect::<Vec<_>>().concat()
}

/// A text in pieces of these bytes.
fn pieces(pieces: &[&[u8]]) -> Vec<u8> {
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(index, piece)| {
        let opcode = u8::from(index == 0);
        let is_last = if index == last { 0x80 } else { 0 };
        frame(opcode | is_last, piece)
    });
    frames.collect::<Vec<_>>().concat()
}

/// The head of a text, whose length takes `extra` bytes.
fn announced(extra: usize, length: u64) -> Vec<u8> {
    let form = if extra == 2 { 0xfe } else { 0xff };
    let bytes = length.to_be_bytes();
    [&[TEXT, form][..], &bytes[bytes.len() - extra..], &[0; 4]].concat()
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn control(cases: &mut Vec<Case>) {
    for length in [0, 1, 2, 100, 124, 125] {
        let payload = vec![0xfe; length];
        let sent = frame(PING, &payload);
        cases.push(case(format!("a ping of {length} bytes"), sent).answers(PONG, &payload));
    }
    cases.push(case("a ping of 126 bytes", frame(PING, &[0; 126])).closes(1002));
    cases.push(case("a pong of 126 bytes", frame(PONG, &[0; 126])).closes(1002));
    cases.push(
        case(
            "a pong that nobody asked for",
            joined(&[(PONG, b"x"), (TEXT, ASK)]),
        )
        .answers(TEXT, ANSWER),
    );
    cases.push(
        case(
            "the answer of two pings at once is that of the last, or of each",
            joined(&[(PING, b"a"), (TEXT, ASK), (PING, b"b")]),
        )
        .answers(PONG, b"a")
        .answers(TEXT, ANSWER)
        .answers(PONG, b"b"),
    );
    for (name, first) in [("ping", 0x09), ("pong", 0x0a), ("close", 0x08)] {
        cases.push(case(format!("a {name} in fragments"), frame(first, b"")).closes(1002));
    }
}

fn reserved(cases: &mut Vec<Case>) {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for (what, payload) in [("alone", &b""[..]), ("with a payload", b"reserved")] {
            let sent = frame(0x80 | opcode, payload);
            cases.push(case(format!("opcode {opcode} {what}"), sent).closes(1002));
        }
        let sent = joined(&[(TEXT, ASK), (0x80 | opcode, b"")]);
        let case = case(format!("opcode {opcode} behind a text"), sent);
        cases.push(case.answers(TEXT, ANSWER).closes(1002));
    }
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for (what, first) in [
            ("text", TEXT),
            ("binary", 0x82),
            ("ping", PING),
            ("close", CLOSE),
        ] {
            let sent = frame(first | bit, b"");
            cases.push(case(format!("a {what} with the bits {bit:#x}"), sent).closes(1002));
        }
    }
    for (what, first) in [
        ("text", TEXT),
        ("binary", 0x82),
        ("ping", PING),
        ("close", CLOSE),
    ] {
        cases.push(case(format!("a {what} without a mask"), vec![first, 0]).closes(1002));
    }
}

fn fragments(cases: &mut Vec<Case>) {
    for at in 0..=ASK.len() {
        let (before, after) = ASK.split_at(at);
        let sent = pieces(&[before, after]);
        cases.push(case(format!("a text cut at {at}"), sent).answers(TEXT, ANSWER));
    }
    let bytes: Vec<&[u8]> = ASK.chunks(1).collect();
    cases.push(case("a text byte by byte", pieces(&bytes)).answers(TEXT, ANSWER));
    let gaps = pieces(&[b"", ASK, b"", b""]);
    cases.push(case("empty fragments", gaps).answers(TEXT, ANSWER));
    cases.push(
        case(
            "a ping between fragments",
            joined(&[(0x01, &ASK[..5]), (PING, b"p"), (0x80, &ASK[5..])]),
        )
        .answers(PONG, b"p")
        .answers(TEXT, ANSWER),
    );
    cases.push(
        case(
            "a close between fragments",
            [frame(0x01, &ASK[..5]), closing(1000, b"")].concat(),
        )
        .closes(1000),
    );
    for (name, sent) in [
        ("a last fragment of nothing", joined(&[(0x80, b"x")])),
        ("a fragment of nothing", joined(&[(0x00, b"x")])),
        ("a text within a text", joined(&[(0x01, b"{"), (TEXT, ASK)])),
        (
            "a binary within a text",
            joined(&[(0x01, b"{"), (0x82, b"x")]),
        ),
        (
            "a fragment behind a text",
            joined(&[(0x01, b"{}"), (0x80, b""), (0x80, b"")]),
        ),
    ] {
        let has_answer = name.ends_with("behind a text");
        let mut case = case(name, sent);
        if has_answer {
            // It is an object without a type.
            case = case.answers(
                TEXT,
                b"{\"type\":\"error\",\"code\":\"bad_message\",\"message\":\"The message has no `type`.\",\"retryable\":false,\"source\":\"proxy\",\"terminal\":false}",
            );
        }
        cases.push(case.closes(1002));
    }
}

fn utf8(cases: &mut Vec<Case>) {
    let text = "{\"type\":\"ping\",\"id\":\"κόσμε €\u{10ffff}\"}".as_bytes();
    let answer = "{\"type\":\"pong\",\"id\":\"κόσμε €\u{10ffff}\"}".as_bytes();
    cases.push(case("many bytes a character", frame(TEXT, text)).answers(TEXT, answer));
    for at in 20..text.len() - 2 {
        let (before, after) = text.split_at(at);
        let sent = pieces(&[before, after]);
        cases.push(case(format!("characters cut at {at}"), sent).answers(TEXT, answer));
    }
    for (name, bad) in [
        ("0xff", &b"\xff"[..]),
        ("a lone continuation", b"\x80"),
        ("an overlong NUL", b"\xc0\x80"),
        ("an overlong slash", b"\xe0\x80\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("half a character", b"\xe2\x82"),
    ] {
        let whole = [&b"{\"type\":\"ping\",\"id\":\""[..], bad, b"\"}"].concat();
        cases.push(case(format!("{name} in a text"), frame(TEXT, &whole)).closes(1007));
        let (before, after) = whole.split_at(22);
        let sent = pieces(&[before, after]);
        cases.push(case(format!("{name} over two fragments"), sent).closes(1007));
    }
    cases.push(case("half a character at the end", frame(TEXT, b"\xe2\x82")).closes(1007));
    cases.push(case("a reason that is no text", closing(1000, b"\xff\xff")).closes(1007));
}

fn closes(cases: &mut Vec<Case>) {
    cases.push(case("a close without a code", frame(CLOSE, b"")).closes(1005));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        cases.push(case(format!("close {code}"), closing(code, b"why")).closes(code));
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        cases.push(case(format!("close {code}, which is none"), closing(code, b"")).closes(1002));
    }
    cases.push(case("a code of one byte", frame(CLOSE, b"\x03")).closes(1002));
    cases.push(case("the longest reason", closing(1000, &[b'x'; 123])).closes(1000));
    cases.push(case("a longer reason", closing(1000, &[b'x'; 124])).closes(1002));
    cases.push(
        case(
            "a text behind a close",
            [closing(1001, b""), frame(TEXT, ASK)].concat(),
        )
        .closes(1001),
    );
    cases.push(
        case(
            "two closes",
            [closing(1001, b""), closing(1000, b"")].concat(),
        )
        .closes(1001),
    );
}

fn messages(cases: &mut Vec<Case>) {
    let padded = |length: usize| {
        let mut text = ASK[..ASK.len() - 1].to_vec();
        text.resize(length - 1, b' ');
        text.push(b'}');
        text
    };
    for length in [125, 126, 127, 128, 1023, 1024] {
        let sent = frame(TEXT, &padded(length));
        cases.push(case(format!("a text of {length} bytes"), sent).answers(TEXT, ANSWER));
    }
    cases.push(case("a text of 1025 bytes", frame(TEXT, &padded(1025))).closes(1009));
    let long = padded(1030);
    let (before, after) = long.split_at(600);
    let sent = pieces(&[before, after]);
    cases.push(case("fragments of 1030 bytes", sent).closes(1009));
    for length in [1_u64 << 20, 1 << 31, 1 << 62] {
        cases.push(case(format!("{length} bytes announced"), announced(8, length)).closes(1009));
    }
    for length in [1_u64 << 63, u64::MAX] {
        let sent = announced(8, length);
        cases.push(case(format!("{length} bytes, which is no length"), sent).closes(1002));
    }
    for (extra, length) in [(2, 0), (2, 15), (2, 125), (8, 15), (8, 126), (8, 65_535)] {
        let sent = [frame(TEXT, ASK), announced(extra, length)].concat();
        let name = format!("a length of {length} in {extra} bytes");
        cases.push(case(name, sent).answers(TEXT, ANSWER).closes(1002));
    }
    for (name, payload) in [("empty", &b""[..]), ("short", b"\x01\x02"), ("JSON", ASK)] {
        cases.push(case(format!("binary, {name}"), frame(0x82, payload)).closes(1003));
    }
    for text in [
        "",
        " ",
        "hello",
        "{",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}}",
        "ack ack",
    ] {
        let sent = frame(TEXT, text.as_bytes());
        cases.push(case(format!("`{text}`, which is no JSON"), sent).closes(1007));
    }
    let three = joined(&[(TEXT, ASK), (TEXT, ASK), (TEXT, ASK)]);
    cases.push(
        case("three texts at once", three)
            .answers(TEXT, ANSWER)
            .answers(TEXT, ANSWER)
            .answers(TEXT, ANSWER),
    );
    let acks = joined(&[
        (TEXT, b"ack"),
        (TEXT, b"{\"type\":\"ack\",\"seq\":1}"),
        (TEXT, ASK),
    ]);
    cases.push(case("acknowledgements of nothing", acks).answers(TEXT, ANSWER));
}

fn check(weir: &Weir, case: &Case, piece: usize) {
    let mut bridge = Bridge::open(weir);
    for part in case.sent.chunks(piece) {
        // Once Weir has closed, the rest may meet a reset.
        if std::io::Write::write_all(&mut bridge.stream, part).is_err() {
            break;
        }
    }
    for (first, payload) in &case.frames {
        let (got, said) = bridge.next();
        let said = String::from_utf8_lossy(&said).into_owned();
        let want = String::from_utf8_lossy(payload);
        assert_eq!((got, &*said), (*first, &*want), "{}", case.name);
    }
    let Some(code) = case.closes else {
        // Still open.
        bridge.send(frame(PING, b"still there?"));
        assert_eq!(
            bridge.next(),
            (PONG, b"still there?".to_vec()),
            "{}",
            case.name
        );
        bridge.send(closing(1000, b""));
        assert_eq!(bridge.closed().0, 1000, "{}", case.name);
        return;
    };
    assert_eq!(bridge.closed().0, code, "{}", case.name);
    // Nothing follows a close frame.
    let mut rest = Vec::new();
    let _ = bridge.stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{}: {rest:?}", case.name);
}

#[test]
fn the_protocol_is_kept_case_by_case() {
    let upstream = Upstream::start();
    let weir = Weir::start(ROUTE, upstream.address());
    let mut cases = Vec::new();
    control(&mut cases);
    reserved(&mut cases);
    fragments(&mut cases);
    utf8(&mut cases);
    closes(&mut cases);
    messages(&mut cases);
    assert!(cases.len() > 150, "{} cases", cases.len());
    for case in &cases {
        check(&weir, case, usize::MAX);
    }
    // However the bytes are cut.
    for case in cases.iter().step_by(7) {
        check(&weir, case, 1);
    }
    weir.metric_until("weir_websocket_sockets{route=\"chat\"}", |open| open < 1.0);
}
