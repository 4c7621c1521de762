//! The admin listener and web pages: what a browser can be made to send neither reads nor changes anything.
use crate::support::{Client, Upstream, Weir};

const PLAIN: &str =
    "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\ndrain: { delay: 0s, limit: 1s }\n";

/// Sends a request with exactly these fields. Returns the status and the rest of the response.
fn asked(weir: &Weir, line: &str, fields: &[&str]) -> (u16, String) {
    let mut client = Client::connect(&weir.admin);
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    client.send(format!(
        "{line} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n"
    ));
    let text = client.closed();
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{text}")), text)
}

const ADDRESS: &str = "host: 10.0.0.5:9464";
const KUBELET: [&str; 3] = [ADDRESS, "user-agent: kube-lifecycle/1.34", "accept: */*"];
const FIREFOX: &str =
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

#[test]
fn no_page_reads_or_drains() {
    let upstream = Upstream::start();
    let yaml = format!("{PLAIN}admin: {{ hosts: [weir.agents.svc] }}\n");
    let weir = Weir::start(&yaml, upstream.address());
    let rebound = [
        "host: evil.example:9464",
        FIREFOX,
        "origin: http://evil.example:9464",
    ];
    for line in [
        "GET /",
        "GET /streams",
        "GET /config",
        "GET /metrics",
        "GET /drain?wait=1ms",
    ] {
        let (status, text) = asked(&weir, line, &rebound);
        assert!(
            status == 403 && text.contains("admin.hosts"),
            "{line}: {text}"
        );
    }
    let image = "accept: image/avif,image/webp,*/*;q=0.8";
    let page = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    for (line, fields) in [
        ("GET /drain?wait=1ms", &[ADDRESS, FIREFOX, image][..]),
        ("GET /drain?wait=1ms", &[ADDRESS, FIREFOX, page]),
        // `fetch` without anything that a page can leave out.
        (
            "GET /drain?wait=1ms",
            &[ADDRESS, FIREFOX, "accept: */*", "accept-language: en-US"],
        ),
        ("GET /drain?wait=1ms", &[ADDRESS, "accept: */*"]),
        (
            "GET /drain?wait=1ms",
            &["host: localhost", "referer: http://evil.example/"],
        ),
        (
            "POST /drain",
            &[ADDRESS, FIREFOX, page, "origin: null", "content-length: 0"],
        ),
        (
            "POST /drain",
            &[ADDRESS, "sec-fetch-site: same-origin", "content-length: 0"],
        ),
        (
            "OPTIONS /drain",
            &[ADDRESS, FIREFOX, "origin: http://evil.example"],
        ),
    ] {
        let (status, text) = asked(&weir, line, fields);
        assert!(
            status == 403 && text.contains("Weir-Hook: 1"),
            "{line} {fields:?}: {text}"
        );
        assert!(
            !text.to_ascii_lowercase().contains("access-control"),
            "{text}"
        );
    }
    assert_eq!(
        asked(&weir, "GET /readyz", &rebound).0,
        200,
        "no drain has begun"
    );
    let told = weir.log_line(|line| line["message"] == "an admin request was refused");
    assert!(
        told["host"] == "evil.example:9464"
            && told["why"].as_str().unwrap().contains("admin.hosts")
    );

    for host in [
        "host: weir.agents.svc:9464",
        "host: localhost",
        "host: [::1]:9464",
        "host: 10.0.0.5",
    ] {
        assert_eq!(asked(&weir, "GET /metrics", &[host]).0, 200, "{host}");
    }
    let (status, text) = asked(&weir, "GET /drain?wait=5s", &KUBELET);
    assert!(status == 200 && text.ends_with("drained\n"), "{text}");
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn the_own_page_may_stop_a_stream_and_no_more() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let page = [
        ADDRESS,
        FIREFOX,
        "accept: */*",
        "origin: http://10.0.0.5:9464",
        "sec-fetch-site: same-origin",
        "weir-hook: stop",
    ];
    let unknown = "DELETE /streams/00000000000000000000000000000000";
    let (status, text) = asked(&weir, unknown, &page);
    assert!(status == 404 && text.contains("no live stream"), "{text}");
    let (status, text) = asked(&weir, "DELETE /streams/1", &page);
    assert!(status == 404 && text.contains("32 hexadecimal"), "{text}");
    for line in ["POST /drain", "GET /drain?wait=1ms", "POST /streams/1"] {
        let (status, text) = asked(&weir, line, &page);
        assert!(status == 403, "{line}: {text}");
    }
    let other: Vec<&str> = page
        .into_iter()
        .map(|field| match field {
            "origin: http://10.0.0.5:9464" => "origin: http://10.0.0.5:8080",
            field => field,
        })
        .collect();
    assert_eq!(
        asked(&weir, unknown, &other).0,
        403,
        "a page of another port"
    );
    let (status, text) = asked(&weir, "GET /streams/1", &[ADDRESS]);
    assert!(status == 405 && text.contains("allow: DELETE"), "{text}");
}

#[test]
fn a_drain_needs_the_token_if_there_is_one() {
    let upstream = Upstream::start();
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s3cret\n").unwrap();
    let source = format!("file:{}", token.path().display());
    let yaml = format!("{PLAIN}admin: {{ token: \"{source}\" }}\n");
    let weir = Weir::start(&yaml, upstream.address());
    for given in [
        None,
        Some("authorization: Bearer other"),
        Some("authorization: Basic s3cret"),
    ] {
        let fields: Vec<&str> = KUBELET.into_iter().chain(given).collect();
        let (status, text) = asked(&weir, "GET /drain?wait=1ms", &fields);
        assert!(
            status == 401 && text.contains("www-authenticate: Bearer"),
            "{text}"
        );
    }
    let (_, config) = asked(&weir, "GET /config", &[ADDRESS]);
    assert!(
        config.contains(&source) && !config.contains("s3cret"),
        "{config}"
    );

    let drain = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["drain", "--admin", &weir.admin, "--wait", "5s"])
            .args(more)
            .output()
            .unwrap()
    };
    let refused = drain(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("401"),
        "{refused:?}"
    );
    assert_eq!(asked(&weir, "GET /readyz", &[ADDRESS]).0, 200);
    let drained = drain(&["--token", &source]);
    assert_eq!(
        (drained.status.code(), &*drained.stdout),
        (Some(0), &b"drained\n"[..])
    );
    assert_eq!(weir.exit_code(), Some(0));
}
