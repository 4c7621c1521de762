//! The arguments of `weir record` and `weir replay`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ShellHints, path};

const RECORD_EXAMPLES: &str = "\
Examples:
  weir record https://api.openai.com/v1/chat/completions -H \"authorization: Bearer $OPENAI_API_KEY\" \\
      -d '{\"model\":\"gpt-5\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' -o chat.weir.jsonl
  weir record http://127.0.0.1:8000/chat -d @request.json -o chat.weir.jsonl
  weir record --listen 127.0.0.1:8081 --upstream http://127.0.0.1:8000 -o session.weir.jsonl
                                            a tap: records all responses to clients of port 8081

Credentials in headers and in queries are not written. The bodies of responses are written in full.
Exit codes: 0 recorded, also if Ctrl-C ended it; 1 failure, no response, or --max-size reached; 2 invalid usage.";

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
  split=BYTES     writes the body in pieces of at most this many bytes
  gzip            compresses the body, piece by piece
  slow-head=TIME  delays the head by this time
  status=CODE     answers with this status (400 to 599) and a JSON error
WHEN is a time after the request (3s, 250ms) or a number of bytes of the body (120B, 4KiB).
Exit codes: 0 success, 1 failure while running, 2 invalid usage or recording.";

/// `weir record`
#[derive(Clone, Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
pub struct Record {
    /// URL to ask: http:// or https://
    #[arg(
        value_name = "URL",
        value_hint = ValueHint::Url,
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
    /// Header of the request, `NAME: VALUE`, or @FILE with one on each line
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        conflicts_with = "listen"
    )]
    pub headers: Vec<String>,
    /// Body of the request, or @FILE, or @- for the standard input; JSON, unless a header says otherwise
    #[arg(
        short = 'd',
        long = "data",
        value_name = "DATA",
        conflicts_with = "listen"
    )]
    pub data: Option<String>,
    /// Address of a tap: requests are passed to --upstream, and each response is recorded
    #[arg(long, value_name = "ADDRESS", requires = "upstream", value_hint = ValueHint::Hostname)]
    pub listen: Option<String>,
    /// URL of the agent behind the tap: http:// or https://
    #[arg(long, value_name = "URL", requires = "listen", value_hint = ValueHint::Url)]
    pub upstream: Option<String>,
    /// File to write; only its owner can read it
    #[arg(short, long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Overwrite the file if it exists, once a response has come
    #[arg(long)]
    pub force: bool,
    /// Largest size of the file, after which the recording stops
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub max_size: String,
    /// Do not redact credentials
    #[arg(long, conflicts_with = "redact")]
    pub no_redact: bool,
    /// Also redact the header or query parameter of this name
    #[arg(long, value_name = "NAME")]
    pub redact: Vec<String>,
    /// PEM file of a certificate authority to trust, besides the bundled ones
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
}

/// `weir replay`
#[derive(Clone, Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct Replay {
    /// Recording to replay
    #[arg(value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Address to listen on; with port 0 the system chooses one, and the first line of the output has it
    #[arg(long, value_name = "ADDRESS", required_unless_present = "explain", value_hint = ValueHint::Hostname)]
    pub listen: Option<String>,
    /// Speed: 1 is the recorded pace, 10 is ten times as fast, max has no pauses
    #[arg(long, value_name = "SPEED", default_value = "1")]
    #[arg(value_parser = ShellHints(&["1", "10", "max"]), hide_possible_values = true)]
    pub speed: String,
    /// Begin a response again at its end, until the client leaves
    #[arg(long = "loop", conflicts_with = "explain")]
    pub loops: bool,
    /// Fault to inject, see below; several with commas, or with --fault again
    #[arg(
        long = "fault",
        value_name = "FAULT",
        value_delimiter = ',',
        conflicts_with = "explain"
    )]
    pub faults: Vec<String>,
    /// Do not listen: report how Weir reads the recording
    #[arg(long, conflicts_with = "listen")]
    pub explain: bool,
    /// With --explain: print JSON
    #[arg(long, requires = "explain", conflicts_with = "listen")]
    pub json: bool,
    /// With --explain: also print excerpts of what `hide` would leave out
    #[arg(long, requires = "explain", conflicts_with = "listen")]
    pub show: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::tests::command;
    use crate::cli::{Cli, Command};

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
}
