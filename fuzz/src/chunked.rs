//! Chunked transfer coding: checking and decoding agree, however the input is split, and a simple
//! decoder gives the same body.

use weir::wire::chunked::Chunked;

/// The result of decoding: the body, how many input bytes it took, whether it is complete, whether
/// it is invalid.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    body: Vec<u8>,
    used: usize,
    done: bool,
    broken: bool,
}

/// Checks any bytes. The first byte is the size of the pieces.
pub fn check(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, usize::from(*cut).max(1)));
    assert!(whole.used <= bytes.len());
    if whole.done {
        assert!(!whole.broken);
        assert_eq!(
            plainly(&bytes[..whole.used]),
            Some(whole.body),
            "{}",
            bytes.escape_ascii()
        );
    }
}

fn read(bytes: &[u8], cut: usize) -> Read {
    let (mut chunked, mut checked) = (Chunked::default(), Chunked::default());
    let mut read = Read {
        body: Vec::new(),
        used: 0,
        done: false,
        broken: false,
    };
    for piece in bytes.chunks(cut) {
        let check = checked.check(piece);
        let mut piece = piece.to_vec();
        let undone = chunked.undo(&mut piece);
        read.body.extend_from_slice(&piece[undone.body]);
        read.used += undone.used;
        read.broken = undone.broken.is_some();
        let same = if read.broken {
            Err(undone.used)
        } else {
            Ok(undone.used)
        };
        assert_eq!(check, same);
        assert_eq!(chunked.is_done(), checked.is_done());
        read.done = chunked.is_done();
        if read.done || read.broken {
            break;
        }
    }
    read
}

/// Decodes a complete body in the simplest way: sizes, data, an empty line at the end.
fn plainly(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            return rest.ends_with(b"\r\n").then_some(body);
        }
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
