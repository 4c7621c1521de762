"""Runs an ASGI app on a free port. `python -m backends.serve MODULE` prints the port."""

import importlib
import json
import socket
import sys

import uvicorn


def main() -> None:
    app = importlib.import_module(f"backends.{sys.argv[1]}").app
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # The socket listens from here on. Connections made before uvicorn accepts wait in the backlog.
    listener.listen(4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


main()
