//! A histogram and a gauge for what every event of every stream changes.
//!
//! If all threads counted into one set of atomics, its cache lines would move between processors at each event. Here
//! each thread counts at a place of its own, and a scrape adds the places up. Of all that is written for an event, only
//! these counts belong to no stream.

mod gauge;
mod histogram;
mod places;

pub use gauge::BusyGauge;
pub use histogram::BusyHistogram;
pub(super) use histogram::{Builder, BusyHistogramVec};
