//! Takes credentials out of heads before they are written.

use super::Fields;

/// What is written instead of a credential.
pub const REDACTED: &str = "[redacted]";

/// Names of headers that hold credentials, in lower case. So do those that end like [`FIELD_ENDS`].
const FIELDS: [&str; 9] = [
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "x-functions-key",
    "x-goog-api-key",
];
const FIELD_ENDS: [&str; 7] = [
    "-api-key",
    "-authorization",
    "-cookie",
    "-password",
    "-secret",
    "-subscription-key",
    "-token",
];

/// Names of query parameters that hold credentials, in lower case and with `_` for `-`. So do those that end like
/// [`PARAMETER_ENDS`].
const PARAMETERS: [&str; 15] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "code",
    "credential",
    "jwt",
    "key",
    "password",
    "secret",
    "session",
    "sig",
    "signature",
    "token",
];
const PARAMETER_ENDS: [&str; 6] = [
    "_credential",
    "_key",
    "_password",
    "_secret",
    "_signature",
    "_token",
];

/// Headers whose value is a URL, which may have such a parameter.
const URLS: [&str; 4] = ["content-location", "location", "origin", "referer"];

/// What is taken out.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Nothing is.
    pub is_off: bool,
    /// Further names of headers and parameters.
    pub names: Vec<String>,
}

impl Redaction {
    /// Returns the headers without credentials.
    pub fn fields(&self, fields: &Fields) -> Fields {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), self.value(name, value)))
            .collect()
    }

    fn value(&self, name: &str, value: &str) -> String {
        let lower = name.to_ascii_lowercase();
        if self.is_off {
            value.to_owned()
        } else if FIELDS.contains(&lower.as_str())
            || FIELD_ENDS.iter().any(|end| lower.ends_with(end))
            || self.is_named(name)
        {
            REDACTED.to_owned()
        } else if URLS.contains(&lower.as_str()) {
            self.url(value)
        } else {
            value.to_owned()
        }
    }

    /// Returns a URL, or the target of a request, without credentials: neither those before the host nor those in the
    /// query.
    pub fn url(&self, url: &str) -> String {
        if self.is_off {
            return url.to_owned();
        }
        let (place, fragment) = match url.split_once('#') {
            Some((place, fragment)) => (place, Some(fragment)),
            None => (url, None),
        };
        let (place, query) = match place.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (place, None),
        };
        let mut out = without_user(place);
        if let Some(query) = query {
            out.push('?');
            out.push_str(&self.query(query));
        }
        if let Some(fragment) = fragment {
            out.push('#');
            // Some services answer with `#access_token=...`.
            out.push_str(&self.query(fragment));
        }
        out
    }

    fn query(&self, query: &str) -> String {
        let pairs: Vec<String> = query.split('&').map(|pair| self.pair(pair)).collect();
        pairs.join("&")
    }

    fn pair(&self, pair: &str) -> String {
        let Some((name, _)) = pair.split_once('=') else {
            return pair.to_owned();
        };
        let plain = decoded(name);
        let word = plain.to_ascii_lowercase().replace('-', "_");
        let is_secret = PARAMETERS.contains(&word.as_str())
            || PARAMETER_ENDS.iter().any(|end| word.ends_with(end))
            || self.is_named(&plain);
        if is_secret {
            format!("{name}={REDACTED}")
        } else {
            pair.to_owned()
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|one| one.eq_ignore_ascii_case(name))
    }
}

/// Returns a URL without the user and the password before its host.
fn without_user(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else {
        return place.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{REDACTED}@{host}{path}"),
        None => place.to_owned(),
    }
}

/// Undoes the percent-encoding of a name.
fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_stays_in_the_headers() {
        let secret = "s3cret";
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-API-Key",
            "api-key",
            "x-goog-api-key",
            "X-Amz-Security-Token",
            "Ocp-Apim-Subscription-Key",
            "X-My-Own",
        ] {
            let fields = vec![(name.to_owned(), secret.to_owned())];
            let redaction = Redaction {
                names: vec!["x-my-own".into()],
                ..Redaction::default()
            };
            let kept = redaction.fields(&fields);
            assert_eq!(kept, [(name.to_owned(), REDACTED.to_owned())]);
            let off = Redaction {
                is_off: true,
                ..redaction
            };
            assert_eq!(off.fields(&fields), fields);
        }
        for name in [
            "content-type",
            "x-ratelimit-remaining-tokens",
            "x-request-id",
        ] {
            let fields = vec![(name.to_owned(), "1".to_owned())];
            assert_eq!(Redaction::default().fields(&fields), fields);
        }
    }

    #[test]
    fn no_credential_stays_in_a_url() {
        let table = [
            (
                "/v1/m:stream?alt=sse&key=s3cret",
                "/v1/m:stream?alt=sse&key=[redacted]",
            ),
            (
                "/a?API-Key=s3cret&token=s3cret&b",
                "/a?API-Key=[redacted]&token=[redacted]&b",
            ),
            ("/a?%6Bey=s3cret", "/a?%6Bey=[redacted]"),
            (
                "/a?X-Amz-Signature=s3cret&keys=2",
                "/a?X-Amz-Signature=[redacted]&keys=2",
            ),
            (
                "https://me:s3cret@host/a?b=c",
                "https://[redacted]@host/a?b=c",
            ),
            (
                "/done#access_token=s3cret&x=1",
                "/done#access_token=[redacted]&x=1",
            ),
            ("/plain/key=1/%", "/plain/key=1/%"),
        ];
        for (url, expected) in table {
            assert_eq!(Redaction::default().url(url), expected);
        }
        let fields = vec![("Location".to_owned(), "/b?sig=s3cret".to_owned())];
        assert_eq!(
            Redaction::default().fields(&fields)[0].1,
            "/b?sig=[redacted]"
        );
    }
}
