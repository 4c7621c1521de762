"""Tests that each span belongs to the right trace, and that the agent is told which."""

import pytest

from support.h2 import H2
from support.traces import CHAT, NEEDS_EXPORT, OPENAI, PARENT, TRACE, answers, collector, setting, whole
from support.wait import until

pytestmark = NEEDS_EXPORT


def spoken(server):
    """Returns the trace context that the agent received."""
    (request,) = server.requests()
    return request.headers["traceparent"].split("-"), request.headers.get("tracestate")


@pytest.mark.parametrize("flags", ["01", "03"])
def test_a_span_stands_between_the_callers_and_the_agents(setting, flags):
    server, receiver, proxy = setting()
    whole(proxy.url, traceparent=f"00-{TRACE}-{PARENT}-{flags}", tracestate="a=b,c=d")
    span = receiver.only()
    assert (span.trace, span.parent, span.kind) == (TRACE, PARENT, "SPAN_KIND_SERVER")
    assert span.state == "a=b,c=d"
    context, state = spoken(server)
    assert context == ["00", TRACE, span.id, flags]
    assert state == "a=b,c=d"
    assert span.id not in (PARENT, "0" * 16)
    assert proxy.ended()["trace_id"] == TRACE


def test_a_trace_may_begin_at_weir(setting):
    server, receiver, proxy = setting()
    whole(proxy.url, tracestate="a=b")
    span = receiver.only()
    context, state = spoken(server)
    assert context == ["00", span.trace, span.id, "01"]
    assert state is None, "it belonged to no trace"
    assert span.parent == "" and len(span.trace) == 32
    assert proxy.ended()["trace_id"] == span.trace


def test_what_is_not_sampled_is_not_told(setting):
    server, receiver, proxy = setting()
    given = f"00-{TRACE}-{PARENT}-00"
    whole(proxy.url, traceparent=given, tracestate="a=b")
    context, state = spoken(server)
    assert "-".join(context) == given and state == "a=b"
    whole(proxy.url)
    assert receiver.only().trace != TRACE


def test_the_share_of_own_traces_is_respected(setting):
    server, receiver, proxy = setting(traces={"sample": 0.0})
    whole(proxy.url)
    context, _ = spoken(server)
    assert context[3] == "00", "the agent is told the same"
    whole(proxy.url, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert receiver.only().trace == TRACE, "others have decided for theirs"


def test_without_a_collector_the_context_passes_untouched(weir, upstream):
    server = upstream(answers(*OPENAI))
    proxy = weir(server.url)
    given = f"00-{TRACE}-{PARENT}-01"
    whole(proxy.url, traceparent=given, tracestate="a=b")
    context, state = spoken(server)
    assert "-".join(context) == given and state == "a=b"
    assert proxy.metrics().by("weir_trace_spans_total", "result") == {}


def test_streams_of_one_connection_have_a_span_each(setting):
    _, receiver, proxy = setting()
    callers = [f"{number:032x}" for number in range(1, 9)]
    with H2(proxy.url) as connection:
        streams = [
            connection.request("POST", CHAT, b"{}", traceparent=f"00-{trace}-{PARENT}-01") for trace in callers
        ]
        assert all(stream.read_body().endswith(b"[DONE]\n\n") for stream in streams)
    until("all spans", lambda: len(receiver.spans()) == len(callers))
    assert sorted(span.trace for span in receiver.spans()) == callers
