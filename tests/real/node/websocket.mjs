// Talks over a WebSocket with the `ws` package or in Chromium, in the steps of the task, and prints what was seen.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { WebSocket } from "ws";
import { task } from "./task.mjs";

// Runs in Node or inside a page, so it uses nothing from outside. `ws` has the interface of browsers.
async function talk({ url, protocols, steps, options }, Socket = globalThis.WebSocket) {
  const seen = { opened: false, protocol: "", deflate: false, echoed: [], messages: [], code: null, reason: "" };
  const socket = options ? new Socket(url, protocols, options) : new Socket(url, protocols);
  socket.binaryType = "arraybuffer";
  const arrived = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    arrived.push(data);
    wake();
  };
  socket.onerror = () => {};
  const closed = new Promise((resolve) => {
    socket.onclose = ({ code, reason }) => {
      Object.assign(seen, { code, reason });
      resolve();
      wake();
    };
  });
  const opened = new Promise((resolve) => {
    socket.onopen = resolve;
  });
  await Promise.race([opened, closed]);
  if (seen.code !== null) return seen;
  Object.assign(seen, { opened: true, protocol: socket.protocol });
  seen.deflate = socket.extensions.includes("permessage-deflate");

  // Returns the next message, or null if the connection ends without one.
  const next = async () => {
    while (arrived.length === 0 && seen.code === null) await new Promise((resolve) => (wake = resolve));
    return arrived.shift() ?? null;
  };
  const same = (one, other) => {
    if (typeof one === "string" || typeof other === "string" || !other) return one === other;
    const [left, right] = [one, other].map((part) => new Uint8Array(part));
    return left.length === right.length && left.every((byte, at) => byte === right[at]);
  };
  const random = (size) => {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    return bytes;
  };
  const echo = async (message) => {
    socket.send(message);
    seen.echoed.push(same(message, await next()));
  };
  for (const [what, value, reason] of steps) {
    if (what === "text") await echo(value);
    if (what === "letters") await echo("abcdefgh".repeat(value / 8));
    if (what === "binary") await echo(random(value));
    if (what === "fragments") {
      value.forEach((part, at) => socket.send(part, { fin: at === value.length - 1 }));
      seen.echoed.push(same(value.join(""), await next()));
    }
    if (what === "say") socket.send(value);
    if (what === "take") for (let left = value; left > 0; left--) seen.messages.push(await next());
    if (what === "close") socket.close(value, reason);
    if (what === "close" || what === "closed") await closed;
  }
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

const options = task.ca ? { ca: readFileSync(task.ca) } : {};
const seen = task.client === "chromium" ? await inPage() : await talk({ ...task, options }, WebSocket);
console.log(JSON.stringify(seen));
process.exit();
