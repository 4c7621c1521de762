//! Tests of several agents in one stream: what each target's clients get.

use std::borrow::Cow;
use std::sync::Arc;

use super::part::{By, Part, Reason, Scope};
use super::{Ensemble, Target, Translator};
use crate::event::Event;

/// What happens next.
enum Next {
    Says(usize, Part<'static>),
    Finishes(usize),
    Fails(usize, &'static str),
    IsCancelled(usize),
    AllEnd,
    AllFail,
}
use Next::{AllEnd, AllFail, Fails, Finishes, IsCancelled, Says};

fn text(msg: &'static str, text: &'static str) -> Part<'static> {
    Part::Text {
        msg: Cow::Borrowed(msg.as_bytes()),
        text: Cow::Borrowed(text.as_bytes()),
    }
}

fn model() -> Part<'static> {
    Part::Start {
        run: Cow::Borrowed(b"own"),
        thread: Cow::Borrowed(b""),
        model: Cow::Borrowed(b"small"),
    }
}

fn usage(input: u64, output: u64) -> Part<'static> {
    Part::Usage {
        input: Some(input),
        output: Some(output),
        reasoning: None,
        cached: None,
        call: 0,
    }
}

/// Plays a run of the agents `poet` and `clerk`, and returns the payloads of the blocks that are written.
fn play(target: Target, script: Vec<Next>) -> Vec<String> {
    let ensemble = Arc::new(Ensemble::new("r1", "t1", &["poet", "clerk"]));
    let mut run = Translator::of_run(target, 7, &ensemble);
    let mut agents = [0, 1].map(|agent| Translator::of_agent(target, 7, &ensemble, agent));
    let mut written = Vec::new();
    let mut sink = |block: &[u8], _: &Event| {
        let block = String::from_utf8(block.to_vec()).unwrap();
        let payload = block.trim_end().lines().last().unwrap_or_default();
        written.push(payload.trim_start_matches("data: ").to_owned());
    };
    run.begin(&mut sink);
    for next in script {
        match next {
            Says(agent, part) => {
                agents[agent].act(&mut sink, |conversation, act| conversation.take(part, act));
            }
            Finishes(agent) => {
                ensemble.note_outcome(agent, "finished");
                agents[agent].finish(&mut sink);
                run.adopt(agent, &agents[agent], true);
            }
            Fails(agent, code) => {
                ensemble.note_outcome(agent, code);
                agents[agent].fail(code, "It broke.", &mut sink);
                run.adopt(agent, &agents[agent], false);
            }
            IsCancelled(agent) => {
                ensemble.note_outcome(agent, "cancelled");
                agents[agent].cancel(&mut sink);
            }
            AllEnd => run.finish(&mut sink),
            AllFail => run.fail("upstream_error", "Every agent failed.", &mut sink),
        }
    }
    written
}

/// Two speak at once; one finishes, the other is cut off.
fn two() -> Vec<Next> {
    vec![
        Says(0, model()),
        Says(0, text("m1", "Sea ")),
        Says(1, text("m1", "Item ")),
        Says(0, text("m1", "foam.")),
        Says(0, usage(20, 4)),
        Finishes(0),
        Says(1, text("m1", "one")),
        Fails(1, "truncated"),
        AllEnd,
    ]
}

#[test]
fn native_events_name_their_agent_and_share_one_sequence() {
    let expected = [
        r#"{"type":"start","seq":1,"run":"r1","thread":"t1","scope":"run","agents":["poet","clerk"]}"#,
        r#"{"type":"start","seq":2,"agent":["poet"],"scope":"agent","model":"small"}"#,
        r#"{"type":"token","seq":3,"agent":["poet"],"msg":"poet:m1","text":"Sea "}"#,
        r#"{"type":"start","seq":4,"agent":["clerk"],"scope":"agent"}"#,
        r#"{"type":"token","seq":5,"agent":["clerk"],"msg":"clerk:m1","text":"Item "}"#,
        r#"{"type":"token","seq":6,"agent":["poet"],"msg":"poet:m1","text":"foam."}"#,
        r#"{"type":"usage","seq":7,"agent":["poet"],"input":20,"output":4}"#,
        r#"{"type":"finish","seq":8,"agent":["poet"],"reason":"stop","scope":"agent"}"#,
        r#"{"type":"token","seq":9,"agent":["clerk"],"msg":"clerk:m1","text":"one"}"#,
        r#"{"type":"error","seq":10,"agent":["clerk"],"code":"truncated","message":"It broke.","retryable":true,"source":"proxy","terminal":false,"scope":"agent"}"#,
        r#"{"type":"finish","seq":11,"agent":["clerk"],"reason":"error","scope":"agent"}"#,
        r#"{"type":"usage","seq":12,"input":20,"output":4,"scope":"run"}"#,
        r#"{"type":"finish","seq":13,"reason":"stop","scope":"run","agents":{"poet":"finished","clerk":"truncated"}}"#,
    ];
    for target in [Target::Events, Target::Ndjson] {
        assert_eq!(play(target, two()), expected, "{target:?}");
    }
}

