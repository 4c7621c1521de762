//! Rejects ambiguous requests (request smuggling): those whose host or length servers could interpret differently.
//!
//! The HTTP parser accepts some messages that different servers interpret differently. Weir rejects them, so that
//! every server behind it interprets a forwarded request in the same way.

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request};

use super::reject::Refused;
use super::upgrade_request;
use crate::metrics::Refusal;

fn bad(message: &'static str) -> Refused {
    Refused {
        closes: true,
        ..Refused::new(StatusCode::BAD_REQUEST, Refusal::BadRequest, message)
    }
}

/// Checks a request. Refuses one that is ambiguous, or that asks for an unknown expectation, or for a tunnel other than
/// a WebSocket.
///
/// Whatever ends the connection comes first: what else an ambiguous request asks for must not keep it open.
pub(super) fn check(parts: &request::Parts) -> Result<(), Refused> {
    transfer_coding(parts)?;
    method(parts)?;
    target(parts)?;
    host(parts)?;
    expectation(parts)?;
    upgrade(parts)
}

/// Checks the request target (RFC 9112, 3.2): a path or an absolute `http` URI, or `*` for OPTIONS.
fn target(parts: &request::Parts) -> Result<(), Refused> {
    let path = parts.uri.path();
    let is_path = path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS);
    let is_http = match (parts.uri.scheme(), parts.uri.authority()) {
        (Some(scheme), Some(_)) => *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS,
        // An authority without a scheme is only for CONNECT.
        (None, authority) => authority.is_none(),
        // HTTP/2, with a Host header instead of an authority.
        (Some(_), None) => parts.version == Version::HTTP_2,
    };
    if is_path && is_http {
        Ok(())
    } else {
        Err(bad("expected a path or an http URI as the target"))
    }
}

/// Returns the elements of a list. Empty elements are ignored (RFC 9110, 5.6.1.2).
fn elements(list: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let elements = list.as_bytes().split(|byte| *byte == b',');
    elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Checks `Expect` (RFC 9110, 10.1.1): an unknown expectation gets a 417. If it were forwarded, a server behind Weir
/// might know it, and respond before the body.
fn expectation(parts: &request::Parts) -> Result<(), Refused> {
    let mut expected = parts.headers.get_all(header::EXPECT).iter();
    let is_known = |word: &[u8]| word.eq_ignore_ascii_case(b"100-continue");
    if expected.all(|value| elements(value).all(is_known)) {
        return Ok(());
    }
    Err(Refused {
        closes: true,
        ..Refused::new(
            StatusCode::EXPECTATION_FAILED,
            Refusal::ExpectationFailed,
            "expected `Expect: 100-continue` or no expectation",
        )
    })
}

/// Refuses CONNECT. Its target is no path, so it is refused before the target is checked.
fn method(parts: &request::Parts) -> Result<(), Refused> {
    if parts.method != Method::CONNECT {
        return Ok(());
    }
    // The bytes that follow are meant for another server.
    Err(Refused {
        closes: true,
        ..Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Refusal::MethodNotAllowed,
            "CONNECT is not served here",
        )
    })
}

/// Refuses upgrades other than those that were recognized. An offer of h2c may be ignored (RFC 9110, 7.8).
fn upgrade(parts: &request::Parts) -> Result<(), Refused> {
    if upgrade_request::is_asked(parts) {
        return Ok(());
    }
    if upgrade_request::is_named_alone(&parts.headers) {
        return Err(bad(
            "expected an upgrade to a WebSocket to be a GET of HTTP/1.1 without a body, with `Connection: Upgrade` and one Sec-WebSocket-Key",
        ));
    }
    let mut upgrades = parts.headers.get_all(header::UPGRADE).iter();
    let is_offer =
        |value: &HeaderValue| elements(value).all(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
    if upgrades.any(|value| !is_offer(value)) {
        return Err(upgrade_request::not_supported(
            "of upgrades, only those to a WebSocket alone are supported",
        ));
    }
    Ok(())
}

/// Checks `Transfer-Encoding` (RFC 9112, 6.1): an unknown coding gets a 501. Only the chunked transfer coding is
/// known here.
fn transfer_coding(parts: &request::Parts) -> Result<(), Refused> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if parts.version != Version::HTTP_11 {
        return Err(bad("Transfer-Encoding is of HTTP/1.1 only"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Refused {
            closes: true,
            ..Refused::new(
                StatusCode::NOT_IMPLEMENTED,
                Refusal::TransferCodingNotSupported,
                "expected `Transfer-Encoding: chunked` and no other transfer coding",
            )
        });
    }
    Ok(())
}

/// Checks that there is exactly one valid Host (RFC 9112, 3.2), and that it does not contradict `:authority`
/// (RFC 9113, 8.3.1).
fn host(parts: &request::Parts) -> Result<(), Refused> {
    let host = single_host(&parts.headers)?;
    let authority = parts.uri.authority();
    match (host, authority) {
        (None, None) if parts.version < Version::HTTP_11 => Ok(()),
        (None, _) if parts.version == Version::HTTP_11 => Err(no_host()),
        (None, None) => Err(no_host()),
        (None, Some(authority)) => valid(authority.as_str().as_bytes()),
        (Some(host), None) => valid(host.as_bytes()),
        (Some(host), Some(authority)) => {
            valid(host.as_bytes())?;
            valid(authority.as_str().as_bytes())?;
            let same = host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes());
            // In HTTP/1.1 the target overrides Host (RFC 9112, 3.2.2), and only its authority is forwarded.
            if same || parts.version <= Version::HTTP_11 {
                Ok(())
            } else {
                Err(bad("Host and :authority name different hosts"))
            }
        }
    }
}

