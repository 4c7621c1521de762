//! What is visible of a text.

/// What is visible of a text, which mostly is all of it. It is copied only from where it differs on.
#[derive(Debug)]
pub struct Visible<'a> {
    text: &'a [u8],
    /// How much of the text is visible so far, with nothing between.
    same: usize,
    /// The visible bytes, once they differ from the text.
    other: Option<Vec<u8>>,
}

impl<'a> Visible<'a> {
    /// Begins with nothing of `text`.
    pub const fn of(text: &'a [u8]) -> Self {
        Self {
            text,
            same: 0,
            other: None,
        }
    }

    /// Appends visible bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if let Some(other) = &mut self.other {
            other.extend_from_slice(bytes);
        } else if (self.text.get(self.same..)).is_some_and(|rest| rest.starts_with(bytes)) {
            self.same += bytes.len();
        } else {
            let mut other = self.text.get(..self.same).unwrap_or_default().to_vec();
            other.extend_from_slice(bytes);
            self.other = Some(other);
        }
    }

    /// Returns the visible bytes if they are not the whole text.
    pub fn changed(self) -> Option<Vec<u8>> {
        self.other.or_else(|| {
            let same = self.text.get(..self.same)?;
            (same.len() < self.text.len()).then(|| same.to_vec())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_visible_as_a_whole_is_unchanged() {
        let visible = |text: &'static str, parts: &[&str]| {
            let mut visible = Visible::of(text.as_bytes());
            for part in parts {
                visible.extend(part.as_bytes());
            }
            visible
                .changed()
                .map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(visible("", &[]), None);
        assert_eq!(visible("rain", &["r", "", "ain"]), None);
        assert_eq!(visible("rain", &[]).as_deref(), Some(""));
        assert_eq!(visible("rain", &["ra"]).as_deref(), Some("ra"));
        assert_eq!(visible("rain", &["ra", "n"]).as_deref(), Some("ran"));
        assert_eq!(visible("rain", &["<", "rain"]).as_deref(), Some("<rain"));
        assert_eq!(visible("rain", &["rain", "s"]).as_deref(), Some("rains"));
        assert_eq!(visible("", &["rain"]).as_deref(), Some("rain"));
    }
}
