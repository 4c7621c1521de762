const source = new EventSource("http://127.0.0.1:8080/agent");
source.addEventListener("token", (event) => console.log(event.lastEventId, JSON.parse(event.data).content));
source.addEventListener("error", (event) => {
  // Only an error of the agent has data. After a lost connection the browser comes back by itself.
  if (event.data) console.log("failed:", event.data);
  // When everything was read, Weir tells the browser not to come back.
  if (source.readyState === EventSource.CLOSED) console.log("over");
});