fn no_host() -> Refused {
    bad("expected a Host field, none came")
}

fn single_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Refused> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("expected one Host field, several came"));
    }
    Ok(host)
}

/// Checks that a host is `host[:port]`, without user information, and not a list.
fn valid(host: &[u8]) -> Result<(), Refused> {
    let refused = || bad("expected Host to be a name or address, and maybe a port");
    if host.iter().any(|byte| matches!(byte, b'@' | b',')) {
        return Err(refused());
    }
    let authority = Authority::try_from(host).map_err(|_| refused())?;
    let name = authority.host();
    let port = authority.as_str().get(name.len()..).unwrap_or_default();
    let is_port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.is_empty() || (digits && text.parse::<u16>().is_ok())
    };
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    if name.is_empty() || !port_fits {
        return Err(refused());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn status(version: Version, target: &str, fields: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn one_host_is_needed_and_valid() {
        let http1 = |hosts: &[&str]| {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            status(Version::HTTP_11, "/", &fields)
        };
        for host in [
            "h",
            "h:80",
            "h:",
            "127.0.0.1:8080",
            "[::1]:80",
            "[::1]",
            "a_b.test",
            "A.TEST",
        ] {
            assert_eq!(http1(&[host]), None, "{host}");
        }
        for host in [
            "", "a b", "u@h", "a/b", "a,b", "h:80x", "h:+80", "h:70000", "h:80:80", ":80", "[::1",
        ] {
            assert_eq!(http1(&[host]), Some(400), "{host:?}");
        }
        assert_eq!(http1(&[]), Some(400));
        assert_eq!(http1(&["a", "a"]), Some(400));
        assert_eq!(status(Version::HTTP_10, "/", &[]), None);
    }

    #[test]
    fn the_target_may_name_the_host() {
        let target = "http://a.test/x";
        assert_eq!(
            status(Version::HTTP_11, target, &[("host", "b.test")]),
            None
        );
        assert_eq!(status(Version::HTTP_2, target, &[]), None);
        assert_eq!(status(Version::HTTP_2, target, &[("host", "A.test")]), None);
        assert_eq!(
            status(Version::HTTP_2, target, &[("host", "b.test")]),
            Some(400)
        );
        assert_eq!(status(Version::HTTP_2, "/x", &[]), Some(400));
    }

    #[test]
    fn an_ambiguous_request_ends_its_connection_whatever_else_it_asks_for() {
        let upgrade = [("upgrade", "websocket"), ("expect", "x")];
        let ambiguous: [&[(&str, &str)]; 4] = [
            &[("host", "a"), ("host", "b")],
            &[("host", "a b")],
            &[],
            &[("host", "h"), ("transfer-encoding", "gzip")],
        ];
        for fields in ambiguous {
            for more in [&upgrade[..], &upgrade[..1], &upgrade[1..]] {
                let mut request = Request::builder().uri("/");
                for (name, value) in fields.iter().chain(more) {
                    request = request.header(*name, *value);
                }
                let (parts, ()) = request.body(()).unwrap().into_parts();
                let refusal = check(&parts).unwrap_err();
                assert!(refusal.closes, "{fields:?} {more:?}: {}", refusal.status);
                assert!(refusal.status != StatusCode::EXPECTATION_FAILED);
            }
        }
    }

    #[test]
    fn only_an_offer_of_h2c_is_ignored_of_upgrades_that_were_not_recognized() {
        let upgraded = |upgrade| {
            status(
                Version::HTTP_11,
                "/",
                &[
                    ("host", "h"),
                    ("connection", "upgrade"),
                    ("upgrade", upgrade),
                ],
            )
        };
        assert_eq!(upgraded("h2c"), None);
        assert_eq!(upgraded("websocket"), Some(400), "without a key");
        for upgrade in ["foo", "websocket, foo", "h2c, websocket", "TLS/1.2"] {
            assert_eq!(upgraded(upgrade), Some(501), "{upgrade}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        let coded = |version, codings: &[&str]| {
            let mut fields = vec![("host", "h")];
            fields.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            status(version, "/", &fields)
        };
        assert_eq!(coded(Version::HTTP_11, &["chunked"]), None);
        assert_eq!(coded(Version::HTTP_11, &["Chunked"]), None);
        for codings in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["x"],
        ] {
            assert_eq!(coded(Version::HTTP_11, codings), Some(501), "{codings:?}");
        }
        assert_eq!(coded(Version::HTTP_10, &["chunked"]), Some(400));
    }
}
