import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

// The same before and after a reload, so from the address of the page or from your database.
const id = "chat-1";
// The stream of this chat, so that it can be stopped.
let stream;

const transport = new DefaultChatTransport({
  api: "/api/chat",
  async fetch(...request) {
    const response = await fetch(...request);
    stream = response.headers.get("Weir-Stream-Id") ?? stream;
    return response;
  },
});

export default function Chat() {
  const { messages, sendMessage, status, error } = useChat({ id, transport, resume: true });
  return (
    <main>
      {messages.map(({ id, parts }) => (
        <p key={id}>{parts.map((part) => (part.type === "text" ? part.text : "")).join("")}</p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <p>Status: {status}</p>
      <button onClick={() => sendMessage({ text: "When is high water in Bergen?" })}>Ask</button>
      <button onClick={() => fetch(`/.weir/streams/${stream}`, { method: "DELETE" })}>Stop</button>
    </main>
  );
}
