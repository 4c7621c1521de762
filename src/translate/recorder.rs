//! Records a stream: reads what the client may see of it, and remembers what was said until the stream is over.

use super::action::Action;
use super::conversation::Conversation;
use super::gather::Gathered;
use super::record::{StreamFacts, record};
use super::{GoesOn, Source, piece, read};
use crate::dialect::Dialect;
use crate::event::{Class, Event};
use crate::wire::Frame;

/// Records the events of one stream.
#[derive(Debug)]
pub struct Recorder {
    conversation: Conversation,
    source: Option<Source>,
    /// The text that pieces may go on with.
    goes_on: Option<GoesOn>,
    gathered: Gathered,
}

impl Recorder {
    /// Creates a recorder that keeps this many bytes of text, and as many of everything else.
    pub fn new(max_text_bytes: usize) -> Self {
        Self {
            conversation: Conversation::default(),
            source: None,
            goes_on: None,
            gathered: Gathered::new(max_text_bytes),
        }
    }

    /// Returns a recorder for a time in which this one is on another thread. If the stream ends in that time, its
    /// record says that what was said is missing.
    pub fn stand_in(&self) -> Self {
        let mut gathered = Gathered::new(0);
        gathered.leave_out();
        Self {
            conversation: Conversation::stand_in(self.conversation.has_ended()),
            source: None,
            goes_on: None,
            gathered,
        }
    }

    /// Takes an event of `dialect` that the client may see.
    pub fn take(&mut self, dialect: Dialect, frame: &Frame<'_>, event: &Event) {
        if self.conversation.has_ended() || event.class == Class::Heartbeat {
            return;
        }
        let gathered = &mut self.gathered;
        if let Some((open, text)) = piece(self.goes_on, &self.conversation, frame, event) {
            let delta = Action::TextDelta(open, text);
            gathered.take(&self.conversation.facts, &delta);
            if let Some(source) = &mut self.source {
                source.skip(text);
            }
            return;
        }
        let conversation = &mut self.conversation;
        self.goes_on = read(
            &mut self.source,
            conversation,
            dialect,
            frame,
            event,
            &mut |facts, action| gathered.take(facts, action),
        );
    }

    /// Notes that the stream is over. If it has ended well, so has what the agent did not end itself.
    pub fn finish(&mut self, well: bool) {
        let gathered = &mut self.gathered;
        if well && !self.conversation.is_over() {
            self.conversation
                .finish(&mut |facts, action| gathered.take(facts, action));
        }
    }

    /// Returns the record: one JSON object, in one line.
    pub fn into_record(self, stream: &StreamFacts<'_>) -> Vec<u8> {
        record(stream, &self.conversation.facts, &self.gathered)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::Classifier;
    use crate::wire::{Framing, canonical};

    const FACTS: StreamFacts<'_> = StreamFacts {
        stream_id: "s1",
        request_id: "q1",
        route: "chat",
        dialect: "openai-chat",
        metadata: None,
        outcome: "finished",
        code: None,
        started_at_ms: 1_700_000_000_000,
        first_token_ms: None,
        duration_ms: 1,
    };

    fn feed(recorder: &mut Recorder, blocks: &[&str]) {
        let mut classifier = Classifier::new(Dialect::OpenAiChat);
        for block in blocks {
            let block = format!("data: {block}\n\n");
            let frame = canonical(Framing::Sse, block.as_bytes());
            let event = *classifier.classify(&frame, &mut None);
            recorder.take(Dialect::OpenAiChat, &frame, &event);
        }
    }

    fn data(recorder: Recorder) -> Value {
        let record: Value = serde_json::from_slice(&recorder.into_record(&FACTS)).unwrap();
        record["data"].clone()
    }

    fn chunk(delta: &str) -> String {
        format!(
            "{{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}"
        )
    }

    #[test]
    fn text_and_counts_are_recorded() {
        let pieces = ["Hel", "lo", " \\\"you\\\""]
            .map(|piece| chunk(&format!("{{\"content\":\"{piece}\"}}")));
        let usage = "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";
        let mut recorder = Recorder::new(1000);
        feed(
            &mut recorder,
            &[&pieces[0], &pieces[1], &pieces[2], usage, "[DONE]"],
        );
        recorder.finish(true);
        let data = data(recorder);
        assert_eq!(data["messages"][0]["text"], "Hello \"you\"");
        assert_eq!(data["messages"].as_array().unwrap().len(), 1);
        assert_eq!(data["usage"]["output"], 4);
        assert_eq!(data["truncated"], json!(false));
    }

    #[test]
    fn a_stream_that_was_cut_is_recorded_as_far_as_it_came() {
        let mut recorder = Recorder::new(4);
        feed(&mut recorder, &[&chunk("{\"content\":\"Hello\"}")]);
        recorder.finish(false);
        let data = data(recorder);
        assert_eq!(data["messages"][0]["text"], "Hell");
        assert_eq!(data["truncated"], json!(true));
    }

    #[test]
    fn a_stand_in_says_that_something_is_missing() {
        let mut recorder = Recorder::new(100).stand_in();
        recorder.finish(true);
        let data = data(recorder);
        assert_eq!(data["messages"], json!([]));
        assert_eq!(data["truncated"], json!(true));
    }
}
