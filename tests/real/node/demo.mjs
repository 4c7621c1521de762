// Opens the demo page in a real browser, and loses its connection once it shows as many words as the task says. Reports what
// the page says meanwhile, what it asks for, and its text at the end.

import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

// Runs inside the page. Notes each thing that it says about the end, and how many words it shows then. Presses the button at
// so many words, at once: from outside it could come too late.
function watch(most) {
  window.said = [];
  const [end, events] = ["end", "events"].map((id) => document.getElementById(id));
  const words = () => Number(events.textContent) || 0;
  new MutationObserver(() => window.said.push([end.textContent, words()])).observe(end, { childList: true });
  const counting = new MutationObserver(() => {
    if (words() < most) return;
    counting.disconnect();
    document.getElementById("lose").click();
  });
  counting.observe(events, { childList: true });
}

// Runs inside the page. Reports whether its last word is this.
function ends(word) {
  return document.getElementById("end").textContent === word;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const asked = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    asked.push(`${request.method()} ${url.pathname}${url.search}`);
  });
  await page.goto(task.base);
  await page.evaluate(watch, task.words);
  await page.waitForFunction(ends, "finished", { timeout: 30_000 });
  const said = await page.evaluate(() => window.said);
  result.events = [{ said, asked, stream: await page.textContent("#id"), words: Number(await page.textContent("#events")) }];
  result.text = await page.textContent("#text");
} finally {
  await browser.close();
}
report();
