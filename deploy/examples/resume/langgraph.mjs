import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: "http://127.0.0.1:8080", apiKey: null });
const input = { messages: [{ role: "user", content: "When is high water in Bergen?" }] };
for await (const { event, data } of client.runs.stream(null, "agent", { input, streamMode: "messages-tuple" })) {
  if (event === "messages" && data[0].type === "AIMessageChunk") process.stdout.write(data[0].content);
}
