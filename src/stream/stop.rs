//! A request to end a stream, from anywhere in the process.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::end::End;

/// Carries a request to end a stream to its pump, and wakes it.
#[derive(Debug, Default)]
pub struct StopSignal(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    end: Option<End>,
    pump: Option<Waker>,
}

impl StopSignal {
    /// Asks for the end; the first reason given stays.
    pub fn ask(&self, end: End) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.end.get_or_insert(end);
        let pump = asked.pump.take();
        drop(asked);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Reports whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.end.is_some()
    }

    /// Ready with the reason once the end was asked for.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = asked.end {
            return Poll::Ready(end);
        }
        let known = (asked.pump.as_ref()).is_some_and(|pump| pump.will_wake(cx.waker()));
        if !known {
            asked.pump = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
