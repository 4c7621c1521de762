// Reads server-sent events as they arrive, in the way of EventSource, and counts comments besides.

// The most text that waits for the end of an event.
const MAX_EVENT = 1 << 20;

export class Parser {
  #decoder = new TextDecoder();
  #rest = "";
  comments = 0;

  // Takes the next bytes. Returns the events that are complete with them, as {event, id, data}.
  push(bytes) {
    // What follows the last blank line waits, and with it a line end of which only half has come.
    const text = (this.#rest + this.#decoder.decode(bytes, { stream: true })).replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    this.#rest = blocks.pop();
    if (this.#rest.length > MAX_EVENT) throw new Error("an event is larger than 1 MiB");
    return blocks.map((block) => this.#event(block)).filter((event) => event.data !== undefined);
  }

  #event(block) {
    const event = { event: "message", id: undefined, data: undefined };
    for (const line of block.split("\n")) {
      if (line.startsWith(":")) this.comments += 1;
      const colon = line.indexOf(":");
      if (colon < 1) continue;
      const name = line.slice(0, colon);
      const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
      if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
      else if (name === "id") event.id = value;
      else if (name === "event") event.event = value;
    }
    return event;
  }
}
