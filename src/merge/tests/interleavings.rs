//! Ten thousand streams of agents that speak, call tools, finish and fail as they like, through queues of many sizes,
//! to clients of many speeds, in every form that can name agents.

use serde_json::Value;

use super::*;

const ROUNDS: usize = 10_000;
const TARGETS: [Target; 5] = [
    Target::AgUi,
    Target::AiSdk,
    Target::Events,
    Target::Ndjson,
    Target::OpenAiChat,
];

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

    fn millis(&mut self, bound: usize) -> Duration {
        Duration::from_millis(self.below(bound) as u64)
    }
}

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Breaks,
    Fails,
    Finishes,
    IsTruncated,
    Refuses,
}

/// An agent, and what a client must get of it.
struct Player {
    /// What it says and does, in order: pieces of text as `<3>`, and calls as `(c0[0,1]`.
    log: String,
    how: How,
    head: Head,
}

/// A piece of a tool call. The first one has its id and its name.
fn call(number: usize, begins: bool, args: &str) -> String {
    let (id, name) = if begins {
        let id = format!("\"id\":\"c{number}\",\"type\":\"function\",");
        (id, "\"name\":\"wx\",")
    } else {
        (String::new(), "")
    };
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{number},{id}\"function\":{{{name}\"arguments\":\"{args}\"}}}}]}}}}]}}\n\n"
    )
}

fn player(numbers: &mut Numbers) -> Player {
    let how = match numbers.below(9) {
        0 => How::Breaks,
        1 => How::Fails,
        2 => How::IsTruncated,
        3 => How::Refuses,
        _ => How::Finishes,
    };
    let (mut log, mut stream, mut calls) = (String::new(), String::new(), 0);
    for piece in 0..1 + numbers.below(6) {
        if numbers.below(4) == 0 {
            stream += &call(calls, true, "");
            log += &format!("(c{calls}");
            for args in ["[0", ",1]"] {
                stream += &call(calls, false, args);
                log += args;
            }
            calls += 1;
        } else {
            let text = format!("<{piece}>");
            stream += &token(&text);
            log += &text;
        }
    }
    match how {
        How::Fails => stream += "data: {\"error\":{\"message\":\"Busy.\",\"code\":\"busy\"}}\n\n",
        How::Finishes => {
            if numbers.below(2) == 0 {
                stream += "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
            }
            stream += "data: [DONE]\n\n";
        }
        How::Breaks | How::IsTruncated | How::Refuses => {}
    }
    let mut steps = Vec::new();
    while !stream.is_empty() {
        let rest = stream.split_off((1 + numbers.below(200)).min(stream.len()));
        steps.push(Step::Send(std::mem::replace(&mut stream, rest)));
        match numbers.below(4) {
            0 => steps.push(Step::Yield),
            1 => steps.push(Step::Wait(numbers.millis(5))),
            _ => {}
        }
    }
    match how {
        How::Breaks => steps.push(Step::Break),
        How::IsTruncated => steps.push(Step::End),
        How::Fails | How::Finishes | How::Refuses => {}
    }
    if how == How::Refuses {
        log.clear();
    }
    let head = if numbers.below(3) == 0 {
        let late = numbers.millis(5);
        Head::Opening(Box::pin(async move {
            tokio::time::sleep(late).await;
            answer(how, steps)
        }))
    } else {
        match answer(how, steps) {
            Ok(opened) => Head::Opened(opened),
            Err(refused) => Head::Refused(refused),
        }
    };
    Player { log, how, head }
}

fn answer(how: How, steps: Vec<Step>) -> Result<Opened, Refused> {
    if how != How::Refuses {
        return Ok(opened(steps));
    }
    Err(Refused {
        failure: End::UpstreamError.into(),
        status: StatusCode::SERVICE_UNAVAILABLE,
        answer: None,
    })
}

