# Keep the head of the response: it has the id of the stream.
curl -sN -D head.txt http://127.0.0.1:8080/agent || echo "lost"
id="$(tr -d '\r' < head.txt | awk 'tolower($1) == "weir-stream-id:" { print $2 }')"

# What follows event 3. Without `after`, all of it.
curl -sN "http://127.0.0.1:8080/.weir/streams/$id?after=3"

# How it is.
curl -s -H 'accept: application/json' "http://127.0.0.1:8080/.weir/streams/$id"
