// Speaks with a bridge, with the `ws` package or in Chromium: sends the messages of the task one by one, each once the
// run before has ended, and prints all that it got.

import { chromium } from "playwright-core";
import { WebSocket } from "ws";
import { task } from "./task.mjs";

// Runs in Node or inside a page, so it uses nothing from outside. `ws` has the interface of browsers.
async function talk({ url, protocols, messages }, Socket = globalThis.WebSocket) {
  const seen = { opened: false, protocol: "", events: [], code: null, reason: "" };
  const socket = new Socket(url, protocols);
  const left = [...messages];
  await new Promise((resolve) => {
    const next = () => (left.length > 0 ? socket.send(JSON.stringify(left.shift())) : socket.close(1000, "done"));
    socket.onopen = () => {
      Object.assign(seen, { opened: true, protocol: socket.protocol });
      next();
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      seen.events.push(event);
      if (event.seq) socket.send(JSON.stringify({ type: "ack", stream: event.stream, seq: event.seq }));
      const ends = (event.type === "finish" && event.scope === "run") || event.type === "error" || event.type === "pong";
      if (ends) next();
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      Object.assign(seen, { code, reason });
      resolve();
    };
  });
  return seen;
}

async function inPage() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // The certificates of the tests are unknown to the browser.
    args: ["--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"],
  });
  try {
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    await page.goto(task.page);
    return await page.evaluate(talk, task);
  } finally {
    await browser.close();
  }
}

console.log(JSON.stringify(task.client === "chromium" ? await inPage() : await talk(task, WebSocket)));
process.exit();