/// What a client has got.
#[derive(Debug, Default)]
struct Seen {
    /// What each agent has said and done, as in [`Player::log`].
    logs: BTreeMap<String, String>,
    /// The ends of each agent: whether it has failed.
    ends: BTreeMap<String, Vec<bool>>,
    /// How often the run has ended.
    ends_of_run: usize,
    /// The number of the last native event.
    seq: u64,
    /// The ids of OpenAI's calls, by number.
    calls: BTreeMap<u64, String>,
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Seen {
    fn of(target: Target, text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            let payload = match target {
                Target::Ndjson => line,
                _ => line.strip_prefix("data: ").unwrap_or_default(),
            };
            if payload.is_empty() || payload == "[DONE]" {
                continue;
            }
            let event: Value = serde_json::from_str(payload).unwrap();
            match target {
                Target::AgUi => seen.ag_ui(&event),
                Target::AiSdk => seen.ai_sdk(&event),
                Target::OpenAiChat => seen.openai_chat(&event),
                _ => seen.native(&event),
            }
        }
        seen
    }

    /// Notes a word of the agent with whose name `id` begins.
    fn says(&mut self, id: &Value, said: &str) {
        let agent = word(id).split(':').next().unwrap_or_default();
        let log = self.logs.entry(agent.to_owned()).or_default();
        log.push_str(said);
    }

    fn begins(&mut self, id: &Value) {
        let (_, own) = word(id).split_once(':').unwrap();
        self.says(id, &format!("({own}"));
    }

    fn ends(&mut self, agent: &str, failed: bool) {
        self.ends.entry(agent.to_owned()).or_default().push(failed);
    }

    fn native(&mut self, event: &Value) {
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > self.seq, "{event}");
        self.seq = seq;
        let scope = word(&event["scope"]);
        match (word(&event["type"]), word(&event["phase"])) {
            ("token", _) => self.says(&event["agent"][0], word(&event["text"])),
            ("tool_call", "start") => self.begins(&event["id"]),
            ("tool_call", "args") => self.says(&event["id"], word(&event["text"])),
            ("finish", _) if scope == "agent" => {
                self.ends(word(&event["agent"][0]), event["reason"] == "error");
            }
            ("finish" | "error", _) if scope == "run" => self.ends_of_run += 1,
            _ => {}
        }
    }

    fn ai_sdk(&mut self, event: &Value) {
        let data = &event["data"];
        match word(&event["type"]) {
            "text-delta" => self.says(&event["id"], word(&event["delta"])),
            "tool-input-start" => self.begins(&event["toolCallId"]),
            "tool-input-delta" => {
                self.says(&event["toolCallId"], word(&event["inputTextDelta"]));
            }
            "data-weir-agent" if data["state"] != "running" => {
                self.ends(word(&data["agent"]), data["state"] == "failed");
            }
            "finish" | "error" => self.ends_of_run += 1,
            _ => {}
        }
    }

    fn ag_ui(&mut self, event: &Value) {
        let kind = word(&event["type"]);
        match kind {
            "TEXT_MESSAGE_CONTENT" => self.says(&event["messageId"], word(&event["delta"])),
            "TOOL_CALL_START" => self.begins(&event["toolCallId"]),
            "TOOL_CALL_ARGS" => self.says(&event["toolCallId"], word(&event["delta"])),
            "SUBAGENT_FINISHED" | "SUBAGENT_ERROR" => {
                let agent = word(&event["subagentRunId"]).strip_prefix("r1.").unwrap();
                self.ends(agent, kind == "SUBAGENT_ERROR");
            }
            "RUN_FINISHED" | "RUN_ERROR" => self.ends_of_run += 1,
            _ => {}
        }
    }

    fn openai_chat(&mut self, event: &Value) {
        let (agent, choice) = (&event["weir"]["agent"], &event["choices"][0]);
        let delta = &choice["delta"];
        if event["weir"]["state"] == "failed" {
            self.ends(word(agent), true);
        }
        // The heading, and what stands between two messages.
        let heading = format!("**{}**", word(agent));
        let text = word(&delta["content"]).replace(&heading, "");
        let text = text.replace('\n', "");
        if !text.is_empty() {
            self.says(agent, &text);
        }
        let call = &delta["tool_calls"][0];
        if let Some(number) = call["index"].as_u64() {
            if call["id"].is_string() {
                self.begins(&call["id"]);
                self.calls.insert(number, word(&call["id"]).to_owned());
            }
            let id = Value::from(self.calls[&number].as_str());
            self.says(&id, word(&call["function"]["arguments"]));
        }
        if choice["finish_reason"].is_string() || event["error"].is_object() {
            self.ends_of_run += 1;
        }
    }
}

