//! Responses of OpenAI that tell at the end what they have not streamed, or not all of it.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::translate::Target;

use crate::unruly::played;
use crate::wholes::{Told, called, told};

/// Events of OpenAI Responses between the beginning and the end, whose answer has this output.
fn response(events: &[Value], output: &Value) -> Told {
    let created = json!({ "type": "response.created", "response": { "id": "r", "output": [] } });
    let completed = json!({
        "type": "response.completed",
        "response": { "id": "r", "status": "completed", "output": output },
    });
    let all = [created].into_iter().chain(events.iter().cloned());
    let all: Vec<(&str, Value)> = all.chain([completed]).map(|event| ("", event)).collect();
    told(Dialect::OpenAiResponses, &all)
}

#[test]
fn a_response_may_tell_its_arguments_at_the_end() {
    let args = "{\"port\":\"Oslo\"}";
    let item = |args: &str| {
        json!({
            "id": "fc", "type": "function_call", "call_id": "c", "name": "tides", "arguments": args,
        })
    };
    let added =
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item("") });
    let delta = |text: &str| {
        json!({
            "type": "response.function_call_arguments.delta",
            "item_id": "fc", "output_index": 0, "delta": text,
        })
    };
    let done = json!({
        "type": "response.function_call_arguments.done",
        "item_id": "fc", "output_index": 0, "arguments": args,
    });
    let item_done = json!({
        "type": "response.output_item.done", "output_index": 0, "item": item(args),
    });
    let nothing = json!([]);
    let output = json!([item(args)]);
    // A value instead of its text.
    let mut value = item("");
    value["arguments"] = json!({ "port": "Oslo" });
    let expected = Told {
        text: String::new(),
        calls: called(),
    };
    for (events, output) in [
        (vec![added.clone(), done.clone()], &nothing),
        (vec![added.clone(), item_done.clone()], &nothing),
        (vec![item_done.clone()], &nothing),
        (
            vec![added.clone(), delta("{\"port"), done.clone()],
            &nothing,
        ),
        (
            vec![added.clone(), delta("{ \"port\" : \"Os"), item_done.clone()],
            &nothing,
        ),
        (vec![added.clone(), delta(args), done, item_done], &output),
        (vec![added.clone(), delta("{\"po")], &output),
        (vec![added], &output),
        (vec![], &output),
        (vec![], &json!([value])),
    ] {
        assert_eq!(response(&events, output), expected, "{events:?}");
    }
}

/// The input of a custom tool is any text, which is a JSON string for clients.
#[test]
fn a_response_may_tell_the_input_of_a_custom_tool_at_the_end() {
    let item = json!({ "id": "ct", "type": "custom_tool_call", "call_id": "c", "name": "shell" });
    let added = json!({ "type": "response.output_item.added", "output_index": 0, "item": item });
    let of = |kind: &str, member: &str, text: &str| {
        let mut event = json!({ "type": kind, "item_id": "ct", "output_index": 0 });
        event[member] = json!(text);
        event
    };
    let delta = |text: &str| of("response.custom_tool_call_input.delta", "delta", text);
    let done = of(
        "response.custom_tool_call_input.done",
        "input",
        "say \"hi\"\n",
    );
    for (events, expected) in [
        (vec![done.clone()], "say \"hi\"\n"),
        (
            vec![delta("say"), delta(" \"hi"), done.clone()],
            "say \"hi\"\n",
        ),
        (vec![delta("say \"hi\"\n"), done.clone()], "say \"hi\"\n"),
        // What a client has got stays, and is closed.
        (vec![delta("ls"), done], "ls"),
        (vec![delta("ls")], "ls"),
    ] {
        let events = [vec![added.clone()], events].concat();
        let calls = vec![("shell".to_owned(), json!(expected))];
        assert_eq!(response(&events, &json!([])).calls, calls, "{events:?}");
    }
}

#[test]
fn a_response_may_contradict_itself() {
    let item = json!({ "id": "fc", "type": "function_call", "call_id": "c", "name": "tides" });
    let delta = json!({
        "type": "response.function_call_arguments.delta",
        "item_id": "fc", "output_index": 0, "delta": "{\"port\":\"Bergen\"}",
    });
    let done = json!({
        "type": "response.function_call_arguments.done",
        "item_id": "fc", "output_index": 0, "arguments": "{\"port\":\"Oslo\"}",
    });
    let events = [
        (
            "",
            json!({ "type": "response.created", "response": { "id": "r" } }),
        ),
        (
            "",
            json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        ),
        ("", delta),
        ("", done),
        (
            "",
            json!({ "type": "response.completed", "response": { "id": "r" } }),
        ),
    ];
    // What a client has got stays.
    let got = played(Dialect::OpenAiResponses, &events, Target::OpenAiChat);
    let args = got.iter().filter_map(|chunk| {
        chunk
            .pointer("/choices/0/delta/tool_calls/0/function/arguments")?
            .as_str()
    });
    assert_eq!(args.collect::<String>(), "{\"port\":\"Bergen\"}");
    // Where all arguments come at once, the last word counts.
    let got = played(Dialect::OpenAiResponses, &events, Target::AiSdk);
    let input = got.iter().find_map(|event| event.get("input")).unwrap();
    assert_eq!(input, &json!({ "port": "Oslo" }));
}

