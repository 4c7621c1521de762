// Opens a page of another site in a real browser, which tries everything that pages can do to make the browser send
// requests to an address. Prints each request to it, and its status; null if the browser keeps the answer from the
// page, which it does with text that is said to be nothing else (nosniff) where an image or a script was asked for.

import { chromium } from "playwright-core";

const task = JSON.parse(process.argv[2]);

// Runs inside the page.
async function attack(admin) {
  const drain = `${admin}/drain?wait=1ms`;
  const bare = { mode: "no-cors", credentials: "omit", referrerPolicy: "no-referrer" };
  const tried = [
    fetch(drain, bare),
    fetch(drain, { ...bare, headers: { accept: "*/*", "accept-language": "en" } }),
    fetch(drain, { ...bare, headers: { accept: "application/json" } }),
    fetch(`${admin}/drain`, { ...bare, method: "POST", body: "x" }),
    fetch(`${admin}/drain`, { ...bare, method: "POST", headers: { "content-type": "text/plain" } }),
    // With a field of its own, which the browser first asks for.
    fetch(drain, { headers: { "weir-hook": "1" } }),
    fetch(`${admin}/drain`, { method: "POST", headers: { authorization: "Bearer x" } }),
  ];
  // Adds an element, and waits until the browser has loaded it or given it up.
  const show = (name, fields) => {
    const node = Object.assign(document.createElement(name), { referrerPolicy: "no-referrer" }, fields);
    const done = ["load", "error"].map((kind) => new Promise((over) => node.addEventListener(kind, over)));
    tried.push(Promise.race(done));
    document.body.append(node);
    return node;
  };
  for (const name of ["img", "script", "iframe", "audio", "video"]) show(name, { src: drain });
  show("link", { rel: "stylesheet", href: drain });
  show("link", { rel: "prefetch", href: drain });
  show("object", { data: drain });
  navigator.sendBeacon(`${admin}/drain`, "x");
  new EventSource(drain);
  for (const method of ["GET", "POST"]) {
    const form = Object.assign(document.createElement("form"), { method, action: `${admin}/drain`, target: method });
    form.append(Object.assign(document.createElement("input"), { name: "wait", value: "1ms" }));
    document.body.append(form);
    show("iframe", { name: method });
    form.submit();
  }
  await Promise.allSettled(tried);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    // A name whose owner lets it resolve to the listener.
    `--host-resolver-rules=MAP evil.test ${task.address}`,
    // Browsers that do not check whether a page of the internet asks an address at home.
    "--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights,BlockInsecurePrivateNetworkRequests",
  ],
});
const seen = [];
try {
  const page = await browser.newPage();
  const note = (request, status) => {
    const { host, pathname } = new URL(request.url());
    if (host.endsWith(`:${task.port}`)) seen.push([host, request.method(), pathname, request.resourceType(), status]);
  };
  page.context().on("response", (response) => note(response.request(), response.status()));
  page.context().on("requestfailed", (request) => note(request, null));
  await page.goto(task.page);
  await page.evaluate(attack, `http://${task.address}:${task.port}`);
  for (const path of ["/", "/streams", "/config", "/metrics", "/drain?wait=1ms"]) {
    await page.goto(`http://evil.test:${task.port}${path}`);
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
