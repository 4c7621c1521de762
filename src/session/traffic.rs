//! What has passed through a tunnel so far, for the list of live streams.

use std::sync::atomic::{AtomicU64, Ordering};

/// Frames and bytes, from the client (`in`) and to it (`out`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames from the client.
    pub frames_in: u64,
    /// Frames to the client.
    pub frames_out: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// The totals of a running tunnel, which its task writes and others read.
#[derive(Debug, Default)]
pub struct Traffic {
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Traffic {
    /// Replaces the totals.
    pub fn set(&self, totals: &Totals) {
        self.frames_in.store(totals.frames_in, Ordering::Relaxed);
        self.frames_out.store(totals.frames_out, Ordering::Relaxed);
        self.bytes_in.store(totals.bytes_in, Ordering::Relaxed);
        self.bytes_out.store(totals.bytes_out, Ordering::Relaxed);
    }

    /// Returns the totals.
    pub fn totals(&self) -> Totals {
        Totals {
            frames_in: self.frames_in.load(Ordering::Relaxed),
            frames_out: self.frames_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
