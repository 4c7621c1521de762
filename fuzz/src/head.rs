//! Response heads: parsing does not depend on what follows, and a head is never ambiguous about the
//! length of the body (response smuggling).

use weir::upstream::http1::head::{Length, parse};

/// Checks any bytes. The first byte says whether the request was HEAD.
pub fn check(data: &[u8]) {
    let Some((is_head, bytes)) = data.split_first() else {
        return;
    };
    let is_head = is_head & 1 == 1;
    let Ok(Some((head, size))) = parse(bytes, is_head) else {
        return;
    };
    assert!(size <= bytes.len());
    let (alone, same) = parse(&bytes[..size], is_head).unwrap().unwrap();
    assert_eq!(same, size);
    assert_eq!(alone.length, head.length);
    assert_eq!(alone.parts.headers, head.parts.headers);
    // No prefix is a complete head.
    for cut in 0..size {
        assert!(
            !matches!(parse(&bytes[..cut], is_head), Ok(Some(_))),
            "{cut} of {size}"
        );
    }
    let lengths: Vec<_> = head
        .parts
        .headers
        .get_all("content-length")
        .iter()
        .collect();
    let chunked = head.parts.headers.contains_key("transfer-encoding");
    assert!(lengths.len() <= 1 && !(chunked && !lengths.is_empty()));
    match head.length {
        Length::Chunked => assert!(chunked),
        Length::Exact(0) | Length::Close => {}
        Length::Exact(length) => assert_eq!(lengths[0].to_str().unwrap().parse(), Ok(length)),
    }
    assert!(!(head.keep_alive && head.length == Length::Close));
}
