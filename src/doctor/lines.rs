//! Divides a body into events as it arrives, and notes when each of them was complete.

use serde_json::Value;

use super::ending::Ending;
use super::observation::{Arrival, Facts, Form, Stamp, What};
use crate::probe::MARK;

/// What is kept of a line. An event of the probe is shorter.
const MAX_LINE: usize = 64 * 1024;
/// How many arrivals are kept.
const MAX_ARRIVALS: usize = 100_000;

/// Divides the body of one response.
#[derive(Debug)]
pub(crate) struct Splitter {
    form: Option<Form>,
    /// The first bytes, until they show the form.
    line: Vec<u8>,
    /// The last byte was a carriage return.
    after_cr: bool,
    /// The block has a field.
    is_block: bool,
    /// The name and the data of the block.
    name: Vec<u8>,
    data: Vec<u8>,
    stamp: Option<Stamp>,
    facts: Option<Facts>,
    ending: Ending,
}

impl Splitter {
    /// Creates a splitter for a body of this media type, without parameters.
    pub(crate) fn new(essence: &str) -> Self {
        let form = match essence {
            "text/event-stream" => Some(Form::Events),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/stream+json" => Some(Form::Lines),
            _ => None,
        };
        Self {
            form,
            line: Vec::new(),
            after_cr: false,
            is_block: false,
            name: Vec::new(),
            data: Vec::new(),
            stamp: None,
            facts: None,
            ending: Ending::Open,
        }
    }

    /// Returns the form of the body, as far as it is known.
    pub(crate) fn form(&self) -> Form {
        self.form.unwrap_or(Form::Other)
    }

    /// Returns what the first event of a probe said.
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Returns what the last events of a complete body say about the end.
    pub(crate) fn into_ending(mut self) -> Ending {
        // The last line of a file may lack its end. Of events, one that lacks it does not count.
        if self.form == Some(Form::Lines) && !self.line.trim_ascii().is_empty() {
            self.ending.take(b"", &self.line);
        }
        self.ending
    }

    /// Takes bytes that arrived `at` this time.
    pub(crate) fn feed(&mut self, bytes: &[u8], at: i64, out: &mut Vec<Arrival>) {
        if bytes.is_empty() {
            return;
        }
        let form = *self.form.get_or_insert_with(|| sniffed(bytes));
        if form == Form::Other {
            keep(out, at, What::Event(None));
            return;
        }
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(form, at, out),
                byte if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self, form: Form, at: i64, out: &mut Vec<Arrival>) {
        let line = std::mem::take(&mut self.line);
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        match form {
            Form::Events if line.is_empty() => {
                if std::mem::take(&mut self.is_block) {
                    self.ending.take(&self.name, &self.data);
                    self.name.clear();
                    self.data.clear();
                    keep(out, at, What::Event(self.stamp.take()));
                }
            }
            Form::Events if line.starts_with(b":") => keep(out, at, What::Comment),
            Form::Events => {
                self.is_block = true;
                if let Some(data) = line.strip_prefix(b"data:") {
                    self.read(data);
                    // The lines of one event are one text.
                    if self.data.len() + data.len() < MAX_LINE {
                        self.data.extend_from_slice(data);
                        self.data.push(b'\n');
                    }
                } else if let Some(name) = line.strip_prefix(b"event:") {
                    self.name.clear();
                    self.name.extend_from_slice(name.trim_ascii());
                }
            }
            Form::Lines | Form::Other if is_blank => keep(out, at, What::Comment),
            Form::Lines | Form::Other => {
                self.ending.take(b"", &line);
                keep(out, at, What::Event(None));
            }
        }
    }

    /// Reads the data of an event, if it is one of the probe.
    fn read(&mut self, data: &[u8]) {
        let marked = || memchr::memmem::find(data, MARK.as_bytes()).is_some();
        let Some(value) = (data.len() < MAX_LINE && marked())
            .then(|| serde_json::from_slice::<Value>(data).ok())
            .flatten()
        else {
            return;
        };
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let number = |name: &str| value.get(name).and_then(Value::as_i64);
        let (Some(kind), Some(sent)) = (text(MARK), number("sent_us")) else {
            return;
        };
        self.stamp = Some(Stamp {
            is_end: kind == "end",
            number: number("seq")
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or_default(),
            sent,
        });
        if let (Some(began), Some(instance), Some(version)) =
            (number("began_us"), text("instance"), text("version"))
        {
            self.facts = Some(Facts {
                began,
                instance: instance.to_owned(),
                version: version.chars().take(16).collect(),
            });
        }
    }
}