/// Returns the words of a log: whole pieces of text, and single characters of everything else.
fn words(log: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = log;
    while !rest.is_empty() {
        let end = if rest.starts_with('<') {
            rest.find('>').unwrap() + 1
        } else {
            1
        };
        let (word, more) = rest.split_at(end);
        words.push(word);
        rest = more;
    }
    words
}

fn is_text(word: &&str) -> bool {
    word.starts_with('<')
}

/// Reports whether `seen` is `all`, in order, without some pieces of text.
fn is_part(seen: &[&str], all: &[&str]) -> bool {
    let mut seen = seen.iter().peekable();
    for word in all {
        if seen.next_if(|next| **next == *word).is_none() && !is_text(word) {
            return false;
        }
    }
    seen.next().is_none()
}

/// Reads at most so many bytes at a time, after pauses.
async fn read_in_pieces(
    mut receiver: Receiver,
    most: usize,
    mut pauses: Vec<Duration>,
) -> (String, Close) {
    let mut out = Vec::new();
    loop {
        if let Some(pause) = pauses.pop() {
            tokio::time::sleep(pause).await;
        }
        match poll_fn(|cx| receiver.poll_next(cx, most, &mut out)).await {
            Next::Data { large, .. } => out.extend_from_slice(&large),
            Next::End(close) => return (String::from_utf8(out).unwrap(), close),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_interleavings_keep_each_agents_order_and_lose_nothing_critical() {
    let mut numbers = Numbers(42);
    let mut dropped = [0_u64; TARGETS.len()];
    for round in 0..ROUNDS {
        let place = round % TARGETS.len();
        let target = TARGETS[place];
        let count = 2 + numbers.below(3);
        let names: Vec<String> = (0..count).map(|agent| format!("n{agent}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut heads, mut expected) = (Vec::new(), Vec::new());
        for _ in &names {
            let Player { log, how, head } = player(&mut numbers);
            heads.push(head);
            expected.push((log, how));
        }
        let limits = Limits {
            max_events: 2 + numbers.below(12),
            max_bytes: 512 + numbers.below(2048),
            merge: numbers.below(2) == 0,
            overflow: match numbers.below(3) {
                0 => Overflow::Block,
                _ => Overflow::DropOldest,
            },
        };
        // The longest one is longer than a burst may wait for room.
        let pauses = (0..numbers.below(4)).map(|_| [5, 150, 400][numbers.below(3)]);
        let pauses = pauses.map(Duration::from_millis).collect();
        let Stage {
            mut pump, receiver, ..
        } = stage(target, &names, heads, ALL, limits);
        let reading = read_in_pieces(receiver, 512, pauses);
        let (report, (text, close)) = tokio::join!(pump.run(), reading);
        let at = || format!("round {round}, {target:?}, {limits:?}, {expected:?}:\n{text}");
        let lost: u64 = report.egress.queue.dropped.iter().sum();
        dropped[place] += lost;
        assert_eq!(close, Close::Clean, "{}", at());
        assert!(
            lost == 0 || limits.overflow == Overflow::DropOldest,
            "{lost} in {}",
            at()
        );
        let seen = Seen::of(target, &text);
        let all_failed = expected.iter().all(|(_, how)| *how != How::Finishes);
        let end = if all_failed {
            End::UpstreamError
        } else {
            End::Finished
        };
        assert_eq!((report.end, seen.ends_of_run), (end, 1), "{}", at());
        for (name, (log, how)) in names.iter().zip(&expected) {
            let got = seen.logs.get(*name).map_or("", String::as_str);
            let (mut got, mut all) = (words(got), words(log));
            if target == Target::OpenAiChat {
                // Text waits for the agent's turn, and calls do not: each keeps its own order.
                got.sort_by_key(is_text);
                all.sort_by_key(is_text);
            }
            assert!(is_part(&got, &all), "{name}: {got:?} in {}", at());
            assert!(lost > 0 || got == all, "{name}: {got:?} in {}", at());
            let failed = *how != How::Finishes;
            let ends = seen.ends.get(*name).map_or(&[][..], Vec::as_slice);
            if target == Target::OpenAiChat && !failed {
                assert!(ends.is_empty(), "{name} in {}", at());
            } else {
                assert_eq!(ends, [failed], "{name} in {}", at());
            }
        }
    }
    for (target, dropped) in TARGETS.iter().zip(dropped) {
        assert!(dropped > 0, "nothing was dropped for {target:?}");
    }
}
