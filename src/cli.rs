//! Defines the command line: commands, flags and their `WEIR_*` variables, and what they override in the configuration.
//!
//! Values stay text here. The configuration decoder parses them, so that `--admin` and `admin.listen` accept the
//! same values and report the same errors.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::builder::{OsStringValueParser, RangedI64ValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Overrides;
use crate::inject::{Hook, Kind, Wish};
use crate::release::{VERSION, features};

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

#[cfg(feature = "top")]
const TOP_EXAMPLES: &str = "\
Keys: q quit, / filter, e live or ended streams, s stop the selected stream, 1-6 sort, r reverse,
arrows or j and k select. In scripts, ask for http://ADMIN/streams instead.";

const RECORD_EXAMPLES: &str = "\
Examples:
  weir record https://api.openai.com/v1/chat/completions -H \"authorization: Bearer $OPENAI_API_KEY\" \\
      -d '{\"model\":\"gpt-5\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' -o chat.weir.jsonl
  weir record http://127.0.0.1:8000/chat -d @request.json -o chat.weir.jsonl
  weir record --listen 127.0.0.1:8081 --upstream http://127.0.0.1:8000 -o session.weir.jsonl
                                            a tap: whatever clients of port 8081 are answered is recorded

Credentials in headers and in the query are not written; what the agent says is written in full.
Exit codes: 0 recorded (or stopped with Ctrl-C), 1 failure or --max-size reached, 2 invalid usage.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  weir replay chat.weir.jsonl --listen 127.0.0.1:8000
  weir replay chat.weir.jsonl --listen 127.0.0.1:0 --speed 10       the first line of the output is the URL
  weir replay chat.weir.jsonl --listen :8000 --fault stall@120B --fault cut@5s
  weir replay --explain chat.weir.jsonl --show

Faults (several at once, with --fault again or a comma):
  stall@WHEN      sends nothing more, and keeps the connection open
  cut@WHEN        closes the connection without the end of the body
  reset@WHEN      resets the connection (RST)
  split=BYTES     writes the body in pieces of so many bytes
  gzip            compresses the body, piece by piece
  slow-head=TIME  sends the head so much later
  status=CODE     answers 400 to 599 with a JSON error instead of the recorded response
WHEN is a time after the request (3s, 250ms) or a number of bytes of the body (120B, 4KiB).
Exit codes: 0 success, 1 failure while running, 2 invalid usage or recording.";

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

Comments, order and unknown fields stay as they are. A Service in the input that leads to the agent leads to Weir. A
workload that has Weir already is not changed. What was done is written to stderr.
Exit codes: 0 success, 2 invalid usage or manifests.";

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
    /// Drain a running Weir and wait for the end; for preStop hooks
    Drain(Drain),
    /// Check the health of a running Weir; for container images without a shell
    Healthcheck(Healthcheck),
    /// Add Weir as a sidecar to the Kubernetes manifests on standard input
    Inject(Inject),
    /// Write the manual pages into a folder
    Man(Man),
    /// Record what an agent answers, to a file
    Record(Record),
    /// Answer as an agent did that was recorded: a test double
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
    #[arg(value_name = "FILE", env = "WEIR_CONFIG", value_parser = path())]
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
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Address of the admin listener and its page, or `off`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub admin: String,
    /// Address of the buffering proxy that the page compares Weir with
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub buffering: String,
}

/// `weir drain`
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// Address of the admin listener [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN")]
    pub admin: Option<String>,
    /// How long to wait for the end; keep it a little above `drain.limit`
    #[arg(long, value_name = "DURATION", default_value = "27s")]
    pub wait: String,
    /// Where the token of `admin.token` is read from: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    pub token: Option<String>,
}

/// `weir healthcheck`
#[derive(Clone, Debug, Args)]
pub struct Healthcheck {
    /// URL to check: http://HOST:PORT/PATH or unix:/PATH; `/readyz` fails while draining
    /// [default: `/healthz` of the admin listener]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Address of the admin listener [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN")]
    pub admin: Option<String>,
}

/// `weir top`
#[cfg(feature = "top")]
#[derive(Clone, Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub struct Top {
    /// Address of the admin listener: HOST:PORT or unix:/PATH [default: 127.0.0.1:9464]
    #[arg(value_name = "ADMIN", env = "WEIR_ADMIN")]
    pub admin: Option<String>,
    /// Where the token of `admin.token` is read from, which stopping a stream may need: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    pub token: Option<String>,
}

/// `weir record`
#[derive(Clone, Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
pub struct Record {
    /// URL to ask: http:// or https://
    #[arg(
        value_name = "URL",
        required_unless_present = "listen",
        conflicts_with = "listen"
    )]
    pub url: Option<String>,
    /// Method [default: GET, or POST with --data]
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD",
        conflicts_with = "listen"
    )]
    pub method: Option<String>,
    /// Header of the request, `NAME: VALUE`
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        conflicts_with = "listen"
    )]
    pub headers: Vec<String>,
    /// Body of the request, or @FILE; JSON, unless a header says otherwise
    #[arg(
        short = 'd',
        long = "data",
        value_name = "DATA",
        conflicts_with = "listen"
    )]
    pub data: Option<String>,
    /// Address of a tap: requests are passed to --upstream, and each response is recorded
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    pub listen: Option<String>,
    /// URL of the agent behind the tap: http:// or https://
    #[arg(long, value_name = "URL", requires = "listen")]
    pub upstream: Option<String>,
    /// File to write, readable by you alone
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    pub output: PathBuf,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Largest size of the file, after which the recording stops
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub max_size: String,
    /// Write credentials, too
    #[arg(long, conflicts_with = "redact")]
    pub no_redact: bool,
    /// Further header or query parameter whose value is not written
    #[arg(long, value_name = "NAME")]
    pub redact: Vec<String>,
    /// PEM file with root certificates, beside the well-known ones
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub ca_file: Option<PathBuf>,
}

