//! Extracts the name of the model that an event or a request states.

use super::calls::data;
use super::reader::Reader;
use crate::wire::json::Kind;

/// Maximum length of a model name in bytes. Longer names are ignored.
const LONGEST: usize = 128;
/// Nesting levels that are searched: the top level, and a `message` (Anthropic) or `response`
/// (OpenAI Responses) below it.
const LEVELS: usize = 2;

/// Returns the model name in `block`, an unchanged event of the upstream. The member is `model` in
/// OpenAI, Anthropic and Ollama, and `modelVersion` in Gemini (`model_version` in Python).
pub fn named(block: &[u8]) -> Option<Box<str>> {
    plain(member(&mut Reader::new(data(block)?), LEVELS)?)
}

/// Returns the model name that a JSON value is.
pub fn quoted(value: &[u8]) -> Option<Box<str>> {
    plain(value.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
}

/// Returns the model that the path of a request names: as Gemini does, in `models/NAME:streamGenerateContent`, or as
/// Azure does, in `deployments/NAME/chat/completions`.
pub fn in_path(path: &str) -> Option<Box<str>> {
    let after = |name: &str| path.split_once(name).map(|(_, rest)| rest);
    let name = match (after("/models/"), after("/deployments/")) {
        (Some(rest), _) => rest.split_once(':')?.0,
        (None, Some(rest)) => rest.split_once('/')?.0,
        (None, None) => return None,
    };
    plain(name.as_bytes())
}

/// Returns a name that is short and has no characters that JSON escapes.
fn plain(name: &[u8]) -> Option<Box<str>> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    let fits = (1..=LONGEST).contains(&name.len()) && name.iter().all(is_plain);
    let text = std::str::from_utf8(name).ok().filter(|_| fits)?;
    Some(text.into())
}

fn member<'a>(reader: &mut Reader<'a>, levels: usize) -> Option<&'a [u8]> {
    let mut name = b"".as_slice();
    reader.object(|reader, key| {
        match key {
            b"model" | b"modelVersion" | b"model_version" => name = reader.word()?,
            b"message" | b"response" if levels > 1 && reader.kind()? == Kind::Object => {
                let below = member(reader, levels - 1)?;
                if name.is_empty() {
                    name = below;
                }
            }
            _ => reader.skip()?,
        }
        Some(())
    })?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_where_dialects_put_it() {
        for (block, want) in [
            (
                "data: {\"id\":\"1\",\"model\":\"gpt-4o\",\"choices\":[]}\n\n",
                Some("gpt-4o"),
            ),
            (
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-x\"}}\n\n",
                Some("claude-x"),
            ),
            (
                "data: {\"type\":\"response.created\",\"response\":{\"model\":\"o9\",\"output\":[]}}\n\n",
                Some("o9"),
            ),
            (
                "{\"model\":\"llama3:8b\",\"response\":\"Rain\"}\n",
                Some("llama3:8b"),
            ),
            (
                "data: {\"candidates\":[],\"modelVersion\":\"gemini-3\"}\n\n",
                Some("gemini-3"),
            ),
            ("data: {\"model\":{\"model\":\"deep\"}}\n\n", None),
            ("data: {\"choices\":[{\"model\":\"deep\"}]}\n\n", None),
            ("data: {\"model\":\"two words\"}\n\n", None),
            ("data: {\"model\":\"a\\u0041\"}\n\n", None),
            ("data: {\"model\":\"", None),
            ("data: [DONE]\n\n", None),
            (": comment\n\n", None),
        ] {
            assert_eq!(named(block.as_bytes()).as_deref(), want, "{block}");
        }
        let long = format!("data: {{\"model\":\"{}\"}}\n\n", "m".repeat(LONGEST + 1));
        assert_eq!(named(long.as_bytes()), None);
    }
}
