//! Content codings: hostile bodies (decompression bombs) end in an error and never use unbounded
//! memory.

use weir::wire::encoding::{Coding, Decoder, Error};

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
/// Maximum output for one input. The decoder's limit of expansion keeps it far lower for inputs of the fuzzer's size.
const MAX_OUT: usize = 64 << 20;

/// Checks any bytes. The first byte selects the coding, the second is the size of the pieces.
pub fn check(data: &[u8]) {
    let [pick, cut, body @ ..] = data else { return };
    let name = CODINGS[usize::from(*pick) % CODINGS.len()];
    let coding = Coding::from_name(name).expect("a known coding");
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
