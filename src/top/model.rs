//! What the user has chosen, and what each key changes.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::facts::{Ended, Facts, Stream};

/// How many rows Page Up and Page Down move.
const PAGE: usize = 10;
/// How many characters a filter may have.
const MAX_FILTER: usize = 100;

/// Which list is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// The streams that run.
    #[default]
    Live,
    /// The streams that have ended.
    Ended,
}

/// What live streams are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By age.
    #[default]
    Age,
    /// By the time to the first token.
    Ttft,
    /// By tokens per second.
    Speed,
    /// What waits for their clients.
    Queue,
    /// Whether they flow.
    State,
    /// By route.
    Route,
}

impl Sort {
    /// All of them, in the order of their keys, from 1.
    pub const ALL: [Self; 6] = [
        Self::Age,
        Self::Ttft,
        Self::Speed,
        Self::Queue,
        Self::State,
        Self::Route,
    ];

    /// Returns the title of the column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Ttft => "TTFT",
            Self::Speed => "tok/s",
            Self::Queue => "queue",
            Self::State => "state",
            Self::Route => "route",
        }
    }
}

/// What a key asks for, beside what it changes in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// The end of the program.
    Quit,
    /// The end of the stream with this id.
    Stop(String),
}

/// The question whether to stop a stream, which the user has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopPrompt {
    /// The id of the stream.
    pub id: String,
    /// What it is, in words.
    pub what: String,
}

/// The state of the display.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// What Weir told last; `None` before it has.
    pub facts: Option<Facts>,
    /// Why Weir cannot be asked; `None` if it can.
    pub problem: Option<String>,
    /// Which list is shown.
    pub list: List,
    /// What live streams are sorted by.
    pub sort: Sort,
    /// Smallest first.
    pub ascending: bool,
    /// Words that shown streams contain.
    pub filter: String,
    /// Keys change the filter.
    pub typing: bool,
    /// The user is asked whether to stop this stream.
    pub asking: Option<StopPrompt>,
    /// What came of the last stop.
    pub said: Option<String>,
    /// What names the selected row. It stays selected when the order changes.
    selected: Option<String>,
}

impl Model {
    /// Takes new data from Weir.
    pub fn update(&mut self, facts: Facts) {
        self.facts = Some(facts);
        self.problem = None;
    }

