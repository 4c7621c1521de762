// Reads a stream with the MessageStream of @anthropic-ai/sdk: events, errors, cancellation.

import Anthropic from "@anthropic-ai/sdk";
import { failed, now, report, result, task } from "./task.mjs";

const client = new Anthropic({
  baseURL: task.base,
  apiKey: "k",
  defaultQuery: task.query,
  maxRetries: 0,
});
try {
  const stream = client.messages.stream({
    model: "m",
    max_tokens: 99,
    messages: [{ role: "user", content: "Weather?" }],
  });
  for await (const event of stream) {
    result.events.push(event);
    if (event.delta?.type === "text_delta") result.text += event.delta.text;
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      stream.abort();
      break;
    }
  }
  if (result.leftAt === null) await stream.finalMessage();
} catch (error) {
  failed(error);
}
report();
