// Opens a page in a real browser, and does what comes as lines of JSON on stdin. Answers each line with one: {"value":
// ...} or {"error": "..."}. The browser refuses what the page's policy refuses, and what is refused or fails is in
// `problems`.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const task = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage({
  viewport: { width: task.width, height: task.height },
  colorScheme: task.scheme,
});
const problems = [];
const asked = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error") problems.push(message.text());
});
page.on("request", (request) => asked.push(request.url()));

const verbs = {
  goto: (url) => page.goto(url).then(() => null),
  // The value of an expression, in the page.
  value: (expression) => page.evaluate(expression),
  click: (selector) => page.click(selector, { timeout: 10_000 }),
  fill: ([selector, text]) => page.fill(selector, text, { timeout: 10_000 }),
  select: ([selector, value]) => page.selectOption(selector, value, { timeout: 10_000 }),
  press: (key) => page.keyboard.press(key),
  picture: (path) => page.screenshot({ path, fullPage: true }).then(() => null),
  problems: () => problems,
  asked: () => asked,
};

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, given] = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await verbs[verb](given)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
} finally {
  await browser.close();
}
