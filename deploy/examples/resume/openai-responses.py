import openai

client = openai.OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused")
stream = client.responses.create(model="agent", input="When is high water in Bergen?", stream=True)
response_id, last = None, None
while stream:
    try:
        for event in stream:
            last = event.sequence_number
            if event.type == "response.created":
                response_id = event.response.id
            elif event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
        stream = None
    except openai.APIConnectionError:
        if response_id is None:
            raise
        stream = client.responses.retrieve(response_id, stream=True, starting_after=last)