#[test]
fn a_response_may_tell_its_text_at_the_end() {
    let content = json!({ "type": "output_text", "text": "Rain in Oslo", "annotations": [] });
    let message =
        json!({ "id": "m", "type": "message", "role": "assistant", "content": [content] });
    let added = json!({
        "type": "response.output_item.added", "output_index": 0,
        "item": { "id": "m", "type": "message", "role": "assistant", "content": [] },
    });
    let at = |kind: &str, rest: Value| {
        let mut event = json!({
            "type": kind, "item_id": "m", "output_index": 0, "content_index": 0,
        });
        let members = rest.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(members);
        event
    };
    let delta = at(
        "response.output_text.delta",
        json!({ "delta": "Rain in Oslo" }),
    );
    let text_done = at(
        "response.output_text.done",
        json!({ "text": "Rain in Oslo" }),
    );
    let part_done = at("response.content_part.done", json!({ "part": content }));
    let item_done = json!({
        "type": "response.output_item.done", "output_index": 0, "item": message,
    });
    let (nothing, output) = (json!([]), json!([message]));
    let expected = Told {
        text: "Rain in Oslo".to_owned(),
        calls: vec![],
    };
    for (events, output) in [
        (vec![added.clone(), text_done.clone()], &nothing),
        (vec![added.clone(), part_done.clone()], &nothing),
        (vec![added.clone(), item_done.clone()], &nothing),
        (vec![item_done.clone()], &nothing),
        (
            vec![
                added.clone(),
                delta.clone(),
                text_done,
                part_done,
                item_done,
            ],
            &output,
        ),
        (vec![added.clone(), delta], &output),
        (vec![added], &output),
        (vec![], &output),
    ] {
        assert_eq!(response(&events, output), expected, "{events:?}");
    }
}

#[test]
fn a_response_may_stream_only_the_beginning_of_its_text() {
    let whole = "Rain \u{e9} in \"Oslo\"";
    let content = json!({ "type": "output_text", "text": whole, "annotations": [] });
    let message =
        json!({ "id": "m", "type": "message", "role": "assistant", "content": [content] });
    let event = |kind: &str, member: &str, value: &Value| {
        let mut event = json!({
            "type": kind, "item_id": "m", "output_index": 0, "content_index": 0,
        });
        event[member] = value.clone();
        event
    };
    let deltas = |texts: &[&str]| -> Vec<Value> {
        let delta = |text: &&str| event("response.output_text.delta", "delta", &json!(text));
        texts.iter().map(delta).collect()
    };
    let text_done = event("response.output_text.done", "text", &json!(whole));
    let part_done = event("response.content_part.done", "part", &content);
    let item_done = event("response.output_item.done", "item", &message);
    let (nothing, output) = (json!([]), json!([message]));
    for (streamed, shown) in [
        (&["Rain"][..], whole),
        (&["R", "ain \u{e9}", " in \"O"], whole),
        (&["Rain \u{e9} in ", "\"Oslo\""], whole),
        // What a client has got stays.
        (&["Snow", " on the hills"], "Snow on the hills"),
        (&["Sno", "w"], "Snow"),
        (
            &["Rain \u{e9} in \"Oslo\"", "!"],
            "Rain \u{e9} in \"Oslo\"!",
        ),
    ] {
        for (last, output) in [
            (vec![text_done.clone()], &nothing),
            (vec![part_done.clone()], &nothing),
            (vec![item_done.clone()], &nothing),
            (
                vec![text_done.clone(), part_done.clone(), item_done.clone()],
                &output,
            ),
            (vec![], &output),
        ] {
            let events = [deltas(streamed), last].concat();
            assert_eq!(response(&events, output).text, shown, "{events:?}");
        }
    }
}

#[test]
fn an_item_that_was_not_streamed_is_told_beside_one_that_was() {
    let message = |id: &str, text: &str| {
        let content = json!([{ "type": "output_text", "text": text }]);
        json!({ "id": id, "type": "message", "role": "assistant", "content": content })
    };
    let (first, second) = (message("m1", "Rain"), message("m2", " in Oslo"));
    let done = |at: u32, item: &Value| json!({ "type": "response.output_item.done", "output_index": at, "item": item });
    let output = json!([first, second]);
    let expected = Told {
        text: "Rain in Oslo".to_owned(),
        calls: vec![],
    };
    assert_eq!(response(&[done(0, &first)], &output), expected);
    // Some servers give every item the same place, or another id in each event.
    assert_eq!(
        response(&[done(0, &first), done(0, &second)], &output),
        expected
    );
    let renamed = message("other", " in Oslo");
    assert_eq!(
        response(&[done(0, &first), done(1, &renamed)], &output),
        expected
    );
}
