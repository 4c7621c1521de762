// What an SDK sees that is given `resumingFetch`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { resumingFetch } from "weir-client";
import { cut, events, FAST, ID, open, over, serve, status, whole } from "./server.js";

test("the body goes on over cuts, with whole events only", async (t) => {
  const { origin, requests } = await serve(
    t,
    cut("data: 1\n\n:\n", "data: 2\n", "\ndata: th"),
    cut("event: ping\n\n", "id: x\ndata: 3\n\n"),
    whole("data: [DONE]\n\n"),
  );
  const resuming = resumingFetch(fetch, FAST);
  const init = { method: "POST", headers: { authorization: "Bearer k" }, body: "{}" };
  const response = await resuming(`${origin}/v1/chat/completions`, init);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("weir-stream-id"), ID);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(await response.text(), "data: 1\n\n:\ndata: 2\n\nid: x\ndata: 3\n\ndata: [DONE]\n\n");
  assert.deepEqual(
    requests.map(({ method, url }) => `${method} ${url}`),
    ["POST /v1/chat/completions", `GET /.weir/streams/${ID}?after=2`, `GET /.weir/streams/${ID}`],
  );
  assert.ok(requests.every(({ headers }) => headers.authorization === "Bearer k"));
  assert.equal(requests[2].headers["last-event-id"], "x");
});

test("204 after a cut ends the body", async (t) => {
  const { origin } = await serve(t, cut("data: 1\n\n"), over);
  const response = await resumingFetch(fetch, FAST)(new URL(origin));
  assert.equal(await response.text(), "data: 1\n\n");
});

test("what cannot go on is an error of the body", async (t) => {
  const { origin } = await serve(t, cut("data: 1\n\n"), status(410, { body: '{"code":"resume_evicted","first":4}' }));
  const response = await resumingFetch(fetch, FAST)(origin);
  await assert.rejects(response.text(), { status: 410, code: "resume_evicted" });
});

test("a Request is taken as well", async (t) => {
  const { origin, requests } = await serve(t, cut("data: 1\n\n"), whole("data: 2\n\n"));
  const request = new Request(`${origin}/agent`, { method: "POST", headers: { "x-api-key": "k" }, body: "hello" });
  const response = await resumingFetch(fetch, FAST)(request);
  assert.equal(await response.text(), "data: 1\n\ndata: 2\n\n");
  assert.deepEqual([requests[0].method, requests[0].body], ["POST", "hello"]);
  assert.deepEqual([requests[1].method, requests[1].headers["x-api-key"]], ["GET", "k"]);
});

test("other responses pass as they are", async (t) => {
  const json = events('{"a":1}', { head: { "content-type": "application/json" } });
  const { origin } = await serve(t, json, status(503, { body: "busy" }), (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).end("data: 1\n\n: without an id\n\n");
  });
  const resuming = resumingFetch();
  assert.deepEqual(await (await resuming(origin)).json(), { a: 1 });
  const busy = await resuming(origin);
  assert.deepEqual([busy.status, await busy.text()], [503, "busy"]);
  assert.equal(await (await resuming(origin)).text(), "data: 1\n\n: without an id\n\n");
});

test("cancelling the body closes the connection, also in a silence", async (t) => {
  let closed;
  const left = new Promise((resolve) => (closed = resolve));
  const { origin, requests } = await serve(t, async (response) => {
    response.on("close", closed);
    await open("data: 1\n\n")(response);
  });
  const response = await resumingFetch(fetch, FAST)(origin);
  const reader = response.body.getReader();
  const { value } = await reader.read();
  assert.equal(new TextDecoder().decode(value), "data: 1\n\n");
  await reader.cancel();
  await left;
  assert.equal(requests.length, 1);
});

test("the caller's signal is kept", async (t) => {
  const { origin, requests } = await serve(t, open("data: 1\n\n"));
  const controller = new AbortController();
  const response = await resumingFetch(fetch, FAST)(origin, { signal: controller.signal });
  const reader = response.body.getReader();
  await reader.read();
  controller.abort();
  await assert.rejects(reader.read(), { name: "AbortError" });
  assert.equal(requests.length, 1);
});
