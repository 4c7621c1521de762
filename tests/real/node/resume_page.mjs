// Runs a script in a page of a real browser, and reports what it writes to the console, until it writes `over`.

import { build } from "esbuild";
import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

const bundle = await build({
  stdin: { contents: task.source, loader: "js", resolveDir: import.meta.dirname },
  bundle: true,
  format: "esm",
  logLevel: "error",
  write: false,
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  let end;
  const over = new Promise((resolve, reject) => {
    end = resolve;
    page.on("pageerror", reject);
    setTimeout(() => reject(new Error(`not over: ${JSON.stringify(result.events)}`)), 60_000).unref();
  });
  over.catch(() => {});
  page.on("console", (message) => {
    // The browser itself reports lost connections.
    if (message.type() !== "log") return;
    result.events.push(message.text());
    if (message.text() === "over") end();
  });
  await page.goto(`${task.base}/page`);
  await page.addScriptTag({ type: "module", content: bundle.outputFiles[0].text });
  await over;
} finally {
  await browser.close();
}
report();
