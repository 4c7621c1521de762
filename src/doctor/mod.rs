//! `weir doctor`: streams through the user's real path, and says which hop harms streams, and how to fix it.
//!
//! ```text
//! examine ──► observe ──► judge ──► compare ──► report
//! which       one request, one URL:   which hop    text with
//! requests    with times   findings   is first     strips, JSON
//! ```
//!
//! | file | what |
//! |---|---|
//! | `target` | the URLs |
//! | `connect`, `observe`, `lines` | I/O: one request, and when each event of its response arrived |
//! | `ending` | what the last events say |
//! | `stop` | how the user gets the report before the end |
//! | `examine` | which requests are sent to a URL |
//! | `offset`, `clock`, `readings` | times, and the offset between two clocks |
//! | `observation` | what was seen |
//! | `judge` | findings: pure logic |
//! | `compare`, `fix` | the hop at fault, and the setting that fixes it |
//! | `draw`, `report` | what is printed |

mod clock;
mod compare;
mod connect;
mod draw;
mod ending;
mod examine;
mod finding;
mod fix;
mod judge;
mod lines;
mod observation;
mod observe;
mod offset;
mod readings;
mod report;
mod stop;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::probe;
use clock::Clock;
use compare::Hop;
use connect::Dialer;
use finding::Id;
use fix::Product;
use judge::Judged;
use observation::End;
use observe::{Call, Observer};
use report::{Interrupted, Shown};
pub(crate) use stop::{Stop, stopping};
pub(crate) use target::Target;

/// What the doctor sends as `User-Agent`.
const AGENT: &str = concat!("weir-doctor/", env!("CARGO_PKG_VERSION"));
/// The silence that is tested if nothing else is said.
const IDLE: Duration = Duration::from_secs(7);
/// How long the user's own response may be silent if nothing else is said.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one of the user's own responses is read if nothing else is said: longer than it may be silent, and longer
/// than hops usually let a response last if they limit that (15, 30 or 60 s).
const READING: Duration = Duration::from_secs(90);
/// How much longer than a silence that the user allows it is read at least.
const BEYOND_SILENCE: Duration = Duration::from_secs(30);

/// What to examine, and how.
#[derive(Debug)]
pub(crate) struct Order {
    /// The URLs, from the agent outwards.
    pub(crate) targets: Vec<Target>,
    /// Sent with every request. They may be secret.
    pub(crate) headers: HeaderMap,
    /// The user's own request; `None` for the probe, and for a GET of what the URL names.
    pub(crate) request: Option<Own>,
    /// The silence to test with the probe, or to accept in the user's own response.
    pub(crate) idle: Option<Duration>,
    /// How long one of the user's own responses is read.
    pub(crate) max_time: Option<Duration>,
    pub(crate) ca_file: Option<PathBuf>,
    /// Do not offer HTTP/2.
    pub(crate) http1: bool,
    /// Send the user's own request twice at the same time, whatever its method.
    pub(crate) together: bool,
}

/// The user's own request.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    /// The path for URLs that name only a host, or a base URL as SDKs take it: a host and `/v1`.
    pub(crate) path: Option<&'static str>,
    /// The request may be sent twice without harm.
    pub(crate) is_harmless: bool,
}

/// The report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) json: String,
    /// Something is wrong.
    pub(crate) has_findings: bool,
}

