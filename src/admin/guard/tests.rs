//! Tests of the rules: what a page can send, and what it cannot.

use super::*;
use crate::config::{Secret, SecretSource};

fn admin(hosts: &[&str], token: Option<&'static str>) -> Admin {
    Admin {
        listen: Some(Address::Tcp(([0, 0, 0, 0], 9464).into())),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        token: token.map(|token| Secret {
            source: SecretSource::Env("TOKEN".to_owned()),
            value: HeaderValue::from_static(token),
        }),
    }
}

fn asked(admin: &Admin, line: &str, fields: &[(&str, &str)]) -> Result<(), Refusal> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Guard::new(admin).check(&request.body(()).unwrap())
}

#[test]
fn only_addresses_localhost_and_known_names_are_hosts() {
    let admin = admin(&["weir.agents.svc"], None);
    let host = |host: &str| asked(&admin, "GET /streams", &[("host", host)]);
    for known in [
        "localhost",
        "LOCALHOST:9464",
        "127.0.0.1:9464",
        "10.0.0.5",
        "[::1]:9464",
        "[fd00::7]",
        "weir.agents.svc:9464",
        "Weir.Agents.SVC.",
    ] {
        assert_eq!(host(known), Ok(()), "{known}");
    }
    for unknown in [
        "evil.example",
        "weir",
        "evil.localhost",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.5@evil.example",
        "10.0.0.5:9464@evil.example",
        "10.0.0.5:evil.example",
        "10.0.0.5, evil.example",
        "[::1].evil.example",
        "[evil.example]",
        "[::1",
        "2130706433",
        "weir.agents.svc.evil.example",
        ":9464",
        "",
    ] {
        assert_eq!(host(unknown), Err(Refusal::Host), "{unknown}");
    }
    let both = [("host", "10.0.0.5"), ("host", "evil.example")];
    assert_eq!(asked(&admin, "GET /", &both), Err(Refusal::Host));
    let whole = "GET http://evil.example/metrics";
    assert_eq!(asked(&admin, whole, &both[..1]), Err(Refusal::Host));
    assert_eq!(
        asked(&admin, "GET /streams", &[]),
        Ok(()),
        "HTTP/1.0 of a load balancer"
    );
}

#[test]
fn every_path_but_the_probes_is_for_known_hosts() {
    let admin = admin(&[], None);
    let evil = [("host", "evil.example"), ("weir-hook", "1")];
    for line in [
        "GET /",
        "GET /metrics",
        "GET /streams",
        "GET /config",
        "GET /drain?wait=1s",
        "POST /drain",
        "GET /other",
        "POST /streams",
    ] {
        assert_eq!(asked(&admin, line, &evil), Err(Refusal::Host), "{line}");
    }
    for line in ["GET /healthz", "HEAD /readyz"] {
        assert_eq!(asked(&admin, line, &evil), Ok(()), "{line}");
    }
    let unix = Admin {
        listen: Some(Address::Unix("/run/weir.sock".into())),
        ..admin
    };
    assert_eq!(asked(&unix, "GET /streams", &evil), Ok(()));
}

const KUBELET: [(&str, &str); 3] = [
    ("host", "10.0.0.5:9464"),
    ("user-agent", "kube-lifecycle/1.34"),
    ("accept", "*/*"),
];
const CHANGES: [&str; 4] = [
    "GET /drain?wait=1ms",
    "POST /drain",
    "DELETE /streams/x",
    "OPTIONS /drain",
];

#[test]
fn hooks_and_programs_may_change_something() {
    let admin = admin(&[], None);
    let curl = [("host", "localhost"), ("user-agent", "curl/8.5.0")];
    let bare = [("host", "10.0.0.5"), ("weir-hook", "1")];
    for line in CHANGES {
        assert_eq!(asked(&admin, line, &KUBELET), Ok(()), "{line}");
        assert_eq!(asked(&admin, line, &curl), Ok(()), "{line}");
        assert_eq!(asked(&admin, line, &bare), Ok(()), "{line}");
    }
}

