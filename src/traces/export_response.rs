//! Parses the collector's response to a successful export: how many of the spans, or of the points of metrics, it
//! rejected.
//!
//! `ExportTraceServiceResponse { partial_success = 1: { rejected_spans = 1: int64, error_message = 2: string }
//! }`, and for metrics the same with `rejected_data_points`.

/// Wire type of a varint.
const VARINT: u64 = 0;
/// Wire type of eight bytes.
const FIXED_64: u64 = 1;
/// Wire type of bytes after their length.
const BYTES: u64 = 2;
/// Wire type of four bytes.
const FIXED_32: u64 = 5;

/// Returns how many spans or points were rejected; 0 if the response is not of this form.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let Some(Value::Bytes(partial)) = first(answer) else {
        return 0;
    };
    match first(partial) {
        // A negative count makes no sense.
        Some(Value::Number(spans)) if i64::try_from(spans).is_ok() => spans,
        _ => 0,
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Returns the value of field 1 of a message: the last one, if the field is repeated. `None` if the field is
/// missing or the message is malformed.
fn first(mut message: &[u8]) -> Option<Value<'_>> {
    let mut found = None;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            VARINT => Value::Number(varint(&mut message)?),
            FIXED_64 => take(&mut message, 8).map(|_| Value::Other)?,
            BYTES => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?)
            }
            FIXED_32 => take(&mut message, 4).map(|_| Value::Other)?,
            _ => return None,
        };
        if key >> 3 == 1 {
            found = Some(value);
        }
    }
    found
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rejected_spans_count() {
        for (answer, want) in [
            (&b""[..], 0),
            (b"\x0a\x00", 0),
            (b"\x0a\x02\x08\x07", 7),
            (b"\x0a\x07\x08\xac\x02\x12\x02no", 300),
            (b"\x0a\x04\x12\x02no", 0),
            (b"\x0a\x06\x12\x02no\x08\x02", 2),
            (b"\x15abcd\x0a\x02\x08\x07", 7),
            (b"\x12\x02\x08\x07", 0),
            (b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0),
            (b"\x0a\x02\x08", 0),
            (b"\x0a\x7f\x08\x07", 0),
            (b"{\"partialSuccess\":{}}", 0),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0),
        ] {
            assert_eq!(rejected(answer), want, "{answer:?}");
        }
    }
}
