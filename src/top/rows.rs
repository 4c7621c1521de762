//! The rows of both lists, in few columns or in all, as the width allows.

use ratatui::layout::Constraint;
use ratatui::style::Style;
use ratatui::widgets::{Cell, Row};

use super::facts::{Ended, Stream};
use super::format::{maybe, none, pace, size, time};
use super::model::{Model, Sort};
use super::style::{BAD, GOOD, WAIT, WARN};

/// How many characters of an id are shown. The question whether to stop a stream shows all.
const SHORT_ID: usize = 8;

/// How many columns there are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// The figures and the id.
    Figures,
    /// The path, too.
    Path,
    /// The dialect and the client, too.
    All,
}

impl Room {
    const fn of(width: u16) -> Self {
        match width {
            0..100 => Self::Figures,
            100..150 => Self::Path,
            _ => Self::All,
        }
    }
}

/// A list: its columns and rows.
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) columns: Vec<(String, Constraint)>,
    pub(super) rows: Vec<Row<'static>>,
}

/// Returns the live streams.
pub(super) fn live(model: &Model, width: u16) -> Shown {
    let room = Room::of(width);
    let all = model.live();
    let total = model.facts.as_ref().map_or(0, |facts| facts.active);
    let sorted = |sort: Sort| {
        let sign = match (model.sort == sort, model.ascending) {
            (false, _) => "",
            (true, false) => " v",
            (true, true) => " ^",
        };
        format!("{}{sign}", sort.title())
    };
    let mut columns = vec![
        (sorted(Sort::State), Constraint::Length(16)),
        (sorted(Sort::Route), Constraint::Length(10)),
        (sorted(Sort::Age), Constraint::Length(7)),
        (sorted(Sort::Ttft), Constraint::Length(8)),
        (sorted(Sort::Speed), Constraint::Length(7)),
        (sorted(Sort::Queue), Constraint::Length(17)),
    ];
    columns.extend(described(room));
    Shown {
        title: format!("live: {} of {total}", all.len()),
        columns,
        rows: all.into_iter().map(|stream| row(stream, room)).collect(),
    }
}

/// Returns the streams that have ended.
pub(super) fn ended(model: &Model, width: u16) -> Shown {
    let room = Room::of(width);
    let all = model.ended();
    let total = model.facts.as_ref().map_or(0, |facts| facts.ended_total);
    let outcome = if room >= Room::All { 34 } else { 24 };
    let mut columns = vec![
        column("outcome", Constraint::Length(outcome)),
        column("route", Constraint::Length(10)),
        column("lasted", Constraint::Length(7)),
        column("TTFT", Constraint::Length(8)),
        column("tok/s", Constraint::Length(7)),
        column("tokens", Constraint::Length(7)),
    ];
    columns.extend(described(room));
    Shown {
        title: format!("ended: {} of {total}", all.len()),
        columns,
        rows: all.into_iter().map(|one| past(one, room)).collect(),
    }
}

fn column(name: &str, width: Constraint) -> (String, Constraint) {
    (name.to_owned(), width)
}

/// Returns the columns that tell what a stream is.
fn described(room: Room) -> Vec<(String, Constraint)> {
    let mut columns = vec![column("id", Constraint::Length(8))];
    if room >= Room::Path {
        columns.push(column("path", Constraint::Fill(1)));
    }
    if room >= Room::All {
        columns.push(column("dialect", Constraint::Length(14)));
        columns.push(column("client", Constraint::Length(15)));
    }
    columns
}

/// What a stream is.
struct Described<'a> {
    id: &'a str,
    path: String,
    dialect: String,
    client: Option<&'a str>,
}

impl Described<'_> {
    /// Returns the cells of [`described`].
    fn cells(self, room: Room) -> Vec<Cell<'static>> {
        let short: String = self.id.chars().take(SHORT_ID).collect();
        let mut cells = vec![Cell::from(short)];
        if room >= Room::Path {
            cells.push(Cell::from(self.path));
        }
        if room >= Room::All {
            cells.push(Cell::from(self.dialect));
            cells.push(Cell::from(self.client.map_or_else(none, str::to_owned)));
        }
        cells
    }
}

fn row(stream: &Stream, room: Room) -> Row<'static> {
    let flow = match stream.flow_ms {
        Some(ms) => format!("{} {}", stream.flow, time(ms)),
        None => stream.flow.clone(),
    };
    let queue = match stream.queue_events {
        0 => "0".to_owned(),
        events => format!("{events} / {}", size(stream.queue_bytes)),
    };
    let style = match &*stream.flow {
        "flowing" => GOOD,
        "silent" | "blocked" => WARN,
        "stalled" => BAD,
        _ => WAIT,
    };
    let mut cells = vec![
        Cell::from(flow).style(style),
        Cell::from(stream.route.clone()),
        Cell::from(time(stream.age_ms)),
        Cell::from(maybe(stream.ttft_ms)),
        Cell::from(pace(stream.tokens_per_s)),
        Cell::from(queue),
    ];
    let described = Described {
        id: &stream.id,
        path: format!("{} {}", stream.method, stream.path),
        dialect: match &stream.reply {
            Some(reply) => format!("{}>{reply}", stream.dialect),
            None => stream.dialect.clone(),
        },
        client: stream.client.as_deref(),
    };
    cells.extend(described.cells(room));
    Row::new(cells)
}

/// Returns the style of an outcome.
pub(super) fn style(outcome: &str) -> Style {
    match outcome {
        "finished" => GOOD,
        "client_gone" | "stopped" | "drained" => WAIT,
        _ => BAD,
    }
}

fn past(ended: &Ended, room: Room) -> Row<'static> {
    let outcome = if ended.code == ended.outcome {
        ended.outcome.clone()
    } else {
        format!("{}: {}", ended.outcome, ended.code)
    };
    let mut cells = vec![
        Cell::from(outcome).style(style(&ended.outcome)),
        Cell::from(ended.route.clone()),
        Cell::from(time(ended.duration_ms)),
        Cell::from(maybe(ended.ttft_ms)),
        Cell::from(pace(ended.tokens_per_s)),
        Cell::from(ended.tokens.to_string()),
    ];
    let described = Described {
        id: ended.id.as_deref().unwrap_or("-"),
        path: format!("{} {} {}", ended.status, ended.method, ended.path),
        dialect: ended.dialect.clone(),
        client: ended.client.as_deref(),
    };
    cells.extend(described.cells(room));
    Row::new(cells)
}
