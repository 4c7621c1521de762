//! The part of `/streams` about streams that have ended, and about requests that failed before they became one.

use serde::Serialize;

use super::facts::{millis, rounded, unix_millis};
use crate::app::App;
use crate::session::recent;

/// A stream that has ended, or a request that failed.
#[derive(Serialize)]
pub(super) struct Ended {
    number: u64,
    id: Option<String>,
    request_id: String,
    route: String,
    client: Option<String>,
    method: String,
    path: String,
    dialect: &'static str,
    reply: Option<&'static str>,
    outcome: &'static str,
    code: &'static str,
    status: u16,
    ended_at_ms: u64,
    duration_ms: u64,
    ttft_ms: Option<u64>,
    tokens: u64,
    tokens_per_s: Option<f64>,
    events: u64,
    bytes_in: u64,
    bytes_out: u64,
    dropped: u64,
}

impl Ended {
    /// Returns its number among all that have ended.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl From<recent::Ended> for Ended {
    fn from(ended: recent::Ended) -> Self {
        let figures = ended.figures;
        Self {
            number: ended.number,
            outcome: ended.outcome(),
            id: ended.id.map(|id| id.to_string()),
            request_id: ended.request_id.to_str().unwrap_or_default().to_owned(),
            route: ended.route.to_string(),
            client: ended.client.map(|client| client.to_string()),
            method: ended.method.to_string(),
            path: ended.path.to_string(),
            dialect: ended.dialect,
            reply: ended.reply,
            code: ended.code,
            status: ended.status.as_u16(),
            ended_at_ms: unix_millis(ended.at),
            duration_ms: millis(ended.duration),
            ttft_ms: figures.ttft.map(millis),
            tokens: figures.tokens,
            tokens_per_s: figures.tokens_per_second.map(rounded),
            events: figures.events,
            bytes_in: figures.bytes_in,
            bytes_out: figures.bytes_out,
            dropped: figures.dropped,
        }
    }
}

/// Returns those that ended after the one with the number `sent_until`, the last one first.
pub(super) fn ended(app: &App, sent_until: u64) -> Vec<Ended> {
    let ended = app.streams.recent.ended(sent_until);
    ended.into_iter().map(Ended::from).collect()
}
