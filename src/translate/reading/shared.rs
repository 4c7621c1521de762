//! What the readings of several dialects say in the same way.

use crate::event::Event;
use crate::translate::few;
use crate::translate::part::{Json, Part, Reason, Scope};
use crate::translate::raw::{escaped, is_json, quoted};

/// Passes on the token counts of an event, if it has any.
pub(super) fn usage(event: &Event, cached: Option<u64>, parts: &mut dyn FnMut(Part<'_>)) {
    if let Some(usage) = event.usage
        && (usage.input.is_some() || usage.output.is_some() || usage.reasoning.is_some())
    {
        parts(Part::Usage {
            input: usage.input,
            output: usage.output,
            reasoning: usage.reasoning,
            cached,
            call: usage.call,
        });
    }
}

/// Passes on that something is over.
pub(super) fn finish(reason: Reason, scope: Scope, parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::Finish { reason, scope });
}

/// Passes on something that has no other part. `name` is its name in its dialect.
pub(super) fn unknown(name: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if !data.is_empty() {
        parts(Part::Raw {
            name: name.into(),
            data: json(data),
        });
    }
}

/// Returns data as a JSON value: a string if the data is text and not JSON.
pub(super) fn json(data: &[u8]) -> Json<'_> {
    if is_json(data) {
        data.into()
    } else {
        quoted(&escaped(data)).into()
    }
}

/// Adds an item to a list, which forgets its oldest one if it is full: a stream may have any number of calls, and only
/// the last ones matter.
pub(super) fn remember<T>(list: &mut Vec<T>, item: T) {
    const MAX_REMEMBERED: usize = 256;
    if list.len() >= MAX_REMEMBERED {
        list.remove(0);
    }
    few::push(list, item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_is_text() {
        for (data, said) in [
            ("f", "\"f\""),
            ("nul", "\"nul\""),
            ("null", "null"),
            ("{\"a\":f}", "\"{\\\"a\\\":f}\""),
            ("[1]", "[1]"),
        ] {
            assert_eq!(&*json(data.as_bytes()), said.as_bytes(), "{data}");
        }
    }
}
