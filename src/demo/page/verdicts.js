// What the measurements of a lane say. Nothing here knows which proxy a lane goes through, but that Weir gives its
// streams ids.

// The longest wait for the first word that nobody minds.
const AT_ONCE_MS = 1000;
// The most words that may come in one read: what half a second of a busy browser collects.
const AT_A_TIME = 12;
// The most words for nobody: an agent says so many in a second.
const FOR_NOBODY = 20;
const HELD_MS = 1000;

const passed = (why) => ({ state: "passed", why });
const failed = (why) => ({ state: "failed", why });
const waiting = (why = "") => ({ state: "waiting", why });
const ms = (time) => `${Math.round(time).toLocaleString("en")} ms`;
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

// Each: its name, when it is judged, and the judgement. `seen` is what the client saw, `agent` what the agent says
// about the run (or null), `now` the time since the run began.
const RULES = {
  route: {
    name: "Came through Weir",
    isFor: ({ lane }) => lane === "right",
    judge: ({ seen }) => {
      if (seen.stream) return passed("the stream has an id");
      if (seen.answered || seen.over) return failed("no Weir-Stream-Id in the answer");
      return waiting();
    },
  },
  first: {
    name: "First word at once",
    // What is hidden ahead of an answer takes the agent's time, not the proxy's.
    isFor: ({ choice }) => choice.fault !== "think",
    judge: ({ seen, now }) => {
      if (seen.ttft !== null) return (seen.ttft < AT_ONCE_MS ? passed : failed)(`after ${ms(seen.ttft)}`);
      if (seen.over) return failed("there was none");
      return now > AT_ONCE_MS ? failed(`none after ${ms(now)}`) : waiting();
    },
  },
  even: {
    name: "Word by word",
    isFor: ({ choice }) => choice.fault !== "flood" && !["slow", "lose"].includes(choice.client),
    judge: ({ seen }) => {
      const why = `at most ${count(seen.mostWords, "word")} at a time`;
      if (seen.mostWords > AT_A_TIME) return failed(`${seen.mostWords} words in one heap`);
      return seen.over ? (seen.words ? passed : failed)(why) : waiting(why);
    },
  },
  end: {
    name: "Complete, or says why not",
    isFor: ({ seen }) => !seen.hungUp,
    judge: ({ seen, agent, choice }) => {
      if (!seen.over) return waiting();
      if (seen.error) return passed(`an error event: ${seen.error.code}`);
      if (!seen.done) return failed(seen.raised);
      if (choice.fault === "think") return passed("the end mark came");
      if (agent?.state !== "finished") return waiting("the agent has not said how much it was");
      const of = `${seen.words.toLocaleString("en")} of ${count(agent.words, "word")}`;
      return (seen.words === agent.words ? passed : failed)(of);
    },
  },
  torn: {
    name: "No character torn apart",
    isFor: ({ choice }) => choice.fault === "split",
    judge: ({ seen }) => {
      if (seen.torn) return failed(`${count(seen.torn, "read")} with half a character`);
      return seen.over ? passed("every read is whole text") : waiting();
    },
  },
  thoughts: {
    name: "Thoughts stay hidden",
    isFor: ({ choice }) => choice.fault === "think",
    judge: ({ seen }) => {
      if (seen.leaked) return failed("<think> is in the answer");
      if (!seen.over) return waiting();
      return seen.words ? passed("only the answer came") : failed("nothing came");
    },
  },
  stopped: {
    name: "The agent stops when nobody listens",
    // A flood is over before anybody can leave.
    isFor: ({ choice, seen }) => ["leave", "stop"].includes(choice.client) && (seen.acted || !seen.over),
    judge: ({ seen, agent }) => {
      const why = agent && `${count(agent.for_nobody, "word")} for nobody`;
      if (!agent) return seen.over ? failed("the agent says nothing") : waiting();
      if (agent.for_nobody > FOR_NOBODY) return failed(why);
      if (agent.state === "running") return waiting(seen.hungUp ? why : "");
      return agent.state === "stopped" ? passed(why) : failed(`it went on to its end: ${why}`);
    },
  },
  held: {
    name: "A slow client does not hold up the agent",
    isFor: ({ choice }) => choice.client === "slow",
    judge: ({ agent }) => {
      if (!agent) return waiting();
      if (agent.held_ms >= HELD_MS) return failed(`held up for ${ms(agent.held_ms)}`);
      return agent.state === "running" ? waiting() : passed(`held up for ${ms(agent.held_ms)}`);
    },
  },
};

// Returns the verdicts that this run can give, as {id, name, state, why}; the state is "passed", "failed" or "waiting".
export function judge(facts) {
  return Object.entries(RULES)
    .filter(([, rule]) => rule.isFor(facts))
    .map(([id, rule]) => ({ id, name: rule.name, ...rule.judge(facts) }));
}