#[test]
fn no_page_changes_anything_whatever_its_browser_leaves_out() {
    let admin = admin(&[], None);
    let signs: [&[(&str, &str)]; 11] = [
        &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
        &[("accept", "image/avif,image/webp,*/*;q=0.8")],
        &[("accept", "*/*"), ("accept", "IMAGE/PNG")],
        &[("origin", "null")],
        &[("origin", "http://10.0.0.5:9465")],
        &[("referer", "http://evil.example/")],
        &[("cookie", "a=b")],
        &[("sec-fetch-mode", "no-cors")],
        &[("sec-ch-ua", "\"Chromium\"")],
        &[("sec-purpose", "prefetch")],
        &[("sec-gpc", "1")],
    ];
    for line in CHANGES {
        for sign in signs {
            let whole: Vec<_> = KUBELET.iter().chain(sign).copied().collect();
            assert_eq!(asked(&admin, line, &whole), Err(Refusal::Page), "{sign:?}");
            let marked: Vec<_> = whole.iter().copied().chain([("weir-hook", "1")]).collect();
            assert_eq!(asked(&admin, line, &marked), Err(Refusal::Page), "{sign:?}");
        }
        // What is left of `fetch(url, {mode: "no-cors", referrerPolicy: "no-referrer", credentials: "omit"})`.
        let host = ("host", "10.0.0.5:9464");
        let agent = (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        );
        let language = ("accept-language", "en-US,en;q=0.5");
        let any = ("accept", "*/*");
        for left in [
            &[host, agent, language, any][..],
            &[host, agent, any],
            &[host, ("user-agent", "MyApp/1.0"), language, any],
            &[host, ("user-agent", "Opera/9.80"), any],
            &[host, ("user-agent", " "), any],
            &[host, any],
            &[host],
        ] {
            assert_eq!(asked(&admin, line, left), Err(Refusal::Page), "{left:?}");
        }
    }
    // A link may lead a browser to the page of live streams.
    let link = [
        ("host", "localhost"),
        ("accept", "text/html"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(asked(&admin, "GET /", &link), Ok(()));
}

#[test]
fn the_own_page_may_stop_a_stream_and_no_more() {
    let page = [
        ("host", "10.0.0.5:9464"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("accept", "*/*"),
        ("accept-language", "en-US"),
        ("origin", "http://10.0.0.5:9464"),
        ("referer", "http://10.0.0.5:9464/"),
        ("sec-fetch-site", "same-origin"),
        ("weir-hook", "stop"),
    ];
    let open = admin(&[], None);
    let stop = "DELETE /streams/x";
    assert_eq!(asked(&open, stop, &page), Ok(()));
    for line in [
        "POST /drain",
        "GET /drain?wait=1s",
        "DELETE /drain",
        "POST /streams/x",
    ] {
        assert_eq!(asked(&open, line, &page), Err(Refusal::Page), "{line}");
    }
    let changed = |name: &str, value: Option<&'static str>| {
        let fields: Vec<_> = page
            .into_iter()
            .filter_map(|(known, old)| {
                let value = if known == name { value } else { Some(old) };
                Some((known, value?))
            })
            .collect();
        asked(&open, stop, &fields)
    };
    for (name, value) in [
        ("weir-hook", None),
        ("origin", None),
        ("origin", Some("null")),
        ("origin", Some("http://10.0.0.5")),
        ("origin", Some("http://10.0.0.5:9465")),
        ("origin", Some("http://evil.example")),
        ("sec-fetch-site", Some("same-site")),
        ("sec-fetch-site", Some("cross-site")),
        ("sec-fetch-site", Some("none")),
    ] {
        assert_eq!(
            changed(name, value),
            Err(Refusal::Page),
            "{name}: {value:?}"
        );
    }
    // Browsers send it to addresses that they trust only.
    assert_eq!(changed("sec-fetch-site", None), Ok(()));
    assert_eq!(
        changed("host", Some("evil.example")),
        Err(Refusal::Host),
        "a name that resolves to the listener"
    );
    let twice: Vec<_> = page
        .into_iter()
        .chain([("origin", "http://10.0.0.5:9464")])
        .collect();
    assert_eq!(asked(&open, stop, &twice), Err(Refusal::Page));
    let closed = admin(&[], Some("s3cret"));
    assert_eq!(asked(&closed, stop, &page), Err(Refusal::Token));
    let token = [("authorization", "Bearer s3cret")];
    let whole: Vec<_> = page.into_iter().chain(token).collect();
    assert_eq!(asked(&closed, stop, &whole), Ok(()));
}

#[test]
fn a_token_is_needed_to_change_something_if_there_is_one() {
    let admin = admin(&[], Some("s3cret"));
    let with = |field: &str| {
        let fields: Vec<_> = KUBELET
            .iter()
            .copied()
            .chain([("authorization", field)])
            .collect();
        asked(&admin, "POST /drain", &fields)
    };
    assert_eq!(with("Bearer s3cret"), Ok(()));
    assert_eq!(with("bearer  s3cret"), Ok(()));
    for wrong in [
        "Bearer s3cre",
        "Bearer s3crets",
        "Bearer ",
        "Basic s3cret",
        "s3cret",
    ] {
        assert_eq!(with(wrong), Err(Refusal::Token), "{wrong}");
    }
    assert_eq!(
        asked(&admin, "GET /drain?wait=1s", &KUBELET),
        Err(Refusal::Token)
    );
    let twice = [
        ("weir-hook", "1"),
        ("authorization", "Bearer s3cret"),
        ("authorization", "Bearer s3cret"),
    ];
    assert_eq!(asked(&admin, "POST /drain", &twice), Err(Refusal::Token));
    assert_eq!(
        asked(&admin, "GET /streams", &[]),
        Ok(()),
        "reading needs none"
    );
    let alone = [("authorization", "Bearer s3cret")];
    assert_eq!(asked(&admin, "POST /drain", &alone), Ok(()));
}
