//! Frames of both sides, at any cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(sender: Sender, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if sender == Sender::Client { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(u8::try_from(short).unwrap() | mask_bit),
        medium @ 126..=65_535 => {
            out.push(126 | mask_bit);
            out.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            out.push(127 | mask_bit);
            out.extend((long as u64).to_be_bytes());
        }
    }
    if sender == Sender::Client {
        let mask = [0x11, 0x22, 0x33, 0x44];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    } else {
        out.extend(payload);
    }
    out
}

#[test]
fn a_message_has_ended_with_its_last_frame_and_control_frames_are_no_progress() {
    let mut follower = Follower::new(Sender::Client);
    assert!(!follower.is_in_message());
    let first = frame(Sender::Client, 0x01, b"ab");
    follower.feed(&first[..1]);
    assert!(follower.is_in_message(), "part of a head");
    follower.feed(&first[1..7]);
    assert!(follower.is_in_message(), "part of a payload");
    assert_eq!(follower.progress(), 2);
    follower.feed(&first[7..]);
    assert!(follower.is_in_message(), "a first frame");
    assert_eq!(follower.progress(), 3);
    follower.feed(&frame(Sender::Client, 0x8a, b"pong"));
    assert!(follower.is_in_message(), "a pong ends no message");
    assert_eq!(follower.progress(), 3);
    follower.feed(&frame(Sender::Client, 0x80, b""));
    assert!(!follower.is_in_message());
    assert_eq!((follower.progress(), follower.messages()), (4, 1));
}

fn fed(sender: Sender, bytes: &[u8], cut: usize) -> (Follower, usize) {
    let mut follower = Follower::new(sender);
    let mut passed = 0;
    for piece in bytes.chunks(cut.max(1)) {
        passed += follower.feed(piece);
    }
    (follower, passed)
}

#[test]
fn frames_messages_and_the_close_code_are_known_at_any_cut() {
    for sender in [Sender::Client, Sender::Server] {
        let bytes = [
            frame(sender, 0x01, b"hel"),
            frame(sender, 0x89, b"ping"),
            frame(sender, 0x80, b"lo"),
            // With a bit of an extension.
            frame(sender, 0xc2, &[7; 300]),
            frame(sender, 0x82, &[8; 70_000]),
            frame(sender, 0x88, b"\x03\xe9bye"),
        ]
        .concat();
        for cut in (1..400).chain([70_000, bytes.len()]) {
            let (follower, passed) = fed(sender, &bytes, cut);
            assert_eq!(passed, bytes.len());
            assert_eq!((follower.frames(), follower.messages()), (6, 3));
            assert_eq!(follower.close_code(), Some(1001));
            assert!(follower.has_closed() && follower.is_at_boundary());
        }
    }
}

#[test]
fn a_close_frame_may_have_no_code() {
    for payload in [&b""[..], b"x"] {
        let (follower, _) = fed(Sender::Client, &frame(Sender::Client, 0x88, payload), 1);
        assert!(follower.has_closed() && follower.is_at_boundary());
        assert_eq!(follower.close_code(), None);
    }
}

#[test]
fn only_what_nobody_can_read_is_refused_and_nothing_of_it_passes() {
    let whole = frame(Sender::Client, 0x81, b"whole");
    for (bad, violation) in [
        (&b"\x81\x02hi"[..], Violation::Mask),
        (b"\x82\xff\x80\0\0\0\0\0\0\0mask", Violation::Length),
    ] {
        let bytes = [&whole[..], bad].concat();
        let (follower, passed) = fed(Sender::Client, &bytes, bytes.len());
        assert_eq!(passed, whole.len());
        assert_eq!(follower.violation(), Some(violation));
        assert!(follower.refuses() && follower.is_at_boundary());
        let (mut follower, passed) = fed(Sender::Client, &bytes, 1);
        assert!(passed >= whole.len() && passed < whole.len() + 3);
        assert!(follower.refuses() && !follower.is_at_boundary());
        assert_eq!(follower.feed(&whole), 0);
    }
}

#[test]
fn other_violations_pass_and_no_frame_can_be_put_behind_them() {
    for (sender, bad, violation) in [
        (Sender::Client, &b"\x83\x80mask"[..], Violation::Opcode),
        (Sender::Client, b"\x09\x80mask", Violation::Control),
        (Sender::Client, b"\x89\xfe\0\x7emask", Violation::Control),
        (Sender::Server, b"\x8b\0", Violation::Opcode),
        (Sender::Server, b"\x81\x80mask", Violation::Mask),
        (
            Sender::Server,
            b"\x82\x7f\x80\0\0\0\0\0\0\0",
            Violation::Length,
        ),
    ] {
        for cut in 1..=bad.len() {
            let (mut follower, passed) = fed(sender, bad, cut);
            assert_eq!(passed, bad.len());
            assert_eq!(follower.violation(), Some(violation));
            assert!(follower.is_lost() && !follower.is_at_boundary());
            assert_eq!(follower.feed(b"more"), 4);
            assert_eq!(follower.feed_to_boundary(b"more"), 4);
        }
    }
}

