//! The types of lines in a recording.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{BodyFraming, Ending, Fields};

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct First<'a> {
    /// The version of the format.
    pub(super) weir_recording: u32,
    /// When the recording began.
    #[serde(default)]
    pub(super) recorded: Cow<'a, str>,
    /// The program that wrote it.
    #[serde(default)]
    pub(super) by: Cow<'a, str>,
}

/// Every other line. `exchange` may be left out by hand: then the line belongs to the exchange of the line before, and
/// a request begins a new one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Request {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchange: Option<u64>,
        method: Cow<'a, str>,
        target: Cow<'a, str>,
        #[serde(default)]
        headers: Cow<'a, Fields>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asks_for: Option<Cow<'a, str>>,
    },
    Response {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchange: Option<u64>,
        #[serde(default)]
        at_us: u64,
        status: u16,
        #[serde(default)]
        reason: Cow<'a, str>,
        #[serde(default)]
        headers: Cow<'a, Fields>,
        #[serde(default)]
        framing: Option<Framing>,
    },
    Read {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchange: Option<u64>,
        at_us: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<Cow<'a, str>>,
    },
    End {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exchange: Option<u64>,
        at_us: u64,
        end: How,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Cow<'a, str>>,
    },
    /// A line of a later version, which may be left out.
    #[serde(other)]
    Unknown,
}

/// What delimits a body.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Framing {
    Chunked,
    Close,
    Length,
    None,
}

impl From<BodyFraming> for Framing {
    fn from(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::Chunked => Self::Chunked,
            BodyFraming::Close => Self::Close,
            BodyFraming::Length => Self::Length,
            BodyFraming::None => Self::None,
        }
    }
}

impl From<Framing> for BodyFraming {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Chunked,
            Framing::Close => Self::Close,
            Framing::Length => Self::Length,
            Framing::None => Self::None,
        }
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Clean,
    Reset,
    Truncated,
}

impl From<Ending> for How {
    fn from(how: Ending) -> Self {
        match how {
            Ending::Clean => Self::Clean,
            Ending::Reset => Self::Reset,
            Ending::Truncated => Self::Truncated,
        }
    }
}

impl From<How> for Ending {
    fn from(how: How) -> Self {
        match how {
            How::Clean => Self::Clean,
            How::Reset => Self::Reset,
            How::Truncated => Self::Truncated,
        }
    }
}
