//! Recognises the labels at the start of a `ReAct` agent's lines, such as `Thought:` and `Action:`.

/// What a label announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// `Final Answer:`
    FinalAnswer,
    /// `Question:`
    Question,
    /// `Thought:`
    Thought,
    /// `Action:`, `Action Input:`, `Observation:`
    Tool,
}

/// Whether a line begins with a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Is(Label),
    MayBe,
    No,
}

/// The labels, longer ones first because a shorter label may be the beginning of a longer one.
const LABELS: [(&[u8], Label); 6] = [
    (b"Final Answer", Label::FinalAnswer),
    (b"Action Input", Label::Tool),
    (b"Observation", Label::Tool),
    (b"Question", Label::Question),
    (b"Thought", Label::Thought),
    (b"Action", Label::Tool),
];

/// Looks for a label at the start of a line received so far: optional Markdown decoration, a label that may contain a
/// number, and a colon. Asterisks after the colon, and one space, belong to the label.
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

/// Compares `text` with `word` and a colon. A number may stand between the parts of `word` or after it. Returns
/// `Some(true)` for a match, `Some(false)` for the beginning of one, and `None` if `text` cannot become one.
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
            ("Question 2:", Look::Is(Label::Question)),
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
