//! Draws the display.

use std::cmp::Reverse;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap};

use super::facts::{Facts, Recent};
use super::format::{maybe, none, size, time};
use super::model::{List, Model, StopPrompt};
use super::rows::{self, Shown};
use super::style::{BAD, BOLD, DIM, GOOD, WAIT, WARN};

/// Draws `model`. `place` is where Weir was asked.
pub fn draw(frame: &mut Frame<'_>, model: &Model, place: &str) {
    let layout = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(5),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [head, chart, list, foot] = layout.areas(frame.area());
    frame.render_widget(Paragraph::new(header(model, place)), head);
    let Some(facts) = &model.facts else {
        frame.render_widget(keys(model), foot);
        return;
    };
    sparkline(frame, facts, chart);
    match model.list {
        List::Live => table(frame, model, rows::live(model, list.width), list),
        List::Ended => table(frame, model, rows::ended(model, list.width), list),
    }
    frame.render_widget(keys(model), foot);
    if let Some(prompt) = &model.asking {
        ask(frame, prompt);
    }
}

/// Returns the two lines on top: what runs, and what is wrong.
fn header(model: &Model, place: &str) -> Vec<Line<'static>> {
    let Some(facts) = &model.facts else {
        let text = (model.problem.as_ref()).map_or_else(
            || format!("connecting to {place} ..."),
            |problem| format!("{problem}; trying again"),
        );
        let style = if model.problem.is_some() { BAD } else { DIM };
        return vec![
            Line::from(Span::styled("weir top", BOLD)),
            Line::styled(text, style),
        ];
    };
    let memory = &facts.memory;
    let resident = memory.resident_bytes.map_or_else(none, size);
    let limit = memory
        .limit_bytes
        .map(|limit| format!(" of {}", size(limit)));
    // What it was built from is last, because a narrow display has no room for it.
    let (version, build) = facts
        .version
        .split_once(' ')
        .unwrap_or((facts.version.as_str(), ""));
    let first = vec![
        Span::styled(format!("weir {version}"), BOLD),
        Span::raw(format!(
            "  up {}  {} live, {} ended  memory {resident}{}  configuration {}",
            time(facts.uptime_ms),
            facts.active,
            facts.ended_total,
            limit.unwrap_or_default(),
            facts.config.generation,
        )),
        Span::styled(format!("  {build}"), DIM),
    ];
    vec![Line::from(first), Line::from(state(model, facts))]
}

/// Returns whether Weir can be asked, whether it drains, and what else is wrong with it.
fn state(model: &Model, facts: &Facts) -> Vec<Span<'static>> {
    if let Some(problem) = &model.problem {
        let text = format!("{problem}; trying again, this is what it sent last");
        return vec![Span::styled(text, BAD)];
    }
    let drain = if facts.refusing {
        Span::styled("draining: new requests are refused", BAD)
    } else if facts.draining {
        Span::styled("draining", WARN)
    } else {
        Span::styled("serving", GOOD)
    };
    let mut spans = vec![drain];
    if facts.memory.shedding {
        spans.push(Span::styled(
            "  memory is short: new requests are refused",
            BAD,
        ));
    }
    let reload = facts.config.last_reload.as_ref();
    if let Some(rejected) = reload.filter(|reload| !reload.ok) {
        let why = rejected.problem.as_deref().unwrap_or_default();
        let why = why.lines().next().unwrap_or_default();
        let text = format!("  the last reload was rejected: {why}");
        spans.push(Span::styled(text, BAD));
    }
    for upstream in &facts.upstreams {
        let out = upstream.endpoints.iter().filter(|one| one.state != "in");
        for endpoint in out {
            let text = format!("  {} {}: {}", upstream.name, endpoint.url, endpoint.state);
            spans.push(Span::styled(text, BAD));
        }
    }
    spans
}

