// Reads a stream with the ollama package.

import { Ollama } from "ollama";
import { failed, now, report, result, task } from "./task.mjs";

const headers = { "x-run": new URLSearchParams(task.query).toString() };
const client = new Ollama({ host: task.base, headers });
try {
  const messages = [{ role: "user", content: "Weather?" }];
  const stream = await client.chat({ model: "m", messages, stream: true });
  for await (const line of stream) {
    result.events.push(line);
    result.text += line.message.content;
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      client.abort();
      break;
    }
  }
} catch (error) {
  if (result.leftAt === null) failed(error);
}
report();
