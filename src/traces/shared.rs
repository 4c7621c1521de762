//! A span shared by several parts. Whichever ends it first exports it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Span;

/// A span, if there is one and nobody has ended it yet. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedSpan(Arc<Mutex<Option<Span>>>);

impl SharedSpan {
    /// Shares a span.
    pub fn new(span: Option<Span>) -> Self {
        Self(Arc::new(Mutex::new(span)))
    }

    /// Takes the span, to end it.
    pub fn take(&self) -> Option<Span> {
        self.lock().take()
    }

    /// Changes the span, if it is still there.
    pub fn change(&self, change: impl FnOnce(&mut Span)) {
        let mut guard = self.lock();
        if let Some(span) = &mut *guard {
            change(span);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
