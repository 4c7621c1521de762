//! Defines the command line: commands, flags and their `WEIR_*` variables, and what they override in the configuration.
//!
//! Values stay text here. The configuration decoder parses them, so that `--admin` and `admin.listen` accept the
//! same values and report the same errors.

mod doctor;
mod install;
mod recordings;
mod running;
mod shell_hints;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::config::Overrides;
use crate::release::{VERSION, features};

pub use doctor::Doctor;
pub use install::{Completions, Inject, Man};
pub use recordings::{Record, Replay};
#[cfg(feature = "top")]
pub use running::Top;
pub use running::{Drain, Healthcheck};
use shell_hints::ShellHints;

/// The version, and on a second line the optional features that are built in.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let features = match &*features() {
        [] => "none".to_owned(),
        all => all.join(", "),
    };
    format!("{VERSION}\nfeatures: {features}")
});

const EXAMPLES: &str = "\
Examples:
  weir --upstream http://127.0.0.1:8000                    proxy one agent, without a configuration file
  weir --listen 127.0.0.1:8080 --upstream unix:/run/agent.sock
  weir --config /etc/weir/weir.yaml                        use a configuration file
  weir check /etc/weir/weir.yaml                           check the file and report all problems
  weir demo                                                try it with a scripted demo agent
  weir doctor https://agents.example.com                   find the hop that harms streams

Flags override WEIR_* variables, which override the file, which overrides the defaults.
Exit codes: 0 success, 1 failure while running, 2 invalid usage or configuration.";

const CHECK_EXAMPLES: &str = "\
Examples:
  weir check weir.yaml
  weir check weir.yaml > effective.yaml     write the configuration with all defaults filled in
  weir check --json weir.yaml | jq .limits
  weir check --upstream http://127.0.0.1:8000

Exit codes: 0 valid, 2 invalid. Problems are written to stderr as FILE:LINE:COLUMN: KEY: MESSAGE, and doubtful settings as
FILE:LINE:COLUMN: warning: KEY: MESSAGE.";

/// A streaming reverse proxy for agents.
///
/// Forwards token streams without delay, enforces limits and deadlines, collects metrics, and repairs broken streams.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir", version, long_version = LONG_VERSION.as_str(), after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// The command; `serve` if none is given.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

impl Cli {
    /// Returns the command, or `serve` if none was given.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check a configuration and print it with all defaults filled in
    Check(Check),
    /// Print the completion script of a shell
    Completions(Completions),
    /// Run Weir with a scripted demo agent behind it
    Demo(Demo),
    /// Find out which hop in front of an agent buffers, cuts or changes streams
    Doctor(Doctor),
    /// Drain a running Weir and wait for the end; for preStop hooks
    Drain(Drain),
    /// Check the health of a running Weir; for container images without a shell
    Healthcheck(Healthcheck),
    /// Add Weir as a sidecar to the Kubernetes manifests on standard input
    Inject(Inject),
    /// Write the manual pages into a folder
    Man(Man),
    /// Record an agent's responses to a file
    Record(Record),
    /// Answer as a recorded agent did: a test double
    Replay(Replay),
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Run the proxy (the default command)
    Serve(Serve),
    /// Show the live streams of a running Weir in the terminal
    #[cfg(feature = "top")]
    Top(Top),
}

/// `weir serve`
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Configuration file, YAML or JSON
    #[arg(short, long, value_name = "FILE", env = "WEIR_CONFIG", value_parser = path())]
    #[arg(value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Settings that override the file.
    #[command(flatten)]
    pub settings: Settings,
}

/// `weir check`
#[derive(Clone, Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct Check {
    /// Configuration file, YAML or JSON
    #[arg(value_name = "FILE", env = "WEIR_CONFIG", value_parser = path(), value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Also connect to the store of journals (resume.store), and say what is missing
    #[arg(long)]
    pub probe: bool,
    /// Print the configuration as JSON instead of YAML, without the comments about memory
    #[arg(long)]
    pub json: bool,
    /// Settings that override the file.
    #[command(flatten)]
    pub settings: Settings,
}

impl Serve {
    /// Returns the configuration file, if one was given.
    pub fn file(&self) -> Option<&Path> {
        named(self.config.as_deref())
    }
}

impl Check {
    /// Returns the configuration file, if one was given.
    pub fn file(&self) -> Option<&Path> {
        named(self.file.as_deref())
    }
}

/// `weir demo`
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Address that the proxy listens on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_hint = ValueHint::Hostname)]
    pub listen: String,
    /// Address of the admin listener and its page, or `off`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464", value_hint = ValueHint::Hostname)]
    pub admin: String,
    /// Address of the buffering proxy that the page compares Weir with [default: a free port of the host of --listen]
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Hostname)]
    pub buffering: Option<String>,
}

