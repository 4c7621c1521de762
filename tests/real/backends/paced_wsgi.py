"""A WSGI agent with a pace of its own, for gunicorn's workers: `count` events, `pace` seconds apart."""

import time
from collections.abc import Iterator

from flask import Flask, Response, request

app = Flask(__name__)


@app.route("/events", methods=["GET", "POST"])
def events() -> Response:
    count, pace = int(request.args.get("count", "20")), float(request.args.get("pace", "0.1"))

    def paced() -> Iterator[str]:
        for number in range(count):
            yield f"data: {number}\n\n"
            time.sleep(pace)

    return Response(paced(), mimetype="text/event-stream")
