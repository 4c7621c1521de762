//! Makes one block of two by joining the raw bytes of their JSON strings.

use crate::event::{Keep, Merge, Span};

/// A joined event is not grown beyond this: many clients read lines with a limit of 64 KiB
/// (Python's asyncio streams among them), and half of it leaves room for the envelope.
const MAX_JOINED_BYTES: usize = 32 * 1024;

/// The result of a join.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) block: Vec<u8>,
    pub(super) merge: Merge,
}

/// Joins `second` to `first`; `None` when they are not alike or would grow too large.
pub(super) fn join(first: (&[u8], Merge), second: (&[u8], Merge)) -> Option<Joined> {
    let ((older, a), (newer, b)) = (first, second);
    if a.key != b.key || a.keep != b.keep {
        return None;
    }
    if a.keep == Keep::Replace {
        return Some(Joined {
            block: newer.to_vec(),
            merge: b,
        });
    }
    let envelope = |block: &'_ [u8], text: Span| {
        Some((
            block.get(..text.start as usize)?.to_vec(),
            block.get(text.end as usize..)?.to_vec(),
        ))
    };
    let (head, tail) = if a.keep == Keep::First {
        envelope(older, a.text)?
    } else {
        envelope(newer, b.text)?
    };
    let (one, two) = (a.text.of(older), b.text.of(newer));
    let len = head.len() + one.len() + two.len() + tail.len();
    if len > MAX_JOINED_BYTES {
        return None;
    }
    let text = Span::new(head.len()..head.len() + one.len() + two.len())?;
    Some(Joined {
        block: [&head, one, two, &tail].concat(),
        merge: Merge { text, ..a },
    })
}
