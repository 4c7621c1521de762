//! Content codings: hostile bodies end in an error, never in memory.

use weir::wire::encoding::{Coding, Decoder, Error};

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
/// What one read may give out at most: the decoder's own step, then its bound of expansion.
const MAX_OUT: usize = 64 << 20;

/// The first byte picks the coding, the second says how the rest is cut.
pub fn check(data: &[u8]) {
    let [pick, cut, body @ ..] = data else { return };
    let name = CODINGS[usize::from(*pick) % CODINGS.len()];
    let coding = Coding::from_header(name).expect("a known coding");
    let mut decoder = Decoder::new(coding).expect("a coding to undo");
    let mut out = 0;
    for read in body.chunks(usize::from(*cut).max(1)) {
        let result = decoder.feed(read, |bytes| {
            out += bytes.len();
            Ok::<(), Error>(())
        });
        assert!(out <= MAX_OUT, "{} bytes became {out}", body.len());
        if result.is_err() {
            return;
        }
    }
}
