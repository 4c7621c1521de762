//! What is known of a stream, and its stored form.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use super::terms::{Meta, RemoteState};

#[derive(Serialize, Deserialize)]
struct Stored {
    /// In base64.
    caller: String,
    route: String,
    dialect: String,
    framing: String,
    content_type: String,
    headers: Vec<(String, String)>,
    owner: String,
    extra: String,
    /// How long the stream is kept after its end, in milliseconds.
    keep: u64,
}

/// The name of the place that the stored form is bound to.
fn place(id: &str) -> String {
    format!("{id}:m")
}

/// Returns the stored form. `None` if it must be sealed, and cannot be.
pub(super) fn store(meta: &Meta, id: &str, keep: Duration, sealer: &Sealer) -> Option<Vec<u8>> {
    let stored = Stored {
        caller: BASE64_STANDARD_NO_PAD.encode(meta.caller),
        route: meta.route.clone(),
        dialect: meta.dialect.clone(),
        framing: meta.framing.clone(),
        content_type: meta.content_type.clone(),
        headers: meta.headers.clone(),
        owner: meta.owner.clone(),
        extra: meta.extra.clone(),
        keep: millis(keep),
    };
    sealer.seal(serde_json::to_vec(&stored).ok()?, &place(id))
}

/// Reads the stored form of the stream `id`; returns also how long it is kept. Returns `None` for anything else.
pub(super) fn read(bytes: Vec<u8>, id: &str, sealer: &Sealer) -> Option<(Meta, Duration)> {
    let opened;
    let text = if sealer.is_on() {
        opened = sealer.open(bytes, &place(id))?;
        &opened[..]
    } else {
        &bytes[..]
    };
    let stored: Stored = serde_json::from_slice(text).ok()?;
    let caller = BASE64_STANDARD_NO_PAD.decode(&stored.caller).ok()?;
    let meta = Meta {
        caller: caller.try_into().ok()?,
        route: stored.route,
        dialect: stored.dialect,
        framing: stored.framing,
        content_type: stored.content_type,
        headers: stored.headers,
        owner: stored.owner,
        state: RemoteState::Live,
        first: 1,
        last: 0,
        extra: stored.extra,
    };
    Some((meta, Duration::from_millis(stored.keep)))
}

/// Longest time that a key is kept. Redis refuses times that overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns a time as Redis wants it: milliseconds, at least one.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.min(LONGEST).as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store) fn meta() -> Meta {
        Meta {
            caller: [3; 32],
            route: "chat".to_owned(),
            dialect: "anthropic".to_owned(),
            framing: "sse".to_owned(),
            content_type: "text/event-stream".to_owned(),
            headers: vec![("x-a".to_owned(), "\"1\"".to_owned())],
            owner: "me".to_owned(),
            state: RemoteState::Live,
            first: 1,
            last: 0,
            extra: "{}".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_stored() {
        let keep = Duration::from_secs(120);
        for sealer in [
            Sealer::new(false, None, None),
            Sealer::new(true, Some([1; 32]), None),
        ] {
            let stored = store(&meta(), "id", keep, &sealer).unwrap();
            assert_eq!(stored.starts_with(b"{"), !sealer.is_on());
            let is_bound = sealer.is_on();
            assert_eq!(read(stored.clone(), "other", &sealer).is_none(), is_bound);
            assert_eq!(read(stored, "id", &sealer), Some((meta(), keep)));
            assert_eq!(read(b"{}".to_vec(), "id", &sealer), None);
            assert_eq!(read(Vec::new(), "id", &sealer), None);
        }
    }

    #[test]
    fn a_process_with_a_key_believes_nothing_in_clear() {
        let clear = store(
            &meta(),
            "id",
            Duration::ZERO,
            &Sealer::new(false, None, None),
        )
        .unwrap();
        assert_eq!(
            read(clear, "id", &Sealer::new(true, Some([1; 32]), None)),
            None
        );
    }

    #[test]
    fn times_fit_into_what_redis_takes() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_secs(2)), 2_000);
        assert_eq!(millis(Duration::MAX), 2_592_000_000);
    }
}
