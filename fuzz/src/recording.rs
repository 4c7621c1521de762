//! Recordings: what can be read can be written, and is read as the same again; and a response is the same however its
//! bytes are cut.

use weir::recording::Exchange;
use weir::recording::read::read;
use weir::recording::response_reader::{Found, ResponseReader};
use weir::recording::write::Writer;

/// Checks any bytes. The first byte is the size of the pieces of a response, or zero for a file.
pub fn check(data: &[u8]) {
    match data.split_first() {
        None => {}
        Some((0, file)) => check_file(file),
        Some((cut, wire)) => assert_eq!(
            taken(wire, wire.len().max(1)),
            taken(wire, usize::from(*cut))
        ),
    }
}

fn check_file(file: &[u8]) {
    let Ok(recording) = read(file) else {
        return;
    };
    let mut written = Vec::new();
    let mut writer = Writer::begin(&mut written, u64::MAX, "", "").unwrap();
    for exchange in &recording.exchanges {
        let number = writer.heads(&exchange.request, &exchange.response).unwrap();
        for piece in &exchange.reads {
            writer.piece(number, piece.at, &piece.bytes).unwrap();
        }
        writer.end(number, &exchange.end).unwrap();
    }
    let again = read(&written).unwrap();
    let plain = |exchange: &Exchange| Exchange {
        number: 0,
        ..exchange.clone()
    };
    let before: Vec<_> = recording.exchanges.iter().map(plain).collect();
    let after: Vec<_> = again.exchanges.iter().map(plain).collect();
    assert_eq!(before, after);
}

/// What was found in a response: its heads, its body, how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    heads: Vec<String>,
    body: Vec<u8>,
    ended: bool,
    broken: bool,
    may_close: bool,
}

fn taken(wire: &[u8], cut: usize) -> Taken {
    let mut reader = ResponseReader::new("GET".to_owned());
    let mut taken = Taken::default();
    for piece in wire.chunks(cut) {
        let result = reader.take(piece, &mut |found| match found {
            Found::Head(head, framing) => taken.heads.push(format!("{head:?} {framing:?}")),
            Found::Body(bytes) => taken.body.extend_from_slice(bytes),
            Found::End => taken.ended = true,
        });
        if result.is_err() {
            taken.broken = true;
            return taken;
        }
        assert!(result.is_ok_and(|used| used <= piece.len()));
        if taken.ended {
            break;
        }
    }
    taken.may_close = reader.may_close();
    taken
}
