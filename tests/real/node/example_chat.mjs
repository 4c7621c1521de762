// Chats once with the AI SDK of the version that the task names, as useChat does without React. The code that makes
// the transport is that of an example, and is in the task.

import { chatState } from "./chats.mjs";
import { failed, report, result, task } from "./task.mjs";

const { AbstractChat, DefaultChatTransport } = await import(task.package);
const transport = new Function("DefaultChatTransport", `${task.source}\nreturn transport;`)(DefaultChatTransport);
const state = chatState();
const chat = new AbstractChat({ id: "c", transport, state });
await chat.sendMessage({ text: "Weather?" });
if (chat.error) failed(chat.error);
const parts = state.messages.filter(({ role }) => role === "assistant").flatMap(({ parts }) => parts);
result.text = parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
result.events = [{ status: chat.status, parts }];
report();
