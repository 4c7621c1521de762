//! Writes frames as a client sends them: whole, and masked.

use bytes::{BufMut as _, BytesMut};

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The agent did what it was asked for.
pub(super) const NORMAL: u16 = 1000;
/// The client that asked has left.
pub(super) const GOING_AWAY: u16 = 1001;

/// Appends a frame.
pub(super) fn put(opcode: u8, payload: &[u8], out: &mut BytesMut) {
    let mut mask = [0; 4];
    // The mask only keeps intermediaries from mistaking data for requests. Without random bytes it is a constant.
    if getrandom::fill(&mut mask).is_err() {
        mask = [0x57, 0x65, 0x69, 0x72];
    }
    out.reserve(payload.len() + 14);
    out.put_u8(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.put_u8(0x80 | short),
        (_, Ok(medium)) => {
            out.put_u8(0x80 | 126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(0x80 | 127);
            out.put_u64(payload.len() as u64);
        }
    }
    out.put_slice(&mask);
    let start = out.len();
    out.put_slice(payload);
    let masked = out.get_mut(start..).unwrap_or_default();
    // In pieces of four, so that the compiler can work on many at a time.
    for piece in masked.chunks_mut(mask.len()) {
        for (byte, mask) in piece.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a close frame.
pub(super) fn put_close(code: u16, out: &mut BytesMut) {
    put(CLOSE, &code.to_be_bytes(), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::{Follower, Sender};

    #[test]
    fn frames_of_all_lengths_are_those_of_a_client() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut out = BytesMut::new();
            put(TEXT, &payload, &mut out);
            let mut follower = Follower::strict(Sender::Client);
            assert_eq!(follower.feed(&out), out.len());
            assert!(follower.is_at_boundary(), "{length}");
            assert_eq!((follower.frames(), follower.messages()), (1, 1));
            let start = out.len() - length;
            let mask: Vec<u8> = out[start - 4..start].to_vec();
            let plain = out[start..].iter().zip(mask.iter().cycle());
            assert!(plain.map(|(byte, mask)| byte ^ mask).eq(payload));
        }
        let mut out = BytesMut::new();
        put_close(GOING_AWAY, &mut out);
        let mut follower = Follower::new(Sender::Client);
        follower.feed(&out);
        assert_eq!(follower.close_code(), Some(1001));
    }
}
