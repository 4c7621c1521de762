//! The document of `/streams`, as far as it is shown. Members that another version of Weir lacks have defaults.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a running Weir tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How many streams are live.
    pub active: usize,
    /// How many streams have ended since the start.
    pub ended_total: u64,
    /// The version of Weir.
    pub version: String,
    /// For how long the process has run, in milliseconds.
    pub uptime_ms: u64,
    /// The process drains.
    pub draining: bool,
    /// New requests are refused.
    pub refusing: bool,
    /// The memory.
    pub memory: Memory,
    /// The configuration in force.
    pub config: Config,
    /// The agents.
    pub upstreams: Vec<Upstream>,
    /// The last minutes.
    pub recent: Recent,
    /// The live streams.
    pub streams: Vec<Stream>,
    /// The streams that have ended, last first.
    pub ended: Vec<Ended>,
}

/// The memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// The limit in bytes.
    pub limit_bytes: Option<u64>,
    /// New requests are refused because memory is short.
    pub shedding: bool,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How many configurations have been in force.
    pub generation: u64,
    /// What came of the last reload.
    pub last_reload: Option<Reload>,
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// Whether the new configuration took effect.
    pub ok: bool,
    /// Why the new configuration did not take effect.
    pub problem: Option<String>,
}

/// The agents behind one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// The name of the upstream.
    pub name: String,
    /// The agents.
    pub endpoints: Vec<Endpoint>,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// The URL of the agent.
    pub url: String,
    /// `in`, `ejected` or `unhealthy`.
    pub state: String,
}

/// The last minutes, in periods, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// Medians of the times to the first token, in milliseconds.
    pub ttft_p50_ms: Vec<Option<f64>>,
    /// The 95th percentiles of these times.
    pub ttft_p95_ms: Vec<Option<f64>>,
    /// How many streams ended, by outcome.
    pub ends: BTreeMap<String, Vec<u64>>,
}

/// A live stream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Stream {
    /// The id of the stream.
    pub id: String,
    /// The id of the request.
    pub request_id: String,
    /// The name of the route.
    pub route: String,
    /// The client's address.
    pub client: Option<String>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The dialect.
    pub dialect: String,
    /// What it is translated to.
    pub reply: Option<String>,
    /// Whether events flow, or what holds them up.
    pub flow: String,
    /// Since when, in milliseconds.
    pub flow_ms: Option<u64>,
    /// The age of the stream in milliseconds.
    pub age_ms: u64,
    /// The time to the first token in milliseconds.
    pub ttft_ms: Option<u64>,
    /// Output tokens per second.
    pub tokens_per_s: Option<f64>,
    /// How many events wait for the client.
    pub queue_events: u64,
    /// How many bytes these are.
    pub queue_bytes: u64,
}

/// A stream that has ended, or a request that failed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// The number of the stream among all that have ended.
    pub number: u64,
    /// The id of the stream; `None` of a request that failed before it became one.
    pub id: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// The name of the route.
    pub route: String,
    /// The client's address.
    pub client: Option<String>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The dialect.
    pub dialect: String,
    /// Why it ended.
    pub outcome: String,
    /// The outcome, or a code that tells more.
    pub code: String,
    /// The status of the response.
    pub status: u16,
    /// How long it lasted, in milliseconds.
    pub duration_ms: u64,
    /// The time to the first token in milliseconds.
    pub ttft_ms: Option<u64>,
    /// Output tokens.
    pub tokens: u64,
    /// Output tokens per second.
    pub tokens_per_s: Option<f64>,
}
