// Reads a stream in a real browser, with its EventSource or with @microsoft/fetch-event-source.

import { chromium } from "playwright-core";
import { now, report, result, task } from "./task.mjs";

// Runs inside the page. Calls `leaving` just before the client closes its connection.
async function eventsource({ query, stopAfter }) {
  const seen = { events: [], text: "", error: null };
  const source = new EventSource(`/agent?${new URLSearchParams(query)}`);
  await new Promise((resolve) => {
    const end = () => {
      source.close();
      resolve();
    };
    const take = async (event) => {
      seen.events.push([event.type, event.data, event.lastEventId]);
      if (event.type === "token") seen.text += JSON.parse(event.data).content;
      if (seen.events.length === stopAfter) {
        await window.leaving();
        end();
      } else if (event.type === "done") {
        end();
      }
    };
    for (const name of ["status", "token", "tool_call", "tool_result", "done", "message"]) {
      source.addEventListener(name, take);
    }
    source.addEventListener("error", (event) => {
      seen.error = event.data ?? "connection";
      end();
    });
  });
  if (stopAfter) seen.events.length = stopAfter;
  return seen;
}

async function fetchEventSource({ query, stopAfter }) {
  const seen = { events: [], text: "", error: null };
  const library = await import("/esm/index.js");
  const abort = new AbortController();
  const left = new Promise((resolve) => abort.signal.addEventListener("abort", resolve));
  const reading = library.fetchEventSource(`/agent?${new URLSearchParams(query)}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ stream: true }),
    signal: abort.signal,
    openWhenHidden: true,
    async onmessage(event) {
      seen.events.push([event.event, event.data, event.id]);
      if (event.event === "token") seen.text += JSON.parse(event.data).content;
      if (event.event === "error") seen.error = event.data;
      if (seen.events.length === stopAfter) {
        await window.leaving();
        abort.abort();
      }
    },
    onerror(error) {
      seen.error ??= `connection: ${error.message}`;
      throw error;
    },
  });
  await Promise.race([left, reading.catch(() => {})]);
  if (stopAfter) seen.events.length = stopAfter;
  return seen;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  await page.exposeFunction("leaving", () => {
    result.leftAt = now();
  });
  await page.goto(`${task.base}/page`);
  const run = task.client === "eventsource" ? eventsource : fetchEventSource;
  Object.assign(result, await page.evaluate(run, task), { leftAt: result.leftAt });
  // Keeps the page open until the backend has seen the disconnect, because closing the page would disconnect, too.
  if (result.leftAt !== null) await cancelled();
} finally {
  await browser.close();
}
report();

async function cancelled() {
  const limit = now() + 5;
  while (now() < limit) {
    const runs = await (await fetch(task.query.seen)).json();
    if (runs.some((run) => run.name === task.query.run && run.state === "cancelled")) return;
  }
}
