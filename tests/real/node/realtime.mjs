// Speaks with a voice model through the Realtime client of the openai package, and prints what was heard.

import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { task } from "./task.mjs";

const client = new OpenAI({ apiKey: "k", baseURL: `${task.base}/v1` });
// This client speaks TLS, whatever the base URL says.
const realtime = new OpenAIRealtimeWS({ model: "voice", options: { ca: readFileSync(task.ca) } }, client);
const heard = { kinds: [], text: "", audio: 0, error: null };
await new Promise((over) => {
  realtime.on("error", (error) => {
    heard.error = error.message;
    over();
  });
  realtime.on("event", (event) => {
    heard.kinds.push(event.type);
    if (event.type === "session.created") {
      realtime.send({ type: "session.update", session: { type: "realtime", instructions: "Be brief." } });
    } else if (event.type === "session.updated") {
      const audio = Buffer.alloc(4800).toString("base64");
      realtime.send({ type: "input_audio_buffer.append", audio });
      realtime.send({ type: "input_audio_buffer.commit" });
      realtime.send({ type: "response.create" });
    } else if (event.type === "response.output_audio_transcript.delta") {
      heard.text += event.delta;
    } else if (event.type === "response.output_audio.delta") {
      heard.audio += Buffer.from(event.delta, "base64").length;
    } else if (event.type === "response.done") {
      realtime.socket.once("close", over);
      realtime.close();
    }
  });
});
console.log(JSON.stringify(heard));
