//! When a stream is over: certain ends, possible ends, and what takes a possible end back, in every dialect that has
//! the kind, however the input is cut.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

mod agents;
mod cases;
mod choices;

use std::sync::Arc;

use cases::cases;
use weir::dialect::{Choice, Dialect, Members};
use weir::event::{Event, Terminal};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Verdict};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

/// How a stream stands after its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stand {
    /// A possible end, before the input ended.
    possible: Option<Terminal>,
    /// The verdict on a body that ends well.
    clean: Verdict,
    /// The verdict on a body that breaks.
    broken: Verdict,
}

fn settings(hint: Option<Dialect>) -> Settings {
    Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice: Choice::Auto,
        hint,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    }
}

fn stand_in_pieces(hint: Option<Dialect>, input: &str, piece: usize) -> Stand {
    let run = |how| {
        let mut pipeline = Pipeline::new(&settings(hint));
        let mut sink = |_: &[u8], _: &Event| {};
        for bytes in input.as_bytes().chunks(piece) {
            pipeline.feed(bytes, &mut sink).unwrap();
        }
        let possible = pipeline.may_end();
        (possible, pipeline.finish(how, &mut sink))
    };
    let ((possible, clean), (_, broken)) = (run(InputEnd::Clean), run(InputEnd::Broken));
    Stand {
        possible,
        clean,
        broken,
    }
}

/// How a stream of these blocks stands, in one read and byte by byte.
fn stand(hint: Option<Dialect>, blocks: &[&str]) -> Stand {
    let input = blocks.concat();
    let whole = stand_in_pieces(hint, &input, input.len().max(1));
    assert_eq!(stand_in_pieces(hint, &input, 1), whole, "{input}");
    assert_eq!(stand_in_pieces(hint, &input, 7), whole, "{input}");
    whole
}

fn data(json: &str) -> String {
    format!("data: {json}\n\n")
}

#[test]
fn a_clean_end_of_input_behind_the_last_word_is_a_good_end() {
    for case in cases() {
        let hint = Some(case.dialect);
        let cut = stand(hint, &[&case.before]);
        assert_eq!(cut.clean, Verdict::Truncated, "{:?}", case.dialect);
        let good = Stand {
            possible: Some(Terminal::MayEnd),
            clean: Verdict::Complete,
            // A client without Weir would see the body break, too.
            broken: Verdict::Truncated,
        };
        assert_eq!(
            stand(hint, &[&case.before, &case.end]),
            good,
            "{}",
            case.end
        );
        for harmless in &case.harmless {
            let blocks = [&*case.before, &case.end, harmless];
            assert_eq!(stand(hint, &blocks), good, "{harmless}");
        }
    }
}

#[test]
fn what_begins_after_a_possible_end_takes_it_back() {
    for case in cases() {
        let hint = Some(case.dialect);
        for more in &case.more {
            let open = Stand {
                possible: None,
                clean: Verdict::Truncated,
                broken: Verdict::Truncated,
            };
            let blocks = [&*case.before, &case.end, more];
            assert_eq!(stand(hint, &blocks), open, "{more}");
            if more.contains(r#""index":1"#) {
                // The other choice has an end of its own.
                continue;
            }
            let again = [&*case.before, &case.end, more, &case.end];
            let over = stand(hint, &again);
            assert_eq!(over.clean, Verdict::Complete, "{more}");
        }
    }
}

