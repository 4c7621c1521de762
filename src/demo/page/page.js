// The page: starts both lanes together, asks the agent for its figures, and says how it ended.

import { ACTS, Reading } from "./reading.js";
import { judge } from "./verdicts.js";
import { View } from "./view.js";

const SHOW_EVERY_MS = 100;
const ASK_EVERY_MS = 400;

const root = document.documentElement;
const form = document.getElementById("choices");
const status = document.getElementById("status");
const { buffering, admin } = root.dataset;

const LANES = [
  {
    lane: "left",
    name: "Buffering proxy",
    base: buffering,
    title: "Through a buffering proxy",
    way: "agent → buffering proxy → you",
    does: "This proxy holds what it gets until it has 4 KiB or 2 s have passed, cuts an answer after 4 s of silence, and reads on when you have left.",
  },
  {
    lane: "right",
    name: "Weir",
    base: "",
    title: "Through Weir",
    way: "agent → Weir → you",
    does: "Weir passes each word on when it is complete, keeps silent answers alive, says why one broke, and stops the agent when nobody listens.",
  },
].map((facts) => ({ ...facts, view: new View(lane(facts.lane), facts), reading: null }));
// What the right lane says of itself if the page was opened elsewhere.
const NOT_WEIR = {
  name: "Right lane, not Weir",
  title: "Not through Weir",
  way: "agent → … → you",
  does: "This page was not opened at Weir's address, so these answers do not come through Weir. The terminal of the demo names its address.",
};

// What the left lane says if the browser does not get through to its proxy.
const NOT_REACHED = `Your browser cannot reach the buffering proxy at ${buffering}, so this lane compares nothing. The flag --buffering of the demo says where that proxy listens.`;

let run = null;
let figures = {};
// When the agent was asked for the figures.
let askedAt = 0;
let asking = false;

function lane(id) {
  const made = document.getElementById("lane").content.firstElementChild.cloneNode(true);
  made.id = id;
  made.querySelector("h2").id = `${id}-title`;
  made.setAttribute("aria-labelledby", `${id}-title`);
  document.getElementById("lanes").append(made);
  return made;
}

function chosen() {
  const data = new FormData(form);
  return { fault: data.get("fault"), client: data.get("client") };
}

// Only a long answer fills what lies between an agent and a slow client.
function effective({ fault, client }) {
  return { fault: client === "slow" && fault === "none" ? "flood" : fault, client };
}

function explain() {
  const { fault, client } = effective(chosen());
  const says = (value) => form.querySelector(`[value="${value}"]`).dataset.says;
  const isOver = fault === "flood" && ACTS[client];
  const then = isOver ? `It has sent them before the client can ${ACTS[client]}.` : says(client);
  document.getElementById("explains").textContent = `${says(fault)} ${then}`.trim();
}

function name() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function start() {
  for (const { reading } of LANES) reading?.drop();
  const choice = effective(chosen());
  run = { name: name(), choice, over: false };
  [figures, askedAt] = [{}, 0];
  root.dataset.run = run.name;
  root.dataset.phase = "running";
  status.textContent = "Both lanes are running.";
  for (const facts of LANES) {
    facts.view.introduce(facts);
    facts.reading = new Reading({ lane: facts.lane, base: facts.base, run: run.name, choice });
    facts.reading.follow();
  }
  show();
}

function facts({ lane, reading }) {
  const agent = figures[lane]?.run ?? null;
  return { lane, choice: run.choice, seen: reading.seen, agent, now: performance.now() - reading.seen.began };
}

function show() {
  if (!run || run.over) return;
  const verdicts = LANES.map((lane) => {
    const all = facts(lane);
    const verdicts = judge(all);
    if (lane.lane === "right" && all.seen.answered && !all.seen.stream) {
      Object.assign(lane, NOT_WEIR);
      lane.view.introduce(lane);
    }
    if (isNotReached(lane)) lane.view.introduce({ ...lane, does: NOT_REACHED });
    lane.view.show({ ...all, verdicts, agent: figures[lane.lane] ?? null });
    return verdicts;
  });
  const isOver = LANES.every(({ lane, reading }) => reading.seen.over && settled(figures[lane]?.run, reading));
  if (isOver) end(verdicts);
}

// Whether the browser could not even connect to the buffering proxy.
function isNotReached({ lane, reading: { seen } }) {
  return lane === "left" && !seen.answered && !seen.acted && Boolean(seen.raised?.startsWith("TypeError"));
}

// Whether the agent has said the last about a run. It says nothing about a run that did not reach it.
function settled(agent, { seen }) {
  return agent ? agent.state !== "running" : askedAt > seen.overAt;
}

function end(verdicts) {
  run.over = true;
  root.dataset.phase = "ended";
  const said = LANES.map((lane, index) => {
    const { name } = lane;
    if (isNotReached(lane)) return `${name}: your browser cannot reach it.`;
    const bad = verdicts[index].filter(({ state }) => state !== "passed").length;
    const of = verdicts[index].length;
    return bad ? `${name}: ${bad} of ${of} checks failed.` : `${name}: all ${of} checks passed.`;
  });
  status.textContent = said.join(" ");
}

async function ask() {
  if (!run || run.over || asking) return;
  asking = true;
  const { name } = run;
  const began = performance.now();
  try {
    const answer = await fetch("/demo/stats?run=" + name, { cache: "no-store" });
    const said = await answer.json();
    if (name === run.name) [figures, askedAt] = [said, began];
  } catch {
    status.textContent = "The agent does not say how it is. Does the demo still run?";
  } finally {
    asking = false;
  }
}

// The address may say what to show: ?fault=crash&client=leave
for (const [name, value] of new URLSearchParams(location.search)) {
  const input = [...form.querySelectorAll("input")].find((input) => input.name === name && input.value === value);
  if (input) input.checked = true;
}
if (admin) {
  document.getElementById("admin").href = admin;
  document.getElementById("more").hidden = false;
}
form.addEventListener("change", explain);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
setInterval(show, SHOW_EVERY_MS);
setInterval(ask, ASK_EVERY_MS);
explain();
start();
