//! Encryption of what is stored: AES-256-GCM, with a key that the operator names.
//!
//! ```text
//! 01 | id of the key (4) | nonce (12) | ciphertext | tag (16)
//! ```
//!
//! The nonce is random, which is safe for 2^32 entries under one key. The place of an entry (its stream and number) is
//! authenticated too, so that one entry cannot be put in the place of another.

use std::fmt;

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;

/// What sealed bytes begin with.
const SEALED: u8 = 1;
const ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

struct Key {
    /// The beginning of the key's digest.
    id: [u8; ID_LEN],
    key: LessSafeKey,
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Option<Self> {
        let digest = digest::digest(&digest::SHA256, bytes);
        Some(Self {
            id: *digest.as_ref().first_chunk()?,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?),
        })
    }
}

/// Seals and opens what is stored. Without a key, everything is stored as it is.
pub(super) struct Sealer {
    is_on: bool,
    newest: Option<Key>,
    old: Option<Key>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("is_on", &self.is_on)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Creates a sealer. `is_on` without a key that can be used seals nothing: nothing may be stored unsealed then.
    pub(super) fn new(is_on: bool, newest: Option<[u8; 32]>, old: Option<[u8; 32]>) -> Self {
        Self {
            is_on,
            newest: newest.and_then(|bytes| Key::new(&bytes)),
            old: old.and_then(|bytes| Key::new(&bytes)),
        }
    }

    /// Reports whether what is stored must be sealed.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Seals the text for its place, or returns it as it is without encryption. Returns `None` if it cannot be sealed:
    /// the system gives no random bytes.
    pub(super) fn seal(&self, text: Vec<u8>, place: &str) -> Option<Vec<u8>> {
        if !self.is_on {
            return Some(text);
        }
        let key = self.newest.as_ref()?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(HEAD_LEN + text.len() + AES_256_GCM.tag_len());
        sealed.push(SEALED);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        let tag = key
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                sealed.get_mut(HEAD_LEN..)?,
            )
            .ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// Opens what was sealed for a place. Returns `None` if it was not, or if its key is unknown here.
    pub(super) fn open(&self, mut stored: Vec<u8>, place: &str) -> Option<Bytes> {
        let (kind, rest) = stored.split_first()?;
        let (id, rest) = rest.split_first_chunk::<ID_LEN>()?;
        let nonce = *rest.first_chunk::<NONCE_LEN>()?;
        let mut keys = [&self.newest, &self.old].into_iter().flatten();
        let key = keys.find(|key| *kind == SEALED && key.id == *id)?;
        let text = key
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                stored.get_mut(HEAD_LEN..)?,
            )
            .ok()?;
        let end = HEAD_LEN + text.len();
        Some(Bytes::from(stored).slice(HEAD_LEN..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; 32] = [7; 32];
    const NEW: [u8; 32] = [9; 32];

    #[test]
    fn what_is_sealed_opens_with_either_key_and_only_in_its_place() {
        let before = Sealer::new(true, Some(OLD), None);
        let after = Sealer::new(true, Some(NEW), Some(OLD));
        let sealed = before.seal(b"a secret".to_vec(), "id:1").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(sealed, before.seal(b"a secret".to_vec(), "id:1").unwrap());
        assert_eq!(before.open(sealed.clone(), "id:1").unwrap(), "a secret");
        assert_eq!(after.open(sealed.clone(), "id:1").unwrap(), "a secret");
        assert_eq!(after.open(sealed.clone(), "id:2"), None);
        let newer = after.seal(b"a secret".to_vec(), "id:1").unwrap();
        assert_eq!(before.open(newer, "id:1"), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(after.open(changed, "id:1"), None, "byte {at}");
            assert_eq!(
                after.open(sealed[..at].to_vec(), "id:1"),
                None,
                "{at} bytes"
            );
        }
    }

    #[test]
    fn nothing_leaves_unsealed_when_sealing_is_wanted() {
        let plain = Sealer::new(false, None, None);
        assert_eq!(plain.seal(b"a".to_vec(), "").unwrap(), b"a");
        assert!(!plain.is_on());
        let broken = Sealer::new(true, None, None);
        assert_eq!(broken.seal(b"a".to_vec(), ""), None);
        assert!(!format!("{:?}", Sealer::new(true, Some(NEW), None)).contains('9'));
    }
}
