// Looks at the demo page at the end of a run: contrasts in light and dark, and its layout on a wide screen and on a
// phone.

import { chromium } from "playwright-core";
import { report, result, task } from "./task.mjs";

// Runs inside the page. Returns the texts with the lowest contrast to what is behind them, the lowest first.
function contrasts() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([ratio, walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort(([one], [other]) => one - other).slice(0, 3);
}

// Runs inside the page.
function layout() {
  const place = (id) => {
    const { left, top, bottom } = document.getElementById(id).getBoundingClientRect();
    return { left, top, bottom };
  };
  const { scrollWidth, clientWidth } = document.documentElement;
  return { left: place("left"), right: place("right"), isTooWide: scrollWidth > clientWidth };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  await page.goto(`${task.base}/?fault=crash`);
  // From the address, without a press.
  await page.waitForFunction(() => document.documentElement.dataset.phase === "ended", null, { timeout: 30_000 });
  const seen = { chosen: await page.locator("input:checked").evaluateAll((inputs) => inputs.map(({ value }) => value)) };
  for (const colorScheme of ["light", "dark"]) {
    // Without motion no colour is on its way to another one.
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    seen[colorScheme] = await page.evaluate(contrasts);
  }
  seen.wide = await page.evaluate(layout);
  await page.setViewportSize({ width: 360, height: 700 });
  seen.phone = await page.evaluate(layout);
  result.events = [seen];
} finally {
  await browser.close();
}
report();