#[test]
fn a_run_whose_agents_all_fail_has_one_terminal_error() {
    let script = || vec![Fails(0, "idle_timeout"), Fails(1, "truncated"), AllFail];
    let written = play(Target::Events, script());
    assert_eq!(
        written[1..],
        [
            r#"{"type":"error","seq":2,"agent":["poet"],"code":"idle_timeout","message":"It broke.","retryable":true,"source":"proxy","terminal":false,"scope":"agent"}"#,
            r#"{"type":"finish","seq":3,"agent":["poet"],"reason":"error","scope":"agent"}"#,
            r#"{"type":"error","seq":4,"agent":["clerk"],"code":"truncated","message":"It broke.","retryable":true,"source":"proxy","terminal":false,"scope":"agent"}"#,
            r#"{"type":"finish","seq":5,"agent":["clerk"],"reason":"error","scope":"agent"}"#,
            r#"{"type":"error","seq":6,"code":"upstream_error","message":"Every agent failed.","retryable":true,"source":"proxy","terminal":true,"scope":"run","agents":{"poet":"idle_timeout","clerk":"truncated"}}"#,
        ]
    );
    for (target, last) in [
        (
            Target::AgUi,
            r#"{"type":"RUN_ERROR","message":"Every agent failed.","code":"upstream_error"}"#,
        ),
        (Target::AiSdk, "[DONE]"),
    ] {
        assert_eq!(play(target, script()).last().unwrap(), last, "{target:?}");
    }
}

#[test]
fn parts_of_the_ai_sdk_name_their_agent_and_steps_are_the_messages() {
    let expected = [
        r#"{"type":"start","messageId":"r1"}"#,
        r#"{"type":"start-step"}"#,
        r#"{"type":"data-weir-agent","id":"poet","data":{"agent":"poet","state":"running"}}"#,
        r#"{"type":"data-weir-agent","id":"clerk","data":{"agent":"clerk","state":"running"}}"#,
        r#"{"type":"text-start","id":"poet:p1","providerMetadata":{"weir":{"agent":"poet"}}}"#,
        r#"{"type":"text-delta","id":"poet:p1","delta":"Sea "}"#,
        r#"{"type":"text-start","id":"clerk:p1","providerMetadata":{"weir":{"agent":"clerk"}}}"#,
        r#"{"type":"text-delta","id":"clerk:p1","delta":"Item "}"#,
        r#"{"type":"text-delta","id":"poet:p1","delta":"foam."}"#,
        r#"{"type":"text-end","id":"poet:p1"}"#,
        r#"{"type":"data-weir-agent","id":"poet","data":{"agent":"poet","state":"finished","reason":"stop"}}"#,
        r#"{"type":"text-delta","id":"clerk:p1","delta":"one"}"#,
        r#"{"type":"text-end","id":"clerk:p1"}"#,
        r#"{"type":"data-weir-agent","id":"clerk","data":{"agent":"clerk","state":"failed","code":"truncated","message":"It broke."}}"#,
        r#"{"type":"finish-step"}"#,
        r#"{"type":"finish","finishReason":"stop","messageMetadata":{"usage":{"inputTokens":20,"outputTokens":4,"totalTokens":24}}}"#,
        "[DONE]",
    ];
    assert_eq!(play(Target::AiSdk, two()), expected);
}

