//! Event ids: by them a client that was cut off says where it was (`Last-Event-ID`, WHATWG HTML 9.2).

use super::Encoder;
use crate::dialect::ResumeIds;
use crate::wire::Framing;

impl Encoder {
    /// Says whether events may have ids that Weir gives them: whether the clients of the dialect expect or skip them.
    pub const fn resume_ids(self) -> ResumeIds {
        match self.framing {
            Framing::Sse if self.whole.is_none() => self.dialect.resume_ids(),
            _ => ResumeIds::Never,
        }
    }
}

/// Returns what comes before the number in the ids of a stream with this name.
pub fn id_prefix(stream: &str) -> Box<[u8]> {
    format!("id: {stream}.").into_bytes().into()
}

/// Appends the block of event `seq` with its id.
///
/// The id is the last line of the block: @microsoft/fetch-event-source 2.0.1 takes a line for the position as soon as
/// it has read it. If the connection broke behind an id that comes first, the event itself would be skipped.
pub fn write_with_id(prefix: &[u8], seq: u64, block: &[u8], out: &mut Vec<u8>) {
    let Some(body) = block.strip_suffix(b"\n") else {
        out.extend_from_slice(block);
        return;
    };
    out.extend_from_slice(body);
    out.extend_from_slice(prefix);
    let mut line = *b"00000000000000000000\n\n";
    let (mut rest, mut start) = (seq, LAST_DIGIT + 1);
    for place in line.iter_mut().take(LAST_DIGIT + 1).rev() {
        let digit = b"0123456789".get((rest % 10) as usize);
        *place = digit.copied().unwrap_or(b'0');
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(line.get(start..).unwrap_or_default());
}

/// Where the last digit of the number stands in its line.
const LAST_DIGIT: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_last_line_with_a_decimal_number() {
        for seq in [1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
            let mut out = b"x".to_vec();
            write_with_id(&id_prefix("abc"), seq, b"data: y\n\n", &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("xdata: y\nid: abc.{seq}\n\n")
            );
        }
    }
}
