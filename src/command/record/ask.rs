//! Sends one request, and records its response.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Mutex;

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::Instant;

use super::book::Book;
use super::exchange::Exchange;
use super::place::Place;
use super::sent_request::SentRequest;
use super::{Problem, failed, usage};
use crate::cli::Record;
use crate::command::input;
use crate::config;
use crate::recording::message::{RequestHead, check_method, check_name, check_value};
use crate::recording::{CLOSED, Ending, Fields, field, latin1, latin1_bytes};

/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// A request to send.
#[derive(Debug)]
pub(super) struct Ask {
    place: Place,
    head: RequestHead,
    body: Vec<u8>,
}

impl Ask {
    /// Builds the request of these arguments.
    pub(super) fn new(args: &Record, url: &str, ca_file: Option<PathBuf>) -> Result<Self, Problem> {
        let whole = url.split('#').next().unwrap_or_default();
        if !whole.contains("://")
            && let Err(why) = config::read_endpoint(whole)
        {
            return Err(usage(format!("the URL: {why}")));
        }
        let uri: Uri = whole.parse().map_err(|_| {
            usage(
                "the URL is not valid: expected http://HOST/PATH or https://HOST/PATH, in which spaces and the like are percent-encoded",
            )
        })?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(usage(
                "the URL needs a scheme and a host, such as http://127.0.0.1:8000/chat",
            ));
        };
        if authority.as_str().contains('@') {
            return Err(usage(
                "the URL has a user and a password, which are not supported there: give them with -H \"authorization: Basic ...\"",
            ));
        }
        let place = Place::new("the URL", &format!("{scheme}://{authority}"), ca_file)?;
        let target = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        let data = args.data.as_deref();
        let body = data.map(|data| input::body("--data", data)).transpose()?;
        let preset = if body.is_some() { "POST" } else { "GET" };
        let method = args.method.as_deref().unwrap_or(preset);
        check_method(method).map_err(|why| usage(format!("--request: {why}")))?;
        let fields = fields(&args.headers, &place.endpoint.authority, body.as_deref())?;
        Ok(Self {
            place,
            head: RequestHead {
                method: method.to_owned(),
                target,
                is_old: false,
                fields,
            },
            body: body.unwrap_or_default(),
        })
    }

    /// Sends the request, and records until the response or the recording is over.
    pub(super) async fn record(self, book: &Book) -> Result<(), Problem> {
        let (mut from, mut to) = split(self.place.dial().await?);
        let mut bytes =
            format!("{} {} HTTP/1.1\r\n", self.head.method, self.head.target).into_bytes();
        for (name, value) in &self.head.fields {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(latin1_bytes(value));
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        let mut request = SentRequest::new(self.head);
        request.read(&self.body);
        let request = Mutex::new(request);
        // A server that refuses the request need not read it: its answer counts, whenever it comes.
        let mut sending = pin!(async {
            to.write_all(&bytes).await?;
            to.flush().await
        });
        let mut sent: Option<io::Result<()>> = None;
        let mut exchange: Option<Exchange<'_>> = None;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                done = &mut sending, if sent.is_none() => {
                    sent = Some(done);
                    exchange.get_or_insert_with(|| Exchange::new(book, &request, Instant::now()));
                    continue;
                }
                () = book.over() => return Ok(()),
            };
            let now = Instant::now();
            let exchange = exchange.get_or_insert_with(|| Exchange::new(book, &request, now));
            match read {
                Ok(0) if exchange.may_close() => {
                    exchange.end(Ending::Clean, None, now);
                    return Ok(());
                }
                Ok(0) => {
                    exchange.end(Ending::Truncated, Some(CLOSED), now);
                    return answered(exchange, "closed the connection before its response");
                }
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    exchange
                        .take(bytes, now)
                        .map_err(|malformed| failed(format!("malformed: {malformed}")))?;
                    if exchange.is_done() || exchange.is_upgraded() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    exchange.end(Ending::Reset, None, now);
                    let error = sent.and_then(Result::err).unwrap_or(error);
                    return answered(exchange, &format!("did not answer: {error}"));
                }
            }
        }
    }
}

/// An exchange without a response is a failure.
fn answered(exchange: &Exchange<'_>, otherwise: &str) -> Result<(), Problem> {
    if exchange.has_head() {
        Ok(())
    } else {
        Err(failed(format!("the agent {otherwise}")))
    }
}