/// An agent forwards the chunks of all of its calls of the model.
#[test]
fn another_completion_takes_the_end_of_the_first_one_back() {
    const GOES_ON: &str = r#""finish_reason":null}]"#;
    const STOPS: &str = r#""finish_reason":"stop"}]"#;
    const COUNTS: &str = r#""finish_reason":null}],"usage":{"completion_tokens":1}"#;
    const ROLE: &str = r#"{"role":"assistant","content":""}"#;
    let chunk = |id: &str, delta: &str, rest: &str| {
        data(&format!(
            r#"{{"id":"{id}","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},{rest}}}"#
        ))
    };
    let possible = |ids: [&str; 3], rest: &str| {
        let blocks = [
            chunk(ids[0], r#"{"role":"assistant","content":"a"}"#, GOES_ON),
            chunk(ids[1], "{}", STOPS),
            chunk(ids[2], ROLE, rest),
        ];
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        stand(Some(Dialect::OpenAiChat), &blocks).possible
    };
    let ended = Some(Terminal::MayEnd);
    assert_eq!(possible(["x", "x", "y"], GOES_ON), None);
    assert_eq!(possible(["x", "x", "x"], GOES_ON), ended, "a role again");
    assert_eq!(possible(["x", "x", "y"], COUNTS), ended, "the counts");
    assert_eq!(possible(["x", "y", "z"], GOES_ON), ended, "an id each");
}

/// One response of a run of the OpenAI Agents SDK that calls this function.
fn calling(function: &str) -> String {
    let raw = |kind: &str, rest: &str| {
        data(&format!(
            r#"{{"data":{{"type":"response.{kind}",{rest}}},"type":"raw_response_event"}}"#
        ))
    };
    [
        raw("created", r#""response":{"id":"r1"}"#),
        raw(
            "output_item.done",
            &format!(r#""item":{{"type":"function_call","id":"f","name":"{function}"}}"#),
        ),
        raw("completed", r#""response":{"id":"r1"}"#),
    ]
    .concat()
}

#[test]
fn a_run_that_waits_may_end_with_its_input_and_not_with_silence() {
    let item = |name: &str| {
        data(&format!(
            r#"{{"type":"run_item_stream_event","name":"{name}","item":{{}}}}"#
        ))
    };
    let mastra = |kind: &str| {
        data(&format!(
            r#"{{"type":"{kind}","payload":{{}},"from":"AGENT","runId":"r"}}"#
        ))
    };
    let dify = |word: &str| {
        data(&format!(
            r#"{{"event":"{word}","message_id":"m","audio":""}}"#
        ))
    };
    let adk = r#"{"invocationId":"i","author":"one","actions":{"stateDelta":{"k":1}}}"#;
    for (dialect, blocks) in [
        (Dialect::OpenAiResponses, vec![calling("wx")]),
        (
            Dialect::OpenAiResponses,
            vec![calling("wx"), item("tool_called"), item("tool_output")],
        ),
        // Authorization is given elsewhere, and the task goes on.
        (Dialect::A2a, vec![agents::status("AUTH_REQUIRED")]),
        (
            Dialect::A2a,
            vec![agents::old_status("input-required", false)],
        ),
        // An agent in a workflow has ended.
        (
            Dialect::Mastra,
            vec![mastra("workflow-start"), mastra("finish")],
        ),
        (Dialect::Mastra, vec![mastra("tool-call-approval")]),
        // The audio follows the text.
        (
            Dialect::Dify,
            vec![dify("message_end"), dify("tts_message")],
        ),
        // The first event of an agent, before the model is called.
        (Dialect::Adk, vec![data(adk)]),
        (
            Dialect::Mcp,
            vec![data(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)],
        ),
    ] {
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        let waiting = stand(Some(dialect), &blocks);
        let may_end = Some(Terminal::MayEndWithInput);
        assert_eq!(waiting.possible, may_end, "{blocks:?}");
        assert_eq!(waiting.clean, Verdict::Complete, "{blocks:?}");
    }
}

/// The agent that took over has not said a word.
#[test]
fn a_run_that_was_handed_over_goes_on() {
    let hint = Some(Dialect::OpenAiResponses);
    let requested = data(r#"{"type":"run_item_stream_event","name":"handoff_requested"}"#);
    let taken = data(r#"{"type":"agent_updated_stream_event","new_agent":{"name":"b"}}"#);
    let (handed, called) = (calling("transfer_to_b"), calling("wx"));
    for blocks in [
        vec![&*handed],
        vec![&*handed, &*requested],
        vec![&*handed, &*taken],
        vec![&*called, &*requested],
        vec![&*called, &*taken],
    ] {
        let open = stand(hint, &blocks);
        assert_eq!(open.possible, None, "{blocks:?}");
        assert_eq!(open.clean, Verdict::Truncated, "{blocks:?}");
    }
    let spoken = calling("wx").replace("function_call", "message");
    let ended = stand(hint, &[&*handed, &*requested, &*taken, &*spoken]);
    assert_eq!(ended.possible, Some(Terminal::MayEnd));
}

/// Conventions need no end: a clean end of the body is a good one, but silence is none after a step has begun.
#[test]
fn a_step_of_a_convention_takes_its_end_back() {
    let event = |word: &str| data(&format!(r#"{{"type":"{word}","content":"a"}}"#));
    let possible = |word: &str| {
        let blocks = [event("token"), event("done"), event(word)];
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        stand(Some(Dialect::Convention), &blocks).possible
    };
    for word in ["agent_start", "node_start", "start", "step", "step_started"] {
        assert_eq!(possible(word), None, "{word}");
    }
    for word in ["agent_end", "metadata", "node_end", "status", "usage"] {
        assert_eq!(possible(word), Some(Terminal::MayEnd), "{word}");
    }
}

#[test]
fn a_failure_is_no_good_end_whatever_follows() {
    let dify = r#"{"event":"workflow_finished","task_id":"k","data":{"status":"failed"}}"#;
    let cohere = r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"x"}}"#;
    for (dialect, failure) in [(Dialect::Dify, dify), (Dialect::Cohere, cohere)] {
        let failed = stand(Some(dialect), &[&data(failure)]);
        assert_eq!(failed.possible, Some(Terminal::MayFail), "{dialect}");
        assert_eq!(failed.clean, Verdict::Complete, "{dialect}");
        let mut pipeline = Pipeline::new(&settings(Some(dialect)));
        let blocks = [&*data(failure), &*data("[DONE]")].concat();
        let mut sink = |_: &[u8], _: &Event| {};
        pipeline.feed(blocks.as_bytes(), &mut sink).unwrap();
        pipeline.finish(InputEnd::Clean, &mut sink);
        assert_eq!(pipeline.terminal(), Some(Terminal::Error), "{dialect}");
    }
}

/// A failure may be followed by another attempt, which is waited for. It stays a failure until another end is reached.
#[test]
fn what_begins_after_a_failure_is_waited_for() {
    let ag_ui = |kind: &str| {
        data(&format!(
            r#"{{"type":"{kind}","threadId":"t","runId":"r"}}"#
        ))
    };
    let convention = |kind: &str| data(&format!(r#"{{"type":"{kind}","content":"a"}}"#));
    for (dialect, failure, more, end) in [
        (
            Dialect::AgUi,
            ag_ui("RUN_ERROR"),
            ag_ui("RUN_STARTED"),
            ag_ui("RUN_FINISHED"),
        ),
        (
            Dialect::A2a,
            agents::status("FAILED"),
            agents::status("WORKING"),
            agents::status("COMPLETED"),
        ),
        (
            Dialect::Convention,
            convention("error"),
            convention("token"),
            convention("done"),
        ),
    ] {
        let hint = Some(dialect);
        let failed = stand(hint, &[&failure]);
        assert_eq!(failed.possible, Some(Terminal::MayFail), "{dialect}");
        assert_eq!(stand(hint, &[&failure, &more]).possible, None, "{dialect}");
        let mut pipeline = Pipeline::new(&settings(hint));
        let mut sink = |_: &[u8], _: &Event| {};
        let blocks = [&*failure, &*more].concat();
        pipeline.feed(blocks.as_bytes(), &mut sink).unwrap();
        pipeline.finish(InputEnd::Clean, &mut sink);
        assert_eq!(pipeline.terminal(), Some(Terminal::Error), "{dialect}");
        let ended = stand(hint, &[&failure, &more, &end]);
        assert_eq!(ended.possible, Some(Terminal::MayEnd), "{dialect}");
    }
}

/// The last token ends a stream at once, also if the body then breaks.
#[test]
fn the_last_token_of_tgi_is_the_end() {
    let token = |text: &str, whole: &str| {
        data(&format!(
            r#"{{"generated_text":{whole},"token":{{"text":"{text}","special":false}}}}"#
        ))
    };
    let (first, last) = (token("a", "null"), token("b", r#""ab""#));
    let hint = Some(Dialect::Tgi);
    assert_eq!(stand(hint, &[&first]).clean, Verdict::Truncated);
    let over = stand(hint, &[&first, &last]);
    assert_eq!(
        (over.clean, over.broken),
        (Verdict::Complete, Verdict::Complete)
    );
}

/// A request for one response: its end is that of the stream, whatever follows and however the body ends.
#[test]
fn the_end_of_the_only_response_is_the_end() {
    let state = |word: &str| {
        data(&format!(
            r#"{{"type":"response.{word}","response":{{"id":"r"}}}}"#
        ))
    };
    let more = data(r#"{"type":"response.output_text.delta","delta":"b","item_id":"i"}"#);
    let mut settings = settings(Some(Dialect::OpenAiResponses));
    settings.members.note_single_reply();
    for (word, terminal) in [
        ("completed", Terminal::Done),
        ("incomplete", Terminal::Done),
        ("failed", Terminal::Error),
    ] {
        let input = [state("created"), state(word), more.clone()].concat();
        for piece in [1, 7, input.len()] {
            for how in [InputEnd::Clean, InputEnd::Broken] {
                let mut pipeline = Pipeline::new(&settings);
                let mut passed = 0;
                let mut sink = |_: &[u8], _: &Event| passed += 1;
                for bytes in input.as_bytes().chunks(piece) {
                    pipeline.feed(bytes, &mut sink).unwrap();
                }
                assert_eq!(pipeline.terminal(), Some(terminal), "{word}");
                let verdict = pipeline.finish(how, &mut sink);
                assert_eq!((verdict, passed), (Verdict::Complete, 2), "{word}");
            }
        }
    }
}

/// Every dialect that has a terminal event is not content with nothing at all.
#[test]
fn an_announced_stream_without_an_event_is_truncated() {
    for dialect in Dialect::ALL {
        let verdict = stand(Some(dialect), &[]).clean;
        let needs_terminal = !matches!(
            dialect,
            Dialect::Convention | Dialect::LangGraph | Dialect::Mcp | Dialect::Opaque
        );
        let expected = if needs_terminal {
            Verdict::Truncated
        } else {
            Verdict::Complete
        };
        assert_eq!(verdict, expected, "{dialect}");
    }
}

/// Named pings are heartbeats wherever they come: before the first event, between events, and after the last word.
#[test]
fn named_pings_are_heartbeats_in_every_dialect() {
    let pings = [
        "event: ping\ndata: {}\n\n".to_owned(),
        "event: keepalive\ndata: 1766000000\n\n".to_owned(),
        data(r#"{"type":"keepalive","sequence_number":3}"#),
        data(r#"{"sequence_number":3,"type":"heartbeat"}"#),
        "event: heartbeat\ndata: {\"type\":\"heartbeat\"}\n\n".to_owned(),
        data(r#"{"timestamp":1766000000,"id":"evt_1","seq":4,"run_id":"r","type":"ping"}"#),
    ];
    for case in cases() {
        for ping in &pings {
            for (choice, hint) in [
                (Choice::Auto, Some(case.dialect)),
                (Choice::Auto, None),
                (Choice::Fixed(case.dialect), None),
            ] {
                let blocks = [&**ping, &case.before, ping, &case.end, ping];
                let mut events = 0;
                let mut pipeline = Pipeline::new(&Settings {
                    choice,
                    ..settings(hint)
                });
                let mut sink = |_: &[u8], _: &Event| events += 1;
                pipeline
                    .feed(blocks.concat().as_bytes(), &mut sink)
                    .unwrap();
                let (dialect, possible) = (pipeline.dialect(), pipeline.may_end());
                assert_eq!(pipeline.take_heartbeats(), 3, "{dialect} {ping}");
                assert_eq!(possible, Some(Terminal::MayEnd), "{dialect} {ping}");
                assert_eq!((events, dialect), (2, case.dialect), "{ping}");
            }
        }
    }
}
