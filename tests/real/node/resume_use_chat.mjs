// Runs a React component that resumes its chat in a real browser, and reloads the page while the answer comes. Reports
// what the page shows after each step.

import { build } from "esbuild";
import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

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
  const load = async () => {
    await page.goto(`${task.base}/page`);
    await page.addScriptTag({ content: bundle.outputFiles[0].text });
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
  const alert = page.getByRole("alert");
  if (await alert.count()) result.error = await alert.innerText();
} finally {
  await browser.close();
}
report();
