"""An agent that sends each event when it is told to, so that one can arrive before the next is made."""

import threading
from collections import defaultdict

from backends import wire

EVENTS = [event.encode() for event in wire.openai(6)]
CHAT = "/v1/chat/completions"


class Agent:
    """An agent that sends the next event of a stream when told to, separately for each path."""

    def __init__(self, upstream, **where):
        self._permits = defaultdict(lambda: threading.Semaphore(0))
        self.server = upstream(self._script, **where)

    def _script(self, connection):
        while True:
            path = connection.request().line.split()[1]
            connection.head()
            for event in EVENTS:
                self._permits[path].acquire()
                connection.chunk(event)
            connection.end()

    def go_on(self, path=CHAT, events=1):
        self._permits[path].release(events)

    def connection(self, path=CHAT):
        """Returns the connection on which `path` was requested."""
        return next(c for c in self.server.connections if f" {path} " in c.requests[-1].line)

    def lockstep(self, stream, path=CHAT):
        """Checks that every event arrives before the next one is sent, and that nothing is lost at the end."""
        for number in range(len(EVENTS)):
            self.go_on(path)
            stream.until_bytes(b"".join(EVENTS[: number + 1]))
        assert stream.read_body() == b"".join(EVENTS)