/// Settings that can be given as flags or variables.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// Address that clients connect to: HOST:PORT, :PORT or unix:/PATH [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_LISTEN", value_hint = ValueHint::Hostname)]
    pub listen: Option<String>,
    /// URL of the agent: http://, https:// or unix:/PATH
    #[arg(long, value_name = "URL", env = "WEIR_UPSTREAM", value_hint = ValueHint::Url)]
    pub upstream: Option<String>,
    /// Address for metrics, health checks and drain, or `off` [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN", value_hint = ValueHint::Hostname)]
    pub admin: Option<String>,
    /// Number of worker threads, or `auto` [default: auto]
    #[arg(long, value_name = "COUNT", env = "WEIR_WORKERS")]
    pub workers: Option<String>,
    /// Log level: error, warn, info, debug, trace, or filter directives [default: info]
    #[arg(long, value_name = "LEVEL", env = "WEIR_LOG_LEVEL")]
    #[arg(value_parser = ShellHints(&["off", "error", "warn", "info", "debug", "trace"]), hide_possible_values = true)]
    pub log_level: Option<String>,
    /// Log format: text, json, or auto [default: auto]
    #[arg(long, value_name = "FORMAT", env = "WEIR_LOG_FORMAT")]
    #[arg(value_parser = ShellHints(&["auto", "json", "text"]), hide_possible_values = true)]
    pub log_format: Option<String>,
}

impl From<Settings> for Overrides {
    /// Treats an empty variable as unset, as in `WEIR_LISTEN= weir`.
    fn from(settings: Settings) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            listen: given(settings.listen),
            upstream: given(settings.upstream),
            admin: given(settings.admin),
            workers: given(settings.workers),
            log_level: given(settings.log_level),
            log_format: given(settings.log_format),
        }
    }
}

/// Parses a path, which may be empty: `WEIR_CONFIG=` counts as unset.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn named(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    pub(super) fn command(words: &str) -> Command {
        Cli::try_parse_from(words.split_whitespace())
            .unwrap()
            .into_command()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_what_weir_does_without_a_command() {
        for words in [
            "weir --listen :1 --upstream http://a",
            "weir serve --listen :1 --upstream http://a",
        ] {
            let Command::Serve(serve) = command(words) else {
                panic!("{words}")
            };
            let overrides = Overrides::from(serve.settings);
            assert_eq!(overrides.listen.as_deref(), Some(":1"), "{words}");
            assert_eq!(overrides.upstream.as_deref(), Some("http://a"), "{words}");
            assert_eq!(overrides.admin, None, "{words}");
        }
    }

    #[test]
    fn check_takes_a_file_and_flags() {
        let Command::Check(check) = command("weir check a.yaml --admin off") else {
            panic!()
        };
        assert_eq!(check.file(), Some(Path::new("a.yaml")));
        assert_eq!(check.settings.admin.as_deref(), Some("off"));
    }

    #[test]
    fn an_empty_value_is_no_value() {
        let settings = Settings {
            listen: Some(String::new()),
            ..Settings::default()
        };
        assert_eq!(Overrides::from(settings), Overrides::default());
        let serve = Cli::try_parse_from(["weir", "--config", ""])
            .unwrap()
            .into_command();
        assert!(matches!(serve, Command::Serve(serve) if serve.file().is_none()));
    }

    #[test]
    fn every_path_url_and_address_is_known_to_completions() {
        let cli = Cli::command();
        let of_commands = cli
            .get_subcommands()
            .flat_map(|command| command.get_arguments());
        for arg in cli.get_arguments().chain(of_commands) {
            let name = arg.get_value_names().and_then(<[_]>::first);
            let expected = match name.map(clap::builder::Str::as_str) {
                Some("ADDRESS" | "ADMIN") => ValueHint::Hostname,
                Some("FILE") => ValueHint::FilePath,
                Some("FOLDER") => ValueHint::DirPath,
                Some("URL") => ValueHint::Url,
                _ => continue,
            };
            assert_eq!(arg.get_value_hint(), expected, "{}", arg.get_id());
        }
    }

    #[test]
    fn every_setting_has_its_variable() {
        let serve = Cli::command().find_subcommand("serve").unwrap().clone();
        for arg in serve
            .get_arguments()
            .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        {
            let id = arg.get_id().as_str();
            let want = format!("WEIR_{}", id.to_uppercase());
            assert_eq!(
                arg.get_env().and_then(|env| env.to_str()),
                Some(want.as_str()),
                "{id}"
            );
        }
    }
}
