// Runs a React component that uses useChat in a real browser, with the packages that the task names for it. Follows the steps of the task, and reports every state of
// the page.

import { build } from "esbuild";
import { chromium } from "playwright-core";
import { now, report, result, task } from "./task.mjs";

const entry = `${task.source}
import { createRoot } from "react-dom/client";
createRoot(document.body.appendChild(document.createElement("div"))).render(<Chat />);
`;
const bundle = await build({
  stdin: { contents: entry, loader: "jsx", resolveDir: import.meta.dirname },
  // From where this script is, in every module: the component and useChat share one copy.
  alias: task.packages,
  absWorkingDir: import.meta.dirname,
  bundle: true,
  define: { "process.env": "{}", "process.env.NODE_ENV": '"production"' },
  jsx: "automatic",
  logLevel: "error",
  write: false,
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  await page.setExtraHTTPHeaders({ "x-run": new URLSearchParams(task.query).toString() });
  await page.goto(`${task.base}/page`);
  await page.evaluate(() => {
    window.states = [];
    new MutationObserver(() => {
      const text = document.body.innerText;
      if (window.states.at(-1) !== text) window.states.push(text);
    }).observe(document.body, { characterData: true, childList: true, subtree: true });
  });
  await page.addScriptTag({ content: bundle.outputFiles[0].text });
  for (const step of task.steps) await follow(page, step);
  result.events = await page.evaluate(() => window.states);
  result.text = result.events.at(-1);
  const alert = page.getByRole("alert");
  if (await alert.count()) result.error = await alert.innerText();
} finally {
  await browser.close();
}
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
