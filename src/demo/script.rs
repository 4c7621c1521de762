//! What the demo agent says: one answer in the form of OpenAI's chat completions, at the pace of a model, and with the
//! faults that the page asks for.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{EncodeV2, GzipEncoder};
use http_body::Frame;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until};

use super::runs::{Phase, Ticket};

/// The time between two words.
const PACE: Duration = Duration::from_millis(50);
/// After this many words an agent crashes, hangs or falls silent: half a second after the page's client has left or
/// stopped.
const WORDS_BEFORE_FAULT: usize = 50;
/// The silence of [`Fault::Silence`]: longer than the buffering proxy allows, shorter than Weir does.
const SILENCE: Duration = Duration::from_secs(6);
/// How long an agent hangs if nobody ends it.
const LONGEST: Duration = Duration::from_secs(60);
/// The words of a flood. With their padding they are more than sockets and browsers hide.
const FLOOD_WORDS: usize = 9000;
/// Padding of each event, as OpenAI sends it. It makes the events of a flood as large as those of real agents.
const PADDING: usize = 700;

const ANSWER: &str = "A weir is a low dam across a river. It does not stop the water: it holds a steady level, \
lets the stream through evenly, and is the place where the flow is measured. This answer is sent one word at a time, \
as a model does. Between the agent and you stands a proxy. If it collects words before it passes them on, you wait \
for the first one, and then they come in heaps. If it passes each word on the moment it is complete, you read along \
while the agent writes.";
const THOUGHT: &str =
    "<think>The user wants to know what a weir is. I keep this to myself.</think>\n\n";
/// Each word has a character of several bytes.
const LONG_CHARACTERS: &str = "堰は 川を 横切る 低い 段差です。 水を 止めず、 水位を 保ち、 流れを 整え、 量を 測ります。 \
Grüße, été, señor, ação, Straße, øl, řeka, żółw, ğöl, вода, река, плотина, ποτάμι, νερό, नदी, पानी, 강물, 🌊🌊 \
堰は 川を 横切る 低い 段差です。 水を 止めず、 水位を 保ち、 流れを 整え、 量を 測ります。 \
Grüße, été, señor, ação, Straße, øl, řeka, żółw, ğöl, вода, река, плотина, ποτάμι, νερό, नदी, पानी, 강물, 🌊🌊";

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The agent's connection breaks in the middle.
    Crash,
    /// The agent says nothing more, and does not end either.
    Hang,
    /// The agent thinks in silence, and goes on.
    Silence,
    /// The agent writes as fast as it can.
    Flood,
    /// The agent compresses its answer, whatever the client accepts.
    Gzip,
    /// The agent's writes end in the middle of characters.
    Split,
    /// The agent's thoughts stand in the answer.
    Think,
}

impl Fault {
    /// Reads the query parameter `fault`. Unknown words are no fault.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "crash" => Self::Crash,
            "hang" => Self::Hang,
            "silence" => Self::Silence,
            "flood" => Self::Flood,
            "gzip" => Self::Gzip,
            "split" => Self::Split,
            "think" => Self::Think,
            _ => Self::None,
        }
    }
}

/// Returns the whole answer, for clients that ask for no stream.
pub(super) fn completion() -> String {
    json!({
        "id": "demo", "object": "chat.completion", "created": 0, "model": "demo",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": ANSWER },
        }],
    })
    .to_string()
}

/// A piece of the body, and how many words are complete with it.
type Piece = (Bytes, u64);

#[derive(Debug)]
enum Step {
    Send(Piece),
    Wait(Duration),
    Crash,
}

/// The body of a streamed answer.
#[derive(Debug)]
pub(super) struct Script {
    steps: vec::IntoIter<Step>,
    wait: Option<Pin<Box<Sleep>>>,
    ticket: Option<Ticket>,
}