fn keep(out: &mut Vec<Arrival>, at: i64, what: What) {
    if out.len() < MAX_ARRIVALS {
        out.push(Arrival { at, what });
    }
}

/// Returns what the first bytes of a body look like, whatever its type says.
fn sniffed(first: &[u8]) -> Form {
    let begins = |word: &str| first.starts_with(word.as_bytes());
    let is_sse = ["data:", "event:", "id:", "retry:", ":"]
        .into_iter()
        .any(begins);
    if is_sse { Form::Events } else { Form::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(essence: &str, reads: &[&str]) -> (Vec<Arrival>, Splitter) {
        let mut splitter = Splitter::new(essence);
        let mut out = Vec::new();
        for (at, read) in (0i64..).zip(reads) {
            splitter.feed(read.as_bytes(), at, &mut out);
        }
        (out, splitter)
    }

    fn times(arrivals: &[Arrival]) -> Vec<i64> {
        arrivals.iter().map(|arrival| arrival.at).collect()
    }

    #[test]
    fn an_event_is_there_with_its_last_byte() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("event: x{end}data: 1{end}{end}: beat{end}{end}data: 2{end}{end}");
            let (whole, _) = split("text/event-stream", &[&text]);
            let kinds: Vec<What> = whole.iter().map(|arrival| arrival.what).collect();
            let event = What::Event(None);
            assert_eq!(kinds, [event, What::Comment, event], "{end:?}");
        }
        let (parts, _) = split("text/event-stream", &["data", ": 1\n", "\n", "data: 2\n\n"]);
        assert_eq!(times(&parts), [2, 3]);
    }

    #[test]
    fn the_probe_says_when_it_sent_what() {
        let first = r#"data: {"weir_probe":"event","seq":1,"sent_us":70,"began_us":50,"instance":"i","version":"HTTP/1.0","pad":""}"#;
        let end = r#"data: {"weir_probe":"end","sent_us":90}"#;
        let (all, splitter) = split("x/y", &[&format!("{first}\n\n{end}\n\n")]);
        let stamp = |is_end, number, sent| {
            What::Event(Some(Stamp {
                is_end,
                number,
                sent,
            }))
        };
        assert_eq!(all[0].what, stamp(false, 1, 70));
        assert_eq!(all[1].what, stamp(true, 0, 90));
        let facts = splitter.facts().unwrap();
        assert_eq!((facts.began, &*facts.version), (50, "HTTP/1.0"));
        assert_eq!(splitter.form(), Form::Events);
    }

    #[test]
    fn what_the_last_event_says_is_kept() {
        let ending = |essence: &str, body: &str| split(essence, &[body]).1.into_ending();
        let sse = "event: error\ndata: {\"code\":\"idle\"}\n\n";
        let failed = Ending::Failed(Some("idle".to_owned()));
        assert_eq!(ending("text/event-stream", sse), failed);
        let two = "event: error\ndata: {\ndata: \"code\":\"idle\"}\n\n";
        assert_eq!(ending("text/event-stream", two), failed);
        let cut = "event: error\ndata: {}\n";
        assert_eq!(ending("text/event-stream", cut), Ending::Open);
        assert_eq!(
            ending(
                "application/x-ndjson",
                "{}\n{\"error\":{\"code\":\"idle\"}}"
            ),
            failed
        );
        assert_eq!(
            ending("text/event-stream", "data: [DONE]\n\n: beat\n\n"),
            Ending::Said
        );
        assert_eq!(
            ending("text/event-stream", "event: done\ndata:\n\ndata: 1\n\n"),
            Ending::Open
        );
        assert_eq!(
            ending("application/x-ndjson", "{}\n{\"done\":true}\n"),
            Ending::Said
        );
    }

    #[test]
    fn lines_are_events_and_so_are_reads_of_anything_else() {
        let (lines, _) = split("application/x-ndjson", &["{}\n{}", "\n\n"]);
        assert_eq!(times(&lines), [0, 1, 1]);
        let (reads, splitter) = split("text/plain", &["a\nb", "", "c"]);
        assert_eq!(times(&reads), [0, 2]);
        assert_eq!(splitter.form(), Form::Other);
    }
}
