//! The most memory that a configuration allows.

use crate::config::defaults as preset;
use crate::config::{Config, Limits, MemoryLimit, Route, WebSocket};

/// Memory of one stream apart from its events: the read and write buffers of two sockets, hyper's state, the task and
/// the timers.
const STREAM_BYTES: u64 = 64 << 10;
/// Additional memory of a stream on an HTTP/2 upstream connection: a full flow-control window.
const WINDOW_BYTES: u64 = 64 << 10;
/// The largest body of a request that is rewritten, in bytes: it is held in memory, and so is what it becomes.
pub const REWRITTEN_BYTES: u64 = 16 << 20;
/// Memory of one request apart from its head: the beginning of its body, which is read ahead, and what is buffered of a
/// plain response.
const REQUEST_BYTES: u64 = 128 << 10;
/// What an entry of a request head takes in addition to its bytes, as received and as sent to the agent.
const HEADER_BYTES: u64 = 512;
/// What the HTTP/2 engine reads of a head beyond twice `max_header_bytes`: limits may be as low as 8 KiB, and cookies
/// that exceed them are often larger than twice that.
const HTTP2_HEAD_SLACK: usize = 16 << 10;
/// Memory of one client connection apart from the head that it reads: what an HTTP/2 client has uploaded before the
/// agents take it, a full flow-control window.
const CONNECTION_BYTES: u64 = 1 << 20;

/// Returns the size of the largest head that the HTTP/2 engine passes on. Heads beyond `max_header_bytes` are then
/// refused with an id and a log line, which the engine's own refusal lacks.
pub const fn http2_head_bytes(max_header_bytes: usize) -> usize {
    max_header_bytes
        .saturating_mul(2)
        .saturating_add(HTTP2_HEAD_SLACK)
}

/// Returns the most memory that streams and connections can use at one time:
///
/// `max_streams * (max(queue.max_bytes, max_event_bytes) + 2 * max_event_bytes + preamble_bytes
///  + 2 * complete.max_text_bytes if it is recorded + 64 KiB, or 128 KiB with http2)
///  + max_requests * (2 * max_header_bytes + 512 * max_headers + 128 KiB)
///  + max_connections * (2 * max_header_bytes + 16 KiB + 1 MiB)
///  + what clients that follow a stream besides its first one, and journals, use
///  + what further agents of a stream, and bodies of requests that are read whole, use`
///
/// with the values of the most expensive route. Per stream, this covers a queue filled to its limit (or by one event
/// larger than the limit), one event that waits for room in the queue, and one that is still arriving. Real streams
/// use a few KiB; [`queue_bytes`] is the bound that slow clients can reach with ordinary tokens.
pub fn worst_case_bytes(config: &Config) -> u64 {
    let per_stream = |route: &Route| {
        let policy = &route.policy;
        let window = if route.upstreams().any(|upstream| upstream.http2) {
            WINDOW_BYTES
        } else {
            0
        };
        let event = policy.max_event_bytes as u64;
        let queue = (policy.queue.max_bytes as u64).max(event);
        // Each agent of several has an event that is still arriving, and a connection.
        let more = (route.upstreams().count() as u64).saturating_sub(1);
        let each = event.saturating_add(STREAM_BYTES + window);
        queue
            .saturating_add(event.saturating_mul(2))
            .saturating_add(policy.preamble_bytes as u64)
            .saturating_add(recorded_bytes(config, route))
            .saturating_add(STREAM_BYTES + window)
            .saturating_add(each.saturating_mul(more))
    };
    let stream = config
        .routes
        .iter()
        .map(|route| per_stream(route))
        .max()
        .unwrap_or_default();
    let rewritten = config
        .routes
        .iter()
        .map(|route| rewritten_bytes(route))
        .max();
    let rewritten = (config.limits.max_requests as u64).saturating_mul(rewritten.unwrap_or(0));
    (config.limits.streams() as u64)
        .saturating_mul(stream)
        .saturating_add(request_bytes(&config.limits))
        .saturating_add(rewritten)
        .saturating_add(follower_bytes(config))
        .saturating_add(journal_bytes(config))
}

/// Returns the first key of the file on which the worst case depends and that has another value than its default: the
/// defaults are beyond most machines. What `weir check` prints has all keys.
pub fn worst_case_key(config: &Config) -> Option<String> {
    let limits = &config.limits;
    let fixed = [
        (
            "limits.max_streams",
            limits.max_streams as u64 != preset::MAX_STREAMS.value,
        ),
        ("limits.memory", limits.memory != MemoryLimit::Auto),
        ("defaults.max_event_bytes", true),
        (
            "defaults.queue.max_bytes",
            config
                .routes
                .iter()
                .any(|route| route.policy.queue.max_bytes as u64 > preset::MAX_BYTES.value),
        ),
    ];
    let fixed = fixed
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key.to_owned());
    let routes = config.routes.iter().enumerate();
    let of_routes = routes
        .filter(|(_, route)| route.policy.max_event_bytes as u64 != preset::MAX_EVENT_BYTES.value)
        .map(|(index, _)| format!("routes[{index}].max_event_bytes"));
    fixed
        .chain(of_routes)
        .find(|key| config.written.place(key).is_some())
}