/// Examines all URLs, one after the other. Calls `say` with what is being done. When `stop` is set, reports what it has
/// seen up to then.
///
/// # Errors
/// If the file with certificates cannot be read.
pub(crate) async fn diagnose(
    order: &Order,
    stop: &Stop,
    say: &dyn Fn(&str),
) -> std::io::Result<Report> {
    let dialer = Dialer::new(order.ca_file.as_deref(), order.http1)?;
    let clock = Clock::new();
    let mut hops: Vec<Hop> = Vec::new();
    let mut shown: Vec<Shown> = Vec::new();
    for (number, target) in (1..).zip(&order.targets) {
        if stop.is_set() {
            break;
        }
        let of = order.targets.len();
        let announce = |what: &str| say(&format!("[{number}/{of}] {target}: {what}"));
        let headers = with_defaults(&order.headers);
        let observer = Observer {
            dialer: &dialer,
            target,
            headers: &headers,
            clock: &clock,
            stop,
        };
        let before = shown.last().filter(|before| before.source == "request");
        let (judged, seen) = match source(order, target) {
            Source::Probe(path) => {
                let idle = order.idle.unwrap_or(IDLE);
                // Boxed, as it is large: several streams at once.
                let examined = examine::probe(&observer, path, idle, &announce);
                let probed = Box::pin(examined).await;
                let judged = judge::probe::judge(&probed);
                let seen = Shown {
                    source: "probe",
                    offset: probed.offset,
                    silence: probed.silence.map(|silence| (silence.idle, silence.beats)),
                    seen: probed.main,
                };
                (judged, seen)
            }
            Source::Request(call, twice) => {
                let examined = examine::request(&observer, &call, twice, &announce);
                let requested = Box::pin(examined).await;
                let judged = judge::request::judge(&requested, before.map(|before| &before.seen));
                let seen = Shown {
                    source: "request",
                    seen: requested.main,
                    offset: None,
                    silence: None,
                };
                (judged, seen)
            }
        };
        hops.push(Hop {
            url: target.to_string(),
            product: product(&seen, &shown),
            judged,
        });
        shown.push(seen);
    }
    forgive_the_agent(&mut hops, &shown);
    let interrupted = stop.is_set().then(|| Interrupted {
        after: clock.now(),
        unread: (order.targets.iter().skip(hops.len()))
            .map(ToString::to_string)
            .collect(),
    });
    let interrupted = interrupted.as_ref();
    Ok(Report {
        text: report::text(&hops, &shown, interrupted),
        json: report::json(&hops, &shown, interrupted),
        has_findings: compare::first_fault(&hops).is_some(),
    })
}

/// What is sent to a URL.
enum Source<'a> {
    /// The path of the probe.
    Probe(&'a str),
    /// The request, and whether it is sent twice at once.
    Request(Call, bool),
}

fn source<'a>(order: &Order, target: &'a Target) -> Source<'a> {
    let named = target.bare_path();
    let of_target = |own: &Own| {
        let path = own.path.and_then(|path| target.completed(path));
        path.unwrap_or_else(|| target.path.clone())
    };
    match &order.request {
        None if target.is_root() => Source::Probe(probe::PATH),
        None if named.ends_with(probe::PATH) => Source::Probe(named),
        None => Source::Request(call(order, target.path.clone()), true),
        Some(own) => {
            let call = Call {
                method: own.method.clone(),
                body: own.body.clone(),
                ..call(order, of_target(own))
            };
            Source::Request(call, own.is_harmless || order.together)
        }
    }
}

/// Returns a GET request, with the times of the user's own requests.
fn call(order: &Order, path: String) -> Call {
    let silence = order.idle.unwrap_or(IDLE_TIMEOUT);
    let limit = (order.max_time).unwrap_or_else(|| READING.max(silence + BEYOND_SILENCE));
    Call {
        silence,
        beyond: End::StillGoing,
        ..Call::get(path, limit)
    }
}

