//! Which text a LangGraph chunk goes on with, although its id may say nothing.
//!
//! A message has one id, which nearly all servers repeat in each of its chunks. Where a model gives each chunk an id of
//! its own, only the place in the graph says that they are one text. But several models may write in one place at once.
//! So ids count from the first one that comes again there. Until then, another id goes on with the text of its place.

use std::collections::VecDeque;

use super::text;

/// Ids that LangChain derives from the call of the model: they never change within a message.
const OF_CALLS: [&[u8]; 2] = [b"run-", b"lc_run-"];
/// Maximum number of places that are remembered.
const PLACES: usize = 16;
/// Maximum number of ids of a place that are remembered.
const IDS: usize = 8;

/// Who writes in each place of the graph.
#[derive(Debug, Default)]
pub(super) struct Writers {
    places: VecDeque<Place>,
    /// The id of the last chunk, its text, and its place.
    last: Option<(u64, u64, u64)>,
}

#[derive(Debug)]
struct Place {
    name: u64,
    /// The text, named by its first id.
    text: u64,
    /// The last ids of it, the newest at the end.
    ids: VecDeque<u64>,
    /// An id has come again.
    repeats: bool,
}

/// The text of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The lane of the text.
    pub(super) lane: u64,
    /// Whether it may be another text than the one before in its lane: so far there was one id, and now there are two.
    pub(super) may_begin: bool,
}

impl Writers {
    /// Returns the text of a chunk with this id. `place` returns where in the graph it was written.
    pub(super) fn text<'a>(&mut self, id: &'a [u8], place: impl FnOnce() -> &'a [u8]) -> Text {
        let own = Text {
            lane: text::key(id),
            may_begin: false,
        };
        if OF_CALLS.iter().any(|prefix| id.starts_with(prefix)) {
            return own;
        }
        if let Some((last, lane, name)) = self.last
            && last == own.lane
        {
            if let Some(place) = self.places.iter_mut().find(|place| place.name == name) {
                place.repeats = true;
            }
            return Text { lane, ..own };
        }
        let place = place();
        if place.is_empty() {
            return own;
        }
        let name = text::key(place);
        let found = self.places.iter_mut().find(|place| place.name == name);
        let text = match found {
            Some(place) => place.text(own),
            None => {
                if self.places.len() == PLACES {
                    self.places.pop_front();
                }
                self.places.push_back(Place {
                    name,
                    text: own.lane,
                    ids: VecDeque::from([own.lane]),
                    repeats: false,
                });
                own
            }
        };
        self.last = Some((own.lane, text.lane, name));
        text
    }

    /// Notes that a chunk of this text has come more than once with the same id.
    pub(super) fn repeated(&mut self, lane: u64) {
        let mut places = self.places.iter_mut();
        if let Some(place) = places.find(|place| place.text == lane) {
            place.repeats = true;
        }
    }

    /// Notes that what models write next are other texts.
    pub(super) fn end(&mut self) {
        self.places.clear();
        self.last = None;
    }
}

impl Place {
    fn text(&mut self, own: Text) -> Text {
        let is_known = self.ids.contains(&own.lane);
        self.repeats |= is_known;
        if self.repeats {
            // An id from before may have gone on with the text of the place.
            let lane = if is_known { self.text } else { own.lane };
            return Text { lane, ..own };
        }
        let may_begin = self.ids.len() == 1;
        if self.ids.len() == IDS {
            self.ids.pop_front();
        }
        self.ids.push_back(own.lane);
        Text {
            lane: self.text,
            may_begin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the texts of chunks with these ids in these places, as the number of the chunk that began each.
    fn texts(chunks: &[(&str, &str)]) -> Vec<usize> {
        let mut writers = Writers::default();
        let mut known: Vec<u64> = Vec::new();
        let mut lane = |(id, place): &(&str, &str)| {
            let lane = writers.text(id.as_bytes(), || place.as_bytes()).lane;
            let at = known.iter().position(|other| *other == lane);
            at.unwrap_or_else(|| {
                known.push(lane);
                known.len() - 1
            })
        };
        chunks.iter().map(&mut lane).collect()
    }

    #[test]
    fn an_id_for_each_chunk_makes_one_text_of_a_place() {
        let ids: Vec<String> = (0..40).map(|at| format!("chatcmpl-{at}")).collect();
        let chunks: Vec<_> = ids.iter().map(|id| (&**id, "a:1")).collect();
        assert_eq!(texts(&chunks), [0; 40]);
        let places = ["a:1", "b:1"].into_iter().cycle();
        let chunks: Vec<_> = ids.iter().map(|id| &**id).zip(places).collect();
        assert_eq!(texts(&chunks), [0, 1].repeat(20));
        // Without a place, only ids are left.
        assert_eq!(texts(&[("x", ""), ("y", ""), ("x", "")]), [0, 1, 0]);
    }

    #[test]
    fn ids_that_come_again_tell_texts_apart() {
        let of = |ids: &[&'static str]| {
            let chunks: Vec<_> = ids.iter().map(|id| (*id, "a:1")).collect();
            texts(&chunks)
        };
        assert_eq!(of(&["x", "x", "y", "y", "x", "z"]), [0, 0, 1, 1, 0, 2]);
        assert_eq!(of(&["run--x", "run--y", "run--x"]), [0, 1, 0]);
        assert_eq!(of(&["lc_run--x", "lc_run--y"]), [0, 1]);
        // A message of one chunk before one of several: the filter decides whether it is another text.
        assert_eq!(of(&["x", "y", "y", "z", "z"]), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn only_the_second_id_may_begin_a_text() {
        let mut writers = Writers::default();
        let mut may_begin = |id: &[u8]| writers.text(id, || b"a:1").may_begin;
        assert_eq!(
            [b"w", b"x", b"y", b"z"].map(|id| may_begin(id)),
            [false, true, false, false]
        );
        writers.end();
        assert!(!writers.text(b"v", || b"a:1").may_begin);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut writers = Writers::default();
        for at in 0..1000 {
            writers.text(format!("{at}").as_bytes(), || b"a:1");
            let place = format!("p{at}");
            writers.text(b"x", || place.as_bytes());
            writers.text(format!("y{at}").as_bytes(), || b"");
        }
        assert_eq!(writers.places.len(), PLACES);
        assert!(writers.places.iter().all(|place| place.ids.len() <= IDS));
    }
}
