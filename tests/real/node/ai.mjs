// Builds a message from a stream with the AI SDK, in the way that useChat does.

import { DefaultChatTransport, readUIMessageStream } from "ai";
import { failed, now, report, result, task } from "./task.mjs";

const headers = { "x-run": new URLSearchParams(task.query).toString() };
const transport = new DefaultChatTransport({ api: `${task.base}/ui`, headers });
const controller = new AbortController();
const message = { id: "q", role: "user", parts: [{ type: "text", text: "Weather?" }] };
try {
  const chunks = await transport.sendMessages({
    trigger: "submit-message",
    chatId: "c",
    messages: [message],
    abortSignal: controller.signal,
  });
  const [seen, built] = chunks.tee();
  const building = (async () => {
    const states = readUIMessageStream({
      stream: built,
      onError: (error) => failed(error),
      terminateOnError: true,
    });
    let last;
    for await (const state of states) last = state;
    return last;
  })();
  building.catch(() => {});
  for await (const chunk of seen) {
    result.events.push(chunk);
    if (chunk.type === "text-delta") result.text += chunk.delta;
    if (chunk.type === "error") failed(new Error(chunk.errorText));
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      controller.abort();
      break;
    }
  }
  if (result.leftAt === null) result.events.push(await building.catch((error) => String(error)));
} catch (error) {
  if (result.leftAt === null) failed(error);
}
report();
