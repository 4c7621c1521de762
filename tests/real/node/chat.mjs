// Chats with the AI SDK of the version that the task names, as useChat does without React: AbstractChat and
// DefaultChatTransport. A call that looks answered is sent on, as chats with client-side tools do.

import { chatState } from "./chats.mjs";
import { failed, report, result, task } from "./task.mjs";

const { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(task.package);

let requests = 0;
const transport = new DefaultChatTransport({
  api: `${task.base}/ui`,
  headers: { "x-run": new URLSearchParams(task.query).toString() },
  fetch: (...call) => {
    requests += 1;
    return fetch(...call);
  },
});
const state = chatState();
const chat = new AbstractChat({
  id: "c",
  transport,
  state,
  // At most once, so that a wrong answer does not go on for ever.
  sendAutomaticallyWhen: (chat) => requests < 2 && lastAssistantMessageIsCompleteWithToolCalls(chat),
});
await chat.sendMessage({ text: "Weather?" });
if (chat.error) failed(chat.error);
const answer = state.messages.filter((message) => message.role === "assistant");
const parts = answer.flatMap((message) => message.parts);
result.text = parts.filter((part) => part.type === "text").map((part) => part.text).join("");
result.events = [{ status: chat.status, requests, metadata: answer.at(-1)?.metadata, parts }];
report();
