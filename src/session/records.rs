//! The record of a stream: what was said in it and how it has ended, for whoever keeps that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::registry::LiveStream;
use crate::end::End;
use crate::outbox::Outbox;
use crate::stream::pump::Report;
use crate::translate::StreamFacts;

/// Where the record of a stream goes, and how much of the stream it holds.
#[derive(Clone)]
pub struct Recording {
    /// Where the record goes.
    pub outbox: Arc<Outbox>,
    /// Maximum number of bytes of text in the record.
    pub max_text_bytes: usize,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("max_text_bytes", &self.max_text_bytes)
            .finish_non_exhaustive()
    }
}

/// Sends the record of a stream that has ended, if it was recorded.
pub(super) fn send(outbox: &Outbox, live: &LiveStream, report: &mut Report) {
    let Some(mut recorder) = report.ingress.recorder.take() else {
        return;
    };
    let is_well = report.end == End::Finished;
    recorder.finish(is_well);
    let context = &*live.context;
    let duration = context.started.elapsed();
    let started_at = SystemTime::now()
        .checked_sub(duration)
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let first_token = report.ingress.meter.first_token;
    let id = live.id.to_string();
    let record = recorder.into_record(&StreamFacts {
        stream_id: &id,
        request_id: context.identity.request_id.to_str().unwrap_or_default(),
        route: &context.route.name,
        dialect: report.ingress.dialect.as_str(),
        metadata: context.metadata.as_deref(),
        outcome: report.end.as_str(),
        code: (!is_well).then_some(report.code),
        started_at_ms: millis(started_at),
        first_token_ms: first_token.map(|at| millis(at.duration_since(context.started))),
        duration_ms: millis(duration),
    });
    outbox.send(record);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
