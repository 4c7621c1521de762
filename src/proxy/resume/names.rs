//! Names that a stream can be asked for by, besides its id. Each belongs to one route and one caller.

use ring::digest::{Context, SHA256};

use super::caller::Caller;
use crate::session::resumable::Name;

/// What is named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The streams of a chat.
    Chat,
    /// The stream of a request with an idempotency key.
    Idempotency,
    /// The streams that answered requests for a path with its query.
    Path,
    /// The streams of the Responses API.
    Responses,
}

/// Returns the name.
pub(super) fn name(kind: Kind, route: &str, caller: &Caller, value: &str) -> Name {
    let mut digest = Context::new(&SHA256);
    digest.update(&[kind as u8]);
    digest.update(caller.as_bytes());
    for part in [route, value] {
        // With its length, so that no two names are written alike.
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    let digest: &[u8] = digest.as_ref();
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(digest) {
        *to = *from;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_has_the_same_name() {
        let one = Caller::from_bytes([1; 32]);
        let other = Caller::from_bytes([2; 32]);
        let all = [
            name(Kind::Chat, "r", &one, "x"),
            name(Kind::Path, "r", &one, "x"),
            name(Kind::Chat, "rx", &one, ""),
            name(Kind::Chat, "r", &other, "x"),
            name(Kind::Chat, "r", &one, "y"),
        ];
        for (index, name) in all.iter().enumerate() {
            assert!(!all[..index].contains(name));
        }
        assert_eq!(all[0], name(Kind::Chat, "r", &one, "x"));
    }
}
