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

/// Appends the line with the id of event `seq`.
pub fn write_id(prefix: &[u8], seq: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 21];
    let mut rest = seq;
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        start -= 1;
        *place = if start + 1 == 21 {
            b'\n'
        } else {
            let digit = b"0123456789".get((rest % 10) as usize);
            rest /= 10;
            digit.copied().unwrap_or(b'0')
        };
        if start < 20 && rest == 0 {
            break;
        }
    }
    out.extend_from_slice(prefix);
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_decimal() {
        for seq in [1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
            let mut out = b"x".to_vec();
            write_id(&id_prefix("abc"), seq, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("xid: abc.{seq}\n"));
        }
    }
}