fn sparkline(frame: &mut Frame<'_>, facts: &Facts, area: Rect) {
    let layout = [
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ];
    let [title, bars, ends] = Layout::vertical(layout).areas(area);
    let recent = &facts.recent;
    frame.render_widget(Line::from(ended(recent)), ends);
    let last = |values: &[Option<f64>]| maybe(values.iter().rev().find_map(|ms| whole(*ms)));
    let text = format!(
        "time to first token, median of each 15 s in 15 minutes; last: p50 {}, p95 {}",
        last(&recent.ttft_p50_ms),
        last(&recent.ttft_p95_ms),
    );
    frame.render_widget(Line::styled(text, DIM), title);
    let width = usize::from(bars.width);
    let times = (width / recent.ttft_p50_ms.len().max(1)).max(1);
    let values: Vec<Option<u64>> = recent
        .ttft_p50_ms
        .iter()
        .flat_map(|ms| std::iter::repeat_n(whole(*ms).map(|ms| ms.max(1)), times))
        .collect();
    let shown = values.get(values.len().saturating_sub(width)..);
    let shown = shown.unwrap_or_default().iter();
    frame.render_widget(Sparkline::default().data(shown).style(WAIT), bars);
}

/// Returns how the streams of the last minutes have ended, the most frequent outcome first.
fn ended(recent: &Recent) -> Vec<Span<'static>> {
    let sum =
        |(outcome, counts): (&String, &Vec<u64>)| (counts.iter().sum::<u64>(), outcome.clone());
    let mut sums: Vec<(u64, String)> = recent.ends.iter().map(sum).collect();
    sums.sort_by_key(|(count, _)| Reverse(*count));
    let mut spans = vec![Span::styled("ended in 15 minutes:", DIM)];
    if sums.is_empty() {
        spans.push(Span::styled(" none", DIM));
    }
    for (count, outcome) in sums {
        let style = rows::style(&outcome);
        spans.push(Span::styled(format!("  {outcome} {count}"), style));
    }
    spans
}

/// Returns whole milliseconds.
fn whole(ms: Option<f64>) -> Option<u64> {
    let ms = ms.filter(|ms| ms.is_finite() && *ms >= 0.0)?;
    u64::try_from(Duration::try_from_secs_f64(ms / 1000.0).ok()?.as_millis()).ok()
}

fn table(frame: &mut Frame<'_>, model: &Model, shown: Shown, area: Rect) {
    let [title, rows] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let mut line = vec![Span::styled(shown.title, BOLD)];
    if !model.filter.is_empty() {
        line.push(Span::raw(format!("  with \"{}\"", model.filter)));
    }
    if let Some((request, stream)) = model.ids() {
        let text = format!("   selected: request {request}, stream {stream}");
        line.push(Span::styled(text, DIM));
    }
    frame.render_widget(Line::from(line), title);
    let widths: Vec<Constraint> = shown.columns.iter().map(|(_, width)| *width).collect();
    let names = shown.columns.into_iter().map(|(name, _)| name);
    let table = Table::new(shown.rows, widths)
        .header(Row::new(names).style(DIM))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(model.selected());
    frame.render_stateful_widget(table, rows, &mut state);
}

/// Returns the last line: the filter while it is typed, what came of the last stop, or the keys.
fn keys(model: &Model) -> Line<'static> {
    if model.typing {
        return Line::from(format!(
            "/{}_   Enter: keep it   Esc: show all",
            model.filter
        ));
    }
    if let Some(said) = &model.said {
        return Line::styled(said.clone(), WARN);
    }
    Line::styled(
        "q quit   / filter   e live or ended   s stop   1-6 sort   r reverse   j k select",
        DIM,
    )
}

