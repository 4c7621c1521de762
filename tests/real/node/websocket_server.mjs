// A WebSocket server with the `ws` package, which compresses when the client offers it. Prints its port.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const seen = [];
const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: true,
  handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});

const paths = {
  "/echo": (client) => client.on("message", (data, binary) => client.send(data, { binary })),
  "/close": (client, asked) =>
    client.once("message", () => client.close(Number(asked.get("code")), asked.get("reason") ?? "")),
  "/abrupt": (client) => client.once("message", () => client.terminate()),
  "/ping": (client) => {
    client.on("pong", (data) => client.send(String(data) === "from the agent" ? "answered" : "wrong"));
    client.ping("from the agent");
  },
};

const http = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(seen));
});
http.on("upgrade", (request, socket, head) => {
  const { pathname, searchParams } = new URL(request.url, "http://agent.test");
  if (!(pathname in paths)) {
    socket.end("HTTP/1.1 403 Forbidden\r\nx-why: because\r\ncontent-length: 12\r\n\r\nnot for you\n");
    return;
  }
  server.handleUpgrade(request, socket, head, (client) => {
    const run = { name: searchParams.get("run"), state: "open" };
    seen.push(run);
    client.on("error", () => {});
    client.on("close", (code, reason) => Object.assign(run, { state: "closed", code, reason: String(reason) }));
    paths[pathname](client, searchParams);
  });
});
http.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: http.address().port })));
