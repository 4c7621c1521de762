// Reads a stream with deploy/js/weir-client, in the way that the task names.

import OpenAI from "openai";
import { resume, resumingFetch, stream } from "../../../deploy/js/weir-client/index.js";
import { now, report, result, task } from "./task.mjs";

const url = `${task.base}${task.path}`;
const request = { method: "POST", headers: { authorization: "Bearer k" }, body: "{}", delay: 5 };
const see = ({ event, data, seq }) => {
  result.events.push([event, data, seq]);
  if (event === "token") result.text += JSON.parse(data).content;
};
const WAYS = {
  async stream() {
    for await (const event of stream(url, request)) see(event);
  },
  async resumingFetch() {
    const fetch = resumingFetch(globalThis.fetch, { delay: 5 });
    const client = new OpenAI({ baseURL: `${task.base}/v1`, apiKey: "k", maxRetries: 0, fetch });
    const messages = [{ role: "user", content: "Weather?" }];
    for await (const chunk of await client.chat.completions.create({ model: "m", messages, stream: true })) {
      result.text += chunk.choices[0]?.delta.content ?? "";
    }
  },
  async stop() {
    const run = stream(url, request);
    for await (const event of run) {
      see(event);
      if (result.events.length === 2) {
        result.leftAt = now();
        await run.stop();
      }
    }
  },
  async reload() {
    const run = stream(url, request);
    for await (const event of run) {
      see(event);
      if (result.events.length === 5) break;
    }
    const position = JSON.parse(JSON.stringify(run.position));
    await fetch(`${task.base}/_open`, { method: "POST" });
    for await (const event of resume(task.base, position, { headers: request.headers })) see(event);
  },
};
await WAYS[task.way]();
report();
