//! The measurements of one stream: plain fields, updated as events arrive and reported at its end.

use std::time::Duration;

use tokio::time::Instant;

use super::tools::Tools;
use crate::dialect::{calls, model};
use crate::event::{Call, Class, Content, Event, Step, Usage};

/// The measurements of one stream. The time of an event is the time at which the read that contained it returned.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Meter {
    /// How many bytes were read.
    pub bytes_in: u64,
    /// Token and reasoning events: the estimate of the output tokens if the upstream reports no count.
    pub deltas: u64,
    /// How many of `deltas` are reasoning events.
    pub reasoning_deltas: u64,
    /// The current read has returned text.
    text: bool,
    /// How many of the next events are looked at for what only the first ones say.
    looks: u8,
    /// The name of the model is wanted.
    wants_model: bool,
    /// The last text, answer or reasoning.
    pub last_token: Option<Instant>,
    /// The first event of any kind.
    pub first_event: Option<Instant>,
    /// The first non-empty answer text.
    pub first_token: Option<Instant>,
    /// The first answer text that the client may see.
    pub first_visible: Option<Instant>,
    /// The first non-empty reasoning text.
    pub first_reasoning: Option<Instant>,
    /// The first tool event.
    pub first_tool: Option<Instant>,
    /// Events received, by [`Class::index`].
    pub events: [u64; Class::ALL.len()],
    /// The token counts that the upstream reported, once there are any.
    reported: Option<Box<Reported>>,
    /// The tool calls with streamed arguments, once there are any.
    tools: Option<Box<Tools>>,
    /// The name of the model in one of the first events, if `wants_model` is set.
    pub model: Option<Box<str>>,
}

/// Token counts that an upstream reported.
#[derive(Clone, Debug, Default)]
struct Reported {
    /// Summed over the upstream's model calls.
    sum: Usage,
    /// The upstream reported a total, not only a running count.
    is_total: bool,
    /// The share of each of the last [`MAX_CALLS`] model calls.
    calls: Vec<Usage>,
}

/// Where the number of output tokens comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The upstream's running count, in a stream that ended before the total was reported.
    Cumulative,
    /// The upstream reported no count, so deltas were counted.
    Estimated,
    /// The total that the upstream reported.
    Usage,
}

impl TokenSource {
    /// All sources, in order.
    pub const ALL: [Self; 3] = [Self::Cumulative, Self::Estimated, Self::Usage];

    /// Returns the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cumulative => "cumulative",
            Self::Estimated => "estimated",
            Self::Usage => "usage",
        }
    }
}

/// How many model calls are tracked. Agents run only a few at once, and report the counts of each within a few events.
/// When there are more, the oldest call is forgotten: its counts stay in the sum, but would be added again if they were
/// repeated.
const MAX_CALLS: usize = 64;

/// How many events are searched for the name of the model. It is in the first one, but Azure's first one leaves it
/// empty.
const MODEL_EVENTS: u8 = 4;

impl Default for Meter {
    fn default() -> Self {
        Self {
            events: [0; Class::ALL.len()],
            first_event: None,
            first_token: None,
            first_visible: None,
            first_reasoning: None,
            first_tool: None,
            last_token: None,
            text: false,
            looks: 1,
            deltas: 0,
            reasoning_deltas: 0,
            bytes_in: 0,
            reported: None,
            tools: None,
            model: None,
            wants_model: false,
        }
    }
}

impl Meter {
    /// Creates a meter. `wants_model`: whether it records the name of the model.
    pub fn new(wants_model: bool) -> Self {
        Self {
            looks: if wants_model { MODEL_EVENTS } else { 1 },
            wants_model,
            ..Self::default()
        }
    }

    /// Counts an event that arrived at `now`, with the bytes `block`.
    pub fn observe(&mut self, block: &[u8], event: &Event, now: Instant) {
        if let Some(count) = self.events.get_mut(event.class.index()) {
            *count += 1;
        }
        if self.looks > 0 {
            self.look(block, now);
        }
        match event.content {
            Content::None | Content::Other => {}
            Content::Reasoning => {
                self.first_reasoning.get_or_insert(now);
                self.deltas += 1;
                self.reasoning_deltas += 1;
                self.text = true;
            }
            Content::Token => {
                self.first_token.get_or_insert(now);
                self.deltas += 1;
                self.text = true;
            }
            Content::Tool => {
                self.first_tool.get_or_insert(now);
            }
        }
        if let Some(usage) = &event.usage {
            // Counts beside text are running counts; by themselves, or with an end, they are the total.
            let is_running = event.class == Class::Usage && event.content != Content::None;
            let reported = self.reported.get_or_insert_default();
            reported.add(usage);
            reported.is_total |= usage.output.is_some() && !is_running;
        }
        if let Some(call) = event.call {
            let text = event.text.map(|text| text.of(block));
            self.tool(call, text.unwrap_or_default(), block);
        }
    }