/// Returns the headers of the request: those given, and those that it needs beside them.
fn fields(given: &[String], authority: &str, body: Option<&[u8]>) -> Result<Fields, Problem> {
    let mut fields = Fields::new();
    let mut lines = Vec::new();
    for text in given {
        lines.extend(input::header_lines("--header", text)?);
    }
    for text in lines {
        let wrong = |why: String| usage(format!("--header: {why}"));
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| wrong("expected NAME: VALUE, or @FILE with such lines".to_owned()))?;
        let value = latin1(value.trim().as_bytes());
        check_name(name).map_err(wrong)?;
        check_value(name, &value).map_err(wrong)?;
        let framing = ["connection", "content-length", "transfer-encoding"];
        if framing.iter().any(|one| name.eq_ignore_ascii_case(one)) {
            return Err(wrong(format!("`{name}` is set by weir record itself")));
        }
        fields.push((name.to_owned(), value));
    }
    let mut missing = Vec::new();
    let mut preset = |name: &str, value: String| {
        if field(&fields, name).is_none() {
            missing.push((name.to_owned(), value));
        }
    };
    preset("Host", authority.to_owned());
    preset(
        "User-Agent",
        concat!("weir/", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    preset("Accept", "*/*".to_owned());
    if let Some(body) = body {
        preset("Content-Type", "application/json".to_owned());
        preset("Content-Length", body.len().to_string());
    }
    preset("Connection", "close".to_owned());
    missing.extend(fields);
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> Record {
        Record {
            url: Some(url.to_owned()),
            method: None,
            headers: Vec::new(),
            data: None,
            listen: None,
            upstream: None,
            output: PathBuf::from("f"),
            force: false,
            max_size: "64MiB".into(),
            no_redact: false,
            redact: Vec::new(),
            ca_file: None,
        }
    }

    #[test]
    fn a_request_is_built_as_a_user_expects() {
        let url = "http://127.0.0.1:1/v1/chat?alt=sse#top";
        let mut args = args(url);
        args.data = Some("{}".into());
        args.headers = vec![
            "authorization: Bearer x:y".into(),
            "accept: text/plain".into(),
        ];
        let ask = Ask::new(&args, url, None).unwrap();
        assert_eq!(ask.head.method, "POST");
        assert_eq!(ask.head.target, "/v1/chat?alt=sse");
        let value = |name| field(&ask.head.fields, name);
        assert_eq!(value("host"), Some("127.0.0.1:1"));
        assert_eq!(value("content-length"), Some("2"));
        assert_eq!(value("content-type"), Some("application/json"));
        assert_eq!(value("authorization"), Some("Bearer x:y"));
        assert_eq!(value("accept"), Some("text/plain"));
        let args = self::args("https://a");
        let ask = Ask::new(&args, "https://a", None).unwrap();
        assert_eq!(
            (ask.head.method.as_str(), ask.head.target.as_str()),
            ("GET", "/")
        );
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        let with = |change: &dyn Fn(&mut Record)| {
            let mut args = args("http://a/");
            change(&mut args);
            let problem = Ask::new(&args, "http://a/", None).unwrap_err();
            assert_eq!(problem.code, 2);
            problem.message
        };
        assert!(with(&|args| args.headers = vec!["s3cret".into()]).contains("NAME: VALUE"));
        assert!(!with(&|args| args.headers = vec!["s3cret".into()]).contains("s3cret"));
        assert!(with(&|args| args.headers = vec!["content-length: 3".into()]).contains("itself"));
        assert!(with(&|args| args.method = Some("A B".into())).contains("--request"));
        assert!(with(&|args| args.data = Some("@/no/such/file".into())).contains("/no/such/file"));
        assert!(with(&|args| args.data = Some("@/dev/zero".into())).contains("64 MiB"));
        for url in ["a", "ftp://a/", "http://me:pw@a/", "/path"] {
            let problem = Ask::new(&args(url), url, None).unwrap_err();
            assert_eq!(problem.code, 2, "{url}");
            assert!(!problem.message.contains("pw@"), "{}", problem.message);
        }
        for (url, expected) in [
            (
                "127.0.0.1:8000/chat",
                "did you mean `http://127.0.0.1:8000/…`?",
            ),
            ("http://me:pw@a/", "-H \"authorization: Basic"),
            ("http://a/b c", "percent-encoded"),
        ] {
            let problem = Ask::new(&args(url), url, None).unwrap_err();
            assert!(problem.message.contains(expected), "{}", problem.message);
        }
    }
}
