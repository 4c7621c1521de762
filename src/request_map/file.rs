//! Files in messages.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::chat::{FileContent, ImageUrl, InputAudio, Part, Text};
use super::read::{Path, Problem, decoded};

/// A file that a client has attached.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) media_type: Cow<'a, str>,
    pub(super) filename: Option<&'a RawValue>,
    pub(super) source: Source<'a>,
}

/// Where the bytes of a file are.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// In the request, in Base64.
    Data(Cow<'a, str>),
    /// With the provider of the model, which has given them this id: a string.
    Uploaded(&'a RawValue),
    /// At an address, or in a data URL: a string.
    Url(&'a RawValue),
}

impl<'a> File<'a> {
    /// Returns the part of a message. An image may be at an address; OpenAI's chat API takes other files only with
    /// their bytes.
    pub(super) fn into_part(self, path: Path<'_>) -> Result<Part<'a>, Problem> {
        let media_type = self.media_type.to_ascii_lowercase();
        let is_image = media_type == "image" || media_type.starts_with("image/");
        match self.source {
            Source::Uploaded(_) if is_image => Err(Problem::at(
                path,
                "expected an image as URL or data, found the id of a file: send its URL",
            )),
            Source::Uploaded(id) => Ok(Part::File {
                file: FileContent::Uploaded { file_id: id.into() },
            }),
            Source::Url(url) if is_image => Ok(image(url.into())),
            Source::Url(url) => {
                let text = decoded(url, path)?;
                let is_data = text
                    .get(..5)
                    .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
                if !is_data {
                    return Err(Problem::at(
                        path,
                        "expected an image, or a file as data URL, found the address of a file: send its bytes as \
                         data URL, or the address as text",
                    ));
                }
                let base64 = text.split_once(";base64,").map(|(_, data)| data);
                Ok(match (audio_format(&media_type), base64) {
                    (Some(format), Some(data)) => audio(Cow::Owned(data.to_owned()), format),
                    _ => file(self.filename, &media_type, url.into()),
                })
            }
            Source::Data(data) => {
                if let Some(format) = audio_format(&media_type) {
                    return Ok(audio(data, format));
                }
                let url = Text::Plain(Cow::Owned(format!("data:{media_type};base64,{data}")));
                Ok(if is_image {
                    image(url)
                } else {
                    file(self.filename, &media_type, url)
                })
            }
        }
    }
}

/// Returns OpenAI's word for a format of recordings that its chat API takes.
fn audio_format(media_type: &str) -> Option<&'static str> {
    match media_type.split(';').next().unwrap_or_default().trim_end() {
        "audio/mp3" | "audio/mpeg" => Some("mp3"),
        "audio/vnd.wave" | "audio/wav" | "audio/wave" | "audio/x-wav" => Some("wav"),
        _ => None,
    }
}

const fn audio<'a>(data: Cow<'a, str>, format: &'static str) -> Part<'a> {
    Part::InputAudio {
        input_audio: InputAudio {
            data: Text::Plain(data),
            format,
        },
    }
}

const fn image(url: Text<'_>) -> Part<'_> {
    Part::ImageUrl {
        image_url: ImageUrl { url },
    }
}

fn file<'a>(filename: Option<&'a RawValue>, media_type: &str, file_data: Text<'a>) -> Part<'a> {
    // OpenAI wants a name, and goes by its ending.
    let filename = match (filename, media_type) {
        (Some(filename), _) => filename.into(),
        (None, "application/pdf") => "file.pdf".into(),
        (None, _) => "file".into(),
    };
    Part::File {
        file: FileContent::Data {
            filename,
            file_data,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn part(media_type: &'static str, source: Source<'_>) -> String {
        let file = File {
            media_type: media_type.into(),
            filename: None,
            source,
        };
        match file.into_part(Path::Top) {
            Ok(part) => serde_json::to_string(&part).unwrap(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn each_kind_of_file_becomes_its_part() {
        let https = || Source::Url(raw(r#""https:\/\/a.test\/x""#));
        let data = || Source::Url(raw(r#""data:a/b;base64,AA==""#));
        let bytes = || Source::Data("AA==".into());
        let id = || Source::Uploaded(raw(r#""file-1""#));
        for (media_type, source, want) in [
            (
                "image/png",
                https(),
                r#"{"type":"image_url","image_url":{"url":"https:\/\/a.test\/x"}}"#,
            ),
            (
                "Image/PNG",
                data(),
                r#"{"type":"image_url","image_url":{"url":"data:a/b;base64,AA=="}}"#,
            ),
            (
                "image/png",
                bytes(),
                r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}"#,
            ),
            (
                "application/pdf",
                data(),
                r#"{"type":"file","file":{"filename":"file.pdf","file_data":"data:a/b;base64,AA=="}}"#,
            ),
            (
                "text/csv",
                bytes(),
                r#"{"type":"file","file":{"filename":"file","file_data":"data:text/csv;base64,AA=="}}"#,
            ),
            (
                "text/csv",
                id(),
                r#"{"type":"file","file":{"file_id":"file-1"}}"#,
            ),
            (
                "audio/mpeg",
                data(),
                r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"mp3"}}"#,
            ),
            (
                "audio/wav",
                bytes(),
                r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#,
            ),
        ] {
            assert_eq!(part(media_type, source), want, "{media_type}");
        }
        assert!(part("application/pdf", https()).contains("found the address of a file"));
        assert!(part("image/png", id()).contains("found the id of a file"));
    }
}
