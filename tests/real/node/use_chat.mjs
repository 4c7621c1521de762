// Runs a React component that uses useChat in a real browser, with the packages that the task names for it. Follows the
// steps of the task, and reports every state of the page.

import { bundled, inPage } from "./chats.mjs";
import { now, report, result, task } from "./task.mjs";

const script = await bundled();
await inPage(async (page) => {
  await page.setExtraHTTPHeaders({ "x-run": new URLSearchParams(task.query).toString() });
  await page.goto(`${task.base}/page`);
  await page.evaluate(() => {
    window.states = [];
    new MutationObserver(() => {
      const text = document.body.innerText;
      if (window.states.at(-1) !== text) window.states.push(text);
    }).observe(document.body, { characterData: true, childList: true, subtree: true });
  });
  await page.addScriptTag({ content: script });
  for (const step of task.steps) await follow(page, step);
  result.events = await page.evaluate(() => window.states);
  result.text = result.events.at(-1);
});
report();

async function follow(page, { click, open, shows, becomes }) {
  if (click) {
    if (click === "Stop") result.leftAt = now();
    await page.getByRole("button", { name: click }).click({ timeout: 15000 });
  }
  if (open) await fetch(`${task.side}/_open?run=${task.query.run}&n=${open}`, { method: "POST" });
  if (shows) {
    const text = (words) => document.body.innerText.includes(words);
    await page.waitForFunction(text, shows, { timeout: 15000 });
  }
  // Keeps the page open until the backend has seen the disconnect, because closing the page would disconnect, too.
  if (becomes) await state(becomes);
}

async function state(wanted) {
  const limit = now() + 15;
  while (now() < limit) {
    const runs = await (await fetch(`${task.side}/_seen`)).json();
    if (runs.some((run) => run.name === task.query.run && run.state === wanted)) return;
  }
  throw new Error(`the run is never ${wanted}`);
}
