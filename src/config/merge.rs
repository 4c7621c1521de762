//! `routes[].merge`: several agents that all receive each request of a route.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::Upstream;

/// Several agents in one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// The agents. At least one.
    pub agents: Vec<MergeAgent>,
    /// With which agent a run finishes: the first one or the last one.
    pub finish: OnAgentFinish,
    /// What the failure of an agent means.
    pub fail: OnAgentFailure,
    /// The most agents that the file may list.
    pub max_agents: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeAgent {
    /// Name in events, metrics and logs.
    pub name: Arc<str>,
    /// Where its requests go.
    pub upstream: Arc<Upstream>,
    /// The path and query of its requests; `None` keeps those of the client's request.
    pub path: Option<String>,
    /// The changes to the body of its requests; `None` if there are none.
    pub body: Option<Json>,
}

/// What the end of an agent means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAgentFinish {
    /// The run finishes with the last agent.
    All,
    /// The run finishes with the first agent that does, and the others are cancelled.
    Any,
}

/// What the failure of an agent means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAgentFailure {
    /// The others go on.
    Continue,
    /// The run fails, and the others are cancelled.
    Stop,
}

impl Merge {
    /// Returns the names of the agents.
    pub fn names(&self) -> Vec<&str> {
        self.agents.iter().map(|agent| &*agent.name).collect()
    }
}
