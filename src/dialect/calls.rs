//! Extracts the steps of several tool calls from one event: an OpenAI chunk with more than one
//! call, or the `tool_call_chunks` of a LangChain message.
//!
//! An event can describe the step of one call only. An event with several is marked
//! [`Step::Several`], and its block is parsed a second time here, which is rare.

use super::reader::Reader;
use super::text;
use crate::event::{Call, Step};
use crate::wire::json::Kind;

/// Nesting levels that are searched for calls: an event, its data, a chunk, and the `kwargs` in
/// which LangChain wraps a message.
const LEVELS: usize = 6;

/// Passes each step in `block` to `each`, with the raw body of the JSON string that the step
/// carries.
///
/// `several` is the [`Call`] of the event. Its id distinguishes the copies of a message that is
/// sent more than once in different envelopes. Its group, unless it is zero, is that of the calls of
/// the message, whatever id the message has. Returns `None` if the block cannot be parsed; some
/// calls may then be missing.
pub fn in_block(block: &[u8], several: Call, mut each: impl FnMut(Call, &[u8])) -> Option<()> {
    let mut each = |call: Call, text: &[u8]| {
        let is_piece = matches!(call.step, Step::FirstPiece | Step::Piece);
        let id = if is_piece {
            call.id ^ several.id
        } else {
            call.id
        };
        let group = if is_piece && several.group != 0 {
            several.group
        } else {
            call.group
        };
        each(Call { id, group, ..call }, text);
    };
    value(&mut Reader::new(data(block)?), LEVELS, &mut each)
}

/// Returns the payload of `block`, unless it is spread over several `data` lines.
pub(super) fn data(block: &[u8]) -> Option<&[u8]> {
    if matches!(block.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Some(block);
    }
    let lines = block.split(|byte| matches!(byte, b'\n' | b'\r'));
    let mut data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    let only = data.next()?;
    data.next().is_none().then_some(only)
}

fn value(reader: &mut Reader<'_>, levels: usize, each: &mut dyn FnMut(Call, &[u8])) -> Option<()> {
    match reader.kind()? {
        Kind::Array if levels > 0 => reader
            .array(|reader, _| value(reader, levels - 1, each))
            .map(drop),
        Kind::Object if levels > 0 => object(reader, levels - 1, each),
        _ => reader.skip(),
    }
}

fn object(reader: &mut Reader<'_>, levels: usize, each: &mut dyn FnMut(Call, &[u8])) -> Option<()> {
    let (mut index, mut delta, mut finish) = (0, None, false);
    let (mut id, mut chunks) = (b"".as_slice(), None);
    reader.object(|reader, key| {
        match key {
            b"index" => index = reader.number()?,
            b"delta" => delta = Some(reader.raw()?),
            b"finish_reason" => finish = reader.truthy()?,
            b"id" => id = reader.word()?,
            b"tool_call_chunks" => chunks = Some(reader.raw()?),
            _ => value(reader, levels, each)?,
        }
        Some(())
    })?;
    // The member that identifies the group may come after its calls.
    let choice = u32::try_from(index).unwrap_or(u32::MAX);
    if let Some(delta) = delta {
        choice_delta(&mut Reader::new(delta), choice, each)?;
    }
    if finish {
        each(call(Step::GroupEnds, choice, 0), b"");
    }
    if let Some(chunks) = chunks {
        message_chunks(&mut Reader::new(chunks), group(id), each)?;
    }
    Some(())
}

