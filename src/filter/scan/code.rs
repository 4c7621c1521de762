//! Tells code from prose in Markdown, in which a marker is ordinary text.

/// Where the visible text stands: in a code fence (of backticks or tildes), in inline code, or in prose.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// What opened the current fence: a character and how many of it.
    fence: Option<(u8, usize)>,
    /// The text is still on the line that opened the fence.
    on_fence: bool,
    /// The run of such characters at the start of the line, which may be a fence.
    run: (u8, usize),
    /// How many backticks have just been written.
    ticks: usize,
    /// How many backticks opened the inline code of this line; 0 outside.
    inline: usize,
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

    /// Reports whether the next character is code: in a fence, or the first of inline code. Later characters of inline
    /// code do not count, because a backtick may stand for itself.
    pub(super) const fn is_code(&self) -> bool {
        self.is_fenced() || (self.ticks > 0 && self.ticks != self.inline)
    }

    /// Takes in the first byte of a visible character. Only white space stands before it in its line if `line_start` is
    /// set.
    pub(super) fn show(&mut self, first: u8, line_start: bool) {
        self.track_inline(first);
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
            // A backtick later on the opening line: it is inline code, not a fence.
            b'`' if self.on_fence && !self.is_fence_of_tildes() => self.fence = None,
            _ => {}
        }
    }

    fn is_fence_of_tildes(&self) -> bool {
        self.fence.is_some_and(|(mark, _)| mark == b'~')
    }

    fn track_inline(&mut self, first: u8) {
        match first {
            b'`' => self.ticks = self.ticks.saturating_add(1),
            b'\n' => (self.ticks, self.inline) = (0, 0),
            _ => {
                let ticks = std::mem::take(&mut self.ticks);
                if self.inline == 0 {
                    self.inline = ticks;
                } else if ticks == self.inline {
                    self.inline = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text with `F` instead of the characters in a fence, and `C` instead of other code.
    fn marked(text: &str) -> String {
        let mut code = Code::default();
        let mut line_start = true;
        text.bytes()
            .map(|byte| {
                let mark = match (code.is_fenced(), code.is_code()) {
                    (true, _) => 'F',
                    (false, true) => 'C',
                    (false, false) => char::from(byte),
                };
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
            ("a `x` x", "a `C` x"),
            ("`a`x", "`a`x"),
            ("``a`x`` x", "``a`C`` x"),
            ("a ` x\n`x", "a ` x\n`C"),
        ];
        for (text, expected) in table {
            assert_eq!(marked(text), expected, "{text:?}");
        }
    }
}
