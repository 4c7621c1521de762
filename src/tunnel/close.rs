//! Close frames (RFC 6455, 5.5.1) of Weir's own, and what their codes mean.

use crate::end::End;
use crate::wire::websocket::Sender;

/// The peer did what it came for.
const NORMAL: u16 = 1000;
/// Going away: a client that needs more comes back.
const GOING_AWAY: u16 = 1001;
/// The peer has sent what is no frame.
const PROTOCOL_ERROR: u16 = 1002;
/// The other end has failed.
const INTERNAL_ERROR: u16 = 1011;

/// Why Weir closes a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The agent takes nothing for longer than `client_stall`.
    AgentStalled,
    /// The client has sent what is no frame.
    Violation,
    /// The stream ends for this reason.
    Ended(End),
}

impl Why {
    /// Returns the reason in the log and in the metrics.
    pub(super) const fn end(self) -> End {
        match self {
            Self::AgentStalled => End::UpstreamError,
            Self::Violation => End::ClientGone,
            Self::Ended(end) => end,
        }
    }

    /// Returns the word for it: the same as the reason, where there is one. It is also the reason in close frames.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::AgentStalled => "upstream_stalled",
            Self::Violation => "protocol_error",
            Self::Ended(end) => end.as_str(),
        }
    }

    /// Returns the close code for the client.
    pub(super) const fn for_client(self) -> u16 {
        match self {
            Self::AgentStalled => INTERNAL_ERROR,
            Self::Violation => PROTOCOL_ERROR,
            // Many clients come back after any other code, and whoever stopped the stream would have to stop it again.
            Self::Ended(End::Stopped) => NORMAL,
            Self::Ended(_) => GOING_AWAY,
        }
    }

    /// Returns the close code for the agent.
    pub(super) const fn for_agent(self) -> u16 {
        match self {
            Self::Ended(End::Stopped) => NORMAL,
            _ => GOING_AWAY,
        }
    }
}

/// Returns a close frame as `sender` sends it.
pub(super) fn frame(sender: Sender, code: u16, reason: &'static str) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    let payload = [high, low].into_iter().chain(reason.bytes());
    // Reasons are words, far below the 123 bytes that there is room for.
    let length = u8::try_from(2 + reason.len()).unwrap_or(2) & 0x7f;
    match sender {
        Sender::Server => [0x88, length].into_iter().chain(payload).collect(),
        Sender::Client => {
            let mut mask = [0; 4];
            // The mask only keeps intermediaries from mistaking data for requests, which this frame is not.
            if getrandom::fill(&mut mask).is_err() {
                mask = [0x57, 0x65, 0x69, 0x72];
            }
            let masked = payload
                .zip(mask.into_iter().cycle())
                .map(|(byte, mask)| byte ^ mask);
            let head = [0x88, length | 0x80].into_iter().chain(mask);
            head.chain(masked).collect()
        }
    }
}

/// Returns how a tunnel ended whose end `by_agent` or the client has closed it with `code`.
pub(super) const fn outcome(by_agent: bool, code: Option<u16>) -> End {
    match code {
        // Codes from 3000 on belong to applications.
        None | Some(NORMAL | GOING_AWAY | 3000..) => End::Finished,
        Some(_) if by_agent => End::UpstreamError,
        Some(_) => End::ClientGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::Follower;

    #[test]
    fn a_close_frame_is_one_for_who_reads_it() {
        for sender in [Sender::Client, Sender::Server] {
            for end in End::ALL {
                let why = Why::Ended(end);
                let bytes = frame(sender, why.for_client(), why.code());
                let mut follower = Follower::new(sender);
                assert_eq!(follower.feed(&bytes), bytes.len());
                assert!(follower.is_at_boundary() && follower.has_closed());
                assert_eq!(follower.close_code(), Some(why.for_client()));
                assert_eq!(follower.frames(), 1);
            }
        }
        assert_eq!(
            frame(Sender::Server, 1001, "drained"),
            b"\x88\x09\x03\xe9drained"
        );
    }

    #[test]
    fn a_code_says_whether_somebody_failed() {
        for code in [None, Some(1000), Some(1001), Some(3000), Some(4999)] {
            assert_eq!(outcome(true, code), End::Finished);
            assert_eq!(outcome(false, code), End::Finished);
        }
        for code in [1002, 1009, 1011, 1012] {
            assert_eq!(outcome(true, Some(code)), End::UpstreamError);
            assert_eq!(outcome(false, Some(code)), End::ClientGone);
        }
    }
}
