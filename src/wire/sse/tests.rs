use super::*;

/// Adds the blocks that `chunk` completes to `out`.
fn feed(decoder: &mut Decoder, chunk: &[u8], out: &mut Vec<Frame<'static>>) -> Result<(), Error> {
    decoder
        .feed(chunk, &mut |frame| out.push(frame.into_owned()))
        .map(drop)
}

/// Feeds `chunks` and returns the blocks as (text, whole).
fn read(chunks: &[&[u8]]) -> Vec<(String, bool)> {
    let mut decoder = Decoder::new(4096);
    let mut out = Vec::new();
    for chunk in chunks {
        feed(&mut decoder, chunk, &mut out).unwrap();
    }
    out.extend(decoder.finish());
    out.iter()
        .map(|frame| {
            (
                String::from_utf8_lossy(&frame.block).into_owned(),
                frame.whole,
            )
        })
        .collect()
}

fn blocks(input: &[u8]) -> Vec<String> {
    read(&[input]).into_iter().map(|(text, _)| text).collect()
}

fn payloads(input: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(4096);
    let mut out = Vec::new();
    feed(&mut decoder, input, &mut out).unwrap();
    out.iter()
        .map(|frame| String::from_utf8_lossy(frame.data()).into_owned())
        .collect()
}

#[test]
fn canonical_blocks_are_not_copied() {
    let input = b"event: a\ndata: {\"x\":1}\nid: 7\n\ndata: b\n\n";
    let mut places = Vec::new();
    let mut see = |frame: Frame<'_>| {
        assert!(!places.is_empty() || (frame.name(), frame.data()) == (b"a", b"{\"x\":1}"));
        places.push(frame.block.as_ptr());
    };
    Decoder::new(4096).feed(input, &mut see).unwrap();
    assert_eq!(places, [input.as_ptr(), input[30..].as_ptr()]);
}

#[test]
fn framing_is_normalised_and_payload_is_not() {
    for (input, expected) in [
        ("data:x\n\n", "data: x\n\n"),
        ("data:  x\n\n", "data:  x\n\n"),
        ("data: x\r\n\r\n", "data: x\n\n"),
        ("data: x\r\r", "data: x\n\n"),
        ("\u{feff}data: x\n\n", "data: x\n\n"),
        (": c\ndata: x\n\n", "data: x\n\n"),
        ("data: x\n: c\nid: 1\n\n", "data: x\nid: 1\n\n"),
        ("data\n\n", "data: \n\n"),
        ("data: a\ndata: b\n\n", "data: a\ndata: b\n\n"),
        ("event: e\n\n", "event: e\n\n"),
        ("id: 3\n\n", "id: 3\n\n"),
        ("id: a\0b\ndata: x\n\n", "data: x\n\n"),
        ("retry: 5\ndata: x\n\n", "data: x\nretry: 5\n\n"),
        ("foo: bar\ndata: x\n\n", "foo: bar\ndata: x\n\n"),
        (
            "error: {\"code\":500}\n\n",
            "data: {\"error\":{\"code\":500}}\n\n",
        ),
        ("database: x\ndata: y\n\n", "database: x\ndata: y\n\n"),
    ] {
        assert_eq!(blocks(input.as_bytes()), [expected], "{input:?}");
    }
}

#[test]
fn what_is_no_event_vanishes() {
    for input in [
        "\n\n\n",
        ": ping\n\n",
        ":\n:\n",
        "foo: bar\n\n",
        "retry: 3\n\n",
    ] {
        assert!(blocks(input.as_bytes()).is_empty(), "{input:?}");
    }
}

#[test]
fn a_lone_retry_rides_on_the_next_event() {
    assert_eq!(
        blocks(b"retry: 3000\n\ndata: x\n\ndata: y\n\n"),
        ["retry: 3000\ndata: x\n\n", "data: y\n\n"]
    );
}

#[test]
fn only_the_first_mark_is_removed() {
    let twice = "\u{feff}\u{feff}data: x\n\ndata: y\n\n";
    assert_eq!(payloads(twice.as_bytes()), ["y"]);
    assert_eq!(
        blocks(b"\xEF\xBBdata: x\n\ndata: y\n\n").last().unwrap(),
        "data: y\n\n"
    );
}

#[test]
fn several_data_lines_are_joined_for_the_reader() {
    assert_eq!(payloads(b"data: a\ndata:\ndata: c\n\n"), ["a\n\nc"]);
}

#[test]
fn a_missing_blank_line_is_completed_when_the_data_is_whole() {
    for (input, whole) in [
        ("data: {\"a\":1}", true),
        ("data: {\"a\":1}\n", true),
        ("data: {\"a\":", false),
        ("data: [DONE]", true),
        ("data: [DO", false),
        ("data: text\n", true),
        ("data: tex", false),
        ("event: end\n", true),
        ("event: en", false),
        ("event: message\n", false),
        ("event: message\ndata: x\n", true),
        ("event: message\ndata:\n", true),
        ("id: 7\nevent: end\r", true),
        ("id: 7\n", false),
    ] {
        let read = read(&[input.as_bytes()]);
        assert_eq!(read.len(), 1, "{input:?}");
        assert_eq!(read[0].1, whole, "{input:?}");
        assert!(read[0].0.ends_with("\n\n"));
    }
    assert!(read(&[b"data: x\n\n: cut comm"]).len() == 1);
}

