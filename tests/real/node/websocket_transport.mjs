// Speaks with a bridge through the AI SDK's own WebSocketChatTransport, unmodified, and prints the chunks that it
// accepted.

import { WebSocketChatTransport, readUIMessageStream } from "ai7";
import { WebSocket } from "ws";
import { task } from "./task.mjs";

const transport = new WebSocketChatTransport({ url: task.url, webSocket: WebSocket, headers: task.headers });
const messages = [{ id: "u1", role: "user", parts: [{ type: "text", text: "hi" }] }];
const seen = { text: "", states: 0, aborted: null, resumed: null };

const send = (chatId, abortSignal) =>
  transport.sendMessages({ chatId, messages, trigger: "submit-message", messageId: undefined, abortSignal });

for await (const message of readUIMessageStream({ stream: await send("chat 1") })) {
  seen.states += 1;
  seen.text = message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
}
seen.resumed = await transport.reconnectToStream({ chatId: "chat 1" });

// A run that is aborted in the middle.
const controller = new AbortController();
const reader = (await send(task.slow ?? "chat 2", controller.signal)).getReader();
const first = await reader.read();
controller.abort();
seen.aborted = first.value?.type ?? null;
// The frame is sent behind what waits.
await new Promise((resolve) => setTimeout(resolve, 500));
transport.close();
console.log(JSON.stringify(seen));
process.exit();
