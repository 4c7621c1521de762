//! What one stream measured: counted in plain fields as events arrive, read once at its end.

use std::time::Duration;

use tokio::time::Instant;

use super::pipeline::Item;
use crate::event::{Class, Content, Usage};

/// One stream's numbers. Times are taken when the read that brought the event returned.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Events in, by [`Class::index`].
    pub events: [u64; Class::ALL.len()],
    /// First event of any kind.
    pub first_event: Option<Instant>,
    /// First non-empty answer text.
    pub first_token: Option<Instant>,
    /// First non-empty reasoning text.
    pub first_reasoning: Option<Instant>,
    /// First tool event.
    pub first_tool: Option<Instant>,
    /// Last text of either kind.
    pub last_token: Option<Instant>,
    /// Token and reasoning events: the estimate of output tokens where the upstream states none.
    pub deltas: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// What the upstream stated.
    pub usage: Usage,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            events: [0; Class::ALL.len()],
            first_event: None,
            first_token: None,
            first_reasoning: None,
            first_tool: None,
            last_token: None,
            deltas: 0,
            bytes_in: 0,
            usage: Usage::default(),
        }
    }
}

impl Meter {
    /// Counts the events of one read; returns the gap since the last text if this read brought text.
    pub fn observe(&mut self, items: &[Item], now: Instant) -> Option<Duration> {
        let mut text = false;
        for Item { event, .. } in items {
            if let Some(count) = self.events.get_mut(event.class.index()) {
                *count += 1;
            }
            match event.content {
                Content::None | Content::Other => {}
                Content::Reasoning => {
                    self.first_reasoning.get_or_insert(now);
                    self.deltas += 1;
                    text = true;
                }
                Content::Token => {
                    self.first_token.get_or_insert(now);
                    self.deltas += 1;
                    text = true;
                }
                Content::Tool => {
                    self.first_tool.get_or_insert(now);
                }
            }
            if let Some(usage) = event.usage {
                // Cumulative within a stream: the later statement replaces the earlier one.
                self.usage.input = usage.input.or(self.usage.input);
                self.usage.output = usage.output.or(self.usage.output);
                self.usage.reasoning = usage.reasoning.or(self.usage.reasoning);
            }
        }
        if !items.is_empty() {
            self.first_event.get_or_insert(now);
        }
        let gap = text
            .then(|| self.last_token.map(|last| now.duration_since(last)))
            .flatten();
        if text {
            self.last_token = Some(now);
        }
        gap
    }

    /// Output tokens, and whether the upstream stated them.
    pub fn output_tokens(&self) -> (u64, bool) {
        self.usage
            .output
            .map_or((self.deltas, false), |stated| (stated, true))
    }

    /// Output tokens per second after the first, from first to last text; `None` for fewer than two.
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
