//! The state of an exchange, and which of the bytes read belong to the body.

use http::HeaderMap;

use super::head;
use crate::upstream::error::{Broken, Malformed};
use crate::wire::chunked::Chunked;

#[derive(Debug)]
pub(super) enum State {
    /// A request may be sent.
    Idle,
    /// A request was sent, at least in part, and the response head is awaited.
    Head,
    Chunked(Chunked),
    /// This many bytes of the body are missing.
    Exact(u64),
    /// The body ends with the connection.
    Close,
    /// The body is complete.
    Over(Option<Box<HeaderMap>>),
    /// The body broke. The error is reported once.
    Broken(Option<Broken>),
}

/// What the bytes of one read contained.
pub(super) struct Undone {
    /// Some bytes of the body.
    pub(super) any: bool,
    /// Bytes beyond the end of the body.
    pub(super) surplus: bool,
}

impl State {
    const fn broken(malformed: Malformed) -> Self {
        Self::Broken(Some(Broken::Malformed(malformed)))
    }

    /// Passes the body's part of what one read brought to `sink`. Empty `bytes` are the end of the connection. Returns
    /// `None` if it ends too early.
    pub(super) fn undo(&mut self, bytes: &mut [u8], sink: &mut dyn FnMut(&[u8])) -> Option<Undone> {
        let all = bytes.len();
        let (body, used) = match self {
            Self::Close => (0..all, all),
            _ if bytes.is_empty() => return None,
            Self::Exact(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(all);
                *left -= here as u64;
                (0..here, here)
            }
            Self::Chunked(chunked) => {
                let undone = chunked.undo(bytes);
                match undone.broken {
                    Some(malformed) => *self = Self::broken(malformed.into()),
                    None if chunked.is_done() => {
                        *self = match head::trailers(chunked.trailers()) {
                            Ok(trailers) => Self::Over(trailers.map(Box::new)),
                            Err(malformed) => Self::broken(malformed),
                        };
                    }
                    None => {}
                }
                (undone.body, undone.used)
            }
            _ => (0..0, 0),
        };
        if matches!(self, Self::Exact(0)) || (all == 0 && matches!(self, Self::Close)) {
            *self = Self::Over(None);
        }
        let body = bytes.get(body).unwrap_or_default();
        let (any, surplus) = (!body.is_empty(), used < all);
        if any {
            sink(body);
        }
        Some(Undone { any, surplus })
    }
}
