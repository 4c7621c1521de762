//! Who started a stream, and whether the one who comes back is the same: a keyed digest of a request's credentials.
//!
//! By default these are the headers in [`HEADERS`] and the client's certificate, but no cookies. A browser sends all
//! cookies of a host, and many of them change between two requests: those of analytics at each one, and the sessions
//! of several frameworks whenever they are renewed. Bound to all of them, nobody could come back. Which cookie names
//! the user is known only to the operator, who says so with `resume.bind`. Until then a caller with nothing but cookies
//! has no credentials: the id of its stream, which cannot be guessed, is enough to come back, and nothing else is.
//!
//! With `resume.bind`, what it names counts and nothing else does. That is also for tokens that are renewed while a
//! stream runs, and for schemes of `Authorization` that sign each request.

use std::borrow::Cow;
use std::fmt;
use std::hint::black_box;

use http::{HeaderMap, header};
use ring::hmac;

use crate::config::Bind;

/// The headers that carry a credential by convention. `Proxy-Authorization` is missing: it is meant for one hop.
const HEADERS: [&str; 4] = ["api-key", "authorization", "x-api-key", "x-goog-api-key"];
/// Schemes of `Authorization` that say nothing without what follows them.
const BARE_SCHEMES: [&[u8]; 2] = [b"basic", b"bearer"];

/// The key of the digests. Instances that share streams must share it.
#[derive(Clone)]
pub(super) struct CallerKey(hmac::Key);

impl CallerKey {
    /// Creates a key.
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Returns the caller with the credentials of a request. They are a set: order, repetition, the white space around
    /// them and the case of a scheme do not matter. `certificate` is the digest of the one that the connection has
    /// shown.
    pub(super) fn digest(
        &self,
        headers: &HeaderMap,
        bind: &Bind,
        certificate: Option<&[u8; 32]>,
    ) -> Caller {
        let mut found = credentials(headers, bind);
        if *bind == Bind::Auto {
            found.extend(certificate.map(|certificate| Credential {
                kind: Kind::Certificate,
                name: "",
                value: Cow::Borrowed(certificate.as_slice()),
            }));
        }
        if found.is_empty() {
            return Caller::NOBODY;
        }
        found.sort_unstable();
        found.dedup();
        let mut digest = hmac::Context::with_key(&self.0);
        for credential in &found {
            credential.write(&mut digest);
        }
        let tag = digest.sign();
        let tag: &[u8] = tag.as_ref();
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(tag) {
            *to = *from;
        }
        Caller(bytes)
    }
}

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerKey")
    }
}

/// The digest of a caller's credentials. Two are compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct Caller([u8; 32]);

impl Caller {
    /// A caller without credentials. No digest has this value.
    const NOBODY: Self = Self([0; 32]);

    /// Returns the digest that was stored elsewhere.
    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reports whether the caller has shown any credentials.
    pub(super) fn has_credentials(&self) -> bool {
        *self != Self::NOBODY
    }

    /// Reports whether `asking`, who knows the id of a stream of this caller, may have it. Whoever has shown no
    /// credentials relies on the id alone.
    pub(super) fn admits(&self, asking: &Self) -> bool {
        let is_same = self == asking;
        is_same || !self.has_credentials()
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        let bytes = self.0.iter().zip(&other.0);
        let differing = bytes.fold(0_u8, |differing, (own, other)| differing | (own ^ other));
        // The compiler must not see that one difference is enough.
        black_box(differing) == 0
    }
}

impl Eq for Caller {}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

/// Reports whether a request itself has credentials, and not only the connection that it came over: a proxy in front of
/// Weir shows the same certificate for all its clients.
pub(super) fn shows_credentials(headers: &HeaderMap, bind: &Bind) -> bool {
    !credentials(headers, bind).is_empty()
}

/// Returns what counts in the head of a request.
fn credentials<'a>(headers: &'a HeaderMap, bind: &'a Bind) -> Vec<Credential<'a>> {
    match bind {
        Bind::Auto => {
            let names = HEADERS.into_iter();
            names.flat_map(|name| of_header(headers, name)).collect()
        }
        Bind::Named {
            headers: names,
            cookies,
        } => {
            let names = names.iter();
            let headers_of = names.flat_map(|name| of_header(headers, name.as_str()));
            let cookies_of = cookies.iter().flat_map(|name| of_cookie(headers, name));
            headers_of.chain(cookies_of).collect()
        }
    }
}