    /// Takes why Weir cannot be asked. What it told before stays.
    pub fn lost(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                _ => Action::None,
            };
        }
        if let Some(prompt) = self.asking.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Action::Stop(prompt.id),
                _ => Action::None,
            };
        }
        if self.typing {
            self.typed(key.code);
            return Action::None;
        }
        self.said = None;
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('e') => self.switch(),
            KeyCode::Char('s') => self.asking = self.stop_prompt(),
            KeyCode::Char('r') => self.ascending = !self.ascending,
            KeyCode::Char(key) => self.letter(key),
            KeyCode::Down => self.step(|at, _| at + 1),
            KeyCode::Up => self.step(|at, _| at.saturating_sub(1)),
            KeyCode::PageDown => self.step(|at, _| at + PAGE),
            KeyCode::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            KeyCode::Home => self.step(|_, _| 0),
            KeyCode::End => self.step(|_, last| last),
            _ => {}
        }
        Action::None
    }

    /// Returns the live streams that are shown, in their order.
    pub fn live(&self) -> Vec<&Stream> {
        let words = self.words();
        let all = self.facts.iter().flat_map(|facts| &facts.streams);
        let mut shown: Vec<&Stream> = all.filter(|stream| has(stream, &words)).collect();
        shown.sort_by(|one, other| self.compare(one, other));
        shown
    }

    /// Returns the ended streams that are shown, last first.
    pub fn ended(&self) -> Vec<&Ended> {
        let words = self.words();
        let all = self.facts.iter().flat_map(|facts| &facts.ended);
        all.filter(|ended| had(ended, &words)).collect()
    }

    /// Returns the place of the selected row, if there is any row.
    pub fn selected(&self) -> Option<usize> {
        let names = self.names();
        let known = self.selected.as_ref();
        let at = names.iter().position(|name| Some(name) == known);
        (!names.is_empty()).then(|| at.unwrap_or(0))
    }

    /// Returns the ids of the selected request and its stream, if there is any row. A request that failed has no
    /// stream.
    pub fn ids(&self) -> Option<(&str, &str)> {
        let at = self.selected()?;
        match self.list {
            List::Live => {
                let stream = *self.live().get(at)?;
                Some((stream.request_id.as_str(), stream.id.as_str()))
            }
            List::Ended => {
                let ended = *self.ended().get(at)?;
                let id = ended.id.as_deref().unwrap_or("-");
                Some((ended.request_id.as_str(), id))
            }
        }
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < MAX_FILTER => self.filter.push(c),
            _ => {}
        }
    }

    fn switch(&mut self) {
        self.list = match self.list {
            List::Live => List::Ended,
            List::Ended => List::Live,
        };
        self.selected = None;
    }

    fn letter(&mut self, key: char) {
        match key {
            'j' => self.step(|at, _| at + 1),
            'k' => self.step(|at, _| at.saturating_sub(1)),
            _ => {}
        }
        let place = key.to_digit(10).and_then(|digit| digit.checked_sub(1));
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(sort) = place.and_then(|place| Sort::ALL.get(place)) {
            self.sort = *sort;
        }
    }

    /// Selects the row at the place that `to` makes of the current one and the last one.
    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        let at = self.selected().unwrap_or(0);
        let names = self.names();
        let last = names.len().saturating_sub(1);
        self.selected = names.get(to(at, last).min(last)).cloned();
    }

    /// Returns the stream that the user may stop.
    fn stop_prompt(&self) -> Option<StopPrompt> {
        if self.list == List::Ended {
            return None;
        }
        let live = self.live();
        let stream = live.get(self.selected()?)?;
        Some(StopPrompt {
            id: stream.id.clone(),
            what: format!(
                "{} {} on route {}",
                stream.method, stream.path, stream.route
            ),
        })
    }

    /// Returns what names each row.
    fn names(&self) -> Vec<String> {
        match self.list {
            List::Live => self
                .live()
                .into_iter()
                .map(|stream| stream.id.clone())
                .collect(),
            List::Ended => self
                .ended()
                .into_iter()
                .map(|ended| ended.number.to_string())
                .collect(),
        }
    }

    fn words(&self) -> Vec<String> {
        let words = self.filter.split_whitespace();
        words.map(str::to_lowercase).collect()
    }

    fn compare(&self, one: &Stream, other: &Stream) -> Ordering {
        let order = match self.sort {
            Sort::Age => one.age_ms.cmp(&other.age_ms),
            Sort::Ttft => one.ttft_ms.cmp(&other.ttft_ms),
            Sort::Speed => {
                let speed = |stream: &Stream| stream.tokens_per_s.unwrap_or(-1.0);
                speed(one).total_cmp(&speed(other))
            }
            Sort::Queue => one.queue_bytes.cmp(&other.queue_bytes),
            Sort::State => one.flow.cmp(&other.flow),
            Sort::Route => one.route.cmp(&other.route),
        };
        let order = if self.ascending {
            order
        } else {
            order.reverse()
        };
        order.then_with(|| one.id.cmp(&other.id))
    }
}

fn has(stream: &Stream, words: &[String]) -> bool {
    contain(
        words,
        &[
            &stream.route,
            &stream.method,
            &stream.path,
            stream.client.as_deref().unwrap_or_default(),
            &stream.dialect,
            stream.reply.as_deref().unwrap_or_default(),
            &stream.flow,
            &stream.id,
            &stream.request_id,
        ],
    )
}

