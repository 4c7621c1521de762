//! Is what is held a mark, or the beginning of one?

/// How what is held stands to a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    No,
    Prefix,
    Whole,
}

/// White space, and line breaks.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Compares what is held with a mark.
pub(super) fn compare(held: &[u8], mark: &[u8]) -> Match {
    if held == mark {
        Match::Whole
    } else if mark.starts_with(held) {
        Match::Prefix
    } else {
        Match::No
    }
}

/// The same for a tag, in which models put spaces and capitals now and then.
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
