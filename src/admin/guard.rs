//! Protects the admin listener against web pages: a page from anywhere can make a browser send requests to any address
//! that its machine can reach.
//!
//! - **DNS rebinding.** A page under a name that its owner lets resolve to this listener is of the same origin as the
//!   listener, so it may read every response and send any field. Its requests carry that name in `Host`, which must
//!   therefore be an address, `localhost`, or one of `admin.hosts`.
//! - **Cross-site requests.** A page may send requests to an address, too, without reading the response. A request that
//!   changes something must therefore be one that no page can send. Pages choose many fields of their requests, and can
//!   leave out `Origin`, `Referer` and cookies. They cannot add a field of their own: the browser would first ask with
//!   OPTIONS, which is refused.
//! - **Everyone else.** With `admin.token`, a request that changes something also needs the token.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::config::{Address, Admin};

/// The field that marks a request as a hook's or an operator's, with any value.
pub(crate) const MARK: HeaderName = HeaderName::from_static("weir-hook");

/// Paths that any `Host` may ask: they tell one word, and load balancers send names of their own choice.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The rules of one listener.
#[derive(Debug)]
pub(super) struct Guard {
    hosts: Vec<String>,
    token: Option<HeaderValue>,
    /// Browsers cannot reach a Unix socket.
    is_unix: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Host` may be the name of someone else's page.
    Host,
    /// A page can send it.
    Page,
    /// The token is missing or another one.
    Token,
}

impl Refusal {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Page => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    /// Returns what is wrong and what to do.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "expected Host to be an address, localhost or a name in admin.hosts; add the name there if it is yours\n"
            }
            Self::Page => {
                "this may come from a web page, which must not change anything; send `Weir-Hook: 1`, and no Origin, Referer, Cookie, Sec-* or Accept of a page\n"
            }
            Self::Token => "expected `Authorization: Bearer` with the token of admin.token\n",
        }
    }
}

impl Guard {
    pub(super) fn new(admin: &Admin) -> Self {
        Self {
            hosts: admin.hosts.clone(),
            token: admin.token.as_ref().map(|token| token.value.clone()),
            is_unix: matches!(admin.listen, Some(Address::Unix(_))),
        }
    }

    /// Checks a request before anything is done for it.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let (path, headers) = (request.uri().path(), request.headers());
        if !(self.is_unix || PROBES.contains(&path) || self.knows_host(request)) {
            return Err(Refusal::Host);
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && path != "/drain" {
            return Ok(());
        }
        let has_token = self.token.as_ref().map(|token| is_token(headers, token));
        let is_marked = headers.contains_key(MARK) || has_token == Some(true);
        if is_of_page(headers) || !(is_marked || is_of_program(headers)) {
            return Err(Refusal::Page);
        }
        if has_token == Some(false) {
            return Err(Refusal::Token);
        }
        Ok(())
    }

    /// Reports whether all that the request says about its host is an address, `localhost` or a known name. A request
    /// that says nothing is not from a browser.
    fn knows_host<B>(&self, request: &Request<B>) -> bool {
        let target = request.uri().authority().map(|it| it.as_str());
        let fields = request.headers().get_all(header::HOST).iter();
        let mut hosts = fields.map(HeaderValue::to_str);
        target.is_none_or(|host| self.knows(host))
            && hosts.all(|host| host.is_ok_and(|host| self.knows(host)))
    }

    fn knows(&self, host: &str) -> bool {
        match name(host) {
            Some(Named::Address) => true,
            Some(Named::Name(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                let known = self.hosts.iter().map(String::as_str);
                (known.chain(["localhost"])).any(|known| known.eq_ignore_ascii_case(name))
            }
            None => false,
        }
    }
}

/// What a host is.
enum Named<'a> {
    Address,
    Name(&'a str),
}

/// Returns what the host in `host[:port]` is, or `None` if that is neither.
fn name(host: &str) -> Option<Named<'_>> {
    let (named, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (Named::Address, port)
        }
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, port) = host.split_at_checked(end)?;
            let is_address = name.parse::<Ipv4Addr>().is_ok();
            let named = if is_address {
                Named::Address
            } else {
                Named::Name(name)
            };
            (named, port)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && (port.is_empty() || port.starts_with(':'))).then_some(named)
}

/// Reports whether the request has a field that only browsers send.
fn is_of_page(headers: &HeaderMap) -> bool {
    let is_told = [header::COOKIE, header::ORIGIN, header::REFERER]
        .iter()
        .any(|name| headers.contains_key(name));
    // Sec-Fetch-*, Sec-CH-*, Sec-Purpose and others.
    let is_sec = |name: &HeaderName| name.as_str().starts_with("sec-");
    // Of a link, a frame, a form or an image.
    let is_shown = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("html").to_ascii_lowercase();
        text.contains("html") || text.contains("image/")
    };
    is_told || headers.keys().any(is_sec) || headers.get_all(header::ACCEPT).iter().any(is_shown)
}

/// Reports whether the request says that it is of a program other than a browser, as the kubelet and curl do. All
/// browsers send their own `User-Agent` and `Accept-Language`, and no page can remove them.
fn is_of_program(headers: &HeaderMap) -> bool {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let is_browser = |agent: &str| {
        let agent = agent.trim_start().to_ascii_lowercase();
        agent.is_empty() || agent.contains("mozilla") || agent.contains("opera")
    };
    agent.is_some_and(|agent| !is_browser(agent)) && !headers.contains_key(header::ACCEPT_LANGUAGE)
}

/// Reports whether the request has exactly this bearer token.
fn is_token(headers: &HeaderMap, token: &HeaderValue) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return false;
    };
    let Some((scheme, given)) = given.as_bytes().split_at_checked(b"Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && is_equal(given.trim_ascii(), token.as_bytes())
}

/// Compares in a time that depends only on the lengths.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
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
            &[("origin", "http://10.0.0.5:9464")],
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
}
