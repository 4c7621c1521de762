// Reads a stream with the eventsource package until the package itself closes it.

import { EventSource } from "eventsource";
import { report, result, task } from "./task.mjs";

const source = new EventSource(`${task.base}/agent`);
await new Promise((resolve) => {
  for (const name of ["status", "token", "tool_call", "tool_result", "done", "message"]) {
    source.addEventListener(name, (event) => result.events.push([event.type, event.data, event.lastEventId]));
  }
  source.addEventListener("error", (event) => {
    if (event.data) result.error = event.data;
    if (source.readyState === EventSource.CLOSED) resolve();
  });
});
report();
