//! `weir doctor`: examines how streams pass through the user's real path.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::json;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::problem::{Problem, usage};
use super::{Output, input};
use crate::cli::Doctor;
use crate::config;
use crate::doctor::{Order, Own, Report, Target, diagnose, stopping};

/// The longest silence that the probe can make.
const MAX_IDLE: Duration = Duration::from_secs(600);
const MIN_IDLE: Duration = Duration::from_secs(1);
/// The longest time for which one response is read.
const MAX_TIME: Duration = Duration::from_secs(3600);
const MIN_TIME: Duration = Duration::from_secs(1);
/// The exit code after a second Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;
/// The most URLs of one run.
const MAX_URLS: usize = 16;
/// What a model is asked.
const PROMPT: &str = "Count from 1 to 40, one number on each line.";

/// Examines the URLs. Calls `say` with a line for each thing that is done. The exit code is 0 if nothing is wrong, 1 if
/// something is, 2 if the arguments cannot be used, and 130 if a second Ctrl-C ended it.
pub fn doctor(args: &Doctor, say: &dyn Fn(&str)) -> Output {
    let order = match ordered(args) {
        Ok(order) => order,
        Err(problem) => return failed(&problem),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Problem::from(error)),
    };
    let reported = runtime.block_on(until_interrupted(&order, say));
    // The end does not wait for a name that is still being resolved.
    runtime.shutdown_background();
    match reported {
        Ok(Some(report)) => Output {
            stdout: if args.json { report.json } else { report.text },
            stderr: String::new(),
            code: u8::from(report.has_findings),
        },
        Ok(None) => Output {
            stderr: "weir doctor: interrupted twice: there is no report\n".to_owned(),
            code: INTERRUPTED,
            ..Output::default()
        },
        Err(problem) => failed(&problem),
    }
}

/// Examines the URLs. At Ctrl-C or SIGTERM, the report has what was seen up to then; at a second one, there is none.
async fn until_interrupted(order: &Order, say: &dyn Fn(&str)) -> Result<Option<Report>, Problem> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let (stopper, stop) = stopping();
    let mut diagnosing = Box::pin(diagnose(order, &stop, say));
    let diagnosed = select! {
        report = &mut diagnosing => Some(report),
        () = signals.next() => None,
    };
    let diagnosed = match diagnosed {
        Some(report) => report,
        None => {
            say("interrupted: reporting what was seen; Ctrl-C again ends without a report");
            stopper.stop();
            select! {
                report = &mut diagnosing => report,
                () = signals.next() => return Ok(None),
            }
        }
    };
    let report = diagnosed.map_err(|error| usage(format!("--ca-file: {error}")))?;
    Ok(Some(report))
}

/// What asks the doctor for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn failed(problem: &Problem) -> Output {
    Output {
        stderr: format!("weir doctor: {}\n", problem.message),
        code: problem.code,
        ..Output::default()
    }
}

/// Reads the arguments. Errors never repeat a header or a body, which may be secret.
fn ordered(args: &Doctor) -> Result<Order, Problem> {
    if args.urls.len() > MAX_URLS {
        return Err(usage(format!(
            "expected {MAX_URLS} URLs at most, and there are {}",
            args.urls.len()
        )));
    }
    let targets: Result<Vec<Target>, Problem> = (1..)
        .zip(&args.urls)
        .map(|(number, url)| {
            Target::parse(url).map_err(|why| usage(format!("URL {number}: {why}")))
        })
        .collect();
    let mut headers = HeaderMap::new();
    for given in &args.headers {
        for line in input::header_lines("-H", given)? {
            read_header(&line, &mut headers)?;
        }
    }
    let request = request(args, &mut headers)?;
    let within = |flag, text: Option<&str>, from, to| {
        text.map(|text| between(flag, text, from, to)).transpose()
    };
    let idle = within("--idle", args.idle.as_deref(), MIN_IDLE, MAX_IDLE)?;
    let max_time = within("--max-time", args.max_time.as_deref(), MIN_TIME, MAX_TIME)?;
    Ok(Order {
        targets: targets?,
        headers,
        request,
        idle,
        max_time,
        ca_file: args.ca_file.clone(),
        http1: args.http1,
        together: args.together,
    })
}

/// Reads the duration of a flag. `to` is shown in minutes.
fn between(flag: &str, text: &str, from: Duration, to: Duration) -> Result<Duration, Problem> {
    let time = config::duration(text).map_err(|why| usage(format!("{flag} `{text}` {why}")))?;
    if (from..=to).contains(&time) {
        Ok(time)
    } else {
        let (from, to) = (from.as_secs(), to.as_secs() / 60);
        Err(usage(format!("{flag}: expected {from}s to {to}m")))
    }
}

fn read_header(line: &str, headers: &mut HeaderMap) -> Result<(), Problem> {
    let wrong = || usage("-H: expected `Name: value`, or @FILE with such lines");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
    let of_connection = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::EXPECT,
    ];
    if of_connection.contains(&name) {
        return Err(usage(format!("-H: {name} is set by weir doctor itself")));
    }
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| {
        usage(format!(
            "-H: the value of {name} has a character that HTTP does not allow"
        ))
    })?;
    value.set_sensitive(true);
    headers.append(name, value);
    Ok(())
}

