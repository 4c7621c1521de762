//! Signs records as Standard Webhooks says: HMAC-SHA256 over `id.timestamp.body`, with a shared secret.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::hmac;
use thiserror::Error;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// The sizes of a secret that the standard allows, in bytes.
const SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a secret cannot be used. The messages do not repeat it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unusable {
    /// The secret is not base64.
    #[error("what follows `whsec_` is not base64")]
    Base64,
    /// The secret does not begin with the prefix.
    #[error("a signing secret is `whsec_` and 24 to 64 random bytes in base64")]
    Prefix,
    /// The secret is too short or too long.
    #[error("a signing secret has 24 to 64 bytes, this one has {0}")]
    Size(usize),
}

/// The key that records are signed with.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Parses a secret: `whsec_` and the key in base64.
    ///
    /// # Errors
    /// If it has another form or size.
    pub fn parse(secret: &str) -> Result<Self, Unusable> {
        let text = secret.strip_prefix(PREFIX).ok_or(Unusable::Prefix)?;
        let key = BASE64_STANDARD.decode(text).map_err(|_| Unusable::Base64)?;
        if !SIZES.contains(&key.len()) {
            return Err(Unusable::Size(key.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// Returns the value of `webhook-signature`. `timestamp` is that of the attempt, in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signed = hmac::Context::with_key(&self.0);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The bytes 0 to 31.
    pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    /// The bytes 64 to 127.
    const LONG: &str = "whsec_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+fw==";

    #[test]
    fn signatures_are_those_of_other_programs() {
        // Computed with Python: base64(hmac.new(key, b"id.timestamp." + body, sha256).digest()).
        for (secret, id, timestamp, body, want) in [
            (
                SECRET,
                "msg_1",
                1_700_000_000,
                &b"{\"outcome\":\"completed\"}"[..],
                "v1,HLWzJrGM4ypLj+4YSlhQXmuObm1/xqt5gmId34F5RSg=",
            ),
            (
                LONG,
                "msg_2",
                0,
                b"\xff\x00\n",
                "v1,tWhozQ8BCV8v0PLdqayO/xggoVN4XV3592b8jXO0Fp8=",
            ),
        ] {
            let key = Key::parse(secret).unwrap();
            assert_eq!(key.sign(id, timestamp, body), want, "{id}");
        }
    }

    #[test]
    fn a_secret_has_one_form_and_is_not_repeated() {
        let long = format!("whsec_{}", "AAAA".repeat(22));
        let short = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=";
        for (secret, want) in [
            ("", Unusable::Prefix),
            (
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                Unusable::Prefix,
            ),
            ("WHSEC_AAEC", Unusable::Prefix),
            ("whsec_canary!", Unusable::Base64),
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
                Unusable::Base64,
            ),
            ("whsec_", Unusable::Size(0)),
            (short, Unusable::Size(23)),
            (long.as_str(), Unusable::Size(66)),
        ] {
            let refused = Key::parse(secret).unwrap_err();
            assert_eq!(refused, want, "{secret}");
            assert!(!refused.to_string().contains("canary"));
        }
        let key = Key::parse(SECRET).unwrap();
        assert_eq!(format!("{key:?}"), "Key");
    }
}
