//! What messages of AG-UI say: a text, or a list of parts.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::chat::Part;
use super::file::{File, Source};
use super::read::{Object, Path, Problem, is_string, object, string_body};

const TYPES: &str = "`text`, `image`, `audio`, `video`, `document` or `binary`";
/// The longest name of a speaker that OpenAI takes.
const MAX_NAME: usize = 64;

/// Returns the content of a message that has texts only.
pub(super) fn texts<'a>(message: &Object<'a, '_>) -> Result<Vec<&'a RawValue>, Problem> {
    let at = message.at("content");
    match message.raw("content") {
        Some(text) if is_string(text) => Ok(vec![text]),
        Some(list) if list.get().starts_with('[') => {
            let mut texts = Vec::new();
            for (index, json) in message.array("content")?.into_iter().enumerate() {
                let part = object(json, Path::Index(&at, index))?;
                let word = part.word("type")?;
                if word != "text" {
                    let known = "`text`, the only type that OpenAI takes here";
                    return Err(Problem::unknown(part.at("type"), known, &word));
                }
                texts.push(part.string("text")?);
            }
            Ok(texts)
        }
        other => Err(Problem::expected(at, "a string or an array", other)),
    }
}

/// Returns the name of the speaker, if OpenAI takes it.
pub(super) fn name<'a>(message: &Object<'a, '_>) -> Option<&'a RawValue> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    message.some("name").filter(|name| {
        let body = string_body(name);
        (1..=MAX_NAME).contains(&body.len()) && body.bytes().all(is_plain)
    })
}

/// Maps a part of what a user says.
pub(super) fn part<'a>(part: &Object<'a, '_>) -> Result<Part<'a>, Problem> {
    let word = part.word("type")?;
    let any_of_its_kind = match &*word {
        "audio" => "audio/*",
        "binary" => return binary(part),
        "document" => "application/octet-stream",
        "image" => "image/*",
        "text" => {
            let text = part.string("text")?.into();
            return Ok(Part::Text { text });
        }
        "video" => "video/*",
        _ => return Err(Problem::unknown(part.at("type"), TYPES, &word)),
    };
    let source = part.object("source")?;
    let media_type = match source.some("mimeType") {
        Some(_) => source.word("mimeType")?,
        None => Cow::Borrowed(any_of_its_kind),
    };
    let kind = source.word("type")?;
    let from = match &*kind {
        "data" => Source::Data(source.word("value")?),
        "file" => Source::Uploaded(source.string("value")?),
        "url" => Source::Url(source.string("value")?),
        _ => {
            let known = "`url`, `data` or `file`";
            return Err(Problem::unknown(source.at("type"), known, &kind));
        }
    };
    // Clients keep the name here: the protocol has no place for it.
    let filename = part
        .some("metadata")
        .and_then(|metadata| object(metadata, part.at("metadata")).ok())
        .and_then(|metadata| metadata.some("filename"))
        .filter(|filename| is_string(filename));
    let file = File {
        media_type,
        filename,
        source: from,
    };
    file.into_part(part.path())
}

/// Maps a file in the form of AG-UI before `source`.
fn binary<'a>(part: &Object<'a, '_>) -> Result<Part<'a>, Problem> {
    let source = if part.some("data").is_some() {
        Source::Data(part.word("data")?)
    } else if part.some("url").is_some() {
        Source::Url(part.string("url")?)
    } else if part.some("id").is_some() {
        Source::Uploaded(part.string("id")?)
    } else {
        return Err(Problem::at(
            part.path(),
            "expected `data`, `url` or `id`, found none of them",
        ));
    };
    let file = File {
        media_type: part.word("mimeType")?,
        filename: part.optional_string("filename")?,
        source,
    };
    file.into_part(part.path())
}

#[cfg(test)]
mod tests {
    use crate::request_map::{RequestForm, to_openai_chat};

    #[test]
    fn parts_become_parts() {
        for (part, want) in [
            (
                r#"{"type":"text","text":"a"}"#,
                r#"{"type":"text","text":"a"}"#,
            ),
            (
                r#"{"type":"image","source":{"type":"url","value":"https://a.test/p"}}"#,
                r#"{"type":"image_url","image_url":{"url":"https://a.test/p"}}"#,
            ),
            (
                r#"{"type":"image","source":{"type":"data","value":"AA==","mimeType":"image/png"}}"#,
                r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}"#,
            ),
            (
                r#"{"type":"document","source":{"type":"data","value":"AA==","mimeType":"a/b"},"metadata":{"filename":"n"}}"#,
                r#"{"type":"file","file":{"filename":"n","file_data":"data:a/b;base64,AA=="}}"#,
            ),
            (
                r#"{"type":"document","source":{"type":"file","value":"f-1"}}"#,
                r#"{"type":"file","file":{"file_id":"f-1"}}"#,
            ),
            (
                r#"{"type":"audio","source":{"type":"data","value":"AA==","mimeType":"audio/wav"}}"#,
                r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#,
            ),
            (
                r#"{"type":"binary","mimeType":"image/png","url":"https://a.test/p"}"#,
                r#"{"type":"image_url","image_url":{"url":"https://a.test/p"}}"#,
            ),
        ] {
            let text = r#"{"type":"text","text":"?"}"#;
            let body = format!(r#"{{"messages":[{{"role":"user","content":[{part},{text}]}}]}}"#);
            let got = to_openai_chat(RequestForm::AgUi, body.as_bytes()).unwrap();
            let want = format!(
                r#"{{"messages":[{{"role":"user","content":[{want},{text}]}}],"stream":true}}"#
            );
            assert_eq!(String::from_utf8(got).unwrap(), want);
        }
    }
}
