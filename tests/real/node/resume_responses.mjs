// Reads a stream of the Responses API with the openai package, and retrieves the rest of it after each cut.

import OpenAI from "openai";
import { report, result, task } from "./task.mjs";

const client = new OpenAI({ baseURL: `${task.base}/v1`, apiKey: "k", maxRetries: 0 });
let stream = await client.responses.create({ model: "m", input: "Weather?", stream: true });
while (stream) {
  try {
    for await (const event of stream) {
      result.events.push(event);
      if (event.type === "response.output_text.delta") result.text += event.delta;
    }
    stream = undefined;
  } catch (error) {
    if (error instanceof OpenAI.APIError && !(error instanceof OpenAI.APIConnectionError)) throw error;
    const { id } = result.events[0].response;
    stream = await client.responses.retrieve(id, { stream: true, starting_after: result.events.at(-1).sequence_number });
  }
}
report();
