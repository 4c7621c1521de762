import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8080/v1", apiKey: "unused" });
let stream = await client.responses.create({ model: "agent", input: "When is high water in Bergen?", stream: true });
let id, last;
while (stream) {
  try {
    for await (const event of stream) {
      last = event.sequence_number;
      if (event.type === "response.created") id = event.response.id;
      if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
    }
    stream = undefined;
  } catch (error) {
    // An answer or an event of the agent says that it has failed. Everything else is a lost connection.
    const isLost = !(error instanceof OpenAI.APIError) || error instanceof OpenAI.APIConnectionError;
    if (!id || !isLost) throw error;
    stream = await client.responses.retrieve(id, { stream: true, starting_after: last });
  }
}