fn had(ended: &Ended, words: &[String]) -> bool {
    contain(
        words,
        &[
            &ended.route,
            &ended.method,
            &ended.path,
            ended.client.as_deref().unwrap_or_default(),
            &ended.dialect,
            &ended.outcome,
            &ended.code,
            ended.id.as_deref().unwrap_or_default(),
            &ended.request_id,
        ],
    )
}

/// Reports whether each word is in one of the texts, in either case.
fn contain(words: &[String], texts: &[&str]) -> bool {
    let is_in = |word: &String| texts.iter().any(|text| text.to_lowercase().contains(word));
    words.iter().all(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let stream = |id: &str, route: &str, age_ms: u64, ttft_ms: Option<u64>| Stream {
            id: id.to_owned(),
            route: route.to_owned(),
            age_ms,
            ttft_ms,
            ..Stream::default()
        };
        let mut model = Model::default();
        model.update(Facts {
            streams: vec![
                stream("a", "chat", 100, Some(30)),
                stream("b", "agents", 300, None),
                stream("c", "chat", 200, Some(90)),
            ],
            ended: vec![Ended {
                number: 1,
                outcome: "finished".to_owned(),
                ..Ended::default()
            }],
            ..Facts::default()
        });
        model
    }

    fn press(model: &mut Model, keys: &str) -> Action {
        let press = |key: char| {
            model.key(KeyEvent::new(
                match key {
                    '\n' => KeyCode::Enter,
                    '\x1b' => KeyCode::Esc,
                    '<' => KeyCode::Backspace,
                    key => KeyCode::Char(key),
                },
                KeyModifiers::NONE,
            ))
        };
        keys.chars().map(press).last().unwrap()
    }

    fn ids(model: &Model) -> String {
        model.live().iter().map(|stream| &*stream.id).collect()
    }

    #[test]
    fn streams_are_sorted_and_filtered() {
        let mut model = model();
        assert_eq!(ids(&model), "bca", "the oldest first");
        press(&mut model, "r");
        assert_eq!(ids(&model), "acb");
        press(&mut model, "r2");
        assert_eq!(ids(&model), "cab", "without a first token last");
        press(&mut model, "6/Cha\n");
        assert_eq!((ids(&model).as_str(), model.typing), ("ac", false));
        press(&mut model, "/q<x");
        assert_eq!(model.filter, "Chax", "keys are text meanwhile");
        press(&mut model, "\x1b");
        assert_eq!((ids(&model).len(), model.filter.as_str()), (3, ""));
    }

    #[test]
    fn a_stream_is_stopped_after_a_confirmation_only() {
        let mut model = model();
        assert_eq!(press(&mut model, "js"), Action::None);
        assert_eq!(model.asking.as_ref().unwrap().id, "c");
        assert_eq!(press(&mut model, "n"), Action::None);
        assert_eq!(model.asking, None);
        assert_eq!(
            press(&mut model, "sq"),
            Action::None,
            "no is no end, either"
        );
        assert_eq!(press(&mut model, "sy"), Action::Stop("c".to_owned()));
        assert_eq!(press(&mut model, "es"), Action::None);
        assert_eq!(model.asking, None, "what has ended cannot be stopped");
        assert_eq!(press(&mut model, "q"), Action::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(model.key(interrupt), Action::Quit);
    }

    #[test]
    fn the_selection_stays_on_its_stream() {
        let mut model = model();
        press(&mut model, "j");
        assert_eq!(model.selected(), Some(1));
        assert_eq!(model.ids(), Some(("", "c")));
        let facts = model.facts.as_mut().unwrap();
        facts.streams.retain(|stream| stream.id != "b");
        assert_eq!(model.selected(), Some(0), "still stream c");
        model.facts.as_mut().unwrap().streams.clear();
        assert_eq!((model.selected(), model.ids()), (None, None));
        press(&mut model, "e");
        assert_eq!(model.ids(), Some(("", "-")));
        press(&mut model, "e");
        assert_eq!(press(&mut model, "jks"), Action::None);
    }
}
