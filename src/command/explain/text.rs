//! Writes the report about an exchange as text for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Report;
use super::facts::Stream;
use super::hiding::Amount;
use crate::config::rough_size;
use crate::log::printable;

/// Returns a few lines about an exchange.
pub(super) fn of(report: &Report) -> String {
    let kind = report.content_type.as_deref().unwrap_or("no content type");
    let mut out = format!(
        "exchange {}  {} {} -> {} {}\n",
        report.exchange,
        printable(&report.method),
        printable(&report.target),
        report.status,
        printable(kind)
    );
    line(
        &mut out,
        "transfer",
        &format!(
            "{}, head after {}, {} {}, {} in {}",
            report.transfer,
            millis(report.head_ms),
            report.reads,
            noun(report.reads == 1, "read", "reads"),
            rough_size(report.bytes),
            millis(report.duration_ms)
        ),
    );
    if let Some(why) = &report.no_stream {
        line(&mut out, "no stream", why);
        line(&mut out, "end", &recorded(report));
    }
    if let Some(stream) = &report.stream {
        of_stream(&mut out, report, stream);
    }
    out
}

fn of_stream(out: &mut String, report: &Report, stream: &Stream) {
    let announced = match stream.announced {
        None => "shown by its events".to_owned(),
        Some(announced) if announced == stream.dialect => "as announced".to_owned(),
        Some(announced) => format!("{announced} was announced"),
    };
    line(out, "dialect", &format!("{} ({announced})", stream.dialect));
    line(
        out,
        "framing",
        &format!("{}, {}", stream.framing, stream.coding),
    );
    let total: u64 = stream.events.values().sum();
    line(
        out,
        "events",
        &format!("{total}: {}", counts(&stream.events)),
    );
    let firsts = [
        ("event", stream.first_event_ms),
        ("token", stream.first_token_ms),
        ("reasoning", stream.first_reasoning_ms),
        ("tool", stream.first_tool_ms),
    ];
    let firsts: Vec<String> = firsts
        .into_iter()
        .filter_map(|(name, at)| at.map(|at| format!("{name} after {}", millis(at))))
        .collect();
    line(out, "first", &or_none(firsts.join(", ")));
    let gaps = stream.gaps.as_ref().map_or_else(
        || "none".to_owned(),
        |gaps| {
            format!(
                "p50 {}, p95 {}, max {} ({} between reads with text)",
                millis(gaps.p50_ms),
                millis(gaps.p95_ms),
                millis(gaps.max_ms),
                gaps.count
            )
        },
    );
    line(out, "gaps", &gaps);
    let mut tokens = format!("{} ({})", stream.tokens, stream.tokens_source);
    if let Some(speed) = stream.tokens_per_second {
        tokens.push_str(&format!(", {speed:.1} per second"));
    }
    if let Some(input) = stream.input_tokens {
        tokens.push_str(&format!(", input {input}"));
    }
    if let Some(reasoning) = stream.reasoning_tokens {
        tokens.push_str(&format!(", reasoning {reasoning}"));
    }
    line(out, "tokens", &tokens);
    let tools = &stream.tools;
    line(
        out,
        "tools",
        &format!(
            "{} events, {} calls begun, {} incomplete",
            tools.events, tools.calls, tools.incomplete
        ),
    );
    let mut end = match stream.end {
        Some(end) => end.to_owned(),
        None => format!("not {}", recorded(report)),
    };
    if stream.ignored_bytes > 0 {
        let size = rough_size(stream.ignored_bytes);
        end.push_str(&format!("; {size} after it are ignored"));
    }
    line(out, "end", &end);
    let hide = &stream.hide;
    line(
        out,
        "hide",
        &format!(
            "reasoning: {}; tools: {}",
            amount(hide.reasoning),
            amount(hide.tools)
        ),
    );
    line(
        out,
        "",
        &format!("events left out: {}", counts(&hide.events)),
    );
    for excerpt in &hide.excerpts {
        line(out, "", &format!("{}: {:?}", excerpt.class, excerpt.text));
    }
}

/// Returns how the recording says that the response ended.
fn recorded(report: &Report) -> String {
    let why = report
        .recorded_reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    match report.stream {
        Some(_) => format!("recorded{why}"),
        None => format!("{}{why}", report.recorded_end),
    }
}

fn counts(events: &BTreeMap<&'static str, u64>) -> String {
    let counts: Vec<String> = events
        .iter()
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    or_none(counts.join(", "))
}

fn amount(hidden: Amount) -> String {
    let Amount { spans, characters } = hidden;
    format!(
        "{spans} {}, {characters} {}",
        noun(spans == 1, "span", "spans"),
        noun(characters == 1, "character", "characters")
    )
}

const fn noun(is_one: bool, one: &'static str, many: &'static str) -> &'static str {
    if is_one { one } else { many }
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

fn millis(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.1} ms")
    } else if time < 1000.0 {
        format!("{time:.0} ms")
    } else {
        format!("{:.3} s", time / 1000.0)
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "  {name:<10}{text}");
}
