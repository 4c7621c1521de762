import { fetchEventSource } from "@microsoft/fetch-event-source";

class Final extends Error {}

await fetchEventSource("http://127.0.0.1:8080/agent", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ question: "When is high water in Bergen?" }),
  async onopen(response) {
    if (response.ok) return;
    const why = `${response.status} ${await response.text()}`;
    // 503 means "not now". Other answers would stay the same.
    throw response.status === 503 ? new Error(why) : new Final(why);
  },
  onmessage({ id, event, data }) {
    if (event === "token") console.log(id, JSON.parse(data).content);
    if (event === "error") throw new Final(data);
  },
  onerror(error) {
    // What is thrown here ends it. Otherwise the library asks again.
    if (error instanceof Final) throw error;
  },
});
console.log("over");
