// Reads a stream with Google's @google/genai package.

import { GoogleGenAI } from "@google/genai";
import { failed, now, report, result, task } from "./task.mjs";

const headers = { "x-run": new URLSearchParams(task.query).toString() };
const client = new GoogleGenAI({ apiKey: "k", httpOptions: { baseUrl: task.base, headers } });
const controller = new AbortController();
try {
  const stream = await client.models.generateContentStream({
    model: "m",
    contents: "Weather?",
    config: { abortSignal: controller.signal },
  });
  for await (const chunk of stream) {
    const { candidates, usageMetadata } = chunk;
    result.events.push({ candidates, usageMetadata });
    for (const part of candidates?.[0]?.content?.parts ?? []) result.text += part.text ?? "";
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      controller.abort();
      break;
    }
  }
} catch (error) {
  failed(error);
}
report();