/// A frame whose length takes `extra` bytes, whether or not it needs them.
fn with_length(sender: Sender, first: u8, extra: usize, payload: &[u8]) -> Vec<u8> {
    let is_client = sender == Sender::Client;
    let form = if extra == 2 { 126 } else { 127 };
    let length = (payload.len() as u64).to_be_bytes();
    let mut out = vec![first, form | if is_client { 0x80 } else { 0 }];
    out.extend(&length[length.len() - extra..]);
    // With a mask of zeros.
    out.extend(&[0; 4][..if is_client { 4 } else { 0 }]);
    out.extend(payload);
    out
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_followed_as_it_stands() {
    for sender in [Sender::Client, Sender::Server] {
        let bytes = [
            with_length(sender, 0x81, 2, b""),
            with_length(sender, 0x82, 2, &[7; 125]),
            with_length(sender, 0x82, 8, &[7; 126]),
            with_length(sender, 0x82, 8, &[7; 65_535]),
            with_length(sender, 0x89, 2, b"ping"),
            with_length(sender, 0x88, 8, b"\x03\xe9bye"),
        ]
        .concat();
        for cut in (1..40).chain([70_000, bytes.len()]) {
            let (follower, passed) = fed(sender, &bytes, cut);
            assert_eq!(passed, bytes.len());
            assert_eq!(follower.violation(), None);
            assert_eq!((follower.frames(), follower.messages()), (6, 4));
            assert_eq!(follower.close_code(), Some(1001));
            assert!(follower.is_at_boundary());
        }
    }
}

#[test]
fn an_end_refuses_every_violation_and_takes_nothing_of_it() {
    let sender = Sender::Client;
    let good = [
        frame(sender, 0x81, b"whole"),
        frame(sender, 0x8a, &[0; 125]),
        frame(sender, 0x82, &[0; 126]),
        frame(sender, 0x82, &[0; 65_535]),
        frame(sender, 0x82, &[0; 65_536]),
    ]
    .concat();
    for (bad, violation) in [
        (b"\x81\x02hi".to_vec(), Violation::Mask),
        (b"\x83\x80mask".to_vec(), Violation::Opcode),
        (b"\x09\x80mask".to_vec(), Violation::Control),
        (with_length(sender, 0x89, 2, &[0; 126]), Violation::Control),
        (
            b"\x82\xff\x80\0\0\0\0\0\0\0mask".to_vec(),
            Violation::Length,
        ),
        (with_length(sender, 0x81, 2, b"hi"), Violation::Padding),
        (with_length(sender, 0x81, 2, &[0; 125]), Violation::Padding),
        (
            with_length(sender, 0x82, 8, &[0; 65_535]),
            Violation::Padding,
        ),
        (with_length(sender, 0x89, 8, b"hi"), Violation::Padding),
    ] {
        let bytes = [&good[..], &bad].concat();
        let mut follower = Follower::strict(sender);
        assert_eq!(follower.feed(&bytes), good.len());
        assert_eq!(follower.violation(), Some(violation));
        assert!(follower.refuses());
        assert_eq!(follower.feed(b"more"), 0);
        let mut follower = Follower::strict(sender);
        follower.feed(&good);
        let taken: usize = bad.chunks(1).map(|byte| follower.feed(byte)).sum();
        assert!(taken < 10, "only bytes of the head");
        assert_eq!(follower.violation(), Some(violation));
    }
}

#[test]
fn a_boundary_inside_a_read_is_found() {
    let frames = [
        frame(Sender::Server, 0x82, &[1; 1000]),
        frame(Sender::Server, 0x81, b"next"),
    ];
    let bytes = frames.concat();
    let mut follower = Follower::new(Sender::Server);
    assert_eq!(follower.feed(&bytes[..10]), 10);
    assert!(!follower.is_at_boundary());
    assert_eq!(
        follower.feed_to_boundary(&bytes[10..]),
        frames[0].len() - 10
    );
    assert!(follower.is_at_boundary());
}

proptest! {
    /// A reader that has all bytes at once finds the same frames.
    #[test]
    fn it_agrees_with_a_simple_reader(
        from_client in any::<bool>(),
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 0..8),
        cuts in vec(1_usize..40, 1..20),
    ) {
        let sender = if from_client { Sender::Client } else { Sender::Server };
        let mut bytes = Vec::new();
        let mut boundaries = vec![0];
        let mut lost = false;
        let (mut count, mut messages) = (0, 0);
        for (first, payload) in &frames {
            let opcode = first & 0x0f;
            let is_control = opcode >= 8;
            bytes.extend(frame(sender, *first, payload));
            lost |= matches!(opcode, 3..=7 | 11..=15)
                || (is_control && (first & 0x80 == 0 || payload.len() > 125));
            if !lost {
                boundaries.push(bytes.len());
                count += 1;
                messages += u64::from(!is_control && first & 0x80 != 0);
            }
        }
        let mut follower = Follower::new(sender);
        let (mut at, mut next) = (0, cuts.iter().cycle());
        while at < bytes.len() {
            let end = (at + next.next().unwrap()).min(bytes.len());
            prop_assert_eq!(follower.feed(&bytes[at..end]), end - at);
            at = end;
            prop_assert_eq!(
                follower.is_at_boundary(),
                boundaries.contains(&at) && !follower.is_lost());
        }
        prop_assert_eq!(follower.is_lost(), lost);
        prop_assert_eq!((follower.frames(), follower.messages()), (count, messages));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300), cut in 1_usize..20) {
        for sender in [Sender::Client, Sender::Server] {
            let (whole, passed) = fed(sender, &bytes, bytes.len());
            let (pieces, _) = fed(sender, &bytes, cut);
            prop_assert!(passed <= bytes.len());
            prop_assert_eq!(whole.violation(), pieces.violation());
            prop_assert_eq!(whole.frames(), pieces.frames());
            prop_assert_eq!(whole.close_code(), pieces.close_code());
            let mut whole = Follower::strict(sender);
            prop_assert!(whole.feed(&bytes) <= passed);
            let mut pieces = Follower::strict(sender);
            for piece in bytes.chunks(cut) {
                pieces.feed(piece);
            }
            prop_assert_eq!(whole.violation(), pieces.violation());
            prop_assert_eq!(whole.frames(), pieces.frames());
        }
    }
}
