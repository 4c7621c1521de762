// An agent that speaks only WebSocket, with the `ws` package: the first message is the question. Prints its port.
// `backends/websocket_chat.py` says what it does.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const words = ["It ", "is ", "4 \u00b0C ", "in ", "Oslo."];
const seen = [];
const server = new WebSocketServer({ noServer: true, perMessageDeflate: true });

const chat = (client, asked, request) => {
  const run = { name: asked.get("run"), state: "open", heard: [] };
  seen.push(run);
  client.on("error", () => {});
  client.on("close", (code) => Object.assign(run, { state: "closed", code }));
  client.once("message", (question) => {
    run.asked = String(question);
    run.authorization = request.headers.authorization ?? null;
    client.on("message", (message) => run.heard.push(String(message)));
    const how = asked.get("do") ?? "answer";
    for (const word of ["hang", "close"].includes(how) ? words.slice(0, 1) : words) {
      client.send(JSON.stringify({ type: "token", content: word }), { binary: how === "bytes" });
    }
    if (["answer", "bytes", "stay"].includes(how)) client.send(JSON.stringify({ type: "done" }));
    if (["answer", "bytes"].includes(how)) client.close(1000);
    if (how === "close") client.close(Number(asked.get("code")));
  });
};

const http = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(seen));
});
http.on("upgrade", (request, socket, head) => {
  const { pathname, searchParams } = new URL(request.url, "http://agent.test");
  if (pathname !== "/chat") {
    socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 12\r\n\r\nnot for you\n");
    return;
  }
  server.handleUpgrade(request, socket, head, (client) => chat(client, searchParams, request));
});
http.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: http.address().port })));
