"""How does an ASGI app get a port nobody else has? `python -m backends.serve MODULE` prints it."""

import importlib
import json
import socket
import sys

import uvicorn


def main() -> None:
    app = importlib.import_module(f"backends.{sys.argv[1]}").app
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Listening from here on: whoever connects before uvicorn accepts waits in the backlog.
    listener.listen(4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
