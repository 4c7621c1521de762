// Reads a stream of chat completions with the openai package: chunks, errors, cancellation.

import OpenAI from "openai";
import { failed, now, report, result, task } from "./task.mjs";

const client = new OpenAI({
  baseURL: `${task.base}/v1`,
  apiKey: "k",
  defaultQuery: task.query,
  maxRetries: 0,
});
try {
  const stream = await client.chat.completions.create({
    model: "m",
    messages: [{ role: "user", content: "Weather?" }],
    stream: true,
  });
  for await (const chunk of stream) {
    result.events.push(chunk);
    result.text += chunk.choices[0]?.delta.content ?? "";
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      stream.controller.abort();
      break;
    }
  }
} catch (error) {
  failed(error);
}
report();
