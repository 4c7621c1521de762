//! The arguments of commands that help to install Weir.

use std::path::PathBuf;

use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum, ValueHint};

use crate::inject::{Hook, Kind, Options};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  weir completions bash > /etc/bash_completion.d/weir
  weir completions zsh > /usr/local/share/zsh/site-functions/_weir
  weir completions fish > ~/.config/fish/completions/weir.fish";

const INJECT_EXAMPLES: &str = "\
Examples:
  weir inject < deployment.yaml | kubectl apply -f -
  kubectl kustomize . | weir inject --port http --image registry.example/weir:0.1.0 | kubectl apply -f -
  helm install agent ./chart --post-renderer weir --post-renderer-args inject

Comments, order and unknown fields stay as they are. A Service in the input that leads to the agent is pointed
to Weir. A workload that already has Weir is not changed. What was done is written to stderr.
Exit codes: 0 success, 2 invalid usage or manifests.";

/// `weir completions`
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `weir man`
#[derive(Clone, Debug, Args)]
pub struct Man {
    /// The folder, such as /usr/local/share/man/man1; it is made if it does not exist
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
}

/// `weir inject`
#[derive(Clone, Debug, Args)]
#[command(after_help = INJECT_EXAMPLES)]
pub struct Inject {
    /// Name or number of the agent's container port [default: the only one]
    #[arg(long, value_name = "NAME|NUMBER")]
    port: Option<String>,
    /// Image of Weir
    #[arg(long, value_name = "IMAGE", default_value = concat!("weir:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Port of the pod that clients connect to
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = port())]
    listen: u16,
    /// Port of the pod for health checks, metrics and drain
    #[arg(long, value_name = "PORT", default_value_t = 9464, value_parser = port())]
    admin_port: u16,
    /// The agent's container, if the port does not say which
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Which workload gets Weir, if there are several; can be given more than once
    #[arg(long, value_name = "NAME|KIND/NAME")]
    workload: Vec<String>,
    /// ConfigMap with a `weir.yaml`, whose only upstream is the agent
    #[arg(long, value_name = "NAME")]
    config_map: Option<String>,
    /// An ordinary container instead of a native sidecar, for Kubernetes before 1.29
    #[arg(long)]
    plain: bool,
    /// How the agent is kept alive while Weir drains; `auto` is `sleep` beside a liveness or startup probe, else
    /// `drain`
    #[arg(long, value_name = "HOW", value_enum, default_value_t = AgentPreStop::Auto)]
    agent_pre_stop: AgentPreStop,
}

/// The preStop hook of the agent's container.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AgentPreStop {
    Auto,
    Drain,
    Sleep,
    Off,
}

impl From<Inject> for Options {
    fn from(args: Inject) -> Self {
        Self {
            image: args.image,
            port: args.port,
            container: args.container,
            workloads: args.workload,
            listen: args.listen,
            admin: args.admin_port,
            kind: if args.plain {
                Kind::Ordinary
            } else {
                Kind::Native
            },
            hook: match args.agent_pre_stop {
                AgentPreStop::Auto => Hook::Auto,
                AgentPreStop::Drain => Hook::Drain,
                AgentPreStop::Sleep => Hook::Sleep,
                AgentPreStop::Off => Hook::Off,
            },
            config_map: args.config_map,
        }
    }
}

/// Parses a port, which is not 0.
fn port() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::tests::command;
    use crate::cli::{Cli, Command};

    #[test]
    fn inject_takes_ports() {
        let Command::Inject(inject) = command("weir inject --port http --listen 80 --plain") else {
            panic!()
        };
        let options = Options::from(inject);
        assert_eq!(options.port.as_deref(), Some("http"));
        assert_eq!(
            (options.listen, options.admin, options.kind),
            (80, 9464, Kind::Ordinary)
        );
        assert!(Cli::try_parse_from(["weir", "inject", "--listen", "0"]).is_err());
    }
}
