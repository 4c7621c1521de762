//! A default value together with the reason for it.

use std::time::Duration;

/// A default and the reason for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset<T> {
    /// The default.
    pub(crate) value: T,
    /// The reason for it.
    pub(crate) why: &'static str,
}

/// Returns a default and its reason.
pub(super) const fn preset<T: Copy>(value: T, why: &'static str) -> Preset<T> {
    Preset { value, why }
}

/// Returns a whole number of seconds.
pub(super) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One KiB in bytes.
pub(super) const KIB: u64 = 1 << 10;
/// One MiB in bytes.
pub(super) const MIB: u64 = 1 << 20;
