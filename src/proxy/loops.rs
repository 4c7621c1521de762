//! Refuses requests that go round in circles: an upstream leads back to this Weir, perhaps through others.

use http::{HeaderMap, StatusCode};

use super::reject::{Blame, Refused};
use crate::config::Route;
use crate::metrics::Refusal;
use crate::upstream::hops::{Hop, Passed};

/// A request may come through one process as often. A second time can be meant: one route leads to another, or an agent
/// asks its model through the Weir in front of it, with the headers that it was asked with.
const MOST_HERE: usize = 2;
/// A request may come through this many Weirs in all.
const MOST: usize = 10;

/// Checks that a request may be sent to the upstream of its route.
///
/// # Errors
/// If it has come through Weir too often.
pub(super) fn check(hop: &Hop, route: &Route, headers: &HeaderMap) -> Result<(), Refused> {
    let Passed { here, all } = hop.passed(headers);
    if here < MOST_HERE && all < MOST {
        return Ok(());
    }
    let keys: Vec<String> = (route.upstreams())
        .map(|upstream| format!("upstreams.{}.endpoints", upstream.name))
        .collect();
    let message = format!(
        "loop_detected: the request has come {here} times through this Weir (expected fewer than {MOST_HERE}) and {all} times \
         through any (expected fewer than {MOST}): does route \"{}\" ({}) lead back here?",
        route.name,
        keys.join(", ")
    );
    Err(Refused {
        message: message.clone().into(),
        blame: Blame::Weir {
            cause: Some(message),
        },
        ..Refused::new(StatusCode::LOOP_DETECTED, Refusal::LoopDetected, "")
    })
}
