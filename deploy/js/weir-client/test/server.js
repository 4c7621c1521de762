// A scripted server: one answer for each request, in order.

import { once } from "node:events";
import { createServer } from "node:http";

export const ID = "0123456789abcdef0123456789abcdef";

/**
 * Starts a server that gives each request the next of `answers`. Each is a function `(response, request)`. Returns its
 * address and the requests that it has received, and is closed after the test `t`.
 */
export async function serve(t, ...answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body });
    const answer = answers[requests.length - 1] ?? ((response) => response.writeHead(500).end("no answer is left"));
    await answer(response, request);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${server.address().port}`, requests };
}

const HEAD = { "content-type": "text/event-stream", "weir-stream-id": ID };

/** Sends these pieces, each on its own, and then cuts the connection, ends the body, or leaves it open. */
export const events = (pieces, { end = "end", head = {} } = {}) =>
  async (response) => {
    response.writeHead(200, { ...HEAD, ...head });
    response.flushHeaders();
    for (const piece of [pieces].flat()) {
      await new Promise((sent) => response.write(piece, sent));
      // Lets the piece leave before the next one, so that they arrive apart.
      await new Promise(setImmediate);
    }
    if (end === "end") response.end();
    if (end === "cut") {
      await new Promise((left) => setTimeout(left, 20));
      response.destroy();
    }
  };

export const cut = (...pieces) => events(pieces, { end: "cut" });
export const whole = (...pieces) => events(pieces);
export const open = (...pieces) => events(pieces, { end: "open" });

export const status = (code, { headers = {}, body = "" } = {}) =>
  (response) => response.writeHead(code, headers).end(body);

export const over = status(204);

/** Reads all events. */
export async function all(stream) {
  const found = [];
  for await (const event of stream) found.push(event);
  return found;
}

/** Short waits, so that tests are fast. */
export const FAST = { delay: 1 };
