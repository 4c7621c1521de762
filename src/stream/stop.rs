//! Ends a stream on request, from anywhere in the process.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::end::End;

/// Carries a request to end a stream to its pump, and wakes it.
#[derive(Debug, Default)]
pub struct StopSignal(Mutex<StopState>);

#[derive(Debug, Default)]
struct StopState {
    end: Option<End>,
    pump: Option<Waker>,
}

impl StopSignal {
    /// Asks the stream to end, and wakes its pump. If called several times, the first reason counts.
    pub fn ask(&self, end: End) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.end.get_or_insert(end);
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Reports whether the stream was asked to end.
    pub fn is_asked(&self) -> bool {
        self.asked().is_some()
    }

    /// Returns the reason for which the stream was asked to end.
    pub fn asked(&self) -> Option<End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    /// Is ready with the reason once the stream was asked to end.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = state.end {
            return Poll::Ready(end);
        }
        let known = (state.pump.as_ref()).is_some_and(|pump| pump.will_wake(cx.waker()));
        if !known {
            state.pump = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
