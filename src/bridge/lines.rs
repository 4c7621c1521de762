//! Splits the bytes taken from a queue into events: whole lines, or whole server-sent events.

/// Passes each JSON value to `sink`. `taken` holds whole events, and maybe comments.
pub(super) fn each(taken: &[u8], is_sse: bool, sink: &mut impl FnMut(&str)) {
    let mut data = String::new();
    for line in taken.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // An agent's bytes can be anything. What is no text cannot be sent as text.
        let line = String::from_utf8_lossy(line);
        if !is_sse {
            pass(&line, sink);
        } else if line.is_empty() {
            pass(&std::mem::take(&mut data), sink);
        } else if let Some(value) = line.strip_prefix("data:") {
            if !data.is_empty() {
                // A line break between two tokens of JSON means as much as a space.
                data.push(' ');
            }
            data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
    }
    pass(&data, sink);
}

/// Passes an object on. Ends such as `[DONE]` are told by the bridge itself.
fn pass(value: &str, sink: &mut impl FnMut(&str)) {
    let value = value.trim();
    if value.starts_with('{') && value.ends_with('}') {
        sink(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(taken: &str, is_sse: bool) -> Vec<String> {
        let mut found = Vec::new();
        each(taken.as_bytes(), is_sse, &mut |value| {
            found.push(value.to_owned());
        });
        found
    }

    #[test]
    fn lines_are_events() {
        assert_eq!(all("{\"a\":1}\n", false), ["{\"a\":1}"]);
        assert_eq!(
            all("{\"a\":1}\n\n{\"b\":2}\r\n", false),
            ["{\"a\":1}", "{\"b\":2}"]
        );
        assert_eq!(all("{\"a\":1}", false), ["{\"a\":1}"]);
        for nothing in ["", "\n", " \n", "[1]\n", "null\n", "{\n"] {
            assert!(all(nothing, false).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn server_sent_events_are_their_data() {
        assert_eq!(all("data: {\"a\":1}\n\n", true), ["{\"a\":1}"]);
        assert_eq!(
            all(
                ":\nevent: x\nid: 1\ndata:{\"a\":\ndata: 1}\n\ndata: {}\n\n",
                true
            ),
            ["{\"a\": 1}", "{}"]
        );
        for nothing in [
            "",
            ":\n",
            ": weir dropped=1\n",
            "data: [DONE]\n\n",
            "retry: 1\n\n",
        ] {
            assert!(all(nothing, true).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut found = Vec::new();
        each(b"{\"a\":\"\xff\"}\n", false, &mut |value| {
            found.push(value.to_owned());
        });
        assert_eq!(found, ["{\"a\":\"\u{fffd}\"}"]);
    }
}
