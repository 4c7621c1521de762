//! Tells code fences from prose in Markdown: in a fence, a marker is ordinary text. In inline code, markers still
//! count: a stray backtick must not expose what is to be hidden.

/// Whether the visible text stands in a code fence, of backticks or of tildes.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// What opened the current fence: a character and how many of it.
    fence: Option<(u8, usize)>,
    /// The text is still on the line that opened the fence.
    on_fence: bool,
    /// The run of such characters at the start of the line, which may be a fence.
    run: (u8, usize),
}

/// The least characters of a fence.
const FENCE: usize = 3;

impl Code {
    /// Reports whether the next character is inside a code fence.
    pub(super) const fn is_fenced(&self) -> bool {
        match self.fence {
            None => self.run.1 >= FENCE,
            Some((mark, opened)) => self.run.0 != mark || self.run.1 < opened,
        }
    }

    /// Takes in the first byte of a visible character. Only white space stands before it in its line if `line_start` is
    /// set.
    pub(super) fn show(&mut self, first: u8, line_start: bool) {
        if matches!(first, b'`' | b'~') && (line_start || self.run.0 == first) {
            self.run = (first, self.run.1.saturating_add(1));
            return;
        }
        let (mark, length) = std::mem::take(&mut self.run);
        self.fence = match self.fence {
            None if length >= FENCE => {
                self.on_fence = true;
                Some((mark, length))
            }
            Some((opened_by, opened)) if mark == opened_by && length >= opened => None,
            fence => fence,
        };
        match first {
            b'\n' => self.on_fence = false,
            // The same character later on the opening line: it is inline code or decoration, not a fence.
            b'`' | b'~' if self.on_fence && self.is_fence_of(first) => self.fence = None,
            _ => {}
        }
    }

    fn is_fence_of(&self, mark: u8) -> bool {
        self.fence.is_some_and(|(opened_by, _)| opened_by == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text with `F` instead of each `x` in a fence.
    fn marked(text: &str) -> String {
        let mut code = Code::default();
        let mut line_start = true;
        text.bytes()
            .map(|byte| {
                let mark = if code.is_fenced() { 'F' } else { 'x' };
                code.show(byte, line_start);
                line_start = byte == b'\n' || (line_start && byte == b' ');
                if byte == b'x' { mark } else { char::from(byte) }
            })
            .collect()
    }

    #[test]
    fn code_is_told_from_prose() {
        let table = [
            ("x", "x"),
            ("```\nx\n```\nx", "```\nF\n```\nx"),
            ("~~~toml\nx\n~~~\nx", "~~~toml\nF\n~~~\nx"),
            ("~~~ `x\nx\n```\nx\n~~~\nx", "~~~ `F\nF\n```\nF\n~~~\nx"),
            ("````\n```\nx\n````\nx", "````\n```\nF\n````\nx"),
            ("  ```\n x\n  ```\nx", "  ```\n F\n  ```\nx"),
            ("``` a ``` x\nx", "``` a ``` x\nx"),
            ("~~x~~ x", "~~x~~ x"),
            ("a `x` x", "a `x` x"),
            ("~~~ x ~~~\nx", "~~~ F ~~~\nx"),
            ("```\nx\n```x", "```\nF\n```x"),
            ("`a`x", "`a`x"),
        ];
        for (text, expected) in table {
            assert_eq!(marked(text), expected, "{text:?}");
        }
    }
}
