//! Compares held text with a marker.

/// Whether held text is a marker, the beginning of one, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    No,
    Prefix,
    Whole,
}

/// Reports whether a byte is white space or part of a line break.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Compares held text with a marker.
pub(super) fn compare(held: &[u8], mark: &[u8]) -> Match {
    if held == mark {
        Match::Whole
    } else if mark.starts_with(held) {
        Match::Prefix
    } else {
        Match::No
    }
}

/// Compares held text with a tag. Ignores case and white space within the tag, which models vary now and then.
pub(super) fn compare_tag(held: &[u8], tag: &[u8]) -> Match {
    let mut wanted = tag.iter();
    for (at, byte) in held.iter().enumerate() {
        if at > 0 && is_blank(*byte) {
            continue;
        }
        match wanted.next() {
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => {}
            _ => return Match::No,
        }
    }
    if wanted.next().is_none() {
        Match::Whole
    } else {
        Match::Prefix
    }
}