/// Returns the user's own request, if there is one.
fn request(args: &Doctor, headers: &mut HeaderMap) -> Result<Option<Own>, Problem> {
    let messages = json!([{ "role": "user", "content": PROMPT }]);
    let model = match (&args.openai, &args.anthropic) {
        (Some(model), _) => {
            let body = json!({ "model": model, "stream": true, "messages": messages });
            Some((body, "/v1/chat/completions"))
        }
        (None, Some(model)) => {
            let body = json!({
                "model": model, "stream": true, "max_tokens": 400, "messages": messages,
            });
            absent(headers, "anthropic-version", "2023-06-01");
            Some((body, "/v1/messages"))
        }
        (None, None) => None,
    };
    if let Some((body, path)) = model {
        absent(headers, "content-type", "application/json");
        return Ok(Some(Own {
            method: Method::POST,
            body: Bytes::from(body.to_string()),
            path: Some(path),
            is_harmless: true,
        }));
    }
    if args.method.is_none() && args.data.is_none() {
        return Ok(None);
    }
    let body = match args.data.as_deref() {
        None => Vec::new(),
        Some(data) => {
            absent(headers, "content-type", "application/json");
            input::body("-d", data)?
        }
    };
    let method = match (&args.method, &args.data) {
        (Some(method), _) => Method::from_bytes(method.as_bytes())
            .map_err(|_| usage("-X: expected a method such as POST"))?,
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    if matches!(method, Method::CONNECT | Method::HEAD) {
        return Err(usage(
            "-X: expected a method whose response can be a stream",
        ));
    }
    Ok(Some(Own {
        is_harmless: method.is_safe(),
        method,
        body: Bytes::from(body),
        path: None,
    }))
}

/// Adds a header, unless the user has given it.
fn absent(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    if !headers.contains_key(name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Doctor {
        Doctor {
            urls: vec!["http://127.0.0.1:1".to_owned()],
            method: None,
            headers: Vec::new(),
            data: None,
            openai: None,
            anthropic: None,
            idle: None,
            max_time: None,
            json: false,
            ca_file: None,
            http1: false,
            together: false,
        }
    }

    #[test]
    fn invalid_arguments_are_rejected_without_repeating_them() {
        let wrong: [fn(&mut Doctor); 12] = [
            |args| args.urls = vec!["http://a/?key=s3cret".to_owned(); 17],
            |args| args.urls = vec!["127.0.0.1:1".to_owned()],
            |args| args.headers = vec!["s3cret".to_owned()],
            |args| args.headers = vec!["X: s3cret\u{1}".to_owned()],
            |args| args.headers = vec!["Content-Length: 1".to_owned()],
            |args| args.headers = vec!["@/no/such".to_owned()],
            |args| args.data = Some("@/no/such".to_owned()),
            |args| args.method = Some("A B".to_owned()),
            |args| args.idle = Some("90".to_owned()),
            |args| args.idle = Some("1h".to_owned()),
            |args| args.max_time = Some("0s".to_owned()),
            |args| args.max_time = Some("2h".to_owned()),
        ];
        for change in wrong {
            let mut args = args();
            change(&mut args);
            let output = doctor(&args, &|_| {});
            assert_eq!(output.code, 2, "{args:?}: {}", output.stderr);
            assert!(!output.stderr.contains("s3cret"), "{}", output.stderr);
        }
    }

    #[test]
    fn a_model_flag_builds_the_request() {
        let mut args = args();
        args.anthropic = Some("m".to_owned());
        let order = ordered(&args).ok().unwrap();
        let own = order.request.unwrap();
        assert_eq!((own.method, own.path), (Method::POST, Some("/v1/messages")));
        assert!(order.headers.contains_key("anthropic-version"));
        assert!(String::from_utf8_lossy(&own.body).contains("\"stream\":true"));
    }

    #[test]
    fn a_body_is_posted_as_json() {
        let mut args = args();
        args.data = Some("{}".to_owned());
        args.headers = vec!["Authorization: Bearer s3cret".to_owned()];
        let order = ordered(&args).ok().unwrap();
        assert_eq!(order.headers["content-type"], "application/json");
        assert!(!format!("{order:?}").contains("s3cret"));
        let own = order.request.unwrap();
        assert_eq!(own.method, Method::POST);
        assert!(!own.is_harmless);
    }

    #[test]
    fn a_url_that_does_not_answer_is_a_finding() {
        let mut args = args();
        args.json = true;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        args.urls = vec![format!("http://127.0.0.1:{port}/?key=s3cret")];
        let output = doctor(&args, &|_| {});
        assert_eq!(output.code, 1);
        assert!(output.stdout.contains("unreachable"), "{}", output.stdout);
        assert!(!output.stdout.contains("s3cret"));
    }
}
