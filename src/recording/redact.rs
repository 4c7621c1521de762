//! Redacts credentials in heads before they are written.

use super::Fields;

/// What is written instead of a credential.
pub const REDACTED: &str = "[redacted]";

/// Words that mark a header or a parameter as a credential, at any place in its name. Names are cut into words at
/// punctuation and before capitals.
const WORDS: [&str; 14] = [
    "apikey",
    "assertion",
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "cookie2",
    "oidc",
    "pass",
    "passphrase",
    "passwd",
    "pwd",
    "samlresponse",
    "session",
];
/// Endings of words that do the same, for example `accesstoken`.
const WORD_ENDS: [&str; 7] = [
    "apikey",
    "cookie",
    "jwt",
    "password",
    "secret",
    "signature",
    "token",
];
/// Words that mark a credential as the last word of a name only.
const LAST_WORDS: [&str; 5] = ["credential", "credentials", "key", "sid", "sig"];
/// Words before `key` with which the key is not a credential, for example `idempotency-key`.
const BEFORE_OTHER_KEYS: [&str; 4] = ["cache", "idempotency", "surrogate", "websocket"];
/// Parameters that are credentials, although headers of the same name are not.
const PARAMETERS: [&str; 1] = ["code"];
/// The header in which browsers send credentials for a WebSocket, because they cannot set any other.
const PROTOCOLS: &str = "sec-websocket-protocol";

/// How deep URLs within URLs are searched.
const NESTED: u8 = 2;

/// What is redacted.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Nothing is redacted.
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
        if self.is_off {
            return value.to_owned();
        }
        let lower = name.to_ascii_lowercase();
        // What a server asks for, and what it allows, is no credential.
        let is_of_rules = lower.starts_with("access-control-") || lower.ends_with("-authenticate");
        let is_secret = lower == PROTOCOLS || is_credential(name) || has_form_of_credential(value);
        if self.is_named(name) || (is_secret && !is_of_rules) {
            REDACTED.to_owned()
        } else {
            self.text(value, NESTED)
        }
    }

    /// Returns a URL, or the target of a request, without credentials: neither those before the host nor those in the
    /// query.
    pub fn url(&self, url: &str) -> String {
        if self.is_off {
            url.to_owned()
        } else {
            self.text(url, NESTED)
        }
    }

    /// Returns a text without the credentials of the URLs and the parameters in it. `nested`: how deep parameters are
    /// looked into that are such texts themselves.
    fn text(&self, text: &str, nested: u8) -> String {
        let text = without_users(text);
        let mut out = String::with_capacity(text.len());
        for part in text.split_inclusive(is_separator) {
            let end = part.strip_suffix(is_separator).unwrap_or(part);
            let (pair, separator) = part.split_at(end.len());
            match pair.split_once('=') {
                Some((name, value)) if self.is_secret(name, value, nested) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(REDACTED);
                }
                _ => out.push_str(pair),
            }
            out.push_str(separator);
        }
        out
    }

    /// Reports whether `name=value` is a parameter with a credential.
    fn is_secret(&self, name: &str, value: &str, nested: u8) -> bool {
        // A part of a path is no parameter.
        if name.contains('/') || value.is_empty() {
            return false;
        }
        let (name, value) = (decoded(name), decoded(value));
        let holds_one = || {
            let deeper = nested.checked_sub(1);
            deeper.is_some_and(|nested| self.text(&value, nested) != value)
        };
        is_credential(&name)
            || PARAMETERS.iter().any(|one| name.eq_ignore_ascii_case(one))
            || self.is_named(&name)
            || has_form_of_credential(&value)
            || holds_one()
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|one| one.eq_ignore_ascii_case(name))
    }
}

/// Reports whether a header or a parameter of this name holds a credential.
fn is_credential(name: &str) -> bool {
    let words = words(name);
    let is_word = |word: &String| {
        WORDS.contains(&word.as_str()) || WORD_ENDS.iter().any(|end| word.ends_with(end))
    };
    if words.iter().any(is_word) {
        return true;
    }
    let mut from_last = words.iter().rev().map(String::as_str);
    let (last, before) = (from_last.next(), from_last.next());
    let is_other_key =
        last == Some("key") && before.is_some_and(|word| BEFORE_OTHER_KEYS.contains(&word));
    last.is_some_and(|last| LAST_WORDS.contains(&last)) && !is_other_key
}

