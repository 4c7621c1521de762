//! Tests of ends that are certain because of the request, and of ends that depend on what came before.

use super::*;

/// What a request says that asks for one reply of a model.
fn single() -> Members {
    let mut members = Members::default();
    members.note_single_reply();
    members
}

/// The terminals of the events of a stream of OpenAI Responses.
fn terminals(members: &Members, events: &[&str]) -> Vec<Option<Terminal>> {
    let mut classifier = Classifier::of(Dialect::OpenAiResponses, members);
    let frames = events.iter().map(|event| block(event));
    frames
        .map(|frame| classifier.classify(&frame, &mut None).terminal)
        .collect()
}

const CREATED: &str = r#"{"type":"response.created","response":{"id":"r"}}"#;
const OTHER_CREATED: &str = r#"{"type":"response.created","response":{"id":"s"}}"#;
const COMPLETED: &str = r#"{"response":{"id":"r"},"type":"response.completed"}"#;

#[test]
fn the_path_of_the_responses_api_asks_for_one_response() {
    let headers = HeaderMap::new();
    let asks = |dialect: Dialect, path: &str| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        dialect.has_single_reply(&RequestHead::new(path, query, &headers))
    };
    for path in [
        "/v1/responses",
        "/v1/responses/",
        "/api/v1/responses",
        "/openai/v1/responses?api-version=preview",
        "/openai/responses?api-version=2025-04-01-preview",
        "/v1/responses/r?stream=true&starting_after=4",
    ] {
        for dialect in Dialect::ALL {
            let is_its = dialect == Dialect::OpenAiResponses;
            assert_eq!(asks(dialect, path), is_its, "{dialect} {path}");
        }
    }
    for path in [
        "/responses",
        "/responses/r?stream=true",
        "/agents/a/responses",
        "/v1/responses/r",
        "/v1/responses/r/input_items?stream=true",
        "/v1/agent",
        "",
    ] {
        assert!(!asks(Dialect::OpenAiResponses, path), "{path}");
    }
}

#[test]
fn the_end_of_the_only_response_is_the_end_of_the_stream() {
    for (word, certain, possible) in [
        ("completed", Terminal::Done, Terminal::MayEnd),
        ("incomplete", Terminal::Done, Terminal::MayEnd),
        ("cancelled", Terminal::Done, Terminal::MayEnd),
        ("failed", Terminal::Error, Terminal::MayFail),
    ] {
        let end = format!(r#"{{"type":"response.{word}","response":{{"id":"r"}}}}"#);
        let whole = [CREATED, &end];
        let reopens = Some(Terminal::Reopens);
        assert_eq!(terminals(&single(), &whole), [reopens, Some(certain)]);
        let unsaid = Members::default();
        assert_eq!(terminals(&unsaid, &whole), [reopens, Some(possible)]);
        // A client came back for the rest.
        assert_eq!(terminals(&single(), &[&end]), [Some(certain)]);
    }
}

#[test]
fn several_responses_are_not_one_whatever_the_request_says() {
    let last = |events: &[&str]| terminals(&single(), events).pop().unwrap();
    let possible = Some(Terminal::MayEnd);
    assert_eq!(last(&[CREATED, OTHER_CREATED, COMPLETED]), possible);
    let wrapped = format!(r#"{{"data":{COMPLETED},"type":"raw_response_event"}}"#);
    assert_eq!(last(&[&wrapped]), possible);
    let agent = r#"{"type":"agent_updated_stream_event","new_agent":{"name":"a"}}"#;
    assert_eq!(last(&[agent, CREATED, COMPLETED]), possible);
}

#[test]
fn a_response_with_a_call_may_be_followed_by_another_however_long_its_tool_takes() {
    let last = |members: &Members, item: &str| {
        let added = format!(
            r#"{{"type":"response.output_item.added","output_index":0,"item":{{"id":"i","type":"{item}"}}}}"#
        );
        terminals(members, &[CREATED, &added, COMPLETED])
            .pop()
            .unwrap()
    };
    let unsaid = Members::default();
    for (item, terminal) in [
        ("message", Terminal::MayEnd),
        ("web_search_call", Terminal::MayEnd),
        ("mcp_call", Terminal::MayEnd),
        ("function_call", Terminal::MayEndWithInput),
        ("custom_tool_call", Terminal::MayEndWithInput),
    ] {
        assert_eq!(last(&unsaid, item), Some(terminal), "{item}");
        assert_eq!(last(&single(), item), Some(Terminal::Done), "{item}");
    }
    // The next response ends the run.
    let call = r#"{"type":"response.output_item.added","item":{"id":"i","type":"function_call"}}"#;
    let run = [CREATED, call, COMPLETED, OTHER_CREATED, COMPLETED];
    let ends = terminals(&unsaid, &run);
    assert_eq!(ends.last(), Some(&Some(Terminal::MayEnd)));
}

/// Elsewhere than in the Agents SDK, the names of functions mean nothing.
#[test]
fn only_the_agents_sdk_hands_a_run_over() {
    let call = r#"{"type":"response.output_item.done","item":{"id":"i","type":"function_call","name":"transfer_to_b"}}"#;
    let wrapped = |event: &str| format!(r#"{{"type":"raw_response_event","data":{event}}}"#);
    let unsaid = Members::default();
    let plain = terminals(&unsaid, &[CREATED, call, COMPLETED]);
    assert_eq!(plain.last(), Some(&Some(Terminal::MayEndWithInput)));
    let events = [CREATED, call, COMPLETED].map(wrapped);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let handed = terminals(&unsaid, &events);
    assert_eq!(handed.last(), Some(&Some(Terminal::Reopens)));
}

/// Only another response takes an end back.
#[test]
fn the_state_of_an_ended_response_does_not_take_its_end_back() {
    let state = |word: &str, id: &str| {
        format!(r#"{{"type":"response.{word}","response":{{"id":"{id}"}}}}"#)
    };
    let last = |event: &str| {
        let events = [CREATED, COMPLETED, event];
        terminals(&Members::default(), &events).pop().unwrap()
    };
    for word in ["queued", "in_progress"] {
        assert_eq!(last(&state(word, "r")), None, "{word}");
        assert_eq!(last(&state(word, "s")), Some(Terminal::Reopens), "{word}");
    }
    let first = terminals(&Members::default(), &[&state("in_progress", "r")]);
    assert_eq!(first, [None]);
}
