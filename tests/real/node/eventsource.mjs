// Reads a stream with the eventsource package: named events, failures, cancellation.

import { EventSource } from "eventsource";
import { now, report, result, task } from "./task.mjs";

const url = `${task.base}/agent?${new URLSearchParams(task.query)}`;
const source = new EventSource(url);
await new Promise((resolve) => {
  const end = () => {
    source.close();
    resolve();
  };
  const seen = (event) => {
    result.events.push([event.type, event.data, event.lastEventId]);
    if (event.type === "token") result.text += JSON.parse(event.data).content;
    if (result.events.length === task.stopAfter) {
      result.leftAt = now();
      end();
    } else if (event.type === "done") {
      end();
    }
  };
  for (const name of ["status", "token", "tool_call", "tool_result", "done", "message"]) {
    source.addEventListener(name, seen);
  }
  // This handler gets events named `error` and lost connections. Only the events have data.
  source.addEventListener("error", (event) => {
    result.error = event.data ?? `connection: ${event.message}`;
    end();
  });
});
report();
