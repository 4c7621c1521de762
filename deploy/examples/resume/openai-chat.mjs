import OpenAI from "openai";
import { resumingFetch } from "weir-client";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "unused", fetch: resumingFetch() });
const messages = [{ role: "user", content: "When is high water in Bergen?" }];
for await (const chunk of await client.chat.completions.create({ model: "agent", messages, stream: true })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}
