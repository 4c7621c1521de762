// How an application is tested with vitest against an agent that was recorded: without a model, a key, or a network.
//
// Needs `weir` (or WEIR_BIN), and here the `openai` package. Record your own agent with `weir record`.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import OpenAI from "openai";
import { afterEach, expect, test } from "vitest";

const RECORDING = fileURLToPath(new URL("./chat.weir.jsonl", import.meta.url));
const running = [];

afterEach(() => {
  for (const replay of running.splice(0)) replay.kill();
});

// `await agent("--fault", "cut@600B")` starts a replay, and returns a client for it.
async function agent(...flags) {
  const replay = spawn(
    process.env.WEIR_BIN ?? "weir",
    ["replay", RECORDING, "--listen", "127.0.0.1:0", "--speed", "max", ...flags],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  running.push(replay);
  // The first line is the URL.
  const [url] = await once(createInterface({ input: replay.stdout }), "line");
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 10_000 });
}

// Stands for the application: yields the words of an answer.
async function* ask(client) {
  const messages = [{ role: "user", content: "What is a weir?" }];
  const stream = await client.chat.completions.create({ model: "demo", messages, stream: true });
  for await (const chunk of stream) {
    const words = chunk.choices[0]?.delta?.content;
    if (words) yield words;
  }
}

async function all(client, words = []) {
  for await (const word of ask(client)) words.push(word);
  return words.join("");
}

test("an answer arrives whole", async () => {
  expect(await all(await agent())).toBe("A weir is a low dam across a river. 🌊");
});

test("split and compressed pieces make no difference", async () => {
  expect(await all(await agent("--fault", "gzip", "--fault", "split=7"))).toMatch(/🌊$/u);
});

test("a cut is no answer", async () => {
  const words = [];
  await expect(all(await agent("--fault", "cut@600B"), words)).rejects.toThrow();
  expect(words).toEqual(["A weir ", "is a "]);
});

test("an overloaded agent is an error", async () => {
  await expect(all(await agent("--fault", "status=529"))).rejects.toMatchObject({ status: 529 });
});