/// One credential of a request.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Credential<'a> {
    kind: Kind,
    name: &'a str,
    value: Cow<'a, [u8]>,
}

/// Where a credential comes from. The numbers are part of the digests, which instances of other versions may share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Certificate = 1,
    Cookie = 2,
    Header = 3,
}

impl Credential<'_> {
    /// Each part has its length before it, so that no two sets of credentials are written alike.
    fn write(&self, to: &mut hmac::Context) {
        to.update(&[self.kind as u8]);
        for part in [self.name.as_bytes(), &self.value] {
            to.update(&(part.len() as u64).to_be_bytes());
            to.update(part);
        }
    }
}

fn of_header<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = Credential<'a>> {
    headers.get_all(name).iter().filter_map(move |value| {
        let value = value.as_bytes().trim_ascii();
        let value = if name == "authorization" {
            authorization(value)?
        } else {
            Cow::Borrowed(value)
        };
        let kind = Kind::Header;
        (!value.is_empty()).then_some(Credential { kind, name, value })
    })
}

/// Returns a value of `Authorization` with its scheme in lower case, and one space after it. Returns `None` for a
/// scheme alone, which some clients send if they have no key.
fn authorization(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let space = value.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let Some(space) = space else {
        let is_bare = |scheme: &&[u8]| value.eq_ignore_ascii_case(scheme);
        // Without a scheme it is a key, in which case matters.
        return (!BARE_SCHEMES.iter().any(is_bare)).then_some(Cow::Borrowed(value));
    };
    let (scheme, rest) = value.split_at_checked(space)?;
    let mut plain = scheme.to_ascii_lowercase();
    plain.push(b' ');
    plain.extend_from_slice(rest.trim_ascii());
    Some(Cow::Owned(plain))
}

