//! The labels that `ReAct` agents begin their lines with.

/// What a label announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// `Final Answer:`
    FinalAnswer,
    /// `Thought:`, `Question:`
    Thought,
    /// `Action:`, `Action Input:`, `Observation:`
    Tool,
}

/// What the start of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Is(Label),
    MayBe,
    No,
}

/// The longest first: one begins with another.
const LABELS: [(&[u8], Label); 6] = [
    (b"Final Answer", Label::FinalAnswer),
    (b"Action Input", Label::Tool),
    (b"Observation", Label::Tool),
    (b"Question", Label::Thought),
    (b"Thought", Label::Thought),
    (b"Action", Label::Tool),
];

/// Looks at a line so far: perhaps marks of Markdown, a label with a number in it, a colon. Asterisks may follow the
/// colon, and one space belongs to it.
pub(super) fn label(line: &[u8]) -> Look {
    let is_decoration = |byte: &u8| matches!(byte, b'*' | b'#' | b' ' | b'\t');
    let start = line
        .iter()
        .position(|byte| !is_decoration(byte))
        .unwrap_or(line.len());
    let Some(text) = line.get(start..).filter(|text| !text.is_empty()) else {
        return Look::MayBe;
    };
    let mut best = Look::No;
    for (word, label) in LABELS {
        match read(text, word) {
            Some(true) => return Look::Is(label),
            Some(false) => best = Look::MayBe,
            None => {}
        }
    }
    best
}

/// Whether `text` is `word`, a number between its parts or behind it, and a colon; `None` if it cannot become that.
fn read(text: &[u8], word: &[u8]) -> Option<bool> {
    let mut rest = text;
    for (number, part) in word.split(|byte| *byte == b' ').enumerate() {
        if number > 0 {
            let gap = rest
                .iter()
                .position(|byte| !(byte.is_ascii_digit() || *byte == b' '))
                .unwrap_or(rest.len());
            rest = rest.get(gap..)?;
        }
        if rest.len() < part.len() {
            return part.starts_with(rest).then_some(false);
        }
        rest = rest.strip_prefix(part)?;
    }
    for byte in rest {
        match byte {
            b'0'..=b'9' | b' ' | b'*' => {}
            b':' => return Some(true),
            _ => return None,
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_from_prose() {
        let table = [
            ("Thought:", Look::Is(Label::Thought)),
            ("**Action:", Look::Is(Label::Tool)),
            ("**Action**:", Look::Is(Label::Tool)),
            ("Action 1:", Look::Is(Label::Tool)),
            ("Action 1 Input:", Look::Is(Label::Tool)),
            ("Action Input 2:", Look::Is(Label::Tool)),
            ("## Final Answer:", Look::Is(Label::FinalAnswer)),
            ("Observation", Look::MayBe),
            ("Act", Look::MayBe),
            ("Action Inp", Look::MayBe),
            ("  ", Look::MayBe),
            ("Actions", Look::No),
            ("Thoughtful", Look::No),
            ("The", Look::No),
            ("Action plan", Look::No),
            ("thought:", Look::No),
        ];
        for (line, look) in table {
            assert_eq!(label(line.as_bytes()), look, "{line}");
        }
    }
}