/// Returns the headers that are sent: what browsers ask for, unless the user says otherwise.
fn with_defaults(given: &HeaderMap) -> HeaderMap {
    let mut headers = given.clone();
    let events = "text/event-stream, application/x-ndjson;q=0.9, */*;q=0.8";
    for (name, value) in [
        (header::ACCEPT, events),
        (header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (header::USER_AGENT, AGENT),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers
}

/// Returns the product at a URL, unless its name may have been passed on from one of the URLs before.
fn product(seen: &Shown, before: &[Shown]) -> Product {
    let of = |shown: &Shown| {
        let head = shown.seen.head.as_ref();
        head.map_or(Product::Unknown, Product::of)
    };
    let own = of(seen);
    if before.iter().any(|before| of(before) == own) {
        return Product::Unknown;
    }
    own
}

/// The first URL may be the agent, which has no probe. If another one has it, that is no fault, whatever the agent says
/// to the path: some answer 401 to all that they do not know.
fn forgive_the_agent(hops: &mut [Hop], shown: &[Shown]) {
    let [first, others @ ..] = hops else {
        return;
    };
    let [seen, beyond @ ..] = shown else {
        return;
    };
    let lacks = |hop: &Hop| hop.judged.has(Id::NoProbe);
    let is_probe = |shown: &Shown| {
        let head = shown.seen.head.as_ref();
        shown.source == "probe" && head.is_some_and(|head| head.is_probe)
    };
    let refuses = first.judged.has(Id::ErrorStatus)
        && seen.source == "probe"
        && matches!(seen.seen.status(), Some(300..500));
    let is_agent = lacks(first) && others.iter().any(|hop| !lacks(hop));
    if is_agent || (refuses && beyond.iter().any(is_probe)) {
        first.judged = Judged {
            findings: Vec::new(),
            not_examined: vec![
                "this URL, which has no probe: to compare with the agent itself, give your own request"
                    .to_owned(),
            ],
            is_partial: false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::finding::Finding;
    use super::judge::testing::stream;
    use super::*;

    fn order(request: Option<Own>) -> Order {
        Order {
            targets: Vec::new(),
            headers: HeaderMap::new(),
            request,
            idle: None,
            max_time: None,
            ca_file: None,
            http1: false,
            together: false,
        }
    }

    /// What is sent to a URL: `None` for the probe, or the path and whether it is sent twice.
    fn sent(request: Option<Own>, url: &str) -> Option<(String, bool)> {
        let target = Target::parse(url).unwrap();
        match source(&order(request), &target) {
            Source::Probe(path) => {
                assert!(path.ends_with(probe::PATH));
                None
            }
            Source::Request(call, twice) => Some((call.path, twice)),
        }
    }

    #[test]
    fn a_host_alone_is_probed_and_a_path_is_requested() {
        assert_eq!(sent(None, "http://a"), None);
        assert_eq!(sent(None, "http://a/x/.weir/probe"), None);
        let get = Some(("/agent?q=1".to_owned(), true));
        assert_eq!(sent(None, "http://a/agent?q=1"), get);
        let own = Own {
            method: Method::POST,
            body: Bytes::new(),
            path: Some("/v1/chat/completions"),
            is_harmless: false,
        };
        let posted = Some(("/v1/chat/completions".to_owned(), false));
        assert_eq!(sent(Some(own.clone()), "http://a"), posted);
        for (url, path) in [
            ("http://a/x", "/x"),
            ("http://a/v1", "/v1/chat/completions"),
            ("http://a/team/v1/?key=1", "/team/v1/chat/completions?key=1"),
            ("http://a/v1/chat/completions", "/v1/chat/completions"),
        ] {
            let asked = sent(Some(own.clone()), url);
            assert_eq!(asked, Some((path.to_owned(), false)), "{url}");
        }
    }

    #[test]
    fn a_response_is_read_longer_than_it_may_be_silent() {
        let times = |idle, max_time| {
            let seconds = |given: Option<u64>| given.map(Duration::from_secs);
            let order = Order {
                idle: seconds(idle),
                max_time: seconds(max_time),
                ..order(None)
            };
            let call = call(&order, String::new());
            (call.silence.as_secs(), call.limit.as_secs())
        };
        assert_eq!(times(None, None), (60, 90));
        assert_eq!(times(Some(5), None), (5, 90));
        assert_eq!(times(Some(300), None), (300, 330));
        assert_eq!(times(Some(300), Some(10)), (300, 10));
    }

    #[test]
    fn headers_of_the_user_override_the_defaults() {
        let mut given = HeaderMap::new();
        given.insert("accept-encoding", HeaderValue::from_static("identity"));
        let headers = with_defaults(&given);
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(headers["user-agent"], AGENT);
    }

    #[test]
    fn an_agent_without_a_probe_is_no_fault() {
        let hop = |url: &str, ids: &[Id]| Hop {
            url: url.to_owned(),
            product: Product::Unknown,
            judged: Judged {
                findings: ids.iter().map(|id| Finding::new(*id, "x")).collect(),
                ..Judged::default()
            },
        };
        let shown = |status: u16, is_probe: bool| {
            let mut seen = stream(0, &[], 1);
            let head = seen.head.as_mut().unwrap();
            (head.status, head.is_probe) = (status, is_probe);
            Shown {
                source: "probe",
                seen,
                offset: None,
                silence: None,
            }
        };
        let mut hops = [hop("a", &[Id::NoProbe]), hop("b", &[])];
        forgive_the_agent(&mut hops, &[shown(404, false), shown(200, true)]);
        assert!(compare::first_fault(&hops).is_none());
        // It wants credentials for every path.
        let mut hops = [hop("a", &[Id::ErrorStatus]), hop("b", &[])];
        forgive_the_agent(&mut hops, &[shown(401, false), shown(200, true)]);
        assert!(compare::first_fault(&hops).is_none());
        let mut alone = [hop("a", &[Id::NoProbe])];
        forgive_the_agent(&mut alone, &[shown(404, false)]);
        assert!(compare::first_fault(&alone).is_some());
        for (first, second) in [
            (shown(401, false), shown(401, false)),
            (shown(503, false), shown(200, true)),
        ] {
            let mut hops = [hop("a", &[Id::ErrorStatus]), hop("b", &[])];
            forgive_the_agent(&mut hops, &[first, second]);
            assert!(compare::first_fault(&hops).is_some());
        }
    }
}
