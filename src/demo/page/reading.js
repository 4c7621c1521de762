// One answer as its client sees it: asks, reads, measures, and does what the user chose for the client.

import { Parser } from "./sse.js";

const PATH = "/v1/chat/completions";
const RESUMABLE = "/resumable";
// When the client leaves, loses its connection or stops.
const ACTS_AFTER_MS = 2000;
// What it does then, in words.
export const ACTS = { leave: "leave", lose: "lose its connection", stop: "stop" };
// How long a client that lost its connection is away.
const AWAY_MS = 1500;
// A client that reads slowly takes so much.
const SLOW_BYTES_PER_MS = 500;
// Waits that the plot shows. Beyond that, neighbours become one.
const MAX_MARKS = 400;
// The most text of an answer that is kept to be shown.
const MAX_TEXT = 4000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Reading {
  #abort = new AbortController();
  #lost = false;

  // `lane` is "left" or "right", `base` what stands before the paths, `run` the name under which the agent knows the
  // run, and `choice` says what the agent (fault) and the client do.
  constructor({ lane, base, run, choice }) {
    Object.assign(this, { lane, base, run, choice });
    this.seen = {
      began: performance.now(),
      // What the user is told about the connection.
      state: "asks",
      over: false,
      overAt: Infinity,
      answered: false,
      // The id of the stream, if Weir gave it one.
      stream: null,
      seq: 0,
      text: "",
      words: 0,
      events: 0,
      heartbeats: 0,
      ttft: null,
      lastWord: null,
      longestGap: 0,
      mostWords: 0,
      marks: [],
      // Reads that began or ended within a character.
      torn: 0,
      leaked: false,
      // The end mark of the answer came.
      done: false,
      // The error event that came: {code, message}.
      error: null,
      // What the client's library raised.
      raised: null,
      // The client did what the user chose for it: it left, lost its connection or stopped.
      acted: false,
      // The client has hung up on purpose: "left" or "stopped".
      hungUp: null,
      // It came back after this event.
      resumedAfter: null,
    };
  }

  // Asks, and reads to the end.
  async follow() {
    const { seen, choice } = this;
    const timer = ACTS[choice.client] ? setTimeout(() => this.#act(), ACTS_AFTER_MS) : undefined;
    try {
      await this.#read(await this.#ask());
    } catch (error) {
      await this.#broke(error);
    } finally {
      clearTimeout(timer);
      seen.over = true;
      seen.overAt = performance.now();
    }
  }

  // Ends the reading because another run begins.
  drop() {
    if (this.seen.over) return;
    this.seen.hungUp = "left";
    this.#nobodyListens();
    this.#abort.abort();
  }

  #ask() {
    const { fault, client } = this.choice;
    const query = new URLSearchParams({ run: this.run, lane: this.lane, fault });
    const path = (client === "lose" ? RESUMABLE : "") + PATH;
    return fetch(`${this.base}${path}?${query}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "demo", stream: true, messages: [{ role: "user", content: "What is a weir?" }] }),
      signal: this.#abort.signal,
    });
  }

  #act() {
    const { seen, choice } = this;
    if (seen.over) return;
    seen.acted = true;
    if (choice.client === "lose") {
      this.#lost = true;
      this.#abort.abort();
    } else if (choice.client === "stop" && seen.stream) {
      this.#nobodyListens();
      seen.state = "has asked Weir to stop";
      fetch(`/.weir/streams/${seen.stream}`, { method: "DELETE" });
    } else {
      seen.hungUp = choice.client === "stop" ? "stopped" : "left";
      this.#nobodyListens();
      this.#abort.abort();
    }
  }

  // Tells the agent that its words are for nobody from now on. This stops nothing: it only lets the agent count them.
  #nobodyListens() {
    const query = new URLSearchParams({ run: this.run, lane: this.lane });
    fetch("/demo/left?" + query, { method: "POST", keepalive: true }).catch(() => {});
  }

  async #broke(error) {
    const { seen } = this;
    if (seen.hungUp) {
      seen.state = seen.hungUp === "left" ? "has left" : "has hung up: there is no other way to stop here";
      return;
    }
    if (!this.#lost) {
      seen.raised = String(error);
      seen.state = "was cut off";
      return;
    }
    this.#lost = false;
    if (!seen.stream) {
      this.#nobodyListens();
      seen.raised = "connection lost, and nothing to come back to: asking again would start a second run";
      seen.state = "has lost its connection";
      return;
    }
    seen.state = `lost its connection after event ${seen.seq}, and comes back`;
    await pause(AWAY_MS);
    try {
      this.#abort = new AbortController();
      const path = `/.weir/streams/${seen.stream}?after=${seen.seq}`;
      seen.resumedAfter = seen.seq;
      await this.#read(await fetch(path, { signal: this.#abort.signal }));
    } catch (again) {
      await this.#broke(again);
    }
  }

  async #read(response) {
    const { seen, choice } = this;
    if (!response.ok) throw new Error(`HTTP ${response.status}: ${(await response.text()).slice(0, 200)}`);
    seen.answered = true;
    seen.stream = response.headers.get("weir-stream-id") ?? seen.stream;
    seen.state = seen.resumedAfter === null ? "reads" : `came back after event ${seen.resumedAfter}, and reads`;
    const parser = new Parser();
    const heartbeats = seen.heartbeats;
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      this.#take(value, parser);
      seen.heartbeats = heartbeats + parser.comments;
      if (choice.client === "slow") await pause(value.length / SLOW_BYTES_PER_MS);
    }
    if (seen.done) seen.state = seen.acted || !ACTS[choice.client] ? "has everything" : `had everything before it could ${ACTS[choice.client]}`;
    else if (seen.error) seen.state = "was told why it ended";
    else {
      seen.raised = "nothing: the answer just ended, without its end mark";
      seen.state = "cannot know whether this was all";
    }
  }

  #take(bytes, parser) {
    const { seen } = this;
    const now = performance.now() - seen.began;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      seen.torn += 1;
    }
    let words = 0;
    for (const { id, data } of parser.push(bytes)) {
      seen.events += 1;
      if (id) seen.seq = Number(id.split(".")[1]) || seen.seq;
      if (data === "[DONE]") seen.done = true;
      else words += this.#said(JSON.parse(data));
    }
    if (words === 0) return;
    const gap = now - (seen.lastWord ?? 0);
    if (seen.ttft === null) seen.ttft = now;
    else seen.longestGap = Math.max(seen.longestGap, gap);
    seen.lastWord = now;
    seen.words += words;
    seen.mostWords = Math.max(seen.mostWords, words);
    seen.marks.push({ at: now, gap });
    if (seen.marks.length > MAX_MARKS) seen.marks = halved(seen.marks);
  }

  // Returns how many words an event of the agent brings.
  #said(chunk) {
    const { seen } = this;
    if (chunk.error) seen.error = { code: chunk.error.code ?? "error", message: chunk.error.message };
    const text = chunk.choices?.[0]?.delta?.content ?? "";
    seen.text += text;
    seen.leaked ||= seen.text.includes("<think>");
    if (seen.text.length > 2 * MAX_TEXT) seen.text = "… " + seen.text.slice(-MAX_TEXT);
    return text.match(/\S+/g)?.length ?? 0;
  }
}

function halved(marks) {
  const kept = [];
  for (let index = 0; index < marks.length; index += 2) {
    const [one, other] = [marks[index], marks[index + 1] ?? marks[index]];
    kept.push({ at: other.at, gap: Math.max(one.gap, other.gap) });
  }
  return kept;
}
