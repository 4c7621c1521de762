// Reads a stream of the Responses API with the openai package.

import OpenAI from "openai";
import { failed, now, report, result, task } from "./task.mjs";

const client = new OpenAI({
  baseURL: `${task.base}/v1`,
  apiKey: "k",
  defaultQuery: task.query,
  maxRetries: 0,
});
try {
  const stream = await client.responses.create({ model: "m", input: "Weather?", stream: true });
  for await (const event of stream) {
    result.events.push(event);
    if (event.type === "response.output_text.delta") result.text += event.delta;
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
