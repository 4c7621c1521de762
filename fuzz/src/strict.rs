//! Input checks in front of an HTTP engine: the same bytes pass however they are split, and never
//! more than were received.

use weir::strict::Rule;
use weir::strict::frame_flood::FrameFlood;
use weir::strict::smuggling::RequestFraming;

/// Checks any bytes. The first byte is the size of the pieces.
pub fn check(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).max(1);
    same::<RequestFraming>(bytes, cut, RequestFraming::default);
    same::<FrameFlood>(bytes, cut, FrameFlood::of_server);
    same::<FrameFlood>(bytes, cut, FrameFlood::of_client);
}

fn same<R: Rule>(bytes: &[u8], cut: usize, rule: fn() -> R) {
    let whole = passed(&mut rule(), bytes, bytes.len().max(1));
    assert_eq!(whole, passed(&mut rule(), bytes, cut));
    let (count, refused) = whole;
    assert!(count <= bytes.len());
    // If not all bytes pass, the input was refused. The bytes that passed also pass without those
    // that followed them.
    assert!(refused || count == bytes.len());
    assert_eq!(passed(&mut rule(), &bytes[..count], cut).0, count);
}

fn passed<R: Rule>(rule: &mut R, bytes: &[u8], cut: usize) -> (usize, bool) {
    let mut count = 0;
    for piece in bytes.chunks(cut) {
        count += rule.pass(piece);
        if rule.refuses() {
            break;
        }
    }
    (count, rule.refuses())
}
