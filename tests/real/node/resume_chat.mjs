// Chats with the AI SDK of the version that the task names, loses the connection, and resumes, as useChat does without
// React. Reports the state of the chat after each step.

import { chatState } from "./chats.mjs";
import { failed, report, result, task } from "./task.mjs";

const { AbstractChat, DefaultChatTransport } = await import(task.package);

const requests = [];
let attached;
const isAttached = new Promise((resolve) => (attached = resolve));
const transport = new DefaultChatTransport({
  api: `${task.base}/api/chat`,
  fetch: async (url, init) => {
    const response = await fetch(url, init);
    requests.push([init.method, new URL(url).pathname, response.status]);
    if (init.method === "GET") attached();
    return response;
  },
});
const state = chatState();
const see = () => {
  const answers = state.messages.filter(({ role }) => role === "assistant");
  const parts = answers.flatMap(({ parts }) => parts);
  const text = parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
  const tools = parts.filter(({ type }) => type === "dynamic-tool").map(({ state }) => state);
  result.events.push({ status: chat.status, answers: answers.length, text, tools, requests: requests.splice(0) });
  result.text = text;
};

const chat = new AbstractChat({ id: "c", transport, state });
await chat.sendMessage({ text: "Weather?" });
see();
// The run goes on only when the chat has come back.
const resuming = chat.resumeStream();
await isAttached;
await fetch(`${task.base}/_open`, { method: "POST" });
await resuming;
see();
await chat.resumeStream();
see();
if (chat.error) failed(chat.error);
report();
