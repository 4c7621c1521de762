//! Puts the blocks of a stream together.

use super::json::Value;

/// The stream so far. Its length is bounded: an answer of very many small parts must not grow beyond all measure,
/// because each part becomes an event that repeats what all events have in common.
#[derive(Debug)]
pub(super) struct Out {
    bytes: String,
    max: usize,
}

impl Out {
    /// Creates an empty stream for an answer of this length.
    pub(super) fn new(answer_bytes: usize) -> Self {
        /// The Responses API writes each text five times, and the smallest parts of other answers become some fifteen
        /// times as long.
        const GROWTH: usize = 16;
        /// Enough for the events that even the shortest answer needs.
        const MIN_BYTES: usize = 64 << 10;
        Self {
            bytes: String::new(),
            max: answer_bytes.saturating_mul(GROWTH).max(MIN_BYTES),
        }
    }

    /// Adds an SSE block, without a name if `name` is empty. Returns `None` if the stream becomes too long.
    pub(super) fn block(&mut self, name: &str, data: &str) -> Option<()> {
        if !name.is_empty() {
            self.push(&["event: ", name, "\n"])?;
        }
        self.push(&["data: ", data, "\n\n"])
    }

    /// Adds an SSE block that is only a name. Returns `None` if the stream becomes too long.
    pub(super) fn name(&mut self, name: &str) -> Option<()> {
        self.push(&["event: ", name, "\n\n"])
    }

    /// Adds an NDJSON line. Returns `None` if the stream becomes too long.
    pub(super) fn line(&mut self, data: &str) -> Option<()> {
        self.push(&[data, "\n"])
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_bytes()
    }

    fn push(&mut self, pieces: &[&str]) -> Option<()> {
        for piece in pieces {
            self.bytes.push_str(piece);
        }
        (self.bytes.len() <= self.max).then_some(())
    }
}

/// A builder for a JSON object on one line. Names and texts are raw bodies of JSON strings.
#[derive(Clone, Debug)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Begins with the type of the object.
    pub(super) fn of_type(kind: &str) -> Self {
        Self::new().text("type", kind)
    }

    /// Adds a member whose `value` is JSON.
    pub(super) fn raw(mut self, name: &str, value: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        for piece in ["\"", name, "\":", value] {
            self.0.push_str(piece);
        }
        self
    }

    pub(super) fn text(mut self, name: &str, body: &str) -> Self {
        self = self.raw(name, "\"");
        self.0.push_str(body);
        self.0.push('"');
        self
    }

    pub(super) fn number(self, name: &str, number: usize) -> Self {
        self.raw(name, &number.to_string())
    }

    /// Adds a member of `object`, if it is there.
    pub(super) fn same(self, name: &str, object: Value<'_>) -> Self {
        match object.member(name) {
            Some(value) => self.raw(name, value.raw()),
            None => self,
        }
    }

    /// Adds the members of `object`, in order, each with what becomes of it.
    pub(super) fn changed(self, object: Value<'_>, change: impl Fn(&str) -> Change) -> Self {
        object
            .members()
            .fold(self, |built, (name, value)| match change(name) {
                Change::Drop => built,
                Change::Keep => built.raw(name, value.raw()),
                Change::To(other) => built.raw(name, other),
            })
    }

    /// Adds the members of `object` that are not `null` and not among `names`.
    pub(super) fn others(self, object: Value<'_>, names: &[&str]) -> Self {
        object
            .members()
            .filter(|(name, value)| !value.is_null() && !names.contains(name))
            .fold(self, |built, (name, value)| built.raw(name, value.raw()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Drop,
    Keep,
    /// Gets this value, which is JSON.
    To(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_in_canonical_form() {
        let mut out = Out::new(0);
        out.block("", "1").unwrap();
        out.block("a", "2").unwrap();
        out.name("end").unwrap();
        out.line("3").unwrap();
        assert_eq!(
            out.into_bytes(),
            b"data: 1\n\nevent: a\ndata: 2\n\nevent: end\n\n3\n"
        );
    }

    #[test]
    fn a_stream_does_not_grow_beyond_its_bound() {
        let mut out = Out::new(0);
        let block = "x".repeat(1000);
        let blocks = (0..1000).take_while(|_| out.block("", &block).is_some());
        assert_eq!(blocks.count(), (64 << 10) / 1008);
    }

    #[test]
    fn objects_take_over_what_is_not_replaced() {
        let object = Value::new(r#"{"a":1,"b":null,"c":"x","d":[]}"#);
        let built = Object::of_type("t")
            .changed(object, |name| match name {
                "a" => Change::To("0"),
                "b" => Change::Drop,
                _ => Change::Keep,
            })
            .number("e", 7);
        assert_eq!(built.end(), r#"{"type":"t","a":0,"c":"x","d":[],"e":7}"#);
        let rest = Object::new()
            .others(object, &["a"])
            .same("a", object)
            .same("b", object);
        assert_eq!(rest.end(), r#"{"c":"x","d":[],"a":1}"#);
        assert!(Object::new().is_empty());
    }
}