#[test]
fn agents_are_subagents_of_ag_ui_and_leave_nothing_open() {
    let expected = [
        r#"{"type":"RUN_STARTED","threadId":"t1","runId":"r1"}"#,
        r#"{"type":"SUBAGENT_STARTED","subagentRunId":"r1.poet","name":"poet"}"#,
        r#"{"type":"SUBAGENT_STARTED","subagentRunId":"r1.clerk","name":"clerk"}"#,
        r#"{"type":"TEXT_MESSAGE_START","messageId":"poet:m1","role":"assistant","subagentRunId":"r1.poet"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"poet:m1","delta":"Sea ","subagentRunId":"r1.poet"}"#,
        r#"{"type":"TEXT_MESSAGE_START","messageId":"clerk:m1","role":"assistant","subagentRunId":"r1.clerk"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"clerk:m1","delta":"Item ","subagentRunId":"r1.clerk"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"poet:m1","delta":"foam.","subagentRunId":"r1.poet"}"#,
        r#"{"type":"TEXT_MESSAGE_END","messageId":"poet:m1","subagentRunId":"r1.poet"}"#,
        r#"{"type":"SUBAGENT_FINISHED","subagentRunId":"r1.poet","outcome":{"type":"success"}}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"clerk:m1","delta":"one","subagentRunId":"r1.clerk"}"#,
        r#"{"type":"TEXT_MESSAGE_END","messageId":"clerk:m1","subagentRunId":"r1.clerk"}"#,
        r#"{"type":"SUBAGENT_ERROR","subagentRunId":"r1.clerk","message":"It broke.","code":"truncated"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t1","runId":"r1","outcome":{"type":"success"},"usage":[{"model":"small","inputTokens":20,"outputTokens":4,"totalTokens":24}]}"#,
    ];
    assert_eq!(play(Target::AgUi, two()), expected);
}

#[test]
fn openai_clients_get_one_text_in_which_the_agents_follow_each_other() {
    let written = play(Target::OpenAiChat, two());
    let mut text = String::new();
    let mut reasons = Vec::new();
    for chunk in written.iter().filter(|chunk| *chunk != "[DONE]") {
        let chunk: serde_json::Value = serde_json::from_str(chunk).unwrap();
        text += chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
        if let Some(reason) = chunk["choices"][0]["finish_reason"].as_str() {
            reasons.push(reason.to_owned());
        }
    }
    assert_eq!(text, "**poet**\n\nSea foam.\n\n**clerk**\n\nItem one");
    assert_eq!(reasons, ["stop"]);
    assert!(written[0].contains("\"role\":\"assistant\""), "{written:?}");
    assert!(
        written.iter().any(|chunk| chunk.ends_with(
            r#""weir":{"agent":"clerk","state":"failed","code":"truncated","message":"It broke."}}"#
        )),
        "{written:?}"
    );
    assert_eq!(written.last().unwrap(), "[DONE]");
}

#[test]
fn calls_of_different_agents_never_share_an_id() {
    let call = |agent| {
        Says(
            agent,
            Part::ToolReady {
                msg: Cow::Borrowed(b""),
                id: Cow::Borrowed(b"c1"),
                name: Cow::Borrowed(b"wx"),
                args: Some(Cow::Borrowed(b"{}")),
                by: By::Client,
            },
        )
    };
    let stop = |agent| {
        Says(
            agent,
            Part::Finish {
                reason: Reason::ToolCalls,
                scope: Scope::Run,
            },
        )
    };
    let script = || {
        vec![
            call(0),
            call(1),
            stop(0),
            stop(1),
            Finishes(0),
            Finishes(1),
            AllEnd,
        ]
    };
    for target in [
        Target::AgUi,
        Target::AiSdk,
        Target::Events,
        Target::OpenAiChat,
    ] {
        let all = play(target, script()).join("\n");
        assert!(
            all.contains("poet:c1") && all.contains("clerk:c1"),
            "{target:?}: {all}"
        );
    }
    let all = play(Target::AiSdk, script()).join("\n");
    assert!(all.contains("\"finishReason\":\"tool-calls\""), "{all}");
    let all = play(Target::OpenAiChat, script()).join("\n");
    assert!(all.contains("\"tool_calls\":[{\"index\":1,"), "{all}");
    assert!(all.contains("\"finish_reason\":\"tool_calls\""), "{all}");
}

