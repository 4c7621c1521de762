// Runs a React component that resumes its chat in a real browser, and reloads the page while the answer comes. Reports
// what the page shows after each step.

import { bundled, inPage } from "./chats.mjs";
import { report, result, task } from "./task.mjs";

const script = await bundled();
await inPage(async (page) => {
  const load = async () => {
    await page.goto(`${task.base}/page`);
    await page.addScriptTag({ content: script });
  };
  await load();
  for (const { click, reload, open, shows, asks } of task.steps) {
    const asked = asks && page.waitForResponse((response) => response.url().endsWith(asks), { timeout: 15000 });
    if (click) await page.getByRole("button", { name: click }).click({ timeout: 15000 });
    if (reload) await load();
    if (open) await fetch(`${task.base}/_open`, { method: "POST" });
    const text = (words) => document.body.innerText.includes(words);
    for (const words of [shows ?? []].flat()) await page.waitForFunction(text, words, { timeout: 15000 });
    const status = asked && (await asked).status();
    result.events.push({ status, text: await page.evaluate(() => document.body.innerText) });
  }
  result.text = result.events.at(-1).text;
});
report();
