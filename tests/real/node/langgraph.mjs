// Reads a stream with LangGraph's @langchain/langgraph-sdk package.

import { Client } from "@langchain/langgraph-sdk";
import { failed, now, report, result, task } from "./task.mjs";

const headers = { "x-run": new URLSearchParams(task.query).toString() };
const client = new Client({ apiUrl: task.base, defaultHeaders: headers, apiKey: null });
const controller = new AbortController();
try {
  const options = { input: {}, streamMode: ["messages-tuple", "updates"], signal: controller.signal };
  for await (const part of client.runs.stream(null, "agent", options)) {
    result.events.push([part.event, part.data]);
    if (part.event === "messages" && part.data[0].type === "AIMessageChunk") {
      result.text += part.data[0].content;
    }
    if (part.event === "error") failed({ name: part.data.error, message: part.data.message });
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      controller.abort();
      break;
    }
  }
} catch (error) {
  if (result.leftAt === null) failed(error);
}
report();
