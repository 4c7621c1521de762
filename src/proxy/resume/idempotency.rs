//! Requests that are sent again under the same `Idempotency-Key`: the key, and a fingerprint that tells whether it is
//! the same request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};
use ring::digest::{Context, SHA256};

use super::malformed::Malformed;

const FIELD: &str = "Idempotency-Key";
/// The longest key.
const MAX_BYTES: usize = 255;

/// The key of a request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Reads the key of a request, if it has one.
    ///
    /// # Errors
    /// If it has another form, or is given more than once.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let malformed = |came| Malformed {
            what: FIELD,
            expected: "one key of 1 to 255 visible ASCII characters",
            came,
        };
        let mut given = headers.get_all(FIELD).iter();
        let Some(value) = given.next() else {
            return Ok(None);
        };
        if given.next().is_some() {
            return Err(malformed("several"));
        }
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.ok().map(str::trim_ascii);
        let is_visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(text) = text.filter(is_visible) else {
            return Err(malformed("something else"));
        };
        match text.len() {
            0 => Err(malformed("an empty one")),
            1..=MAX_BYTES => Ok(Some(Self(text.into()))),
            _ => Err(malformed("a longer one")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest of a whole request: its method, its target and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Computes the fingerprint of a request while its body is forwarded.
#[derive(Clone)]
pub(super) struct Fingerprinting(Arc<Mutex<Context>>);

impl Fingerprinting {
    pub(super) fn new(method: &Method, target: &Uri) -> Self {
        let mut digest = Context::new(&SHA256);
        let target = target.path_and_query().map_or("", PathAndQuery::as_str);
        for part in [method.as_str(), target] {
            // With its length, so that no two heads are written alike. The body is all that follows.
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self(Arc::new(Mutex::new(digest)))
    }

    /// Returns a listener for the pieces of the body, as the client sent it.
    pub(super) fn listener(&self) -> impl FnMut(&[u8]) + Send + 'static {
        let digest = self.clone();
        move |piece| digest.lock().update(piece)
    }

    /// Returns the fingerprint of what has been heard. It is that of the request once all of the body has.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let digest = self.lock().clone().finish();
        let digest: &[u8] = digest.as_ref();
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
        }
        Fingerprint(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Context> {
        // A digest of less than the request equals no other, which is harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fingerprinting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinting")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        let longest = "k".repeat(MAX_BYTES);
        let too_long = "k".repeat(MAX_BYTES + 1);
        type Case<'a> = (&'a [&'a [u8]], Result<Option<&'a str>, &'a str>);
        let cases: [Case<'_>; 13] = [
            (&[], Ok(None)),
            (&[b"k"], Ok(Some("k"))),
            (&[b" \"8e03-~\" "], Ok(Some("\"8e03-~\""))),
            (&[longest.as_bytes()], Ok(Some(longest.as_str()))),
            (&[too_long.as_bytes()], Err("a longer one")),
            (&[b""], Err("an empty one")),
            (&[b" "], Err("an empty one")),
            (&[b"a b"], Err("something else")),
            (&[b"a\tb"], Err("something else")),
            (&["\u{e9}".as_bytes()], Err("something else")),
            (&[b"\xff"], Err("something else")),
            (&[b"k", b"k"], Err("several")),
            (&[b"k", b"l"], Err("several")),
        ];
        for (values, want) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append("idempotency-key", value);
            }
            let got = IdempotencyKey::of(&headers);
            let got = got
                .as_ref()
                .map(|key| key.as_ref().map(IdempotencyKey::as_str));
            assert_eq!(got.map_err(|malformed| malformed.came), want, "{values:?}");
        }
    }

    #[test]
    fn only_the_same_request_has_the_same_fingerprint() {
        let of = |method: &Method, target: &str, body: &[u8], cut: usize| {
            let computed = Fingerprinting::new(method, &target.parse().unwrap());
            body.chunks(cut).for_each(computed.listener());
            // That it was asked for does not change it.
            assert_eq!(computed.fingerprint(), computed.fingerprint());
            computed.fingerprint()
        };
        let post = Method::POST;
        let one = of(&post, "/a?b", b"{\"x\":1}", 1);
        for cut in 2..9 {
            assert_eq!(of(&post, "/a?b", b"{\"x\":1}", cut), one);
        }
        // The host and the scheme are not part of it: the same request may come over HTTP/1.1 and HTTP/2.
        assert_eq!(of(&post, "https://h/a?b", b"{\"x\":1}", 3), one);
        for other in [
            of(&Method::PUT, "/a?b", b"{\"x\":1}", 9),
            of(&post, "/a?c", b"{\"x\":1}", 9),
            of(&post, "/a", b"{\"x\":1}", 9),
            of(&post, "/a?b{", b"\"x\":1}", 9),
            of(&post, "/a?b", b"{\"x\":2}", 9),
            of(&post, "/a?b", b"{\"x\":1} ", 9),
            of(&post, "/a?b", b"", 9),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn the_digest_is_sha_256_and_can_be_stored() {
        let computed = Fingerprinting::new(&Method::GET, &Uri::from_static("/"));
        let mut listener = computed.listener();
        listener(b"ab");
        listener(b"c");
        let (three, one) = (3_u64.to_be_bytes(), 1_u64.to_be_bytes());
        let request: [&[u8]; 4] = [&three, b"GET", &one, b"/abc"];
        let want = ring::digest::digest(&SHA256, &request.concat());
        let want: &[u8] = want.as_ref();
        assert_eq!(computed.fingerprint().as_bytes(), want);
        let stored = Fingerprint(*computed.fingerprint().as_bytes());
        assert_eq!(stored, computed.fingerprint());
        assert_eq!(format!("{computed:?}"), "Fingerprinting");
    }
}