    #[cold]
    fn look(&mut self, block: &[u8], now: Instant) {
        self.first_event.get_or_insert(now);
        self.looks -= 1;
        if self.wants_model {
            self.model = model::named(block);
        }
        if self.model.is_some() {
            self.looks = 0;
        }
    }

    #[inline(never)]
    fn tool(&mut self, call: Call, text: &[u8], block: &[u8]) {
        let tools = self.tools.get_or_insert_default();
        if call.step != Step::Several {
            tools.note(call, text);
        } else if calls::in_block(block, call, |call, text| tools.note(call, text)).is_none() {
            tools.lose();
        }
    }

    /// Returns how many tool calls have incomplete arguments. In a stream that the upstream `ended`, calls that did not
    /// end count as well.
    pub fn tool_faults(&self, ended: bool) -> u64 {
        let (faults, open) = self.tools.as_ref().map_or((0, 0), |tools| tools.faults());
        faults + if ended { open as u64 } else { 0 }
    }

    /// Ends one read, in which `heartbeats` heartbeats were consumed. Returns the time since the last text if this read
    /// returned text.
    pub fn end_read(&mut self, heartbeats: u64, now: Instant) -> Option<Duration> {
        if let Some(count) = self.events.get_mut(Class::Heartbeat.index()) {
            *count += heartbeats;
        }
        if !std::mem::take(&mut self.text) {
            return None;
        }
        let last = self.last_token.replace(now)?;
        Some(now.duration_since(last))
    }

    /// Returns when the first event, the first answer text, the first reasoning and the first tool event arrived.
    pub const fn firsts(&self) -> [Option<Instant>; 4] {
        [
            self.first_event,
            self.first_token,
            self.first_reasoning,
            self.first_tool,
        ]
    }

    /// Returns the token counts that the upstream reported, summed over its model calls.
    pub fn usage(&self) -> Usage {
        self.reported
            .as_ref()
            .map_or_else(Usage::default, |reported| reported.sum)
    }

    /// Returns the number of output tokens, and where it comes from. Some servers report zero until the end.
    pub fn output_tokens(&self) -> (u64, TokenSource) {
        if let Some(reported) = &self.reported
            && let Some(stated) = reported.sum.output
            && (stated > 0 || self.deltas == 0)
        {
            let source = if reported.is_total {
                TokenSource::Usage
            } else {
                TokenSource::Cumulative
            };
            return (stated, source);
        }
        (self.deltas, TokenSource::Estimated)
    }

    /// Returns the output tokens per second, from the first to the last text and without the first token. Returns
    /// `None` for fewer than two tokens.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let first = [self.first_token, self.first_reasoning]
            .into_iter()
            .flatten()
            .min()?;
        let seconds = self.last_token?.duration_since(first).as_secs_f64();
        let (tokens, _) = self.output_tokens();
        let after_first = u32::try_from(tokens.checked_sub(1)?).ok()?;
        (seconds > 0.0 && after_first > 0).then(|| f64::from(after_first) / seconds)
    }
}

impl Reported {
    /// Adds token counts of one model call. Within a call, counts are cumulative.
    fn add(&mut self, usage: &Usage) {
        let known = self.calls.iter().position(|call| call.call == usage.call);
        let at = known.unwrap_or_else(|| {
            if self.calls.len() == MAX_CALLS {
                self.calls.remove(0);
            }
            self.calls.push(Usage {
                call: usage.call,
                ..Usage::default()
            });
            self.calls.len() - 1
        });
        if let Some(call) = self.calls.get_mut(at) {
            let sum = &mut self.sum;
            raise(&mut call.input, usage.input, &mut sum.input);
            raise(&mut call.output, usage.output, &mut sum.output);
            raise(&mut call.reasoning, usage.reasoning, &mut sum.reasoning);
        }
    }
}

/// Raises a count of one call to the reported value, and the total by the difference. A count never falls: frameworks
/// that add up the counts of chunks report zero where an earlier chunk had a value.
fn raise(count: &mut Option<u64>, stated: Option<u64>, total: &mut Option<u64>) {
    let Some(stated) = stated else { return };
    let before = count.unwrap_or(0);
    let after = stated.max(before);
    *count = Some(after);
    *total = Some(total.unwrap_or(0).saturating_add(after - before));
}

#[cfg(test)]
mod tests;
