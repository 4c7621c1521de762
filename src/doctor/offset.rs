//! The offset between the probe's clock and the doctor's.
//!
//! A message that was sent at `s` by one clock and arrived at `a` by the other one bounds the offset, because nothing
//! arrives before it is sent. Requests bound it from above, responses and events from below. The true offset lies
//! between; with equal delays in both directions it lies in the middle, as NTP assumes. A proxy that holds back
//! responses delays one direction only: then the small request is trusted, and the round trip to the next hop says how
//! long it took.

/// Beyond this span, something holds back the responses.
const HELD: i64 = 500_000;

/// The server's clock minus the doctor's, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    micros: i64,
    /// How wrong `micros` can be.
    pub(crate) error: i64,
}

impl Offset {
    /// Converts a time of the server's clock to the doctor's.
    pub(crate) const fn local(self, server: i64) -> i64 {
        server - self.micros
    }
}

/// Estimates the offset from requests `(sent here, received there)` and from what came back
/// `(sent there, arrived here)`. `connect` is the time of a TCP handshake.
pub(crate) fn estimate(
    requests: &[(i64, i64)],
    responses: &[(i64, i64)],
    connect: i64,
) -> Option<Offset> {
    let most = requests
        .iter()
        .map(|(sent, received)| received - sent)
        .min()?;
    let least = responses
        .iter()
        .map(|(sent, arrived)| sent - arrived)
        .max()?;
    let span = (most - least).max(0);
    let one_way = if span > HELD {
        connect.clamp(0, span / 2)
    } else {
        span / 2
    };
    Some(Offset {
        micros: most - one_way,
        error: one_way,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's clock that is 7 s ahead.
    const AHEAD: i64 = 7_000_000;

    #[test]
    fn the_fastest_messages_decide() {
        let requests = [(0, AHEAD + 9_000), (100_000, AHEAD + 102_000)];
        let responses = [(AHEAD + 9_000, 50_000), (AHEAD + 200_000, 202_000)];
        let offset = estimate(&requests, &responses, 500).unwrap();
        assert_eq!(offset.local(AHEAD + 1), 1);
        assert_eq!(offset.error, 2_000);
    }

    #[test]
    fn responses_that_are_held_back_do_not_shift_it() {
        let requests = [(0, AHEAD + 1_000)];
        let responses = [(AHEAD + 1_000, 2_001_000)];
        let offset = estimate(&requests, &responses, 1_000).unwrap();
        assert_eq!(offset.local(AHEAD), 0);
        assert!(estimate(&requests, &[], 0).is_none());
    }
}