fn choice_delta(
    reader: &mut Reader<'_>,
    choice: u32,
    each: &mut dyn FnMut(Call, &[u8]),
) -> Option<()> {
    reader.object(|reader, key| match key {
        b"tool_calls" => reader
            .array(|reader, place| {
                // Servers that send whole calls may omit the index.
                let (mut index, mut function) = (place as u64, None);
                reader.object(|reader, key| {
                    match key {
                        b"index" => index = reader.count()?.unwrap_or(index),
                        b"function" => function = Some(reader.raw()?),
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
                choice_call(function.unwrap_or_default(), choice, index, each)
            })
            .map(drop),
        b"function_call" => choice_call(reader.raw()?, choice, 0, each),
        _ => reader.skip(),
    })?;
    Some(())
}

fn choice_call(
    function: &[u8],
    choice: u32,
    index: u64,
    each: &mut dyn FnMut(Call, &[u8]),
) -> Option<()> {
    let (mut begins, mut arguments) = (false, b"".as_slice());
    if !function.is_empty() && function != b"null" {
        Reader::new(function).object(|reader, key| {
            match key {
                b"name" => begins = reader.says_something()?,
                b"arguments" => arguments = reader.word()?,
                _ => reader.skip()?,
            }
            Some(())
        })?;
        let step = if begins { Step::Begins } else { Step::GoesOn };
        each(call(step, choice, index), arguments);
    }
    Some(())
}

fn message_chunks(
    reader: &mut Reader<'_>,
    group: u32,
    each: &mut dyn FnMut(Call, &[u8]),
) -> Option<()> {
    reader.array(|reader, _| {
        let chunk = reader.raw()?;
        let (mut index, mut begins, mut arguments) = (None, false, b"".as_slice());
        Reader::new(chunk).object(|reader, key| {
            match key {
                // The name is sent once for each call.
                b"name" => begins = reader.says_something()?,
                b"index" => index = reader.count()?,
                b"args" => arguments = reader.word()?,
                _ => reader.skip()?,
            }
            Some(())
        })?;
        // A chunk without an index is a separate call. The hash of its JSON, id included,
        // identifies it.
        let id = index.unwrap_or_else(|| text::key(chunk));
        let step = if begins {
            Step::FirstPiece
        } else {
            Step::Piece
        };
        each(call(step, group, id), arguments);
        Some(())
    })?;
    Some(())
}

/// Returns the group number for the calls of the message with this id.
fn group(id: &[u8]) -> u32 {
    group_of(text::key(id))
}

/// Returns the group number for the calls of the message whose id has this key.
pub(super) const fn group_of(key: u64) -> u32 {
    let [a, b, c, d, ..] = key.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn call(step: Step, group: u32, id: u64) -> Call {
    Call { step, group, id }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(block: &str) -> Option<Vec<(Step, u32, u64, String)>> {
        let mut found = Vec::new();
        in_block(block.as_bytes(), call(Step::Several, 0, 0), |call, text| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            found.push((call.step, call.group, call.id, text));
        })?;
        Some(found)
    }

    #[test]
    fn each_call_of_a_chunk_is_told() {
        let chunk = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"a","arguments":"{"}},{"function":{"arguments":"}"}}]},"finish_reason":"tool_calls","index":2}]}"#;
        let text = |text: &str| text.to_owned();
        assert_eq!(
            steps(chunk),
            Some(vec![
                (Step::Begins, 2, 0, text("{")),
                (Step::GoesOn, 2, 1, text("}")),
                (Step::GroupEnds, 2, 0, text("")),
            ])
        );
    }

    #[test]
    fn the_calls_of_a_message_belong_together() {
        let message = |id: &str| {
            format!(
                r#"{{"tool_call_chunks":[{{"name":"a","args":"{{}}","index":1}},{{"name":null,"args":null,"index":1}}],"id":"{id}"}}"#
            )
        };
        let plain = steps(&format!("event: messages\ndata: [{},{{}}]\n", message("m"))).unwrap();
        let wrapped = steps(&format!(
            "data: {{\"data\":{{\"chunk\":{{\"lc\":1,\"id\":[\"x\"],\"kwargs\":{}}}}}}}\n",
            message("m")
        ));
        assert_eq!(wrapped.as_ref(), Some(&plain));
        let (ids, texts): (Vec<_>, Vec<_>) = plain
            .iter()
            .map(|(step, _, id, text)| ((*step, *id), text.as_str()))
            .unzip();
        assert_eq!(ids, [(Step::FirstPiece, 1), (Step::Piece, 1)]);
        assert_eq!(texts, ["{}", ""]);
        let unnumbered =
            r#"{"tool_call_chunks":[{"id":"a","args":"{}","index":null},{"id":"b","args":"{}"}]}"#;
        let found = steps(unnumbered).unwrap();
        assert_ne!(found[0].2, found[1].2);
        let other = steps(&message("n")).unwrap();
        assert!(plain[0].1 == plain[1].1 && plain[0].1 != other[0].1);
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        for block in ["", "data: {", "data: {}\ndata: {}\n", "event: x\n"] {
            assert_eq!(steps(block), None, "{block}");
        }
    }
}
