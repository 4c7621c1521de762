//! The arguments of `weir doctor`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::path;

const DOCTOR_EXAMPLES: &str = "\
Examples:
  weir doctor http://weir:8080 https://agents.example.com
      read Weir's probe (`probe: true` in its configuration), directly and through the hops in front of Weir
  weir doctor --idle 90s https://agents.example.com
      the same, with a silence of 90 s
  weir doctor -H @headers.txt -d @request.json http://agent:8000/chat http://weir:8080/chat https://agents.example.com/chat
      send your own request to the agent, to Weir, and to the address that users have
  weir doctor --openai gpt-5-mini -H @headers.txt http://agent:8000 https://agents.example.com
      send a short request to /v1/chat/completions
  weir doctor --json https://agents.example.com/stream | jq .verdict

A URL that names only a host is examined with the probe at /.weir/probe. With -X, -d, --openai or --anthropic the request
is sent to each URL; --openai and --anthropic complete a URL that names only a host, or ends with /v1. Without them, a URL
with a path is read with GET, twice at the same time.
Progress is written to stderr, the report to stdout. Values of headers are never shown.
Ctrl-C or SIGTERM ends the reading, and the report has what was seen up to then; a second one ends without a report.
Exit codes: 0 nothing is wrong, 1 something is, 2 invalid usage, 130 ended without a report.";

/// `weir doctor`
#[derive(Clone, Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct Doctor {
    /// URLs from the agent outwards, 16 at most: http://, https:// or unix:/PATH
    #[arg(value_name = "URL", required = true, num_args = 1.., value_hint = ValueHint::Url)]
    pub urls: Vec<String>,
    /// Method of the request [default: GET, or POST with -d]
    #[arg(short = 'X', long = "request", value_name = "METHOD", conflicts_with_all = ["openai", "anthropic"])]
    pub method: Option<String>,
    /// Header of every request, `Name: value`, or @FILE with one on each line
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Body of the request, or @FILE, or @- for standard input
    #[arg(short = 'd', long, value_name = "DATA", conflicts_with_all = ["openai", "anthropic"])]
    pub data: Option<String>,
    /// Ask this model for a short stream, with OpenAI's chat API
    #[arg(long, value_name = "MODEL", conflicts_with = "anthropic")]
    pub openai: Option<String>,
    /// Ask this model for a short stream, with Anthropic's messages API
    #[arg(long, value_name = "MODEL")]
    pub anthropic: Option<String>,
    /// Silence that the probe makes [default: 7s], or that the response to your request may have [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub idle: Option<String>,
    /// How long one response to your request is read; a stream that is still going then is not at fault [default: 90s,
    /// or 30s more than --idle]
    #[arg(long, value_name = "DURATION")]
    pub max_time: Option<String>,
    /// Send your own request twice at the same time, even if it is not a GET: finds servers that serve one at a time
    #[arg(long)]
    pub together: bool,
    /// Write the report as JSON
    #[arg(long)]
    pub json: bool,
    /// PEM file of a certificate authority to trust, besides the bundled ones and those of the system
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Do not offer HTTP/2
    #[arg(long = "http1.1")]
    pub http1: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::tests::command;
    use crate::cli::{Cli, Command};

    #[test]
    fn doctor_takes_urls_and_flags_as_curl_does() {
        let Command::Doctor(doctor) =
            command("weir doctor -X POST -H A:b -H C:d -d @x http://a http://b --json")
        else {
            panic!()
        };
        assert_eq!(doctor.urls, ["http://a", "http://b"]);
        assert_eq!(doctor.headers, ["A:b", "C:d"]);
        assert_eq!(doctor.data.as_deref(), Some("@x"));
        assert!(doctor.json && !doctor.http1);
        for wrong in ["weir doctor", "weir doctor --openai m -d x http://a"] {
            assert!(
                Cli::try_parse_from(wrong.split_whitespace()).is_err(),
                "{wrong}"
            );
        }
    }
}
