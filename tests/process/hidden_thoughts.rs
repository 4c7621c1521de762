//! Thoughts that only a flag tells from the answer, as in the streams of Google's OpenAI API.

use crate::streams::{CHAT, with};
use crate::support::{Client, Upstream, Weir};

fn chunk(role: &str, text: &str, is_thought: bool) -> String {
    let flag = if is_thought {
        r#","extra_content":{"google":{"thought":true}}"#
    } else {
        ""
    };
    format!(
        "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{{role}\"content\":\"{text}\"{flag}}}}}]}}\n\n"
    )
}

#[test]
fn a_flagged_thought_is_hidden_with_tags_and_without() {
    for (thought, answer) in [
        (["SECRET", " SECRET"], "Rain"),
        // The closing tag is in the answer.
        (["<thought>SECRET", " SECRET"], "</thought>Rain"),
    ] {
        let upstream = Upstream::start();
        let weir = Weir::start(&with("hide: { reasoning: drop }"), upstream.address());
        let mut client = Client::post(&weir.address, CHAT);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(chunk(r#""role":"assistant","#, thought[0], true));
        agent.chunk(chunk("", thought[1], true));
        agent.chunk(chunk("", answer, false));
        agent.send("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
        let all = client.rest();
        assert!(
            !all.contains("SECRET") && !all.contains("thought>"),
            "{all}"
        );
        assert!(all.contains("\"content\":\"Rain\""), "{all}");
        assert_eq!(weir.ended()["outcome"], "finished");
    }
}

#[test]
fn a_signature_within_a_tag_passes_and_does_not_show_the_thought() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with("dialect: vercel_ui, hide: { reasoning: drop }"),
        upstream.address(),
    );
    let mut client = Client::post(&weir.address, "/agent");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    let delta = |text: &str, more: &str| {
        format!("data: {{\"type\":\"text-delta\",\"id\":\"0\",\"delta\":\"{text}\"{more}}}\n\n")
    };
    agent.chunk("data: {\"type\":\"text-start\",\"id\":\"0\"}\n\n");
    agent.chunk(delta("<thi", ""));
    agent.chunk(delta(
        "",
        r#","providerMetadata":{"google":{"thoughtSignature":"s"}}"#,
    ));
    agent.chunk(delta("nk>SECRET</think>Rain", ""));
    agent.chunk("data: {\"type\":\"text-end\",\"id\":\"0\"}\n\n");
    agent.send("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    let all = client.rest();
    assert!(!all.contains("SECRET") && !all.contains("<thi"), "{all}");
    assert!(
        all.contains("\"thoughtSignature\":\"s\"") && all.contains("\"delta\":\"Rain\""),
        "{all}"
    );
}