impl Script {
    /// Creates the body. `ticket` accounts for it.
    ///
    /// # Errors
    /// If the answer cannot be compressed.
    pub(super) fn new(fault: Fault, ticket: Option<Ticket>) -> io::Result<Self> {
        Ok(Self {
            steps: steps(fault)?.into_iter(),
            wait: None,
            ticket,
        })
    }
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(wait) = &mut this.wait {
                ready!(wait.as_mut().poll(cx));
                this.wait = None;
            }
            match this.steps.next() {
                Some(Step::Send((bytes, words))) => {
                    if let Some(ticket) = &mut this.ticket {
                        ticket.said(words);
                        if this.steps.as_slice().is_empty() {
                            // A proxy that knows the end mark may close before it sees the end of the body.
                            ticket.end(Phase::Finished);
                        }
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(time)) => {
                    let due = Instant::now() + time;
                    if let Some(ticket) = &this.ticket {
                        ticket.waits_until(due);
                    }
                    this.wait = Some(Box::pin(sleep_until(due)));
                }
                Some(Step::Crash) => {
                    if let Some(ticket) = &mut this.ticket {
                        ticket.end(Phase::Crashed);
                    }
                    let crash = io::Error::other("the demo agent crashes, as the page asked");
                    return Poll::Ready(Some(Err(crash)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

fn steps(fault: Fault) -> io::Result<Vec<Step>> {
    let answer = || events(&words(ANSWER), 0);
    let mut steps = match fault {
        Fault::None | Fault::Crash | Fault::Hang | Fault::Silence => paced(whole(answer())),
        Fault::Flood => {
            let text = format!("{ANSWER} ");
            let flood = words(&text).into_iter().cycle().take(FLOOD_WORDS);
            let pieces = whole(events(&flood.collect::<Vec<_>>(), PADDING)).into_iter();
            pieces.map(Step::Send).collect()
        }
        Fault::Gzip => paced(compressed(answer())?),
        Fault::Split => paced(split(events(&words(LONG_CHARACTERS), 0))),
        Fault::Think => {
            let said = [words(THOUGHT), words(ANSWER)].concat();
            paced(whole(events(&said, 0)))
        }
    };
    // The first event names the role. Before each word there is a wait, and so before the fault.
    let middle = steps.len().min(2 * WORDS_BEFORE_FAULT + 2);
    match fault {
        Fault::Crash => {
            steps.truncate(middle);
            steps.push(Step::Crash);
        }
        Fault::Hang => {
            steps.truncate(middle);
            steps.extend([Step::Wait(LONGEST), Step::Crash]);
        }
        Fault::Silence => steps.insert(middle, Step::Wait(SILENCE)),
        Fault::None | Fault::Flood | Fault::Gzip | Fault::Split | Fault::Think => {}
    }
    Ok(steps)
}

fn words(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

/// Returns the events of an answer, each with the number of its words.
fn events(words: &[&str], padding: usize) -> Vec<(String, u64)> {
    let padding = match padding {
        0 => String::new(),
        bytes => format!(",\"obfuscation\":\"{}\"", "x".repeat(bytes)),
    };
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"demo\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"demo\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]{padding}}}\n\n"
        )
    };
    let mut events = vec![(
        chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null"),
        0,
    )];
    events.extend(
        words
            .iter()
            .map(|word| (chunk(&json!({ "content": word }).to_string(), "null"), 1)),
    );
    events.push((chunk("{}", "\"stop\""), 0));
    events.push(("data: [DONE]\n\n".to_owned(), 0));
    events
}

fn whole(events: Vec<(String, u64)>) -> Vec<Piece> {
    let pieces = events.into_iter();
    pieces
        .map(|(event, words)| (Bytes::from(event), words))
        .collect()
}

/// Compresses each event so that it can be read once it has arrived.
fn compressed(events: Vec<(String, u64)>) -> io::Result<Vec<Piece>> {
    let mut encoder = GzipEncoder::new(Level::Default.into());
    let last = events.len().saturating_sub(1);
    let mut pieces = Vec::with_capacity(events.len());
    for (index, (event, words)) in events.into_iter().enumerate() {
        // Far more than a compressed event takes, so nothing is left for a second turn.
        let mut space = vec![0; event.len() + 1024];
        let mut output = WriteBuffer::new_initialized(&mut space);
        encoder.encode(&mut PartialBuffer::new(event.as_bytes()), &mut output)?;
        encoder.flush(&mut output)?;
        if index == last {
            encoder.finish(&mut output)?;
        }
        pieces.push((Bytes::copy_from_slice(output.written()), words));
    }
    Ok(pieces)
}

/// Cuts the answer so that each piece but the last ends in the middle of a character.
fn split(events: Vec<(String, u64)>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut rest, mut words_in_rest) = (Vec::new(), 0);
    for (event, words) in events {
        match event.bytes().position(|byte| !byte.is_ascii()) {
            Some(first) => {
                let (head, tail) = event.as_bytes().split_at(first + 1);
                rest.extend_from_slice(head);
                let piece = mem::replace(&mut rest, tail.to_vec());
                pieces.push((Bytes::from(piece), mem::replace(&mut words_in_rest, words)));
            }
            None => {
                rest.extend_from_slice(event.as_bytes());
                words_in_rest += words;
            }
        }
    }
    pieces.push((Bytes::from(rest), words_in_rest));
    pieces
}

fn paced(pieces: Vec<Piece>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(2 * pieces.len());
    for piece in pieces {
        if !steps.is_empty() {
            steps.push(Step::Wait(PACE));
        }
        steps.push(Step::Send(piece));
    }
    steps
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::demo::runs::{Lane, Runs};
    use std::sync::Arc;

    /// Plays a script. Returns its pieces, whether it broke, and how long it took.
    async fn play(fault: Fault) -> (Vec<Bytes>, bool, Duration) {
        let mut script = Script::new(fault, None).unwrap();
        let began = Instant::now();
        let mut pieces = Vec::new();
        while let Some(frame) = script.frame().await {
            match frame {
                Ok(frame) => pieces.push(frame.into_data().unwrap()),
                Err(_) => return (pieces, true, began.elapsed()),
            }
        }
        (pieces, false, began.elapsed())
    }

    fn said(pieces: &[Bytes]) -> String {
        let text = String::from_utf8(pieces.concat()).unwrap();
        let events = text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: {"));
        events
            .filter_map(|data| {
                let event: serde_json::Value = serde_json::from_str(&format!("{{{data}")).unwrap();
                let content = event["choices"][0]["delta"]["content"].as_str();
                content.map(ToOwned::to_owned)
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_word_by_word() {
        let (pieces, broke, took) = play(Fault::None).await;
        assert!(!broke);
        assert_eq!(said(&pieces), ANSWER);
        assert!(pieces.last().unwrap().starts_with(b"data: [DONE]"));
        assert_eq!(took, PACE * u32::try_from(pieces.len() - 1).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn faults_come_in_the_middle() {
        for (fault, silence) in [(Fault::Crash, Duration::ZERO), (Fault::Hang, LONGEST)] {
            let (pieces, broke, took) = play(fault).await;
            assert!(broke, "{fault:?}");
            assert_eq!(pieces.len(), 1 + WORDS_BEFORE_FAULT, "{fault:?}");
            let words = u32::try_from(1 + WORDS_BEFORE_FAULT).unwrap();
            assert_eq!(took, PACE * words + silence, "{fault:?}");
        }
        let (pieces, broke, took) = play(Fault::Silence).await;
        assert_eq!((said(&pieces).as_str(), broke), (ANSWER, false));
        assert_eq!(
            took,
            SILENCE + PACE * u32::try_from(pieces.len() - 1).unwrap()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_does_not_wait() {
        let (pieces, _, took) = play(Fault::Flood).await;
        assert_eq!(took, Duration::ZERO);
        assert_eq!(said(&pieces).split_whitespace().count(), FLOOD_WORDS);
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_but_the_last_ends_within_a_character() {
        let (pieces, broke, _) = play(Fault::Split).await;
        assert_eq!((said(&pieces).as_str(), broke), (LONG_CHARACTERS, false));
        let (last, others) = pieces.split_last().unwrap();
        assert!(
            others
                .iter()
                .all(|piece| std::str::from_utf8(piece).is_err())
        );
        assert!(last.ends_with(b"data: [DONE]\n\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_compressed_is_gzip_and_flushed() {
        let (pieces, _, _) = play(Fault::Gzip).await;
        let (first, others) = pieces.split_first().unwrap();
        assert!(first.starts_with(&[0x1f, 0x8b]));
        // The end of a flush: an empty block.
        let (_, others) = others.split_last().unwrap();
        assert!(
            others
                .iter()
                .all(|piece| piece.ends_with(&[0, 0, 0xff, 0xff]))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn thoughts_come_first() {
        let (pieces, _, _) = play(Fault::Think).await;
        assert_eq!(said(&pieces), format!("{THOUGHT}{ANSWER}"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_account_agrees_with_what_was_sent() {
        for (fault, state) in [
            (Fault::None, "finished"),
            (Fault::Split, "finished"),
            (Fault::Crash, "crashed"),
        ] {
            let runs = Arc::new(Runs::default());
            let mut script = Script::new(fault, Some(runs.begin("a", Lane::Left))).unwrap();
            let mut pieces = Vec::new();
            while let Some(Ok(frame)) = script.frame().await {
                pieces.push(frame.into_data().unwrap());
            }
            let figures: serde_json::Value = serde_json::from_str(&runs.figures("a")).unwrap();
            let run = &figures["left"]["run"];
            assert_eq!(run["state"], state, "{fault:?}");
            let words = said(&pieces).split_whitespace().count();
            assert_eq!(run["words"], words, "{fault:?}");
        }
    }
}
