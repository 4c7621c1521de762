// Takes a picture of the demo page at the end of a run whose client has left. Fails if Weir's lane shows fewer words
// than the task demands.

import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

// Runs inside the page. Returns what it shows once a run other than `before` has ended.
function ended(before) {
  const { run, phase } = document.documentElement.dataset;
  const words = Number(document.querySelector('#right [data-field="words"]').textContent) || 0;
  return run !== before && phase === "ended" && { run, words, status: document.getElementById("status").textContent };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({
    viewport: { width: task.width / task.scale, height: 800 },
    deviceScaleFactor: task.scale,
    colorScheme: "light",
  });
  const until = async (before) => {
    const handle = await page.waitForFunction(ended, before, { timeout: 30_000 });
    const shown = await handle.jsonValue();
    if (shown.words < task.words) throw new Error(`the page shows ${shown.words} words: ${shown.status}`);
    return shown;
  };
  await page.goto(`${task.url}?client=leave`);
  // The browser is still starting during the first run, which distorts its gaps. So the picture is of a second one.
  const first = await until(undefined);
  await page.click("#run");
  Object.assign(result, await until(first.run));
  // From the heading to the checks, and a margin.
  const height = await page.evaluate(() => document.querySelector("#right .verdicts").getBoundingClientRect().bottom + scrollY + 12);
  const clip = { x: 0, y: 0, width: task.width / task.scale, height };
  await page.screenshot({ path: task.out, fullPage: true, clip });
} finally {
  await browser.close();
}
report();
