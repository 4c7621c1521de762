//! What can be wrong with a stream. Each kind of finding has a stable id, which `docs/doctor.md` describes.

/// A kind of finding. Of several at one hop, the first in this order is in the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    Unreachable,
    ErrorStatus,
    NoProbe,
    NotAStream,
    Buffered,
    Coalesced,
    HeadDelayed,
    EventsDelayed,
    Compressed,
    Cut,
    IdleCut,
    ErrorEvent,
    HeartbeatsStripped,
    ContentTypeRewritten,
    Http10,
    ClientLeftIgnored,
    OneAtATime,
}

impl Id {
    /// All ids, in their order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::Unreachable,
        Self::ErrorStatus,
        Self::NoProbe,
        Self::NotAStream,
        Self::Buffered,
        Self::Coalesced,
        Self::HeadDelayed,
        Self::EventsDelayed,
        Self::Compressed,
        Self::Cut,
        Self::IdleCut,
        Self::ErrorEvent,
        Self::HeartbeatsStripped,
        Self::ContentTypeRewritten,
        Self::Http10,
        Self::ClientLeftIgnored,
        Self::OneAtATime,
    ];

    /// Returns the id that reports and scripts use. It never changes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ErrorStatus => "error_status",
            Self::NoProbe => "no_probe",
            Self::NotAStream => "not_a_stream",
            Self::Buffered => "buffered",
            Self::Coalesced => "coalesced",
            Self::HeadDelayed => "head_delayed",
            Self::EventsDelayed => "events_delayed",
            Self::Compressed => "compressed",
            Self::Cut => "cut",
            Self::IdleCut => "idle_cut",
            Self::ErrorEvent => "error_event",
            Self::HeartbeatsStripped => "heartbeats_stripped",
            Self::ContentTypeRewritten => "content_type_rewritten",
            Self::Http10 => "http_1_0",
            Self::ClientLeftIgnored => "client_left_ignored",
            Self::OneAtATime => "one_at_a_time",
        }
    }

    /// Returns what the hop does, for a sentence that begins with its name.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Unreachable => "cannot be reached",
            Self::ErrorStatus => "answers with an error",
            Self::NoProbe => "does not lead to a probe",
            Self::NotAStream => "answers with something that is not a stream",
            Self::Buffered => "holds the stream back until it is over (buffering)",
            Self::Coalesced => "collects events and passes them on in bursts",
            Self::HeadDelayed => "delays the head of the response",
            Self::EventsDelayed => "delays every event",
            Self::Compressed => "compresses the stream",
            Self::Cut => "cuts the stream",
            Self::IdleCut => "cuts a stream that is silent (idle timeout)",
            Self::ErrorEvent => "ends the stream with an error event",
            Self::HeartbeatsStripped => "removes heartbeats (comments) from the stream",
            Self::ContentTypeRewritten => "changes the content type",
            Self::Http10 => "speaks HTTP/1.0",
            Self::ClientLeftIgnored => "does not pass on that a client has left",
            Self::OneAtATime => "serves one request at a time",
        }
    }
}

/// Something that is wrong at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) id: Id,
    /// What was measured, as a part of a sentence.
    pub(crate) evidence: String,
}

impl Finding {
    pub(crate) fn new(id: Id, evidence: impl Into<String>) -> Self {
        Self {
            id,
            evidence: evidence.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_documented() {
        let page = include_str!("../../docs/doctor.md");
        for id in Id::ALL {
            let row = format!("| `{}` |", id.as_str());
            assert!(page.contains(&row), "docs/doctor.md has no row {row}");
        }
    }
}
