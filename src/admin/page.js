// The page of live streams. It reads /streams as server-sent events, one document every second, and stops a stream when
// asked.
"use strict";

/// At most so many live streams are shown; the search finds the others.
const SHOWN = 200;
/// So many streams are remembered that have ended, as in Weir.
const REMEMBERED = 200;
/// Without a document for so long, the connection counts as lost, in milliseconds.
const STALE_AFTER = 5000;
const SVG = "http://www.w3.org/2000/svg";
/// Ends that are nobody's failure.
const QUIET = new Set(["client_gone", "stopped", "drained"]);

const $ = (id) => document.getElementById(id);
const say = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// What things are called.

const seconds = (ms) => {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
};
const bytes = (count) => {
  if (count === null || count === undefined) return "–";
  if (count < 1024) return `${count} B`;
  if (count < 1 << 20) return `${(count / 1024).toFixed(1)} KiB`;
  if (count < 1 << 30) return `${(count / (1 << 20)).toFixed(1)} MiB`;
  return `${(count / (1 << 30)).toFixed(2)} GiB`;
};
const number = (value) => (value === null || value === undefined ? "–" : String(value));
const clock = (ms) => new Date(ms).toLocaleTimeString();
const plural = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;

// State.

/// What is shown: the last document, and the streams that have ended, last first.
let latest = null;
let past = [];
/// What has come, as { told, past }. It is not shown while the page is paused, whatever is searched for meanwhile.
let received = null;
let heard = 0;
let paused = false;

// Tables: each row is kept, so that the keyboard's focus and a selection survive an update.

class Table {
  constructor(body) {
    this.body = $(body);
    this.labels = [...this.body.closest("table").querySelectorAll("th")].map((cell) =>
      cell.querySelector(".hidden") ? "" : cell.textContent,
    );
    this.heading = this.body.closest("section").querySelector("h2");
    this.rows = new Map();
    // Explicit, because phones show the rows as cards, which would take their meaning away.
    this.body.closest("table").setAttribute("role", "table");
    this.body.setAttribute("role", "rowgroup");
  }

  /// Shows these items. `cells` returns for each an array of [text, class, title].
  show(items, key, cells, finish) {
    // First those that are gone, so that no other row must move: a row that moves loses the focus.
    const kept = new Set(items.map(key));
    let hadFocus = false;
    for (const [id, row] of this.rows) {
      if (!kept.has(id)) {
        hadFocus ||= row.contains(document.activeElement);
        row.remove();
        this.rows.delete(id);
      }
    }
    // Otherwise the keyboard would begin at the top of the page again.
    if (hadFocus) this.heading.focus({ preventScroll: true });
    let place = this.body.firstElementChild;
    for (const item of items) {
      const id = key(item);
      let row = this.rows.get(id);
      const content = cells(item);
      if (!row) {
        row = document.createElement("tr");
        row.setAttribute("role", "row");
        content.forEach((_, at) => {
          const cell = document.createElement("td");
          cell.setAttribute("role", "cell");
          cell.dataset.label = this.labels[at] ?? "";
          row.append(cell);
        });
        this.rows.set(id, row);
        finish?.(row, item);
      }
      content.forEach(([text, kind = "", title = ""], at) => {
        const cell = row.children[at];
        if (text !== null) say(cell, text);
        if (cell.className !== kind) cell.className = kind;
        if (cell.title !== title) cell.title = title;
      });
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place);
    }
  }
}

const live = new Table("rows");
const ended = new Table("past-rows");
const agents = new Table("endpoints");

// What is shown.

const matches = (item, words) => {
  const text = [item.route, item.method, item.path, item.client, item.dialect, item.reply, item.id, item.request_id,
    item.flow, item.state, item.outcome, item.code].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
};
const words = () => $("search").value.toLowerCase().split(/\s+/).filter(Boolean);

const order = () => {
  const key = $("sort").value;
  const sign = $("down").checked ? -1 : 1;
  return (one, other) => {
    const [a, b] = [one[key], other[key]];
    // What has no value is last, either way.
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b) || (one.id < other.id ? -1 : 1);
  };
};

const flowText = (stream) => (stream.flow_ms === null ? stream.flow : `${stream.flow} ${seconds(stream.flow_ms)}`);
const dialectText = (item) => (item.reply ? `${item.dialect} → ${item.reply}` : item.dialect);
const idText = (item) => `${item.id ?? ""} ${item.request_id}`.trim();

