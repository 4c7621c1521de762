from langgraph_sdk import get_sync_client

client = get_sync_client(url="http://127.0.0.1:8080", api_key=None)
question = {"messages": [{"role": "user", "content": "When is high water in Bergen?"}]}
for part in client.runs.stream(None, "agent", input=question, stream_mode="messages-tuple"):
    if part.event == "messages" and part.data[0]["type"] == "AIMessageChunk":
        print(part.data[0]["content"], end="", flush=True)
