//! Stamps: marks of fixed width in an event's text that say when it was sent and its number in the stream.
//!
//! Proxies may join the text of neighbouring events, so stamps are counted, not events. Proxies may also cut anywhere,
//! so the finder keeps the beginning of a stamp whose end has not arrived yet.

use std::sync::LazyLock;

use memchr::memmem;

/// Two bytes that appear nowhere else in an event, and that JSON does not escape.
const MARK: &[u8; 2] = b"@~";
const SEQUENCE: usize = 8;
const TIME: usize = 16;
pub const LEN: usize = MARK.len() + SEQUENCE + TIME;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts from 0 without gaps, so that a gap means a loss.
    pub sequence: u32,
    /// CLOCK_MONOTONIC nanoseconds, taken directly before the write.
    pub sent: u64,
}

impl Stamp {
    /// Overwrites the first `LEN` bytes of `place`.
    pub fn write(self, place: &mut [u8]) {
        place[..MARK.len()].copy_from_slice(MARK);
        hex(
            &mut place[MARK.len()..MARK.len() + SEQUENCE],
            self.sequence.into(),
        );
        hex(&mut place[MARK.len() + SEQUENCE..LEN], self.sent);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let sequence = u32::try_from(number(&bytes[MARK.len()..MARK.len() + SEQUENCE])?).ok()?;
        let sent = number(&bytes[MARK.len() + SEQUENCE..LEN])?;
        Some(Self { sequence, sent })
    }
}

fn hex(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Finds the stamps of one stream.
#[derive(Debug, Default)]
pub struct Finder {
    /// The beginning of a stamp that was cut off.
    carry: [u8; LEN],
    carried: usize,
}

impl Finder {
    /// Calls `found` for each stamp that ends in `bytes`, or with `None` if what follows a mark is not a stamp.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Option<Stamp>)) {
        static FINDER: LazyLock<memmem::Finder<'static>> =
            LazyLock::new(|| memmem::Finder::new(MARK));
        while self.carried > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            if self.carried == 1 && *first != MARK[1] {
                // This is not a mark. The byte may begin one, so the search below looks at it again.
                self.carried = 0;
                break;
            }
            bytes = rest;
            self.carry[self.carried] = *first;
            self.carried += 1;
            if self.carried == LEN {
                self.carried = 0;
                found(Stamp::read(&self.carry));
            }
        }
        while let Some(at) = FINDER.find(bytes) {
            let Some(whole) = bytes.get(at..at + LEN) else {
                self.keep(&bytes[at..]);
                return;
            };
            found(Stamp::read(whole));
            bytes = &bytes[at + LEN..];
        }
        if bytes.last() == Some(&MARK[0]) {
            self.keep(&MARK[..1]);
        }
    }

    fn keep(&mut self, beginning: &[u8]) {
        self.carry[..beginning.len()].copy_from_slice(beginning);
        self.carried = beginning.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stamps: &[Stamp]) -> Vec<u8> {
        let mut text = b"data: {@ ~".to_vec();
        for stamp in stamps {
            let at = text.len() + 1;
            text.extend_from_slice(&[b'@'; LEN + 1]);
            stamp.write(&mut text[at..]);
            text.extend_from_slice(b" and more");
        }
        text
    }

    #[test]
    fn stamps_are_found_whatever_the_cuts() {
        let stamps = [
            Stamp {
                sequence: 0,
                sent: 1,
            },
            Stamp {
                sequence: 0xffff_ffff,
                sent: u64::MAX,
            },
            Stamp {
                sequence: 7,
                sent: 123_456_789_012_345_678,
            },
        ];
        let text = text(&stamps);
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut finder = Finder::default();
                let mut seen = Vec::new();
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    finder.feed(part, |stamp| seen.push(stamp.unwrap()));
                }
                assert_eq!(seen, stamps, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn single_bytes_are_enough() {
        let stamps = [Stamp {
            sequence: 3,
            sent: 4,
        }; 5];
        let mut finder = Finder::default();
        let mut seen = 0;
        for byte in text(&stamps) {
            finder.feed(&[byte], |stamp| {
                assert_eq!(stamp, Some(stamps[0]));
                seen += 1;
            });
        }
        assert_eq!(seen, stamps.len());
    }

    #[test]
    fn a_mark_without_a_stamp_is_told() {
        let mut seen = Vec::new();
        Finder::default().feed(b"@~this is not a hexadecimal number", |stamp| {
            seen.push(stamp);
        });
        assert_eq!(seen, [None]);
    }
}