/// Returns the most memory that journals use at one time, `min(resume.total_bytes, max_streams * resume.max_bytes)`:
/// those of the route with the largest one. It is nothing if no route has `resume`.
pub fn journal_bytes(config: &Config) -> u64 {
    let journals = (config.routes.iter())
        .filter_map(|route| route.policy.resume.as_deref())
        .map(|resume| resume.max_bytes as u64);
    let streams = config.limits.streams() as u64;
    let sum = streams.saturating_mul(journals.max().unwrap_or_default());
    sum.min(config.journals.total_bytes as u64)
}

/// Returns how many clients can read streams of a route at one time. Each is a request, so there are no more than
/// `max_requests`.
fn readers(limits: &Limits, route: &Route) -> u64 {
    let streams = limits.streams() as u64;
    route.policy.resume.as_ref().map_or(streams, |resume| {
        let viewers = streams.saturating_mul(resume.max_viewers as u64);
        viewers.min(limits.max_requests as u64)
    })
}

/// Returns the most memory of the clients that follow streams, apart from one for each stream.
fn follower_bytes(config: &Config) -> u64 {
    let streams = config.limits.streams() as u64;
    let followers = config.routes.iter().map(|route| {
        let policy = &route.policy;
        let queue = (policy.queue.max_bytes as u64).max(policy.max_event_bytes as u64);
        let more = readers(&config.limits, route).saturating_sub(streams);
        more.saturating_mul(queue.saturating_add(STREAM_BYTES))
    });
    followers.max().unwrap_or_default()
}

/// Returns the most memory that the body of a request takes while it is rewritten: as it was sent, and what it becomes.
fn rewritten_bytes(route: &Route) -> u64 {
    let policy = &route.policy;
    // Each agent of several gets a body of its own.
    let copies = route
        .merge
        .as_ref()
        .map_or(0, |merge| merge.agents.len() as u64);
    // A bridge reads messages whole, and an agent that speaks only WebSocket gets one.
    let is_whole = policy.websocket == WebSocket::Bridge || route.upstream.is_websocket();
    if policy.request.is_some() || policy.reply.aggregates || is_whole || copies > 0 {
        policy
            .max_request_bytes
            .min(REWRITTEN_BYTES)
            .saturating_mul(3 + copies)
    } else {
        0
    }
}

/// Returns the most memory that what is recorded of a stream uses: text, and as much of everything else.
fn recorded_bytes(config: &Config, route: &Route) -> u64 {
    if config.complete.records(&route.name) {
        (config.complete.max_text_bytes as u64).saturating_mul(2)
    } else {
        0
    }
}

/// Returns the most memory that requests and connections use at one time, apart from streams.
///
/// A request holds its head twice, as it was received and as it is sent to the agent, until it was sent. A connection
/// holds the head that it reads, which may be too large.
fn request_bytes(limits: &Limits) -> u64 {
    let head = limits.max_header_bytes as u64;
    let fields = (limits.max_headers as u64).saturating_mul(HEADER_BYTES);
    let request = head * 2 + fields + REQUEST_BYTES;
    let requests = (limits.max_requests as u64).saturating_mul(request);
    let reading = http2_head_bytes(limits.max_header_bytes) as u64;
    let connections = (limits.connections() as u64).saturating_mul(reading + CONNECTION_BYTES);
    requests.saturating_add(connections)
}

/// Returns the most memory that full queues can use at one time: `max_streams * queue.max_bytes` of the route with the
/// largest queues, or with `resume` as many as `resume.max_viewers` for each stream. There are no more streams and no
/// more viewers than `max_requests`.
pub fn queue_bytes(config: &Config) -> u64 {
    let queues = config.routes.iter().map(|route| {
        let queue = route.policy.queue.max_bytes as u64;
        readers(&config.limits, route).saturating_mul(queue)
    });
    queues.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    fn load(resume: &str) -> Config {
        let text = format!(
            "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
            limits: {{max_streams: 10, max_requests: 50}}\n\
            resume: {{total_bytes: 16MiB}}\n\
            defaults: {{max_event_bytes: 1KiB, queue: {{max_bytes: 1MiB}}, resume: {resume}}}\n"
        );
        config::load(Some(("f", &text)), &Overrides::default()).unwrap()
    }

    #[test]
    fn journals_and_viewers_count_where_streams_can_be_resumed() {
        const MIB: u64 = 1 << 20;
        let off = load("off");
        assert_eq!((journal_bytes(&off), queue_bytes(&off)), (0, 10 * MIB));
        for (resume, journals, queues) in [
            ("{max_bytes: 1MiB, max_viewers: 1}", 10 * MIB, 10 * MIB),
            ("{max_bytes: 4MiB, max_viewers: 2}", 16 * MIB, 20 * MIB),
            ("{max_bytes: 4MiB, max_viewers: 16}", 16 * MIB, 50 * MIB),
        ] {
            let on = load(resume);
            assert_eq!(
                (journal_bytes(&on), queue_bytes(&on)),
                (journals, queues),
                "{resume}"
            );
            let followers = (queues / MIB - 10) * (MIB + STREAM_BYTES);
            let more = worst_case_bytes(&on) - worst_case_bytes(&off);
            assert_eq!(more, journals + followers, "{resume}");
        }
    }
}