#[test]
fn an_agent_that_is_not_needed_any_more_is_cancelled() {
    let script = || vec![Says(0, text("", "a")), Finishes(0), IsCancelled(1), AllEnd];
    let events = play(Target::Events, script());
    let cancelled = r#""agent":["clerk"],"reason":"cancelled","scope":"agent"}"#;
    assert!(events.iter().any(|event| event.ends_with(cancelled)));
    assert!(events.last().unwrap().ends_with(r#""clerk":"cancelled"}}"#));
    let parts = play(Target::AiSdk, script()).join("\n");
    assert!(parts.contains(r#"{"agent":"clerk","state":"cancelled"}"#));
}

#[test]
fn a_call_that_is_cut_off_is_closed_and_not_to_be_run() {
    let begun = || {
        Says(
            1,
            Part::ToolStart {
                msg: Cow::Borrowed(b""),
                id: Cow::Borrowed(b"c1"),
                name: Cow::Borrowed(b"wx"),
                by: By::Client,
            },
        )
    };
    let ends = || [IsCancelled(1), Fails(1, "truncated")];
    for end in ends() {
        let script = vec![begun(), Says(0, text("", "a")), Finishes(0), end, AllEnd];
        let all = play(Target::AiSdk, script).join("\n");
        let is_over = |line: &str| {
            line.contains("tool-input-error") && line.contains("\"providerExecuted\":true")
        };
        assert!(all.lines().any(is_over), "{all}");
        assert!(!all.contains("tool-input-available"), "{all}");
        assert!(all.contains("\"finishReason\":\"stop\""), "{all}");
    }
    for end in ends() {
        let script = vec![begun(), Says(0, text("", "a")), Finishes(0), end, AllEnd];
        let all = play(Target::OpenAiChat, script).join("\n");
        assert!(all.contains("\"finish_reason\":\"stop\""), "{all}");
    }
    for end in ends() {
        let script = vec![begun(), Says(0, text("", "a")), Finishes(0), end, AllEnd];
        let events = play(Target::AgUi, script);
        let ended =
            r#"{"type":"TOOL_CALL_END","toolCallId":"clerk:c1","subagentRunId":"r1.clerk"}"#;
        let at = events.iter().position(|event| event == ended).unwrap();
        assert_eq!(
            events[at + 1],
            r#"{"type":"TOOL_CALL_RESULT","messageId":"clerk:c1-result","toolCallId":"clerk:c1","content":"{\"error\":\"The call was cut off.\"}","role":"tool","subagentRunId":"r1.clerk"}"#
        );
        assert!(events[at + 2].contains("SUBAGENT_ERROR"), "{events:?}");
    }
}

#[test]
fn the_queue_is_told_whose_event_it_is() {
    let ensemble = Arc::new(Ensemble::new("r1", "t1", &["poet", "clerk"]));
    let mut run = Translator::of_run(Target::Ndjson, 7, &ensemble);
    let mut clerk = Translator::of_agent(Target::Ndjson, 7, &ensemble, 1);
    let mut agents = Vec::new();
    let mut sink = |_: &[u8], event: &Event| agents.push(event.agent);
    run.begin(&mut sink);
    for piece in ["Item ", "one"] {
        clerk.act(&mut sink, |conversation, act| {
            conversation.take(text("m1", piece), act);
        });
    }
    run.finish(&mut sink);
    // The start of the run, the start of the clerk, two pieces, and the end of the run.
    assert_eq!(agents, [0, 2, 2, 2, 0]);
}

#[test]
fn a_heading_is_never_dropped() {
    let ensemble = Arc::new(Ensemble::new("r1", "t1", &["poet", "clerk"]));
    let mut agents =
        [0, 1].map(|agent| Translator::of_agent(Target::OpenAiChat, 7, &ensemble, agent));
    let mut seen = Vec::new();
    let mut sink = |block: &[u8], event: &Event| {
        let block = String::from_utf8(block.to_vec()).unwrap();
        seen.push((block, event.class.is_droppable(), event.merge.is_some()));
    };
    for (agent, piece) in [(0, "Sea "), (1, "Item "), (0, "foam."), (1, "one")] {
        agents[agent].act(&mut sink, |conversation, act| {
            conversation.take(text("m1", piece), act);
        });
    }
    for agent in &mut agents {
        agent.finish(&mut sink);
    }
    for (name, text) in [("poet", "Sea "), ("clerk", "Item one")] {
        let of = |what: &str| {
            seen.iter()
                .find(|(block, ..)| block.contains(what))
                .unwrap()
        };
        let (_, is_droppable, is_merged) = of(&format!("**{name}**"));
        assert!(!is_droppable && !is_merged, "{seen:?}");
        assert!(of(text).1, "{seen:?}");
    }
}
