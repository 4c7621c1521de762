//! Where a text in data of any shape ends, and another one begins.

use super::Hide;
use super::data::{left, left_of, named, notification, sse, status};
use weir::dialect::Dialect;
use weir::wire::Framing;

type Snapshot = fn(&str, &str) -> String;

#[test]
fn what_a_label_hides_ends_with_its_event() {
    let status = |text: &str| sse(&format!(r#"{{"type":"status","content":"{text}"}}"#));
    let token = sse(r#"{"type":"token","content":"Hi"}"#);
    let rest = status("Reading 10 pages") + &token + &status("Done");
    let whole = status("Action: search the web") + &rest;
    let shown = left_of(Dialect::Convention, Framing::Sse, Hide::Drop, &whole);
    assert_eq!(shown, status("") + &rest);

    let message =
        |text: &str| notification("message", &format!(r#"{{"level":"info","data":"{text}"}}"#));
    let rest = message("Fetched 10 pages") + &message("Ready");
    let whole = message("Action: restart") + &rest;
    let shown = left_of(Dialect::Mcp, Framing::Sse, Hide::Drop, &whole);
    assert_eq!(shown, message("") + &rest);
}

#[test]
fn the_texts_of_another_item_are_other_texts() {
    let message = |id: &str, text: &str| {
        status(&format!(
            r#""status":{{"state":"TASK_STATE_WORKING","message":{{"messageId":"{id}","role":"ROLE_AGENT","parts":[{{"text":"{text}"}}]}}}}"#
        ))
    };
    let whole = message("m1", "<think>cut off") + &message("m2", "Fetched 10 pages");
    let rest = message("m1", "") + &message("m2", "Fetched 10 pages");
    assert_eq!(left(Dialect::A2a, Framing::Sse, &whole), rest);

    let artifact = |id: &str, text: &str| {
        sse(&format!(
            r#"{{"artifactUpdate":{{"taskId":"k","append":true,"artifact":{{"artifactId":"{id}","parts":[{{"data":{{"t":"{text}"}}}}]}}}}}}"#
        ))
    };
    let whole = artifact("d1", "<think>SECRET") + &artifact("d2", "Rain");
    let rest = artifact("d1", "") + &artifact("d2", "Rain");
    assert_eq!(left(Dialect::A2a, Framing::Sse, &whole), rest);

    for name in [
        "messageId",
        "message_id",
        "id",
        "toolCallId",
        "taskId",
        "artifact_id",
    ] {
        let item = |id: &str, text: &str| {
            named(
                "custom",
                &format!(r#"{{"n":1,"item":{{"text":"{text}","{name}":"{id}"}}}}"#),
            )
        };
        let whole =
            item("a", "<think>SECRET") + &item("b", "Rain") + &item("a", "SECRET</think>Vis");
        let rest = item("a", "") + &item("b", "Rain") + &item("a", "Vis");
        assert_eq!(
            left(Dialect::LangGraph, Framing::Sse, &whole),
            rest,
            "{name}"
        );
    }
    // Numbers count events.
    let item = |id: u8, text: &str| named("custom", &format!(r#"{{"id":"{id}","text":"{text}"}}"#));
    let whole = item(1, "<think>SECRET") + &item(2, "SECRET</think>Vis");
    let shown = left(Dialect::LangGraph, Framing::Sse, &whole);
    assert_eq!(shown, item(1, "") + &item(2, "Vis"));
}

#[test]
fn a_snapshot_is_a_text_of_its_own_each_time() {
    let activity = |id: &str, text: &str| {
        sse(&format!(
            r#"{{"type":"ACTIVITY_SNAPSHOT","messageId":"{id}","activityType":"X","content":{{"text":"{text}"}}}}"#
        ))
    };
    let part = |id: &str, text: &str| {
        sse(&format!(
            r#"{{"type":"data-x","id":"{id}","data":{{"text":"{text}"}}}}"#
        ))
    };
    let table: [(Dialect, Snapshot); 3] = [
        (Dialect::AgUi, activity),
        (Dialect::Mastra, part),
        (Dialect::VercelUi, part),
    ];
    for (dialect, event) in table {
        let whole = [
            event("a1", "Action: go"),
            event("a2", "Visible"),
            event("a1", "<think>SECRET"),
            event("a1", "Rain"),
            event("a1", "<think>SECRET</think>Vis"),
        ]
        .concat();
        let rest = [
            event("a1", ""),
            event("a2", "Visible"),
            event("a1", ""),
            event("a1", "Rain"),
            event("a1", "Vis"),
        ]
        .concat();
        let shown = left_of(dialect, Framing::Sse, Hide::Drop, &whole);
        assert_eq!(shown, rest, "{dialect}");
    }
}

#[test]
fn an_open_tag_hides_its_own_item_of_a_list() {
    let cells = |cells: &str| named("custom", &format!(r#"{{"cells":{cells}}}"#));
    let whole = cells(r#"["<think>","b","c"]"#)
        + &cells(r#"["SECRET","d"]"#)
        + &cells(r#"["</think>Vis","e"]"#);
    let rest = cells(r#"["","b","c"]"#) + &cells(r#"["","d"]"#) + &cells(r#"["Vis","e"]"#);
    assert_eq!(left(Dialect::LangGraph, Framing::Sse, &whole), rest);

    let parts = |a: &str, b: &str| {
        sse(&format!(
            r#"{{"artifactUpdate":{{"taskId":"k","append":true,"artifact":{{"artifactId":"d","parts":[{{"data":{{"t":"{a}"}}}},{{"data":{{"t":"{b}"}}}}]}}}}}}"#
        ))
    };
    let whole = parts("<think>SECRET", "Rain") + &parts("SECRET</think>Vis", "Snow");
    let rest = parts("", "Rain") + &parts("Vis", "Snow");
    assert_eq!(left(Dialect::A2a, Framing::Sse, &whole), rest);
}

#[test]
fn a_schema_is_no_thought() {
    let event = named(
        "message",
        r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Allow it?","requestedSchema":{"type":"object","properties":{"reasoning":{"type":"string","title":"Reason for the refund"}},"required":["reasoning"]}}}"#,
    );
    assert_eq!(left(Dialect::Mcp, Framing::Sse, &event), event);
}

#[test]
fn strings_for_which_there_is_no_room_are_hidden_with_the_others() {
    let event = |text: &str| {
        let members: Vec<String> = (0..70).map(|n| format!(r#""p{n}":"{text}""#)).collect();
        named("custom", &format!("{{{}}}", members.join(",")))
    };
    let whole = ["<think>", "SECRET", "</think>", "Vis"].map(event).concat();
    let rest = ["", "", "", "Vis"].map(event).concat();
    assert_eq!(left(Dialect::LangGraph, Framing::Sse, &whole), rest);
}
