//! The options of `weir inject`: what a user can choose about the sidecar.

/// The sidecar that is wanted. Names and numbers of ports are those of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The image of Weir.
    pub image: String,
    /// Name or number of the agent's container port. `None`: the only one that the pod declares.
    pub port: Option<String>,
    /// The agent's container, if the port does not say which.
    pub container: Option<String>,
    /// The workloads that get Weir, as `NAME` or `KIND/NAME`. None: the only one of the input.
    pub workloads: Vec<String>,
    /// The port that clients connect to.
    pub listen: u16,
    /// The port for health checks, metrics and drain.
    pub admin: u16,
    /// How Weir's container runs.
    pub kind: Kind,
    /// How the agent is kept alive while Weir drains.
    pub hook: Hook,
    /// The ConfigMap with `weir.yaml`; without one, the flags of the container are all of Weir's configuration.
    pub config_map: Option<String>,
}

/// How Weir's container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A native sidecar: an init container that keeps running (Kubernetes 1.29).
    Native,
    /// A container like any other.
    Ordinary,
}

/// The preStop hook that the agent's container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// [`Hook::Drain`], or [`Hook::Sleep`] beside a liveness or startup probe.
    Auto,
    /// Asks Weir to drain, and waits for the end.
    Drain,
    /// None.
    Off,
    /// Waits as long as a drain can take (Kubernetes 1.30).
    Sleep,
}

#[cfg(test)]
impl Options {
    /// The options of a command line without flags.
    pub(crate) fn without_flags() -> Self {
        Self {
            image: "weir:1".to_owned(),
            port: None,
            container: None,
            workloads: Vec::new(),
            listen: 8080,
            admin: 9464,
            kind: Kind::Native,
            hook: Hook::Auto,
            config_map: None,
        }
    }
}
