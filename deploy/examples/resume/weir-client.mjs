import { stream } from "weir-client";

const run = stream("http://127.0.0.1:8080/agent", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ question: "When is high water in Bergen?" }),
});
for await (const { event, data } of run) {
  if (event === "token") process.stdout.write(JSON.parse(data).content);
}