/// Asks in the middle of the display whether to stop a stream.
fn ask(frame: &mut Frame<'_>, prompt: &StopPrompt) {
    let lines = vec![
        Line::styled(
            "Stop this stream?  y: stop it   any other key: keep it",
            BAD,
        ),
        Line::from(prompt.what.clone()),
        Line::from(prompt.id.clone()),
    ];
    let all = frame.area();
    let height = all.height.min(4);
    let area = Rect {
        x: all.x,
        y: all.y + all.height.saturating_sub(height) / 2,
        width: all.width,
        height,
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::{Config, Ended, Endpoint, Memory, Reload, Stream, Upstream};

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let done = terminal
            .draw(|frame| draw(frame, model, "127.0.0.1:9464"))
            .unwrap();
        let cells = done.buffer.content().iter().map(|cell| cell.symbol());
        let cells: Vec<&str> = cells.collect();
        let lines = cells.chunks(usize::from(width)).map(|line| line.concat());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.update(Facts {
            active: 1,
            ended_total: 7,
            version: "1.2.3 (commit 0123456789ab, rustc 1.95.0)".to_owned(),
            uptime_ms: 5_000,
            memory: Memory {
                resident_bytes: Some(30 << 20),
                ..Memory::default()
            },
            upstreams: vec![Upstream {
                name: "agent".to_owned(),
                endpoints: vec![Endpoint {
                    url: "http://a:1".to_owned(),
                    state: "ejected".to_owned(),
                }],
            }],
            recent: Recent {
                ttft_p50_ms: vec![None, Some(0.2), Some(250.0)],
                ttft_p95_ms: vec![None, Some(1.0), Some(400.0)],
                ends: [("finished", vec![1, 4]), ("upstream_error", vec![7, 0])]
                    .into_iter()
                    .map(|(outcome, counts)| (outcome.to_owned(), counts))
                    .collect(),
            },
            config: Config {
                generation: 2,
                last_reload: Some(Reload {
                    ok: false,
                    problem: Some("weir.yaml:3: unknown key".to_owned()),
                }),
            },
            streams: vec![Stream {
                id: "0123456789abcdef0123456789abcdef".to_owned(),
                request_id: "my-request".to_owned(),
                route: "chat".to_owned(),
                dialect: "anthropic".to_owned(),
                reply: Some("ai-sdk".to_owned()),
                method: "POST".to_owned(),
                path: "/v1/chat/completions".to_owned(),
                flow: "silent".to_owned(),
                flow_ms: Some(3_000),
                tokens_per_s: Some(41.5),
                queue_events: 256,
                queue_bytes: 1_000_000,
                ..Stream::default()
            }],
            ended: vec![Ended {
                outcome: "upstream_error".to_owned(),
                code: "overloaded".to_owned(),
                tokens: 12,
                ..Ended::default()
            }],
            ..Facts::default()
        });
        model
    }

    #[test]
    fn the_facts_are_shown() {
        let mut model = model();
        let text = drawn(&model, 130, 20);
        for part in [
            "weir 1.2.3 ",
            "(commit 0123456789ab, rustc 1.95.0)",
            "up 5.0 s",
            "1 live, 7 ended",
            "30 MiB",
            "agent http://a:1: ejected",
            "p50 250 ms, p95 400 ms",
            "silent 3.0 s",
            "41.5",
            "256 / 976.5 KiB",
            "the last reload was rejected: weir.yaml:3: unknown key",
            "ended in 15 minutes:  upstream_error 7  finished 5",
            "selected: request my-request, stream 0123456789abcdef0123456789abcdef",
            "POST /v1/chat/completions",
            "01234567",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        let narrow = drawn(&model, 80, 20);
        assert!(
            narrow.contains("memory 30 MiB  configuration 2"),
            "{narrow}"
        );
        assert!(narrow.contains("01234567") && narrow.contains("256 / 976.5 KiB"));
        assert!(!narrow.contains("POST"), "there is no room for it");
        let wide = drawn(&model, 160, 20);
        assert!(wide.contains("anthropic>ai-s"), "{wide}");
        model.list = List::Ended;
        let text = drawn(&model, 80, 20);
        assert!(text.contains("ended: 1 of 7") && text.contains("upstream_error: over"));
    }

    #[test]
    fn a_lost_connection_and_a_question_are_shown() {
        let mut model = Model::default();
        assert!(drawn(&model, 80, 20).contains("connecting to 127.0.0.1:9464"));
        model.lost("no connection to 127.0.0.1:9464: connection refused".to_owned());
        let text = drawn(&model, 80, 20);
        assert!(text.contains("no connection to 127.0.0.1:9464: connection refused"));
        let mut model = self::model();
        model.asking = Some(StopPrompt {
            id: "0123".to_owned(),
            what: "POST /chat".to_owned(),
        });
        let text = drawn(&model, 80, 20);
        assert!(text.contains("Stop this stream?") && text.contains("POST /chat"));
    }

    #[test]
    fn no_size_is_too_small() {
        let mut model = model();
        for list in [List::Live, List::Ended] {
            model.list = list;
            for (width, height) in [(1, 1), (3, 2), (10, 5), (80, 4), (500, 100)] {
                drawn(&model, width, height);
            }
        }
        model.asking = Some(StopPrompt {
            id: "0123".to_owned(),
            what: "POST /chat".to_owned(),
        });
        drawn(&model, 2, 2);
    }
}