/// Returns the cookies of this name. HTTP/2 may have them in several headers.
fn of_cookie<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = Credential<'a>> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = pair.split_at_checked(equals)?;
        let value = value.get(1..)?.trim_ascii();
        let is_it = key.trim_ascii() == name.as_bytes() && !value.is_empty();
        is_it.then_some(Credential {
            kind: Kind::Cookie,
            name,
            value: Cow::Borrowed(value),
        })
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn caller(bind: &Bind, fields: Fields<'_>) -> Caller {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        CallerKey::new(&[7; 32]).digest(&headers, bind, None)
    }

    fn named(headers: &[&'static str], cookies: &[&str]) -> Bind {
        let headers = headers.iter().copied();
        Bind::Named {
            headers: headers.map(HeaderName::from_static).collect(),
            cookies: cookies.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn the_form_of_the_credentials_does_not_matter() {
        let bind = named(&["authorization", "x-user"], &["sid", "b"]);
        let cases: [(&Bind, Fields<'_>, Fields<'_>); 7] = [
            (
                &Bind::Auto,
                &[("authorization", "Bearer a")],
                &[("authorization", "bearer  a ")],
            ),
            (
                &Bind::Auto,
                &[("x-api-key", "a"), ("authorization", "Basic b")],
                &[("authorization", "BASIC\tb"), ("x-api-key", " a")],
            ),
            (
                &Bind::Auto,
                &[("x-api-key", "a"), ("x-api-key", "b")],
                &[("x-api-key", "b"), ("x-api-key", "a"), ("x-api-key", "b")],
            ),
            (
                &Bind::Auto,
                &[("api-key", "a"), ("cookie", "sid=1"), ("x-other", "1")],
                &[("api-key", "a"), ("cookie", "sid=2"), ("x-other", "2")],
            ),
            (
                &bind,
                &[("cookie", "_ga=1; sid=s; b=c")],
                &[("cookie", "b=c;sid = s"), ("cookie", "_ga=2")],
            ),
            (
                &bind,
                &[("x-user", "u"), ("x-api-key", "a")],
                &[("x-user", "u"), ("x-api-key", "b")],
            ),
            (
                &named(&["x-user", "authorization"], &["b", "sid"]),
                &[("x-user", "u"), ("cookie", "b=c; sid=s")],
                &[("cookie", "sid=s; b=c"), ("x-user", "u")],
            ),
        ];
        for (bind, one, same) in cases {
            let one = caller(bind, one);
            assert!(one.has_credentials(), "{same:?}");
            assert_eq!(one.as_bytes(), caller(bind, same).as_bytes(), "{same:?}");
        }
    }

    #[test]
    fn other_credentials_are_another_caller() {
        let bind = named(&["a", "ab"], &["a", "ab"]);
        let sets: [(&Bind, Fields<'_>); 18] = [
            (&Bind::Auto, &[]),
            (&Bind::Auto, &[("authorization", "Bearer a")]),
            (&Bind::Auto, &[("authorization", "Bearer A")]),
            (&Bind::Auto, &[("authorization", "Basic a")]),
            (&Bind::Auto, &[("authorization", "abc")]),
            (&Bind::Auto, &[("authorization", "ABC")]),
            (&Bind::Auto, &[("x-api-key", "abc")]),
            (&Bind::Auto, &[("api-key", "abc")]),
            (&Bind::Auto, &[("x-goog-api-key", "abc")]),
            (&Bind::Auto, &[("api-key", "abc"), ("x-api-key", "abc")]),
            (&bind, &[("a", "bc")]),
            (&bind, &[("ab", "c")]),
            (&bind, &[("cookie", "a=bc")]),
            (&bind, &[("cookie", "ab=c")]),
            (&bind, &[("cookie", "ab=c=")]),
            (&bind, &[("a", "b"), ("ab", "c")]),
            (&bind, &[("a", "b"), ("cookie", "ab=c")]),
            (&bind, &[("a", "b"), ("a", "c")]),
        ];
        let callers: Vec<_> = sets.iter().map(|set| (caller(set.0, set.1), set)).collect();
        for (at, (one, set)) in callers.iter().enumerate() {
            for (other, other_set) in &callers[at + 1..] {
                assert!(one != other, "{set:?} {other_set:?}");
            }
        }
    }

    #[test]
    fn who_shows_nothing_relies_on_the_id() {
        let bind = named(&["x-user"], &["sid"]);
        let empty: [(&Bind, Fields<'_>); 8] = [
            (&Bind::Auto, &[("cookie", "sid=1")]),
            (&Bind::Auto, &[("proxy-authorization", "Basic a")]),
            (&Bind::Auto, &[("authorization", "")]),
            (&Bind::Auto, &[("authorization", "Bearer ")]),
            (&Bind::Auto, &[("x-api-key", " ")]),
            (&bind, &[("authorization", "Bearer a")]),
            (&bind, &[("cookie", "SID=1; sid=; sid; xsid=1")]),
            (&bind, &[("x-user", "")]),
        ];
        let somebody = caller(&Bind::Auto, &[("x-api-key", "a")]);
        for (bind, fields) in empty {
            let nobody = caller(bind, fields);
            assert!(!nobody.has_credentials(), "{fields:?}");
            assert!(nobody.admits(&somebody) && nobody.admits(&nobody));
            assert!(!somebody.admits(&nobody));
        }
        assert!(somebody.admits(&somebody));
    }

    #[test]
    fn the_certificate_counts_by_default() {
        let key = CallerKey::new(&[1; 32]);
        let headers = HeaderMap::new();
        let with = |bind: &Bind, certificate| key.digest(&headers, bind, Some(&[certificate; 32]));
        assert!(with(&Bind::Auto, 1) == with(&Bind::Auto, 1));
        assert!(with(&Bind::Auto, 1) != with(&Bind::Auto, 2));
        assert!(with(&Bind::Auto, 1).has_credentials());
        assert!(!with(&named(&["x-user"], &[]), 1).has_credentials());
        assert!(!shows_credentials(&headers, &Bind::Auto));
        let mut headers = headers.clone();
        headers.insert("x-user", HeaderValue::from_static("u"));
        assert!(!shows_credentials(&headers, &Bind::Auto));
        assert!(shows_credentials(&headers, &named(&["x-user"], &[])));
    }

    #[test]
    fn the_digest_has_a_key_and_shows_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("canary"));
        let digest = |key: &CallerKey| key.digest(&headers, &Bind::Auto, None);
        let (one, other) = (CallerKey::new(&[5; 32]), CallerKey::new(&[6; 32]));
        assert!(digest(&one) == digest(&one.clone()));
        assert!(digest(&one) != digest(&other));
        let stored = Caller::from_bytes(*digest(&one).as_bytes());
        assert!(stored == digest(&one));
        assert_eq!(format!("{one:?} {stored:?}"), "CallerKey Caller");
    }

    #[test]
    fn each_byte_is_compared() {
        for at in 0..32 {
            let mut bytes = [5; 32];
            bytes[at] ^= 0x80;
            assert!(Caller([5; 32]) != Caller(bytes), "{at}");
        }
        assert!(Caller([5; 32]) == Caller([5; 32]));
    }
}
