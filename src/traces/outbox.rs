//! Passes ended spans to the collector: through a bounded queue, and the exporter's own thread behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as Exporter, SpanProcessor,
};
use prometheus::IntCounter;

use crate::metrics::Metrics;

/// Maximum number of spans that wait or are being exported, some 2 KiB each. Further spans are dropped, and counted.
const MAX_WAITING: usize = 2048;
/// Maximum number of spans of one export.
const MAX_BATCH: usize = 512;
/// Longest time that a span waits for others to be exported with.
const DELAY: Duration = Duration::from_secs(1);
/// Longest time for the last export before the process ends.
const LAST: Duration = Duration::from_secs(2);

/// The bounded queue of spans that have ended.
#[derive(Debug)]
pub(super) struct Outbox {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    waiting: Arc<AtomicUsize>,
    failed: IntCounter,
    dropped: IntCounter,
}

impl Outbox {
    pub(super) fn new(
        inner: impl Exporter + 'static,
        metrics: &Metrics,
        rejected: Arc<AtomicU64>,
    ) -> Self {
        let waiting = Arc::<AtomicUsize>::default();
        let exporter = Counted {
            inner,
            waiting: Arc::clone(&waiting),
            rejected,
            exported: metrics.spans_exported.clone(),
            failed: metrics.spans_failed.clone(),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let scope = InstrumentationScope::builder("weir").with_version(env!("CARGO_PKG_VERSION"));
        Self {
            processor: BatchSpanProcessor::new(exporter, batches),
            scope: scope.build(),
            waiting,
            failed: metrics.spans_failed.clone(),
            dropped: metrics.spans_dropped.clone(),
        }
    }

    pub(super) fn on_behalf_of(mut self, resource: &Resource) -> Self {
        self.processor.set_resource(resource);
        self
    }

    /// Exports the spans that wait, and stops; also returns how many were lost.
    pub(super) fn drain(&self) -> (OTelSdkResult, u64) {
        let before = self.failed.get();
        let ended = self.close();
        // Read in this order: a span that no longer waits has already been counted as exported or failed.
        let waiting = self.waiting.load(Ordering::Acquire) as u64;
        (ended, waiting + self.failed.get().saturating_sub(before))
    }

    /// Exports the spans that wait, and stops.
    pub(super) fn close(&self) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(LAST)
    }

    pub(super) fn put(&self, span: SpanData) {
        let more = |waiting: usize| (waiting < MAX_WAITING).then_some(waiting + 1);
        let taken = (self.waiting).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_ok() {
            // The processor has room: it holds fewer spans than `waiting` counts.
            self.processor.on_end(span);
        } else {
            self.dropped.inc();
        }
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }
}

/// An exporter that counts what becomes of its spans.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    waiting: Arc<AtomicUsize>,
    /// Spans that the collector rejected of the export under way.
    rejected: Arc<AtomicU64>,
    exported: IntCounter,
    failed: IntCounter,
}

impl<E: Exporter> Exporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        let rejected = self.rejected.swap(0, Ordering::Relaxed);
        let failed = if result.is_ok() {
            rejected.min(spans as u64)
        } else {
            spans as u64
        };
        self.failed.inc_by(failed);
        self.exported.inc_by(spans as u64 - failed);
        self.waiting.fetch_sub(spans, Ordering::Release);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::traces::span::tests::any;

    /// An exporter that keeps what it gets.
    #[derive(Clone, Debug, Default)]
    pub(in crate::traces) struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl Kept {
        pub(in crate::traces) fn take(&self) -> Vec<SpanData> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Exporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    pub(in crate::traces) fn outbox(kept: Kept) -> Outbox {
        Outbox::new(kept, &Metrics::new(), Arc::default())
    }

    /// An exporter that hangs until it is released.
    #[derive(Clone, Debug, Default)]
    struct Hanging(Arc<(Mutex<bool>, Condvar)>);

    impl Exporter for Hanging {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let (free, told) = &*self.0;
            drop(told.wait_while(free.lock().unwrap(), |free| !*free));
            Ok(())
        }
    }

    #[test]
    fn no_more_wait_than_may_and_each_is_counted() {
        let span = any();
        let (hanging, metrics) = (Hanging::default(), Metrics::new());
        let outbox = Outbox::new(hanging.clone(), &metrics, Arc::default());
        for _ in 0..MAX_WAITING + 10 {
            outbox.put(span.clone());
        }
        assert_eq!(metrics.spans_dropped.get(), 10);
        *hanging.0.0.lock().unwrap() = true;
        hanging.0.1.notify_all();
        outbox.close().unwrap();
        assert_eq!(metrics.spans_exported.get(), MAX_WAITING as u64);
        assert_eq!(outbox.waiting.load(Ordering::Relaxed), 0);
    }
}