/// Cuts a name into its words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_small = false;
    for letter in name.chars() {
        let begins = was_small && letter.is_ascii_uppercase();
        if (begins || !letter.is_ascii_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_ascii_alphanumeric() {
            word.push(letter.to_ascii_lowercase());
        }
        was_small = letter.is_ascii_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Reports whether a value is a credential whatever its name: one with its scheme, a JSON Web Token, or a key as the
/// services of models issue them.
fn has_form_of_credential(value: &str) -> bool {
    let value = value.trim_start();
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|scheme| {
        ["basic", "bearer"]
            .iter()
            .any(|one| scheme.eq_ignore_ascii_case(one))
    });
    let is_token = value.starts_with("eyJ") && value.matches('.').count() >= 2;
    has_scheme || is_token || value.starts_with("sk-")
}

/// Reports whether a parameter ends before this character.
const fn is_separator(one: char) -> bool {
    matches!(
        one,
        '?' | '#' | '&' | ';' | ',' | ' ' | '<' | '>' | '"' | '\'' | '(' | ')'
    )
}

/// Returns a text without the user and the password before the host of each URL.
fn without_users(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("//") {
        out.push_str(before);
        out.push_str("//");
        let end = after
            .find(|one: char| one == '/' || is_separator(one))
            .unwrap_or(after.len());
        let (authority, path) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(REDACTED);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = path;
    }
    out.push_str(rest);
    out
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
            "X-Functions-Key",
            "X-Auth-Key",
            "X_API_KEY",
            "X-ApiKey",
            "Token",
            "Password",
            "X-Session-Id",
            "X-Hub-Signature-256",
            "X-Amzn-Oidc-Data",
            "X-Goog-IAP-JWT-Assertion",
            "X-Amz-Credential",
            "Sec-WebSocket-Protocol",
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
            "idempotency-key",
            "sec-websocket-key",
            "access-control-allow-credentials",
            "www-authenticate",
            "author",
            "passenger",
        ] {
            let fields = vec![(name.to_owned(), "1".to_owned())];
            assert_eq!(Redaction::default().fields(&fields), fields);
        }
    }

    #[test]
    fn a_credential_is_known_by_its_form_too() {
        let kept = |name: &str, value: &str| {
            let fields = vec![(name.to_owned(), value.to_owned())];
            Redaction::default().fields(&fields)[0].1.clone()
        };
        for value in [
            "Bearer s3cret",
            "bAsIc czNjcmV0",
            "eyJhbGciOi.eyJzdWIi.s3cret",
            "sk-s3cret",
        ] {
            assert_eq!(kept("X-Forwarded-For-Agent", value), REDACTED, "{value}");
        }
        for (name, value) in [
            (
                "WWW-Authenticate",
                "Bearer realm=\"a\", error=\"invalid_token\"",
            ),
            ("Access-Control-Allow-Headers", "authorization, x-api-key"),
            ("Content-Type", "text/event-stream; charset=utf-8"),
            ("Permissions-Policy", "publickey-credentials-get=(self)"),
            ("Server-Timing", "auth;dur=50"),
        ] {
            assert_eq!(kept(name, value), value, "{name}");
        }
        assert_eq!(
            kept(
                "Link",
                "<https://me:s3cret@h/?token=s3cret>; rel=next, <//me:s3cret@h>"
            ),
            "<https://[redacted]@h/?token=[redacted]>; rel=next, <//[redacted]@h>"
        );
        assert_eq!(
            kept("X-Forwarded-Uri", "/a?key=s3cret"),
            "/a?key=[redacted]"
        );
        assert_eq!(
            kept("Forwarded", "for=1;secret=s3cret"),
            "for=1;secret=[redacted]"
        );
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
            (
                "/a?accessToken=s3cret;clientSecret=s3cret&pwd=s3cret&x=sk-s3cret",
                "/a?accessToken=[redacted];clientSecret=[redacted]&pwd=[redacted]&x=[redacted]",
            ),
            ("//me:s3cret@host/a", "//[redacted]@host/a"),
            (
                "/login?a=b&next=https%3A%2F%2Fme%3As3cret%40h%2F",
                "/login?a=b&next=[redacted]",
            ),
            (
                "/login?next=%2Fb%3Fto%3D%252Fc%253Ftoken%253Ds3cret&a=%2Fb%3Fc%3Dd",
                "/login?next=[redacted]&a=%2Fb%3Fc%3Dd",
            ),
            ("/plain/key=1/%", "/plain/key=1/%"),
            (
                "/a?code=&author=b&max_tokens=2",
                "/a?code=&author=b&max_tokens=2",
            ),
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