function showLive() {
  const wanted = words();
  const flow = $("flow").value;
  const found = latest.streams.filter((stream) => (!flow || stream.flow === flow) && matches(stream, wanted));
  found.sort(order());
  live.show(
    found.slice(0, SHOWN),
    (stream) => stream.id,
    (stream) => [
      [flowText(stream), stream.flow],
      [stream.route],
      [`${stream.method} ${stream.path}`, "path", `${stream.method} ${stream.path}`],
      [stream.client ?? "–"],
      [dialectText(stream)],
      [seconds(stream.age_ms), "n"],
      [seconds(stream.ttft_ms), "n"],
      [number(stream.tokens_per_s), "n", stream.tokens === null ? "" : plural(stream.tokens, "token")],
      [stream.queue_events ? `${stream.queue_events} / ${bytes(stream.queue_bytes)}` : "0", "n",
        stream.dropped ? `${stream.dropped} dropped` : ""],
      [number(stream.viewers), "n"],
      [idText(stream), "id", idText(stream)],
      [null, ""],
    ],
    (row, stream) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "stop";
      button.textContent = "Stop";
      button.setAttribute("aria-label", `Stop stream ${stream.id} on route ${stream.route}`);
      button.addEventListener("click", () => askToStop(stream));
      row.lastElementChild.append(button);
    },
  );
  const rest = found.length - SHOWN;
  say($("count"), found.length === latest.active ? "" : `${found.length.toLocaleString()} of ${latest.active.toLocaleString()}`);
  say($("more"), rest > 0
    ? `and ${rest.toLocaleString()} more; filter to see them`
    : found.length ? "" : latest.active ? "No live stream matches." : "No stream is live.");
}

function showPast() {
  const wanted = words();
  const found = past.filter((stream) => matches(stream, wanted));
  ended.show(
    found,
    (stream) => stream.number,
    (stream) => [
      [stream.code === stream.outcome ? stream.outcome : `${stream.outcome}: ${stream.code}`,
        stream.outcome === "finished" || QUIET.has(stream.outcome) ? stream.outcome : "failed"],
      [number(stream.status), "n"],
      [stream.route],
      [`${stream.method} ${stream.path}`, "path", `${stream.method} ${stream.path}`],
      [stream.client ?? "–"],
      [dialectText(stream)],
      [clock(stream.ended_at_ms), "n"],
      [seconds(stream.duration_ms), "n"],
      [seconds(stream.ttft_ms), "n"],
      [number(stream.tokens), "n"],
      [number(stream.tokens_per_s), "n"],
      [idText(stream), "id", idText(stream)],
    ],
  );
  say($("past-count"), found.length === past.length ? "" : `${found.length} of ${past.length}`);
  say($("past-more"), found.length
    ? latest.ended_total > past.length ? `The last ${past.length} of ${latest.ended_total.toLocaleString()} are here.` : ""
    : past.length ? "No ended stream matches." : "None yet.");
}

function showAgents() {
  const all = latest.upstreams.flatMap(({ name, endpoints }) => endpoints.map((endpoint) => ({ name, ...endpoint })));
  agents.show(
    all,
    (one) => `${one.name} ${one.url}`,
    (one) => [
      [one.state === "ejected" ? `ejected, ${seconds(one.ejected_ms)} left` : one.state, one.state],
      [one.name],
      [one.url, "path", one.url],
      [number(one.active), "n"],
      [number(one.failures), "n"],
    ],
  );
}

function showFacts() {
  const { memory, config } = latest;
  say($("version"), latest.version);
  say($("active"), latest.active.toLocaleString());
  say($("total"), latest.ended_total.toLocaleString());
  say($("uptime"), seconds(latest.uptime_ms));
  const limit = memory.limit_bytes === null ? "" : ` (limit: ${bytes(memory.used_bytes)} of ${bytes(memory.limit_bytes)})`;
  say($("memory"), bytes(memory.resident_bytes) + limit + (memory.shedding ? ", refusing requests" : ""));
  $("memory").className = memory.shedding ? "stalled" : "";
  const reload = config.last_reload;
  const bad = reload !== null && !reload.ok;
  say($("config"), `no. ${config.generation} since ${clock(config.since_ms)}${bad ? `, reload rejected ${clock(reload.at_ms)}` : ""}`);
  $("config").className = bad ? "failed" : "";
  $("problem").hidden = !bad;
  say($("problem"), bad ? reload.problem ?? "" : "");
  say($("drain"), latest.refusing ? "draining: new requests are refused" : latest.draining ? "draining" : "serving");
  $("drain").className = latest.draining ? "silent" : "";
  say($("features"), `features: ${latest.features.join(", ") || "none"}`);
  document.title = `${latest.active} live: Weir`;
}

// Charts.

function shape(name, attributes) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  return one;
}

/// Returns the runs of neighbouring periods that have a value, as [period, value].
function runs(values) {
  const found = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at > 0 && values[at - 1] !== null) found.at(-1).push([at, value]);
    else found.push([[at, value]]);
  });
  return found;
}

function showTtft() {
  const { ttft_p50_ms: half, ttft_p95_ms: most } = latest.recent;
  const top = Math.max(1, ...half.filter((ms) => ms !== null), ...most.filter((ms) => ms !== null));
  const step = 600 / half.length;
  const lines = [[most, "p95"], [half, "p50"]].flatMap(([values, kind]) =>
    runs(values).map((run) => {
      // A single period is a dot: a line of no length with round ends.
      const all = run.length > 1 ? run : [run[0], run[0]];
      const points = all.map(([at, ms]) => `${((at + 0.5) * step).toFixed(1)},${(86 - (ms / top) * 80).toFixed(1)}`);
      return shape("polyline", { points: points.join(" "), class: run.length > 1 ? kind : `${kind} dot` });
    }),
  );
  $("ttft").replaceChildren(...lines);
  const at = half.findLastIndex((ms) => ms !== null);
  const now = at < 0 ? "" : `${seconds(half[at])} / ${seconds(most[at])}`;
  say($("ttft-now"), now);
  $("ttft").setAttribute("aria-label", now
    ? `Time to first token: median ${seconds(half[at])}, 95th percentile ${seconds(most[at])}; highest in 15 minutes ${seconds(top)}`
    : "Time to first token: no stream in the last 15 minutes");
}