#[test]
fn a_cr_only_event_is_not_held_back_for_an_lf() {
    let mut decoder = Decoder::new(64);
    let mut out = Vec::new();
    feed(&mut decoder, b"data: x\r\r", &mut out).unwrap();
    assert_eq!(out.len(), 1);
    feed(&mut decoder, b"\ndata: y\r\n\r", &mut out).unwrap();
    assert_eq!(out.len(), 2);
    feed(&mut decoder, b"\ndata: z\n\n", &mut out).unwrap();
    assert_eq!(&*out[2].block, b"data: z\n\n");
}

#[test]
fn every_split_yields_the_same_blocks() {
    let inputs: [&[u8]; 5] = [
        b"\xEF\xBB\xBFevent: a\ndata: {\"x\":\"\xC3\xA9\"}\n\n: ping\n\ndata: b\n\ndata: [DONE]\n\n",
        b"id: 1\r\nevent: a\r\ndata: 1\r\n\r\n: hb\r\n\r\nretry: 9\r\n\r\ndata: 2\r\ndata: 3\r\n\r\n",
        b"data: 1\rdata: 2\r\rdata:3\r\r: c\r",
        b"data: x\n: inner\nid:\0\nid: k\nerror: {\"a\":{}}\n\nevent: end\n\n",
        b"data: {\"torn\":",
    ];
    for input in inputs {
        let whole = read(&[input]);
        for first in 0..=input.len() {
            assert_eq!(
                read(&[&input[..first], &input[first..]]),
                whole,
                "cut at {first}"
            );
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(read(&bytes), whole, "byte by byte");
    }
}

/// Feeds `input` in pieces of `cut` bytes, with another idea of a large block, and returns the frames.
fn frames(input: &[u8], cut: usize, large_bytes: u32) -> Vec<Frame<'static>> {
    let mut decoder = Decoder::new(4096);
    decoder.large_bytes = large_bytes;
    let mut out = Vec::new();
    for chunk in input.chunks(cut) {
        feed(&mut decoder, chunk, &mut out).unwrap();
    }
    out.extend(decoder.finish());
    out
}

#[test]
fn large_blocks_are_read_as_small_ones() {
    let inputs: [&[u8]; 8] = [
        b"event: a\ndata: {\"x\":\"\xC3\xA9\"}\n\n: ping\n\ndata:b\n\ndata: [DONE]\n\n",
        b"id: 1\r\nevent: a\r\ndata: 1\r\n\r\n: hb\r\n\r\nretry: 9\r\n\r\ndata: 2\r\ndata:3\r\n\r\ndata: 4\n\n",
        b"data: 1\rdata: 2\r\rdata:3\r\r: c\r",
        b"data: x\n: inner\nid:\0\nid: k\nerror: {\"a\":{}}\n\nevent: end\n\n",
        b"data\ndata:\ndata: \ndata:  x\nretry: 7\ndatabase: y\n\nfoo\n\nid\n\ndata: z\n\n",
        b"data: {\"a\":1,\ndata: \"b\":2}",
        b"event: a\ndata:{\"torn\":",
        b"event: end\n",
    ];
    for input in inputs {
        let expected = frames(input, usize::MAX, u32::MAX);
        assert!(!expected.is_empty());
        for cut in 1..input.len() {
            for large_bytes in [0, 1, 5, 20] {
                let found = frames(input, cut, large_bytes);
                let text = String::from_utf8_lossy(input);
                assert_eq!(found, expected, "{text:?} cut into {cut}, {large_bytes}");
            }
        }
    }
}

/// The payload is found again in the block, and the block is written once.
#[test]
fn a_large_block_of_short_lines_is_held_once() {
    let line = b"data:x\n";
    let mut decoder = Decoder::new(1 << 20);
    let mut sizes = Vec::new();
    let mut see = |frame: Frame<'_>| {
        let Cow::Owned(block) = frame.block else {
            panic!("a copy would be needed")
        };
        let Some(Payload::Joined(joined)) = frame.data else {
            panic!("one payload of many lines")
        };
        sizes.push((block.len(), joined.len(), joined.capacity()));
    };
    let input = [line.repeat(100_000), b"\n".to_vec()].concat();
    for chunk in input.chunks(1 << 14) {
        decoder.feed(chunk, &mut see).unwrap();
    }
    assert_eq!(sizes, [(800_001, 199_999, 200_000)]);
}

#[test]
fn an_event_beyond_the_bound_is_refused_before_it_is_whole() {
    let mut decoder = Decoder::new(32);
    let mut out = Vec::new();
    let chunk = b"data: 0123456789";
    assert!(feed(&mut decoder, chunk, &mut out).is_ok());
    assert!(feed(&mut decoder, chunk, &mut out).is_ok());
    assert_eq!(
        feed(&mut decoder, chunk, &mut out),
        Err(Error::TooLarge { limit: 32 })
    );
}

#[test]
fn an_endless_comment_costs_no_memory() {
    let mut decoder = Decoder::new(32);
    let mut out = Vec::new();
    feed(&mut decoder, b": ", &mut out).unwrap();
    for _ in 0..1000 {
        feed(&mut decoder, &[b'x'; 1000], &mut out).unwrap();
    }
    assert_eq!(decoder.tail.len(), 0);
    feed(&mut decoder, b"\n\ndata: a\n\n", &mut out).unwrap();
    assert_eq!(out.len(), 1);
    assert_eq!(decoder.take_comments(), 1);
}
