// Shows a lane: what came, the verdicts, the numbers, the waits, and what the agent says.

const SVG = "http://www.w3.org/2000/svg";
// The plot, in its own units.
const WIDTH = 400;
const HEIGHT = 56;
// The wait that fills the height, and the shortest time that fills the width.
const TALLEST_MS = 3000;
const NARROWEST_MS = 5000;

const whole = (number) => number.toLocaleString("en");
const ms = (time) => `${whole(Math.round(time))} ms`;
const NONE = "–";

const AGENT_STATES = {
  running: "working",
  finished: "said everything",
  crashed: "crashed",
  stopped: "stopped early",
};

export class View {
  #root;
  #fields = {};
  #shown = {};
  #path;

  constructor(root, words) {
    this.#root = root;
    for (const field of root.querySelectorAll("[data-field]")) this.#fields[field.dataset.field] = field;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    this.#path = document.createElementNS(SVG, "path");
    svg.append(this.#path);
    this.#fields.plot.append(svg);
    this.#fields.svg = svg;
    this.introduce(words);
  }

  // Says what the answer comes through.
  introduce({ title, way, does }) {
    this.#set("title", title);
    this.#set("way", way);
    this.#set("does", does);
    this.#fields.text.setAttribute("aria-label", `Answer, ${title}`);
  }

  // Writes only what has changed, so that neither a screen reader nor a selection is disturbed.
  #set(name, text) {
    if (this.#shown[name] === text) return;
    this.#shown[name] = text;
    this.#fields[name].textContent = text;
  }

  // `seen` is what the client saw, `verdicts` what follows from it, `agent` the agent's figures of this lane or null.
  show({ seen, verdicts, agent, now }) {
    const text = this.#fields.text;
    const follows = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
    this.#set("text", seen.text.trimStart());
    if (follows) text.scrollTop = text.scrollHeight;
    this.#set("state", `The client ${seen.state}.`);
    this.#verdicts(verdicts);
    this.#numbers(seen);
    this.#plot(seen, now);
    this.#set("raised", raised(seen));
    this.#agent(agent);
  }

  #verdicts(verdicts) {
    const key = JSON.stringify(verdicts);
    if (this.#shown.verdicts === key) return;
    this.#shown.verdicts = key;
    this.#fields.verdicts.replaceChildren(...verdicts.map(item));
  }

  #numbers(seen) {
    const time = (seen.lastWord ?? 0) - (seen.ttft ?? 0);
    const rate = time > 0 ? ((seen.words - 1) / time) * 1000 : null;
    this.#set("ttft", seen.ttft === null ? NONE : ms(seen.ttft));
    this.#set("rate", rate === null ? NONE : rate.toLocaleString("en", { maximumFractionDigits: 1 }));
    this.#set("words", whole(seen.words));
    this.#set("events", whole(seen.events));
    this.#set("gap", seen.longestGap ? ms(seen.longestGap) : NONE);
    this.#set("heartbeats", whole(seen.heartbeats));
  }

  #plot(seen, now) {
    const span = Math.max(NARROWEST_MS, seen.over ? (seen.lastWord ?? 0) : now);
    const bars = seen.marks.map(({ at, gap }) => {
      const x = ((at / span) * (WIDTH - 4) + 2).toFixed(1);
      const high = Math.sqrt(Math.min(1, gap / TALLEST_MS)) * HEIGHT;
      return `M${x} ${HEIGHT}V${(HEIGHT - high).toFixed(1)}`;
    });
    const drawn = bars.join("");
    if (this.#shown.plot !== drawn) this.#path.setAttribute("d", drawn);
    this.#shown.plot = drawn;
    const words = caption(seen);
    if (this.#shown.caption !== words) this.#fields.svg.setAttribute("aria-label", `The wait before each word. ${words}`);
    this.#set("caption", words);
    this.#set("span", `${(span / 1000).toFixed(0)} s`);
  }

  #agent(agent) {
    const run = agent?.run;
    this.#set("active", agent ? whole(agent.active) : NONE);
    this.#set("run", run ? AGENT_STATES[run.state] : NONE);
    this.#set("generated", run ? whole(run.words) : NONE);
    this.#set("nobody", run ? whole(run.for_nobody) : NONE);
    this.#set("held", run ? ms(run.held_ms) : NONE);
    this.#set("total", agent ? `${whole(agent.for_nobody)} of ${whole(agent.words)}` : NONE);
    this.#root.toggleAttribute("data-wastes", Boolean(run?.for_nobody));
  }
}

function caption(seen) {
  if (!seen.marks.length) return "No word yet.";
  const longest = seen.longestGap ? `, longest wait after that ${ms(seen.longestGap)}` : "";
  const most = `${seen.mostWords} ${seen.mostWords === 1 ? "word" : "words"}`;
  return `First word after ${ms(seen.ttft)}${longest}, at most ${most} at a time.`;
}

function raised(seen) {
  if (seen.error) return `error event: ${seen.error.message}`;
  if (seen.raised) return seen.raised;
  if (seen.hungUp) return seen.hungUp === "left" ? "nothing: the client is gone" : "nothing: it has hung up itself";
  return seen.over ? "nothing" : "nothing so far";
}

function item({ id, name, state, why }) {
  const part = (tag, text, kind) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const item = document.createElement("li");
  item.dataset.verdict = id;
  item.dataset.state = state;
  const said = part("div", "");
  said.append(part("span", name, "name"), " ", part("span", why, "why"));
  item.append(part("span", state, "mark"), " ", said);
  return item;
}