function showEnds() {
  const { ended: counts, ends } = latest.recent;
  const top = Math.max(1, ...counts);
  const step = 600 / counts.length;
  const kinds = { good: [], left: [], bad: [] };
  for (const [outcome, series] of Object.entries(ends)) {
    kinds[outcome === "finished" ? "good" : QUIET.has(outcome) ? "left" : "bad"].push(series);
  }
  const bars = [];
  counts.forEach((_, at) => {
    let y = 88;
    for (const [kind, all] of Object.entries(kinds)) {
      const count = all.reduce((sum, series) => sum + series[at], 0);
      if (!count) continue;
      const height = Math.max(2, (count / top) * 84);
      y -= height;
      bars.push(shape("rect", { x: (at * step + 1).toFixed(1), y: y.toFixed(1), width: (step - 2).toFixed(1), height: height.toFixed(1), class: kind }));
    }
  });
  $("ends").replaceChildren(...bars);
  const sums = Object.entries(ends).map(([outcome, series]) => [outcome, series.reduce((sum, one) => sum + one, 0)]);
  sums.sort(([, a], [, b]) => b - a);
  const text = sums.map(([outcome, count]) => `${outcome} ${count.toLocaleString()}`).join(", ") || "none";
  say($("reasons"), text);
  $("ends").setAttribute("aria-label", `Streams ended in the last 15 minutes: ${text}`);
}

function show() {
  if (!latest) return;
  showFacts();
  showTtft();
  showEnds();
  showLive();
  showPast();
  showAgents();
}

function showReceived() {
  if (received) ({ told: latest, past } = received);
  show();
}

// Stopping a stream.

let chosen = null;

function askToStop(stream) {
  chosen = stream;
  say($("stop-what"), `${stream.method} ${stream.path} on route ${stream.route}, stream ${stream.id}`);
  say($("stop-said"), "");
  $("stop").showModal();
  $("stop-no").focus();
}

$("stop-no").addEventListener("click", () => $("stop").close());
$("stop").addEventListener("close", () => {
  // The row of a stream that ended meanwhile is gone.
  if (document.activeElement === document.body) $("live").focus({ preventScroll: true });
});
$("stop-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value;
  const headers = { "Weir-Hook": "stop", Accept: "*/*" };
  if (token) headers.Authorization = `Bearer ${token}`;
  $("stop-yes").disabled = true;
  try {
    const response = await fetch(`streams/${chosen.id}`, { method: "DELETE", headers, credentials: "omit" });
    const text = (await response.text()).trim();
    // 404: it ended by itself meanwhile.
    if (response.ok || response.status === 404) $("stop").close();
    if (response.status === 401) {
      $("token-label").hidden = false;
      $("token").focus();
      say($("stop-said"), token ? "This token is not the one of admin.token." : "This Weir asks for the token of admin.token.");
    } else if (!response.ok && response.status !== 404) {
      say($("stop-said"), `${response.status}: ${text}`);
    }
  } catch (error) {
    say($("stop-said"), `Weir could not be reached: ${error.message}`);
  } finally {
    $("stop-yes").disabled = false;
  }
});

// The connection. EventSource connects again by itself, except after an answer that is no stream of events.

let source = null;

function connect() {
  source?.close();
  source = new EventSource("streams");
  source.onmessage = (message) => {
    const told = JSON.parse(message.data);
    heard = performance.now();
    // A Weir that has started again counts from the beginning.
    const last = received?.told;
    const isNew = !last || told.ended_total < last.ended_total || told.uptime_ms < last.uptime_ms;
    const before = isNew ? [] : received.past;
    const known = new Set(before.map((stream) => stream.number));
    const fresh = told.ended.filter((stream) => !known.has(stream.number));
    received = { told, past: [...fresh, ...before].slice(0, REMEMBERED) };
    tell(paused ? "Paused" : "Connected");
    if (!paused) showReceived();
  };
  source.onerror = () => tell("No connection to Weir, trying again …", true);
}

function tell(text, lost = false) {
  say($("link"), text);
  $("link").className = lost ? "lost" : "";
}

setInterval(() => {
  const since = performance.now() - heard;
  if (source.readyState === EventSource.CLOSED || since > 2 * STALE_AFTER) {
    heard = performance.now();
    connect();
  }
  if (since > STALE_AFTER) tell("No connection to Weir, trying again …", true);
}, 1000);

for (const id of ["search", "flow", "sort", "down"]) $(id).addEventListener("input", show);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  tell(paused ? "Paused" : "Connected");
  if (!paused) showReceived();
});

heard = performance.now();
connect();
