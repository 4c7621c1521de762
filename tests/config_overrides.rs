//! Checks that flags and variables override the file, and that they are parsed by the same rules.

#![expect(
    clippy::unwrap_used,
    clippy::unnecessary_wraps,
    reason = "helpers of tests"
)]

use std::net::SocketAddr;
use std::str::FromStr;

use weir::config::{self, Address, Config, LogFormat, Overrides, Target};

const ONE: &str = "upstreams: {agent: {endpoints: [\"http://a:1\", \"http://b:2\"], pool_idle: 1s}}\nlisten: 127.0.0.1:1\n";
const TWO: &str = "upstreams: {a: {endpoints: \"http://a:1\"}, b: {endpoints: \"http://b:2\"}}\nroutes: [{name: r, upstream: a}]\n";

fn load(text: Option<&str>, overrides: Overrides) -> Result<Config, String> {
    config::load(text.map(|text| ("f.yaml", text)), &overrides)
        .map_err(|problems| problems.to_string())
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn tcp(address: &str) -> Address {
    Address::Tcp(SocketAddr::from_str(address).unwrap())
}

#[test]
fn an_upstream_flag_is_a_whole_configuration() {
    let config = load(
        None,
        Overrides {
            upstream: text("http://127.0.0.1:8000"),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(config.routes.len(), 1);
    assert_eq!(&*config.routes[0].name, "default");
    assert_eq!(config.routes[0].matches.path_prefix, "/");
    assert_eq!(&*config.upstreams[0].name, "agent");
    assert_eq!(config.listen[0].address, tcp("0.0.0.0:8080"));
}

#[test]
fn an_upstream_flag_replaces_the_endpoints_of_the_only_upstream() {
    let config = load(
        Some(ONE),
        Overrides {
            upstream: text("unix:/run/x.sock"),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(config.upstreams[0].endpoints.len(), 1);
    assert_eq!(
        config.upstreams[0].endpoints[0].target,
        Target::Unix("/run/x.sock".into())
    );
    assert_eq!(config.upstreams[0].pool_idle.as_secs(), 1);
}

#[test]
fn an_upstream_flag_cannot_choose_among_several() {
    let problems = load(
        Some(TWO),
        Overrides {
            upstream: text("http://c"),
            ..Overrides::default()
        },
    )
    .unwrap_err();
    assert_eq!(
        problems,
        "--upstream or WEIR_UPSTREAM: the file has several upstreams (a, b); change their `endpoints` in the file"
    );
}

#[test]
fn flags_go_before_the_file() {
    let overrides = Overrides {
        listen: text("[::1]:2"),
        admin: text("off"),
        workers: text("3"),
        log_level: text("debug"),
        log_format: text("json"),
        ..Overrides::default()
    };
    let file =
        format!("{ONE}workers: 7\nlog: {{level: warn, format: text}}\nadmin: {{listen: \":3\"}}\n");
    let config = load(Some(&file), overrides).unwrap();
    assert_eq!(
        config
            .listen
            .iter()
            .map(|listen| &listen.address)
            .collect::<Vec<_>>(),
        [&tcp("[::1]:2")]
    );
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.workers, 3);
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("debug", LogFormat::Json)
    );
}

#[test]
fn wrong_flags_are_reported_beside_wrong_keys() {
    let overrides = Overrides {
        listen: text("80"),
        upstream: text("ftp://a"),
        log_level: text("loud"),
        ..Overrides::default()
    };
    let problems = load(Some(&format!("{ONE}workers: none\n")), overrides).unwrap_err();
    let lines: Vec<_> = problems
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(lines.len(), 4, "{problems}");
    assert_eq!(lines[0], "f.yaml:3:10: workers");
    assert!(
        lines[1].starts_with("--listen or WEIR_LISTEN: `80` is only a port"),
        "{problems}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("--upstream or WEIR_UPSTREAM: the scheme")),
        "{problems}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("--log-level or WEIR_LOG_LEVEL: `loud`")),
        "{problems}"
    );
}

#[test]
fn a_listen_flag_keeps_the_tls_of_the_file() {
    let tls = "tls: {cert: tests/config/files/cert.pem, key: tests/config/files/key.pem}";
    let one = format!(
        "upstreams: {{a: {{endpoints: \"http://a\"}}}}\nlisten: {{address: \":1\", {tls}}}\n"
    );
    let config = load(
        Some(&one),
        Overrides {
            listen: text(":2"),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(config.listen[0].address, tcp("0.0.0.0:2"));
    assert!(config.listen[0].tls.is_some());

    let two = format!(
        "upstreams: {{a: {{endpoints: \"http://a\"}}}}\nlisten: [{{address: \":1\", {tls}}}, \":3\"]\n"
    );
    let problems = load(
        Some(&two),
        Overrides {
            listen: text(":2"),
            ..Overrides::default()
        },
    )
    .unwrap_err();
    assert!(
        problems.starts_with("--listen or WEIR_LISTEN: the file has several listeners"),
        "{problems}"
    );
}

#[test]
fn routes_inherit_key_by_key() {
    let file = "upstreams: {a: {endpoints: \"http://a\"}}\n\
                defaults: {deadlines: {idle: 7s, total: 8s}, queue: {merge: false}, heartbeat: 1s, commit_after: 3s}\n\
                routes: [{name: r, upstream: a, deadlines: {idle: 9s}, queue: {max_events: 4}, heartbeat: off, commit_after: off}]\n";
    let policy = load(Some(file), Overrides::default()).unwrap().routes[0]
        .policy
        .clone();
    let seconds = |time: std::time::Duration| time.as_secs();
    assert_eq!(
        (
            seconds(policy.deadlines.idle),
            seconds(policy.deadlines.total),
            seconds(policy.deadlines.head)
        ),
        (9, 8, 120)
    );
    assert_eq!(
        (
            policy.queue.max_events,
            policy.queue.merge,
            policy.queue.max_bytes
        ),
        (4, false, 1 << 20)
    );
    assert!(
        policy.heartbeat.is_zero(),
        "off in a route beats a value in defaults"
    );
    assert_eq!(
        policy.commit_after, None,
        "off in a route beats a value in defaults"
    );
}

/// The warnings about a configuration, each with its key.
fn said(config: &Config) -> Vec<String> {
    let warnings = config::warnings(config);
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let file = "upstreams: {a: {endpoints: \"http://a\", pool_idle: 5s}}\n\
                admin: {listen: \":9464\"}\n\
                limits: {max_connections: 1000000, max_requests: 1000000}\n\
                defaults: {heartbeat: 2m, deadlines: {idle: 20m, total: 15m}}\n\
                routes: [{name: all, upstream: a}, {name: late, upstream: a, match: {path_prefix: /x}}]\n";
    let mut config = load(Some(file), Overrides::default()).unwrap();
    // As with a limit of 512 open files.
    config.limits.descriptors.limit = Some(512);
    config.limits.descriptors.clients = 214;
    config.limits.descriptors.agents = 213;
    assert_eq!(config.limits.connections(), 214);
    let warnings = said(&config).join("\n");
    for part in [
        "limits.max_connections: 1000000 do not fit the limit of open files (512); at most 214",
        "limits.max_requests: 1000000 do not fit the limit of open files (512); there are at most 213",
        "admin.listen: 0.0.0.0:9464",
        "upstreams.a.pool_idle: 5s",
        "heartbeat: 2m is not below",
        "deadlines.idle 20m can never pass",
        "routes[1]: is never used, because route all before it",
    ] {
        assert!(warnings.contains(part), "{part} is not in\n{warnings}");
    }
}

#[test]
fn a_reply_setting_without_effect_is_a_warning() {
    for (route, expected) in [
        (
            "reply: {status: visible}",
            "reply.status: `visible` has no effect, because no reply of the route (same)",
        ),
        (
            "reply: {as: anthropic, offer: [openai-chat, same], status: visible}",
            "no reply of the route (anthropic, openai-chat, same) has words for it",
        ),
        ("reply: {as: anthropic, offer: ai-sdk, status: visible}", ""),
        ("reply: {as: ndjson, status: visible}", ""),
        ("reply: {as: openai-chat, offer: ag-ui, status: text}", ""),
        ("reply: {as: anthropic}", ""),
        (
            "request: {from: ai-sdk}, reply: {as: ai-sdk, aggregate: true}",
            "reply.aggregate: has no effect",
        ),
        ("request: {from: ai-sdk}, reply: {as: ai-sdk}", ""),
        ("reply: {aggregate: true}", ""),
    ] {
        let file = format!(
            "upstreams: {{a: {{endpoints: \"http://a\"}}}}\nroutes: [{{name: chat, upstream: a, {route}}}]\n"
        );
        let config = load(Some(file.as_str()), Overrides::default()).unwrap();
        let warnings = said(&config);
        let about = warnings.iter().filter(|warning| warning.contains("reply."));
        let about: Vec<&str> = about.map(String::as_str).collect();
        match expected {
            "" => assert!(about.is_empty(), "{route}: {about:?}"),
            expected => {
                assert!(
                    about.len() == 1 && about[0].contains(expected),
                    "{route}: {about:?}"
                );
            }
        }
    }
}

#[test]
fn worst_case_memory_counts_queue_waiting_event_and_arriving_event() {
    let file = "upstreams: {a: {endpoints: \"http://a\"}}\n\
                limits: {max_streams: 10, max_connections: 2, max_requests: 20, max_header_bytes: 8KiB}\n\
                defaults: {max_event_bytes: 2KiB, queue: {max_bytes: 4KiB}, preamble_bytes: 1KiB}\n";
    let config = load(Some(file), Overrides::default()).unwrap();
    assert_eq!(config::queue_bytes(&config), 10 * 4096);
    assert_eq!(
        config::worst_case_bytes(&config),
        10 * (4096 + 2 * 2048 + 1024 + 65_536)
            + 20 * (2 * 8192 + 512 * 100 + 128 * 1024)
            + 2 * (2 * 8192 + 16 * 1024 + 1024 * 1024)
    );
    // A stream is a request.
    let file = file.replace("max_requests: 20", "max_requests: 5");
    let config = load(Some(&file), Overrides::default()).unwrap();
    assert_eq!(config::queue_bytes(&config), 5 * 4096);
    assert_eq!(config.limits.max_detached, 1, "a tenth, but at least one");
    // A request is held while it is rewritten, and so is what it becomes.
    for rewrites in ["request: {from: ai-sdk}", "reply: {aggregate: true}"] {
        let file = file.replace(
            "defaults: {",
            &format!("defaults: {{{rewrites}, max_request_bytes: 1MiB, "),
        );
        let rewriting = load(Some(&file), Overrides::default()).unwrap();
        assert_eq!(
            config::worst_case_bytes(&rewriting) - config::worst_case_bytes(&config),
            5 * 3 * 1024 * 1024
        );
    }
}
