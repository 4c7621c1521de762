//! Why a bridge ends, and with which code (RFC 6455, 7.4.1).

use crate::end::End;

/// Why Weir closes a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A message is no text.
    Binary,
    /// The process drains.
    Drained,
    /// The client answers no pings.
    NoPong,
    /// Text is not UTF-8, or a message is not JSON.
    NotText,
    /// The client takes nothing.
    Stalled,
    /// The bridge was stopped on request.
    Stopped,
    /// A message is larger than the route allows.
    TooLarge,
    /// The client acknowledges nothing.
    Unacknowledged,
    /// The client has begun a message, and sends nothing more of it.
    Unfinished,
    /// The client has sent what is no frame, or none that may come there.
    Violation,
}

impl Why {
    /// Returns the code of the close frame.
    pub(super) const fn code(self) -> u16 {
        match self {
            // Many clients come back after any other code, and whoever stopped the bridge would have to stop it again.
            Self::Stopped => 1000,
            Self::Drained => 1001,
            Self::Violation => 1002,
            Self::Binary => 1003,
            Self::NotText => 1007,
            Self::Unfinished => 1008,
            Self::TooLarge => 1009,
            Self::NoPong => 1011,
            Self::Stalled | Self::Unacknowledged => 1013,
        }
    }

    /// Returns the word for it: in the close frame and in the log.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Binary => "binary_message",
            Self::Drained => "drained",
            Self::NoPong => "no_pong",
            Self::NotText => "invalid_message",
            Self::Stalled | Self::Unacknowledged => "client_stalled",
            Self::Stopped => "stopped",
            Self::TooLarge => "message_too_large",
            Self::Unfinished => "message_timeout",
            Self::Violation => "protocol_error",
        }
    }

    /// Returns the outcome of the bridge.
    pub(super) const fn end(self) -> End {
        match self {
            Self::Drained => End::Drained,
            Self::Stalled | Self::Unacknowledged => End::ClientStalled,
            Self::Stopped => End::Stopped,
            Self::Binary
            | Self::NoPong
            | Self::NotText
            | Self::TooLarge
            | Self::Unfinished
            | Self::Violation => End::ClientGone,
        }
    }

    /// Reports whether the client would take a close frame.
    pub(super) const fn is_told(self) -> bool {
        !matches!(self, Self::Stalled)
    }
}

/// Returns the outcome of a bridge that its client has closed with this code.
pub(super) const fn by_client(code: Option<u16>) -> End {
    match code {
        // Codes from 3000 on belong to applications.
        None | Some(1000 | 1001 | 3000..) => End::Finished,
        Some(_) => End::ClientGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_the_code_that_tells_the_client_what_to_do() {
        for (why, code, end) in [
            (Why::Stopped, 1000, End::Stopped),
            (Why::Drained, 1001, End::Drained),
            (Why::Violation, 1002, End::ClientGone),
            (Why::Binary, 1003, End::ClientGone),
            (Why::NotText, 1007, End::ClientGone),
            (Why::Unfinished, 1008, End::ClientGone),
            (Why::TooLarge, 1009, End::ClientGone),
            (Why::NoPong, 1011, End::ClientGone),
            (Why::Unacknowledged, 1013, End::ClientStalled),
        ] {
            assert_eq!((why.code(), why.end()), (code, end), "{why:?}");
            assert!(why.is_told(), "{why:?}");
            // It must fit into a close frame.
            assert!(why.word().len() <= 123);
        }
        assert!(!Why::Stalled.is_told());
    }

    #[test]
    fn a_client_that_closes_has_finished_unless_it_says_otherwise() {
        for (code, end) in [
            (None, End::Finished),
            (Some(1000), End::Finished),
            (Some(1001), End::Finished),
            (Some(1002), End::ClientGone),
            (Some(1011), End::ClientGone),
            (Some(3000), End::Finished),
            (Some(4999), End::Finished),
        ] {
            assert_eq!(by_client(code), end, "{code:?}");
        }
    }
}
