// Reads a run with AG-UI's HttpAgent, which verifies the order of events. The task may name another version's package.

import { failed, now, report, result, task } from "./task.mjs";

const { HttpAgent } = await import(task.package ?? "@ag-ui/client");
const headers = { "x-run": new URLSearchParams(task.query).toString() };
const agent = new HttpAgent({ url: `${task.base}/ag-ui`, headers, threadId: "t" });
const see = ({ event }) => {
  if (result.leftAt !== null) return;
  result.events.push(event);
  if (event.type === "TEXT_MESSAGE_CONTENT") result.text += event.delta;
  if (event.type === "RUN_ERROR") failed({ name: event.code, message: event.message });
  if (result.events.length === task.stopAfter) {
    result.leftAt = now();
    agent.abortRun();
  }
};
try {
  await agent.runAgent({ runId: "r" }, { onEvent: see });
} catch (error) {
  if (result.leftAt === null && result.error === null) failed(error);
}
report();
