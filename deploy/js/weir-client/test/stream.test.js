// What `stream` and `resume` read, and how they go on after a cut.

import assert from "node:assert/strict";
import { test } from "node:test";

import { resume, stream } from "weir-client";
import { all, cut, events, FAST, ID, open, over, serve, status, whole } from "./server.js";

const words = (events) => events.map(({ data }) => data);
const numbers = (events) => events.map(({ seq }) => seq);

test("a whole stream is read with one request", async (t) => {
  const { origin, requests } = await serve(t, whole("data: a\n\n", "event: done\ndata: b\n\n"));
  const run = stream(`${origin}/agent?x=1`, { method: "POST", body: "hello" });
  assert.equal(run.position, undefined);
  assert.deepEqual(await all(run), [
    { id: undefined, event: "message", data: "a", seq: 1 },
    { id: undefined, event: "done", data: "b", seq: 2 },
  ]);
  assert.deepEqual(run.position, { stream: ID, after: 2 });
  assert.deepEqual(requests.map(({ method, url, body }) => [method, url, body]), [["POST", "/agent?x=1", "hello"]]);
});

const GRAMMAR = {
  "CRLF": ["data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]],
  "CR": ["data: a\r\rdata: b\r\r", ["a", "b"]],
  "LF and CRLF": ["data: a\n\r\ndata: b\r\n\n", ["a", "b"]],
  "several lines": ["data: a\ndata:\ndata:  b\n\n", ["a\n\n b"]],
  "no space": ["data:a\n\ndata\n\n", ["a", ""]],
  "a colon in the data": ["data: a: b\n\n", ["a: b"]],
  "a name alone": ["event: end\n\n", [""]],
  "a byte order mark": ["\ufeffdata: a\n\n", ["a"]],
  "comments and empty lines": [": hi\n\n\n:\n:\ndata: a\n\n:\n\n", ["a"]],
  "odd field names": ["constructor: x\n__proto__: y\ndata: a\n\n", ["a"]],
  "characters": ["data: über 🌧 7\u202f°C\n\n", ["über 🌧 7\u202f°C"]],
};

for (const [name, [body, expected]] of Object.entries(GRAMMAR)) {
  test(`grammar: ${name}`, async (t) => {
    const bytes = Buffer.from(body);
    const pieces = [...bytes].map((_, at) => bytes.subarray(at, at + 1));
    const { origin } = await serve(t, whole(bytes), whole(...pieces));
    for (let time = 0; time < 2; time += 1) {
      const found = await all(stream(origin));
      assert.deepEqual(words(found), expected);
      assert.deepEqual(numbers(found), expected.map((_, at) => at + 1));
    }
  });
}

const CUTS = {
  "between events": ["data: 1\n\n", "data: 2\n\n"],
  "in an event": ["data: 1\n\ndata: 2\n\n", "data: thr"],
  "in its end": ["data: 1\n\ndata: 2\n\n", "data: three\n"],
  "in a character": ["data: 1\n\ndata: 2\n\n", Buffer.from("data: 🌧").subarray(0, 8)],
  "in a heartbeat": ["data: 1\n\ndata: 2\n\n:\n", ":"],
};

for (const [name, pieces] of Object.entries(CUTS)) {
  test(`a cut ${name}: the rest is asked for, with the credentials of the first request`, async (t) => {
    const { origin, requests } = await serve(t, cut(...pieces), whole("data: 🌧\n\n", "data: 4\n\n"));
    const headers = { authorization: "Bearer k", "content-type": "application/json", "idempotency-key": "i" };
    const found = await all(stream(`${origin}/agent`, { ...FAST, method: "POST", headers, body: "{}" }));
    assert.deepEqual(words(found), ["1", "2", "🌧", "4"]);
    assert.deepEqual(numbers(found), [1, 2, 3, 4]);
    const [, again] = requests;
    assert.deepEqual([again.method, again.url, again.body], ["GET", `/.weir/streams/${ID}?after=2`, ""]);
    assert.equal(again.headers.accept, "text/event-stream, application/json");
    assert.equal(again.headers.authorization, "Bearer k");
    assert.equal(again.headers["content-type"], undefined);
    assert.equal(again.headers["idempotency-key"], undefined);
  });
}

test("a cut before the first event: the stream is read from its start", async (t) => {
  const { origin, requests } = await serve(t, cut(":\n"), whole("data: 1\n\n"));
  assert.deepEqual(words(await all(stream(origin, FAST))), ["1"]);
  assert.equal(requests[1].url, `/.weir/streams/${ID}`);
});

test("a body that a proxy ended in an event is a cut", async (t) => {
  const { origin } = await serve(t, whole("data: 1\n\ndata: 2"), whole("data: 2\n\n"));
  assert.deepEqual(words(await all(stream(origin, FAST))), ["1", "2"]);
});

test("many cuts: the attempts are counted anew after each event", async (t) => {
  const answers = Array.from({ length: 10 }, (_, at) => cut(`data: ${at + 1}\n\n`));
  const { origin, requests } = await serve(t, ...answers, over);
  const found = await all(stream(origin, { ...FAST, retries: 1 }));
  assert.deepEqual(numbers(found), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(words(found), numbers(found).map(String));
  assert.equal(requests.length, 11);
});

test("Weir's ids say the number, and what comes twice is left out", async (t) => {
  const event = (seq) => `id: ${ID}.${seq}\ndata: ${seq}\n\n`;
  const { origin, requests } = await serve(t, cut(event(1), event(7)), whole(event(7), event(8)));
  const run = stream(origin, FAST);
  assert.deepEqual(numbers(await all(run)), [1, 7, 8]);
  assert.equal(requests[1].url, `/.weir/streams/${ID}?after=7`);
  assert.equal(requests[1].headers["last-event-id"], undefined);
});

test("an id of the agent is sent as it came", async (t) => {
  const { origin, requests } = await serve(t, cut("id: 17-0\ndata: 1\n\n"), whole("data: 2\n\n"));
  const found = await all(stream(origin, FAST));
  assert.deepEqual(found.map(({ id }) => id), ["17-0", undefined]);
  assert.equal(requests[1].url, `/.weir/streams/${ID}`);
  assert.equal(requests[1].headers["last-event-id"], "17-0");
});

test("Weir-Resumed-From corrects the count", async (t) => {
  const head = { "weir-resumed-from": "12" };
  const { origin } = await serve(t, cut("id: x\ndata: 1\n\n"), events("data: 13\n\n", { head }));
  assert.deepEqual(numbers(await all(stream(origin, FAST))), [1, 13]);
});

test("heartbeats are not events", async (t) => {
  const { origin, requests } = await serve(
    t,
    cut(":\n", "data: 1\n\n", 'event: ping\ndata: {"type":"ping"}\n\n', "event: ping\n\n", ":\n\n", "\n"),
    over,
  );
  assert.deepEqual(words(await all(stream(origin, FAST))), ["1"]);
  assert.equal(requests[1].url, `/.weir/streams/${ID}?after=1`);
});

test("204 and an empty stream are the end", async (t) => {
  for (const end of [over, whole()]) {
    const { origin, requests } = await serve(t, cut("data: 1\n\n"), end);
    assert.deepEqual(words(await all(stream(origin, FAST))), ["1"]);
    assert.equal(requests.length, 2);
  }
});

for (const code of [400, 401, 403, 404, 410]) {
  test(`${code} is final, and says why`, async (t) => {
    const body = JSON.stringify({ status: code, code: "resume_evicted", detail: "no longer kept", first: 9 });
    const { origin, requests } = await serve(t, cut("data: 1\n\n"), status(code, { body }));
    const seen = [];
    const reading = async () => {
      for await (const { data } of stream(origin, FAST)) seen.push(data);
    };
    await assert.rejects(reading, { status: code, code: "resume_evicted", message: "no longer kept", first: 9 });
    assert.deepEqual(seen, ["1"]);
    assert.equal(requests.length, 2);
  });
}

test("an agent or a proxy may say why in its own way, or not at all", async (t) => {
  const { origin } = await serve(t, status(401, { body: '{"error":{"code":"no_key","message":"who are you?"}}' }));
  await assert.rejects(all(stream(origin, FAST)), { status: 401, code: "no_key", message: "who are you?" });
  const other = await serve(t, cut("data: 1\n\n"), status(404, { body: "<html>" }));
  await assert.rejects(all(stream(other.origin, FAST)), { status: 404, code: undefined });
});

test("503 with Retry-After waits at least so long", async (t) => {
  const { origin } = await serve(
    t,
    cut("data: 1\n\n"),
    status(503, { headers: { "retry-after": "1" } }),
    whole("data: 2\n\n"),
  );
  const waits = [];
  const began = performance.now();
  const found = await all(stream(origin, { ...FAST, onRetry: ({ wait, error }) => waits.push([wait, error.status]) }));
  assert.deepEqual(words(found), ["1", "2"]);
  assert.ok(performance.now() - began >= 990);
  assert.equal(waits.length, 2);
  assert.deepEqual(waits[1], [1000, 503]);
});

test("`retry` sets the wait, which doubles and varies", async (t) => {
  const down = Array.from({ length: 4 }, () => status(502));
  const { origin } = await serve(t, cut("retry: 16\ndata: 1\n\n"), ...down, over);
  const waits = [];
  await all(stream(origin, { delay: 60_000, onRetry: ({ attempt, wait }) => waits.push([attempt, wait]) }));
  assert.deepEqual(waits.map(([attempt]) => attempt), [1, 2, 3, 4, 5]);
  for (const [attempt, wait] of waits) {
    const longest = 16 * 2 ** (attempt - 1);
    assert.ok(wait >= longest / 2 && wait <= longest, `${wait} of ${longest}`);
  }
});

test("an answer with `retry` alone means: ask later", async (t) => {
  const { origin, requests } = await serve(t, cut("data: 1\n\n"), whole("retry: 2\n\n"), whole("data: 2\n\n"));
  assert.deepEqual(words(await all(stream(origin, FAST))), ["1", "2"]);
  assert.equal(requests.length, 3);
});

test("it gives up after `retries` attempts without an event", async (t) => {
  const down = Array.from({ length: 9 }, () => status(503));
  const { origin, requests } = await serve(t, cut("data: 1\n\n"), ...down);
  await assert.rejects(all(stream(origin, { ...FAST, retries: 3 })), { status: 503 });
  assert.equal(requests.length, 4);
});

test("the first request is never repeated", async (t) => {
  const { origin, requests } = await serve(t, status(503, { headers: { "retry-after": "1" }, body: "busy" }));
  await assert.rejects(all(stream(origin, FAST)), { status: 503 });
  assert.equal(requests.length, 1);
  const gone = await serve(t, (response) => response.destroy());
  await assert.rejects(all(stream(gone.origin, FAST)));
  assert.equal(gone.requests.length, 1);
});

test("a stream without Weir-Stream-Id fails when it is cut", async (t) => {
  const plain = async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n", () => setTimeout(() => response.destroy(), 20));
  };
  const { origin, requests } = await serve(t, plain);
  const run = stream(origin, FAST);
  await assert.rejects(all(run));
  assert.equal(run.position, undefined);
  assert.equal(requests.length, 1);
});

test("another kind of response is an error", async (t) => {
  const { origin } = await serve(t, events("{}", { head: { "content-type": "application/json" } }));
  await assert.rejects(all(stream(origin)), /text\/event-stream/);
});

test("stop tells Weir, and the last event still comes", async (t) => {
  let stopped;
  const asked = new Promise((resolve) => (stopped = resolve));
  const running = async (response) => {
    await open("data: 1\n\n")(response);
    await asked;
    response.end('event: error\ndata: {"code":"stopped"}\n\n');
  };
  const stop = (response) => {
    response.writeHead(202).end();
    stopped();
  };
  const { origin, requests } = await serve(t, running, stop);
  const run = stream(`${origin}/agent`, { headers: { authorization: "Bearer k" } });
  const found = [];
  for await (const event of run) {
    found.push(event.event);
    if (found.length === 1) await run.stop();
  }
  assert.deepEqual(found, ["message", "error"]);
  assert.deepEqual([requests[1].method, requests[1].url], ["DELETE", `/.weir/streams/${ID}`]);
  assert.equal(requests[1].headers.authorization, "Bearer k");
});

test("stop of what is over is no error, a refusal is one", async (t) => {
  const { origin } = await serve(t, whole("data: 1\n\n"), status(404), status(503));
  const run = stream(origin);
  await all(run);
  await run.stop();
  await assert.rejects(run.stop(), { status: 503 });
});

test("a signal ends a silent stream with its reason", async (t) => {
  const { origin, requests } = await serve(t, open("data: 1\n\n"));
  const controller = new AbortController();
  const reason = new Error("the page is closed");
  const reading = async () => {
    for await (const _ of stream(origin, { ...FAST, signal: controller.signal })) {
      setTimeout(() => controller.abort(reason), 10);
    }
  };
  await assert.rejects(reading, reason);
  assert.equal(requests.length, 1);
});

test("a signal ends a wait", async (t) => {
  const { origin, requests } = await serve(t, cut("data: 1\n\n"));
  const controller = new AbortController();
  const reason = new Error("enough");
  const options = { delay: 30_000, signal: controller.signal, onRetry: () => setTimeout(() => controller.abort(reason), 5) };
  await assert.rejects(all(stream(origin, options)), reason);
  assert.equal(requests.length, 1);
});

test("leaving the loop closes the connection", async (t) => {
  let closed;
  const left = new Promise((resolve) => (closed = resolve));
  const { origin } = await serve(t, async (response) => {
    response.on("close", closed);
    await open("data: 1\n\n")(response);
  });
  for await (const _ of stream(origin)) break;
  await left;
});

test("what was read and not handled is read again", async (t) => {
  const { origin } = await serve(t, whole("data: a\n\n", "data: b\n\n", "data: c\n\n"));
  const run = stream(`${origin}/agent`);
  for await (const { seq } of run) {
    if (seq < 3) run.ack(seq);
  }
  assert.deepEqual(run.position, { stream: ID, after: 2 });
});

test("a position is read on from elsewhere", async (t) => {
  const { origin, requests } = await serve(t, whole("data: 6\n\n"), whole("data: 1\n\n"));
  const run = resume(origin, JSON.parse(JSON.stringify({ stream: ID, after: 5 })), { headers: { "x-api-key": "k" } });
  assert.deepEqual(run.position, { stream: ID, after: 5 });
  assert.deepEqual(numbers(await all(run)), [6]);
  assert.deepEqual([requests[0].method, requests[0].url], ["GET", `/.weir/streams/${ID}?after=5`]);
  assert.equal(requests[0].headers["x-api-key"], "k");
  await all(resume(`${origin}/some/page`, { stream: ID }));
  assert.equal(requests[1].url, `/.weir/streams/${ID}`);
});

test("several streams at once do not disturb each other", async (t) => {
  const text = Array.from({ length: 200 }, (_, at) => `data: ${at}\n\n`).join("");
  const answers = Array.from({ length: 8 }, () => whole(text.slice(0, 777), text.slice(777)));
  const { origin } = await serve(t, ...answers);
  const found = await Promise.all(answers.map(() => all(stream(origin))));
  for (const one of found) assert.equal(one.length, 200);
});
