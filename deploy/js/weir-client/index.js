// Event streams that go on after a cut. index.d.ts says what is exported.

// The most that is kept of one event.
const LARGEST = 2 ** 24;
const LONGEST_WAIT = 30_000;

export const stream = (url, options) =>
  new Stream(url, options, async (self) => {
    const response = await granted(await self.send(url));
    if (!isEvents(response)) throw failed("the response is not text/event-stream");
    self.id = response.headers.get("weir-stream-id");
    return response;
  });

export const resume = (origin, { stream, after = 0 }, options) =>
  Object.assign(new Stream(origin, options), { id: stream, after });

export const resumingFetch =
  (fetch = globalThis.fetch, options) =>
  async (input, init) => {
    const { url = input, headers, signal, credentials } = input;
    const self = new Stream(url, { headers, signal, credentials, ...init, ...options, fetch });
    const response = await self.send(input);
    self.id = response.headers.get("weir-stream-id");
    if (!response.ok || !self.id || !isEvents(response)) return response;
    const events = self.follow(response);
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await events.next();
        if (done) controller.close();
        else controller.enqueue(new TextEncoder().encode(value.text));
      },
      cancel: () => self.abort.abort(),
    });
    return new Response(body, response);
  };

class Stream {
  after = 0;
  abort = new AbortController();

  constructor(url, { fetch = globalThis.fetch, retries = 8, delay = 500, onRetry, ...init } = {}, first = () => {}) {
    Object.assign(this, { fetch, retries, delay, onRetry, init, first });
    this.origin = new URL(url, globalThis.location?.href).origin;
    this.signal = AbortSignal.any([this.abort.signal, init.signal].filter(Boolean));
    this.events = this.read();
  }

  get position() {
    return this.id ? { stream: this.id, after: this.acked ?? this.after } : undefined;
  }

  ack(seq) {
    this.acked = seq;
  }

  async stop() {
    if (!this.id) return this.abort.abort();
    const response = await this.ask("DELETE", "", { signal: undefined });
    // What is over need not be stopped.
    if (response.status !== 404) await granted(response);
  }

  [Symbol.asyncIterator]() {
    return this.events;
  }

  async *read() {
    try {
      for await (const { id, event, data = "", seq } of this.follow(await this.first(this)))
        yield { id, event: event || "message", data, seq };
    } finally {
      this.abort.abort();
    }
  }

  send(url, init) {
    // Browsers refuse to call `this.fetch`.
    const { fetch } = this;
    return fetch(url, { ...this.init, signal: this.signal, ...init });
  }

  // With the credentials of the request that began it.
  ask(method, query = "", init) {
    const headers = new Headers(this.init.headers);
    for (const name of ["content-type", "content-length", "idempotency-key"]) headers.delete(name);
    // With JSON, a refusal says why.
    headers.set("accept", "text/event-stream, application/json");
    if (this.ownId) headers.set("last-event-id", this.ownId);
    const url = `${this.origin}/.weir/streams/${this.id}${query}`;
    return this.send(url, { method, headers, body: undefined, ...init });
  }

  async attach() {
    const { ownId, after } = this;
    const response = await granted(await this.ask("GET", ownId || !after ? "" : `?after=${after}`));
    this.after = Number(response.headers.get("weir-resumed-from") ?? after);
    return response;
  }

  // Yields the events of `response`, if there is one, and what follows.
  async *follow(response) {
    for (let failures = 0; ; ) {
      let failure;
      try {
        response ??= await this.attach();
        if (response.status === 204) return;
        let isOver = true;
        for await (const event of parsed(response.body)) {
          if (event.retry > 0) this.delay = event.retry;
          const isEvent = (event.event ?? event.data) !== undefined;
          isOver = isEvent || (isOver && !event.retry);
          if (!isEvent || !this.takes(event)) continue;
          failures = 0;
          yield event;
        }
        // An end after a bare `retry` means: come again.
        if (isOver) return;
        failure = failed("the stream cannot be resumed now");
      } catch (error) {
        failure = error;
      }
      this.signal.throwIfAborted();
      if (!this.id || failure.isFinal || failures >= this.retries) throw failure;
      response = undefined;
      // Not all at once.
      const longest = Math.min(this.delay * 2 ** failures++, LONGEST_WAIT);
      const wait = Math.max((longest * (1 + Math.random())) / 2, failure.retryAfter ?? 0);
      this.onRetry?.({ attempt: failures, wait, error: failure });
      await new Promise((done) => {
        const timer = setTimeout(done, wait);
        this.signal.addEventListener("abort", () => done(clearTimeout(timer)), { once: true });
      });
    }
  }

  // Counts an event. False: a heartbeat, or known.
  takes(event) {
    const { id = "" } = event;
    const [stream, number] = id.split(".");
    const seq = stream && stream === this.id ? Number(number) : undefined;
    if (seq <= this.after || (!id && event.event === "ping")) return false;
    event.seq = this.after = seq ?? this.after + 1;
    // An id of the agent is exact. A count is not, if events were merged.
    this.ownId = seq === undefined && /^[!-~]+$/.test(id) && id;
    return true;
  }
}

// Yields the whole blocks of a body. A cut one comes again.
async function* parsed(body) {
  // An LF that comes after such a CR is an empty line, which says nothing.
  const end = /(?:\r\n|\n|\r(?!\n)){2}/g;
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      end.lastIndex = Math.max(0, text.length - 3);
      text += decoder.decode(value, { stream: true });
      let at = 0;
      while (end.test(text)) {
        yield parse(text.slice(at, end.lastIndex));
        at = end.lastIndex;
      }
      text = text.slice(at);
      if (text.length > LARGEST) throw failed("an event is too large", { isFinal: true });
    }
  } finally {
    reader.cancel().catch(() => {});
  }
  // A proxy ended the body as if it were whole.
  if (/^[^:\r\n]/m.test(text)) throw failed("the stream was cut in an event");
}

function parse(block) {
  const text = block.replace(/^[\r\n]+/, "");
  // A field may have any name, such as `constructor`.
  const fields = { __proto__: null };
  for (const line of text.split(/\r\n|\n|\r/)) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    (fields[name] ??= []).push(value);
  }
  const last = (name) => fields[name]?.at(-1);
  return { text, event: last("event"), data: fields.data?.join("\n"), id: last("id"), retry: last("retry") };
}

async function granted(response) {
  const { ok, status, headers } = response;
  if (ok) return response;
  const said = await response.json().catch(() => {});
  const { code, first, detail, message = detail } = said?.error ?? said ?? {};
  throw failed(message ?? `status ${status}`, {
    status,
    code,
    first,
    isFinal: status < 500 && ![408, 425, 429].includes(status),
    retryAfter: headers.get("retry-after") * 1000 || 0,
  });
}

const failed = (message, facts) => Object.assign(new Error(message), facts);

const isEvents = (response) => /^text\/event-stream\b/i.test(response.headers.get("content-type"));
