// Takes a picture of the demo page while its stream runs. Fails if the stream brings fewer words than the task demands.

import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

// Runs inside the page. Returns its counts once the stream has ended or, unless `ended`, once it shows `least` words.
function shown({ least, ended }) {
  const words = Number(document.getElementById("events").textContent) || 0;
  const end = document.getElementById("end").textContent;
  return (end !== "–" || (!ended && words >= least)) && { words, end };
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
    viewport: { width: task.width / task.scale, height: 300 },
    deviceScaleFactor: task.scale,
    colorScheme: "light",
  });
  const until = async (ended) => {
    const handle = await page.waitForFunction(shown, { least: task.words, ended }, { timeout: 30_000 });
    const { words, end } = await handle.jsonValue();
    if (words < task.words) throw new Error(`the page shows ${words} words, end: ${end}`);
    return words;
  };
  await page.goto(task.url);
  // The browser is still starting during the first stream, which distorts its gaps. So the picture is of a second one.
  await until(true);
  await page.click("#go");
  result.words = await until(false);
  await page.screenshot({ path: task.out, fullPage: true });
} finally {
  await browser.close();
}
report();
