//! The rows of both lists, in few columns or in all, as the width allows.

use ratatui::layout::Constraint;
use ratatui::widgets::{Cell, Row};

use super::facts::{Ended, Stream};
use super::model::{Model, Sort};
use super::style::{BAD, GOOD, WAIT, WARN};
use super::words::{maybe, none, pace, size, time};

/// From this width on, rows have all columns.
const WIDE: u16 = 120;
/// How many characters of an id a narrow row shows.
const SHORT_ID: usize = 8;

/// A list: its columns and rows.
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) columns: Vec<(String, Constraint)>,
    pub(super) rows: Vec<Row<'static>>,
}

/// Returns the live streams.
pub(super) fn live(model: &Model, width: u16) -> Shown {
    let is_wide = width >= WIDE;
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
        (sorted(Sort::Route), Constraint::Min(8)),
        (sorted(Sort::Age), Constraint::Length(8)),
        (sorted(Sort::Ttft), Constraint::Length(8)),
        (sorted(Sort::Speed), Constraint::Length(8)),
        (sorted(Sort::Queue), Constraint::Length(16)),
    ];
    columns.extend(described(is_wide));
    Shown {
        title: format!("live: {} of {total}", all.len()),
        columns,
        rows: all.into_iter().map(|stream| row(stream, is_wide)).collect(),
    }
}

/// Returns the columns that tell what a stream is.
fn described(is_wide: bool) -> Vec<(String, Constraint)> {
    let column = |name: &str, width: Constraint| (name.to_owned(), width);
    if is_wide {
        vec![
            column("dialect", Constraint::Length(16)),
            column("client", Constraint::Length(15)),
            column("path", Constraint::Fill(1)),
            column("id", Constraint::Length(32)),
        ]
    } else {
        vec![column("id", Constraint::Length(9))]
    }
}

fn row(stream: &Stream, is_wide: bool) -> Row<'static> {
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
    let dialect = match &stream.reply {
        Some(reply) => format!("{}>{reply}", stream.dialect),
        None => stream.dialect.clone(),
    };
    cells.extend(description(
        is_wide,
        dialect,
        stream.client.clone(),
        &format!("{} {}", stream.method, stream.path),
        &stream.id,
    ));
    Row::new(cells)
}

/// Returns the cells that tell what a stream is.
fn description(
    is_wide: bool,
    dialect: String,
    client: Option<String>,
    path: &str,
    id: &str,
) -> Vec<Cell<'static>> {
    if is_wide {
        vec![
            Cell::from(dialect),
            Cell::from(client.unwrap_or_else(none)),
            Cell::from(path.to_owned()),
            Cell::from(id.to_owned()),
        ]
    } else {
        let short: String = id.chars().take(SHORT_ID).collect();
        vec![Cell::from(short)]
    }
}

/// Returns the streams that have ended.
pub(super) fn ended(model: &Model, width: u16) -> Shown {
    let is_wide = width >= WIDE;
    let all = model.ended();
    let total = model.facts.as_ref().map_or(0, |facts| facts.ended_total);
    let column = |name: &str, width: Constraint| (name.to_owned(), width);
    let mut columns = vec![
        column("outcome", Constraint::Length(20)),
        column("route", Constraint::Min(8)),
        column("lasted", Constraint::Length(8)),
        column("TTFT", Constraint::Length(8)),
        column("tok/s", Constraint::Length(8)),
        column("tokens", Constraint::Length(8)),
    ];
    columns.extend(described(is_wide));
    Shown {
        title: format!("ended: {} of {total}", all.len()),
        columns,
        rows: all.into_iter().map(|one| past(one, is_wide)).collect(),
    }
}

fn past(ended: &Ended, is_wide: bool) -> Row<'static> {
    let outcome = if ended.code == ended.outcome {
        ended.outcome.clone()
    } else {
        format!("{}: {}", ended.outcome, ended.code)
    };
    let style = match &*ended.outcome {
        "finished" => GOOD,
        "client_gone" | "stopped" | "drained" => WAIT,
        _ => BAD,
    };
    let mut cells = vec![
        Cell::from(outcome).style(style),
        Cell::from(ended.route.clone()),
        Cell::from(time(ended.duration_ms)),
        Cell::from(maybe(ended.ttft_ms)),
        Cell::from(pace(ended.tokens_per_s)),
        Cell::from(ended.tokens.to_string()),
    ];
    cells.extend(description(
        is_wide,
        ended.dialect.clone(),
        ended.client.clone(),
        &format!("{} {} {}", ended.status, ended.method, ended.path),
        ended.id.as_deref().unwrap_or("-"),
    ));
    Row::new(cells)
}
