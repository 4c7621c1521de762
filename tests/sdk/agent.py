"""A scripted agent: OpenAI and Anthropic streams with CRLF framing, whole, cut, silent or endless."""

import http.server
import json
import socket
import threading


def chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


OPENAI = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Rain "}), chunk({"content": "falls"})]
OPENAI_END = [chunk({}, "stop"), "[DONE]"]
MESSAGE = {
    "id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [],
    "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1},
}
ANTHROPIC = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rain "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "falls"}},
]
ANTHROPIC_END = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]


def encode(event):
    if isinstance(event, str):
        return f"data: {event}\r\n\r\n".encode()
    name = f"event: {event['type']}\r\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\r\n\r\n".encode()


class Agent(http.server.ThreadingHTTPServer):
    """`mode` is `whole`, `cut`, `silent` (until `release` is set) or `endless` (until the client leaves)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Stream)
        self.mode = "whole"
        self.release = threading.Event()
        self.client_left = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Stream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        begin, end = (ANTHROPIC, ANTHROPIC_END) if "messages" in self.path else (OPENAI, OPENAI_END)
        try:
            for event in begin:
                self.chunk(encode(event))
            if self.server.mode == "cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if self.server.mode == "silent":
                assert self.server.release.wait(10)
            while self.server.mode == "endless":
                self.chunk(encode(begin[-1]))
            for event in end:
                self.chunk(encode(event))
            self.chunk(b"")
        except OSError:
            self.server.client_left.set()
