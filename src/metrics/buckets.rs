//! Bucket boundaries of the histograms, in seconds unless stated otherwise, chosen for the question each
//! answers.

/// Time to first token, or to the response head: a cached response takes a millisecond, a cold agent minutes.
pub const FIRST: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    15.0, 20.0, 30.0, 60.0, 120.0, 300.0,
];
/// Gaps between texts: a reader notices them from about 0.1 s.
pub const GAP: &[f64] = &[
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 20.0, 40.0,
];
/// Duration of whole streams: from a short response to the hour that `total` allows.
pub const STREAM: &[f64] = &[
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];
/// Duration of plain (not streamed) requests.
pub const REQUEST: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
    120.0,
];
/// Time an event spends in Weir: microseconds while the client keeps up.
pub const ADDED: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// Tokens per second of one stream: people read at about 5, models write at 10 to 300.
pub const SPEED: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0,
];
/// How long a client took nothing: from a short network disturbance to `client_stall`.
pub const STALL: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Time to connect to an agent (TCP and TLS), on the same host or in another region.
pub const CONNECT: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// How long a client was away from its stream: from the `retry` of an `EventSource` to a journal's `keep`.
pub const RESUME_GAP: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0,
];
/// From a client's leaving to the end of the upstream call: promised to be below a second.
pub const CANCEL: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
