//! Tests of the order of events from several agents: a flood holds nobody up.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_flood_delays_others_by_no_more_than_a_quantum() {
    let names: Vec<String> = (0..16).map(|agent| format!("a{agent}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let flood: String = (0..5000).map(|_| token("x")).collect();
    let mut heads = vec![Head::Opened(opened(vec![Step::Send(flood), done()]))];
    for _ in 1..16 {
        heads.push(Head::Opened(opened(vec![Step::Send(token("q")), done()])));
    }
    let (report, events, _) = play(&names, heads, ALL).await;
    assert_eq!(report.end, End::Finished);
    let is_of = |event: &serde_json::Value, flood: bool| {
        event["type"] == "token" && (event["agent"][0] == "a0") == flood
    };
    let last = events
        .iter()
        .rposition(|event| is_of(event, false))
        .unwrap();
    let before = events[..last]
        .iter()
        .filter(|event| is_of(event, true))
        .count();
    assert!(
        before <= 40,
        "{before} events of the flood came before another agent's first"
    );
    assert_eq!(texts(&events)["a0"].len(), 5000, "nothing is lost");
}
