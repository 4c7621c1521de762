//! Protects the admin listener against web pages: a page from anywhere can make a browser send requests to any address
//! that its machine can reach.
//!
//! - **DNS rebinding.** A page under a name that its owner lets resolve to this listener is of the same origin as the
//!   listener, so it may read every response and send any field. Its requests carry that name in `Host`, which must
//!   therefore be an address, `localhost`, or one of `admin.hosts`.
//! - **Cross-site requests.** A page may send requests to an address, too, without reading the response. A request that
//!   changes something must therefore be one that no page can send. Pages choose many fields of their requests, and can
//!   leave out `Origin`, `Referer` and cookies. They cannot add a field of their own: the browser would first ask with
//!   OPTIONS, which is refused. The listener's own page may stop a stream, and no more: its requests carry such a
//!   field, and an `Origin` that is the same as their `Host`.
//! - **Everyone else.** With `admin.token`, a request that changes something also needs the token.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::config::{Address, Admin};

/// The field that marks a request as a hook's or an operator's, with any value.
pub(crate) const MARK: HeaderName = HeaderName::from_static("weir-hook");

/// Says how the page that sends a request and its target are related.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
                "this may come from a web page, which must not change anything; send `Weir-Hook: 1`, and no Origin, Referer, Cookie, Sec-* or Accept of a page; Weir's own page may stop a stream\n"
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
        let is_allowed = if is_of_page(headers) {
            stops_stream(request) && is_of_own_page(request)
        } else {
            is_marked || is_of_program(headers)
        };
        if !is_allowed {
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

/// Reports whether the request asks to stop one stream.
fn stops_stream<B>(request: &Request<B>) -> bool {
    *request.method() == Method::DELETE && request.uri().path().starts_with("/streams/")
}

/// Reports whether the request is of a page that this listener served. It carries [`MARK`], which a page of another
/// origin cannot send without asking first; its `Origin` names the same host and port as its `Host`; and the browser
/// does not call it cross-site.
fn is_of_own_page<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let host = only(headers, &header::HOST);
    let origin = only(headers, &header::ORIGIN).and_then(|origin| {
        let rest = origin.strip_prefix("http://");
        rest.or_else(|| origin.strip_prefix("https://"))
    });
    let is_same = host.is_some_and(|host| {
        !host.is_empty() && origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    });
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    headers.contains_key(MARK)
        && is_same
        && request.uri().authority().is_none()
        && sites.all(|site| site == "same-origin")
}

/// Returns the value of a field that occurs exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (first, None) = (values.next()?, values.next()) else {
        return None;
    };
    first.to_str().ok()
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
mod tests;
