// Opens the demo page in a real browser, and makes each of the task's choices in the way of a user: by the names of the
// controls, with the mouse or with the keyboard alone. Reports what each lane shows at the end of each run.

import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

// Runs inside the page. Keeps what each lane says about its client.
function watch() {
  window.said = { left: [], right: [] };
  for (const lane of ["left", "right"]) {
    const state = document.querySelector(`#${lane} [data-field="state"]`);
    new MutationObserver(() => window.said[lane].push(state.textContent)).observe(state, { childList: true });
  }
}

// Runs inside the page. Reports everything that it shows.
function shown() {
  const lanes = ["left", "right"].map((name) => {
    const lane = document.getElementById(name);
    const fields = [...lane.querySelectorAll("[data-field]")].map((field) => [field.dataset.field, field.textContent]);
    const verdicts = [...lane.querySelectorAll("li")].map((item) => [item.dataset.verdict, item.textContent]);
    const bars = lane.querySelector("path").getAttribute("d")?.split("M").length ?? 1;
    const plot = lane.querySelector("svg").getAttribute("aria-label");
    const facts = { verdicts: Object.fromEntries(verdicts), bars: bars - 1, plot, said: window.said[name] };
    return [name, { ...Object.fromEntries(fields), ...facts }];
  });
  const { run } = document.documentElement.dataset;
  return { run, status: document.getElementById("status").textContent, ...Object.fromEntries(lanes) };
}

// Makes a choice with the keyboard alone: the radio buttons of a group are one stop, and arrows choose among them.
async function chooseByKeys(page, names) {
  await page.evaluate(() => document.activeElement?.blur());
  for (const name of names) {
    await page.keyboard.press("Tab");
    const wanted = page.getByRole("radio", { name, exact: true });
    for (let presses = 0; !(await wanted.isChecked()); presses += 1) {
      if (presses > 10) throw new Error(`no arrow leads to "${name}"`);
      await page.keyboard.press("ArrowDown");
    }
  }
  await page.keyboard.press("Tab");
  const focused = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
  if (focused[0] !== "run" || focused[1] === "none") throw new Error(`the focus is at ${focused}`);
  await page.keyboard.press("Enter");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const asked = [];
  const problems = [];
  page.on("request", (request) => asked.push(`${request.method()} ${request.url()}`));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    // A broken stream is logged by the browser, and wanted here.
    if (message.type() === "error" && !message.text().includes("net::ERR_")) problems.push(message.text());
  });
  await page.goto(task.base);
  await page.evaluate(watch);
  if (task.afterWords) {
    const hasWords = () => document.querySelector('#left [data-field="text"]').textContent !== "";
    await page.waitForFunction(hasWords, null, { timeout: 30_000 });
  }
  for (const names of task.choices) {
    const before = await page.evaluate(() => document.documentElement.dataset.run);
    asked.length = 0;
    if (task.keyboard) {
      await chooseByKeys(page, names);
    } else {
      for (const name of names) await page.getByRole("radio", { name, exact: true }).check();
      await page.getByRole("button", { name: "Run both lanes" }).click();
    }
    const isOver = (before) => {
      const { run, phase } = document.documentElement.dataset;
      return run !== before && phase === "ended";
    };
    await page.waitForFunction(isOver, before, { timeout: 60_000 });
    result.events.push({ ...(await page.evaluate(shown)), asked: [...asked] });
  }
  result.text = problems.join("\n");
} finally {
  await browser.close();
}
report();