/// `weir replay`
#[derive(Clone, Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct Replay {
    /// Recording to replay
    #[arg(value_name = "FILE", value_parser = path())]
    pub file: PathBuf,
    /// Address to listen on; with port 0 the system chooses one, and the first line of the output tells it
    #[arg(long, value_name = "ADDRESS", required_unless_present = "explain")]
    pub listen: Option<String>,
    /// How many times as fast: 1, 10, 2.5, or max for no pauses
    #[arg(long, value_name = "SPEED", default_value = "1")]
    pub speed: String,
    /// Begin a response again at its end, until the client leaves
    #[arg(long = "loop", conflicts_with = "explain")]
    pub loops: bool,
    /// Fault to inject, see below
    #[arg(
        long = "fault",
        value_name = "FAULT",
        value_delimiter = ',',
        conflicts_with = "explain"
    )]
    pub faults: Vec<String>,
    /// Do not listen: say what Weir makes of the recording
    #[arg(long, conflicts_with = "listen")]
    pub explain: bool,
    /// With --explain: print JSON
    #[arg(long, requires = "explain", conflicts_with = "listen")]
    pub json: bool,
    /// With --explain: also print excerpts of what `hide` would leave out
    #[arg(long, requires = "explain", conflicts_with = "listen")]
    pub show: bool,
}

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
    #[arg(value_name = "FOLDER")]
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
    /// How the agent is kept alive while Weir drains; `auto` is `drain`, or `sleep` beside a liveness or startup probe
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

impl From<Inject> for Wish {
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

/// Settings that can be given as flags or variables.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// Address that clients connect to: HOST:PORT, :PORT or unix:/PATH [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_LISTEN")]
    pub listen: Option<String>,
    /// URL of the agent: http://, https:// or unix:/PATH
    #[arg(long, value_name = "URL", env = "WEIR_UPSTREAM")]
    pub upstream: Option<String>,
    /// Address for metrics, health checks and drain, or `off` [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN")]
    pub admin: Option<String>,
    /// Number of worker threads, or `auto` [default: auto]
    #[arg(long, value_name = "COUNT", env = "WEIR_WORKERS")]
    pub workers: Option<String>,
    /// Log level: error, warn, info, debug, trace, or filter directives [default: info]
    #[arg(long, value_name = "LEVEL", env = "WEIR_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// Log format: text, json, or auto [default: auto]
    #[arg(long, value_name = "FORMAT", env = "WEIR_LOG_FORMAT")]
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

/// Parses a port, which is not 0.
fn port() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn named(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command(words: &str) -> Command {
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
    fn a_recording_has_a_url_or_is_a_tap() {
        let Command::Record(record) =
            command("weir record http://a/b -X PUT -H a:b -H c:d -d {} -o f")
        else {
            panic!()
        };
        assert_eq!(
            (record.headers.len(), record.max_size.as_str()),
            (2, "64MiB")
        );
        let Command::Record(record) = command("weir record --listen :1 --upstream http://a -o f")
        else {
            panic!()
        };
        assert_eq!((record.url, record.listen.as_deref()), (None, Some(":1")));
        for words in [
            "weir record -o f",
            "weir record http://a",
            "weir record http://a --listen :1 --upstream http://b -o f",
            "weir record --listen :1 -o f",
        ] {
            assert!(
                Cli::try_parse_from(words.split_whitespace()).is_err(),
                "{words}"
            );
        }
    }

    #[test]
    fn a_replay_listens_or_explains() {
        let Command::Replay(replay) =
            command("weir replay f --listen :1 --fault gzip,split=7 --fault cut@5s --loop")
        else {
            panic!()
        };
        assert_eq!(replay.faults, ["gzip", "split=7", "cut@5s"]);
        assert!(replay.loops && replay.speed == "1");
        assert!(matches!(
            command("weir replay --explain f --json"),
            Command::Replay(_)
        ));
        for words in [
            "weir replay f",
            "weir replay f --listen :1 --json",
            "weir replay f --explain --listen :1",
        ] {
            assert!(
                Cli::try_parse_from(words.split_whitespace()).is_err(),
                "{words}"
            );
        }
    }

    #[test]
    fn inject_takes_ports() {
        let Command::Inject(inject) = command("weir inject --port http --listen 80 --plain") else {
            panic!()
        };
        let wish = Wish::from(inject);
        assert_eq!(wish.port.as_deref(), Some("http"));
        assert_eq!(
            (wish.listen, wish.admin, wish.kind),
            (80, 9464, Kind::Ordinary)
        );
        assert!(Cli::try_parse_from(["weir", "inject", "--listen", "0"]).is_err());
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
