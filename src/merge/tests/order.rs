//! Tests of the order of events from several agents: a flood holds nobody up, and no interleaving loses anything.

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

/// A small generator of numbers, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_interleavings_keep_each_agents_order_and_lose_nothing() {
    let mut numbers = Numbers(42);
    for round in 0..10_000 {
        let count = 2 + numbers.below(3);
        let names: Vec<String> = (0..count).map(|agent| format!("n{agent}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut expected = BTreeMap::new();
        let mut heads = Vec::new();
        for name in &names {
            let mut said = String::new();
            let mut stream = String::new();
            for piece in 0..1 + numbers.below(6) {
                let text = format!("{piece}.");
                stream += &token(&text);
                said += &text;
            }
            stream += "data: [DONE]\n\n";
            expected.insert((*name).to_owned(), said);
            let mut steps = Vec::new();
            while !stream.is_empty() {
                let rest = stream.split_off((1 + numbers.below(90)).min(stream.len()));
                steps.push(Step::Send(std::mem::replace(&mut stream, rest)));
                match numbers.below(4) {
                    0 => steps.push(Step::Yield),
                    1 => steps.push(Step::Wait(Duration::from_millis(numbers.below(5) as u64))),
                    _ => {}
                }
            }
            heads.push(if numbers.below(3) == 0 {
                let late = Duration::from_millis(numbers.below(5) as u64);
                Head::Opening(Box::pin(async move {
                    tokio::time::sleep(late).await;
                    Ok(opened(steps))
                }))
            } else {
                Head::Opened(opened(steps))
            });
        }
        let (report, events, _) = play(&names, heads, ALL).await;
        assert_eq!(report.end, End::Finished, "round {round}");
        assert_eq!(texts(&events), expected, "round {round}");
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], index + 1, "round {round}");
        }
        let ends = events
            .iter()
            .filter(|event| event["type"] == "finish" && event["scope"] == "agent");
        assert_eq!(ends.count(), names.len(), "round {round}");
    }
}
