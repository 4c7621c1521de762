"""A Flask agent: a generator under WSGI, for gunicorn's threads."""

from flask import Flask, Response, jsonify, request

from backends import wire
from backends.control import Dialect, Runs

runs = Runs()
app = Flask(__name__)


def stream(dialect: Dialect, mimetype: str = "text/event-stream") -> Response:
    run = runs.begin(request.path, request.args)
    return Response(runs.play_sync(run, dialect(run.count)), mimetype=mimetype)


@app.post("/v1/chat/completions")
def chat() -> Response:
    return stream(wire.openai)


@app.route("/agent", methods=["GET", "POST"])
def agent() -> Response:
    return stream(wire.convention)


@app.post("/_open")
def open_gate() -> Response:
    runs.open(request.args["run"], int(request.args.get("n", "1")))
    return jsonify(ok=True)


@app.get("/_seen")
def seen() -> Response:
    return jsonify(runs.seen())
