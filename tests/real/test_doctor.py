"""`weir doctor` with Weir's own probe: through real proxies, with and without what docs/intermediaries.md says, and through a
small one that harms streams in every way that has a finding.

Each run streams for some 5 s of real time: silence cannot be shortened.
"""

import json
import os
import pty
import socket
import subprocess

import pytest

from support.bad_hop import BadHop
from support.doctor import doctor, run
from support.hop import KINDS, Hop, version
from support.weir import BINARY

IDLE = ("--idle", "2s")


@pytest.fixture
def probed(weir, upstream):
    """A Weir with the probe, whose agent is never asked."""
    return weir(upstream(lambda connection: connection.request()).url, probe=True)


@pytest.fixture
def hop(tmp_path):
    """`hop(name, weir)` starts a proxy, with `changes` to the page's text."""
    running = []

    def start(name, weir, changes=None):
        running.append(Hop(name, weir, tmp_path / f"hop-{len(running)}", changes or {}))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def bad():
    """`bad(upstream, **harm)` starts a proxy that harms streams."""
    running = []

    def start(upstream, **harm):
        running.append(BadHop(upstream, **harm))
        return running[-1].url

    yield start
    for one in running:
        one.close()


def test_plain_weir_has_no_finding(probed):
    report = doctor(*IDLE, probed.url)
    assert report.code == 0 and report.ids() == set(), report.json
    assert report.json["hops"][0]["not_examined"] == []
    times = report.json["hops"][0]["times"]
    assert times["clock_error_ms"] < 100 and times["added_delay_ms"]["median"] < 100
    assert report.json["hops"][0]["events"] == 20


@pytest.mark.parametrize("name", KINDS)
def test_a_proxy_as_the_page_has_it_has_no_finding(probed, hop, name):
    front = hop(name, probed)
    report = doctor(*IDLE, probed.url, front.url)
    assert report.code == 0, report.json["verdict"]
    assert report.json["hops"][1]["not_examined"] == []


def test_a_hop_that_does_nothing_has_no_finding(probed, bad):
    report = doctor(*IDLE, bad(probed.url))
    assert report.code == 0, report.json["verdict"]


HARMS = {
    "holds the head": ({"hold_head": 2}, {"head_delayed"}),
    "cuts silence": ({"idle": 1.2}, {"idle_cut"}),
    "cuts everything": ({"total": 1.8}, {"cut"}),
    "strips comments": ({"strips_comments": True}, {"heartbeats_stripped"}),
    "rewrites the type": ({"content_type": "application/octet-stream"}, {"content_type_rewritten"}),
    "speaks HTTP/1.0": ({"http10": True}, {"http_1_0"}),
    "ignores that the client left": ({"ignores_leave": True}, {"client_left_ignored"}),
    "buffers": ({"collects": 1 << 20}, {"buffered"}),
    "coalesces": ({"collects": 700}, {"coalesced"}),
    "waits a little for more": ({"waits": 0.1}, {"coalesced"}),
    "cuts silence without heartbeats": ({"idle": 1.2, "strips_comments": True}, {"idle_cut", "heartbeats_stripped"}),
}


@pytest.mark.parametrize("name", HARMS)
def test_each_harm_is_found_and_nothing_else(probed, bad, name):
    harm, expected = HARMS[name]
    front = bad(probed.url, **harm)
    # The middle one does nothing: the last one is at fault.
    middle = bad(probed.url)
    report = doctor(*IDLE, middle, front)
    assert report.code == 1
    assert report.ids(0) == set(), report.json["verdict"]
    assert report.ids(1) == expected, report.json["verdict"]
    url, found = report.fault
    assert url == front and found in expected
    assert front in report.json["verdict"]
    for finding in report.json["hops"][1]["findings"]:
        assert finding["evidence"] and finding["setting"]


def test_the_first_hop_is_at_fault_for_all_behind_it(probed, bad):
    first = bad(probed.url, content_type="text/plain")
    second = bad(first, http10=True)
    report = doctor(*IDLE, probed.url, first, second)
    assert report.fault == (first, "content_type_rewritten")
    assert report.own(2) == {"http_1_0"}


def test_only_the_third_hop_is_bad(probed, bad):
    second = bad(probed.url)
    third = bad(second, strips_comments=True)
    report = doctor(*IDLE, probed.url, second, third)
    assert report.fault == (third, "heartbeats_stripped")
    assert report.ids(0) == report.ids(1) == set()
    assert report.json["verdict"].startswith(f"{third} is the first hop")


def test_a_key_in_the_query_is_sent_and_not_shown(probed, bad):
    done = run(*IDLE, bad(probed.url, key="s3cret") + "/.weir/probe?key=s3cret")
    assert done.returncode == 0, done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_five_seconds_of_silence_are_tested_by_default(probed, bad):
    report = doctor(bad(probed.url, idle=5))
    assert report.ids() == {"idle_cut"}, report.json["verdict"]
    evidence = report.json["hops"][0]["findings"][0]["evidence"]
    assert "with a heartbeat" in evidence


def test_nginx_that_cuts_silence(probed, hop):
    front = hop("nginx", probed, {"proxy_read_timeout 150s": "proxy_read_timeout 1s"})
    report = doctor(*IDLE, front.url)
    # Heartbeats come every 400 ms.
    assert report.ids() == {"idle_cut"}, report.json["verdict"]
    assert "proxy_read_timeout" in report.json["verdict"]


@pytest.mark.skipif(version("nginx") >= (1, 29, 7), reason="the default is HTTP/1.1 from 1.29.7 on")
def test_nginx_with_its_defaults_speaks_http_1_0(probed, hop):
    changes = {"proxy_buffering off;": "", "proxy_http_version 1.1;": ""}
    report = doctor(*IDLE, hop("nginx", probed, changes).url)
    # What Weir says in X-Accel-Buffering turns the buffering off.
    assert report.ids() == {"http_1_0"}, report.json["verdict"]
    assert "proxy_http_version 1.1" in report.json["verdict"]


@pytest.mark.parametrize("http, found", [("1.0", "buffered"), ("1.1", "head_delayed")])
def test_nginx_that_buffers(probed, hop, http, found):
    """What nginx reads in chunks it passes on, after a head that waits for the first of them."""
    buffers = {
        "proxy_buffering off;": "proxy_ignore_headers X-Accel-Buffering;",
        "proxy_http_version 1.1;": f"proxy_http_version {http};",
    }
    front = hop("nginx", probed, buffers)
    report = doctor(*IDLE, probed.url, front.url)
    assert report.fault == (front.url, found), report.json["verdict"]
    assert "proxy_buffering off" in report.json["verdict"]


@pytest.mark.parametrize("preamble, found", [("0B", {"head_delayed"}), ("16B", set())])
def test_nginx_with_http2_holds_the_head_unless_a_preamble_comes_with_it(
    weir, upstream, hop, authority, tmp_path, preamble, found
):
    agent = upstream(lambda connection: connection.request()).url
    behind = weir(agent, probe=True, defaults={"preamble_bytes": preamble})
    files = authority.issue(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secure = f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {files.cert}; ssl_certificate_key {files.key};"
    hop("nginx", behind, {"client_max_body_size 64m;": f"client_max_body_size 64m; {secure}"})
    report = doctor(*IDLE, "--ca-file", authority.file(tmp_path), f"https://localhost:{port}")
    assert report.json["hops"][0]["http"] == "HTTP/2.0"
    assert report.ids() == found, report.json["verdict"]
    assert not found or "preamble_bytes" in report.json["verdict"]


@pytest.mark.parametrize("preamble, found", [("0B", {"head_delayed"}), ("16B", set())])
def test_caddy_that_may_compress_holds_the_head_unless_a_preamble_comes_with_it(weir, upstream, hop, preamble, found):
    agent = upstream(lambda connection: connection.request()).url
    behind = weir(agent, probe=True, defaults={"preamble_bytes": preamble})
    # Before 2.6.3, it compresses as well.
    report = doctor(*IDLE, hop("caddy", behind, {":8000 {": ":8000 {\n    encode gzip"}).url)
    assert report.ids() - {"compressed"} == found, report.json["verdict"]
    assert not found or "preamble_bytes" in report.json["verdict"]


def test_nginx_that_compresses(probed, hop):
    report = doctor(*IDLE, hop("nginx", probed, {"gzip off;": "gzip on; gzip_types text/event-stream; gzip_proxied any;"}).url)
    assert "compressed" in report.ids(), report.json["verdict"]


def test_haproxy_that_waits_for_more(probed, hop):
    report = doctor(*IDLE, hop("haproxy", probed, {"option http-no-delay": ""}).url)
    assert report.ids() & {"coalesced", "events_delayed"}, report.json["verdict"]
    assert "http-no-delay" in report.json["verdict"]


@pytest.mark.skipif(version("haproxy") >= (3, 3), reason="the default from 3.3 on")
def test_haproxy_that_does_not_notice_that_clients_leave(probed, hop):
    report = doctor(*IDLE, hop("haproxy", probed, {"option abortonclose": ""}).url)
    assert report.ids() == {"client_left_ignored"}, report.json["verdict"]
    assert "abortonclose" in report.json["verdict"]


def test_envoy_that_limits_the_whole_response(probed, hop):
    report = doctor(*IDLE, hop("envoy", probed, {"timeout: 0s": "timeout: 1s"}).url)
    assert "cut" in report.ids(), report.json["verdict"]
    assert "timeout: 0s" in report.json["verdict"]


def test_http2_over_tls_is_shown(weir, upstream, authority, tmp_path):
    files = authority.issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    secure = weir(upstream(lambda connection: connection.request()).url, probe=True, listen=listen)
    url = f"https://localhost:{secure.address.rpartition(':')[2]}"
    report = doctor(*IDLE, "--ca-file", authority.file(tmp_path), url)
    assert report.code == 0, report.json["verdict"]
    assert report.json["hops"][0]["http"] == "HTTP/2.0"
    again = doctor(*IDLE, "--http1.1", "--ca-file", authority.file(tmp_path), url)
    assert again.code == 0 and again.json["hops"][0]["http"] == "HTTP/1.1"
    untrusted = doctor(url)
    assert untrusted.ids() == {"unreachable"} and "--ca-file" in untrusted.json["fault"]["evidence"]
    port = url.rpartition(":")[2]
    plain = doctor(f"http://127.0.0.1:{port}")
    assert plain.ids() == {"unreachable"} and "give https://" in plain.json["fault"]["evidence"]


def test_without_a_probe_it_says_so(weir, upstream):
    def absent(connection):
        while True:
            connection.request()
            connection.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    report = doctor(weir(upstream(absent).url).url)
    assert report.ids() == {"no_probe"}
    assert "probe: true" in report.json["verdict"]


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized", "307 Temporary Redirect"])
def test_an_agent_before_weir_needs_no_probe(probed, upstream, status):
    def absent(connection):
        while True:
            connection.request()
            connection.send(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")

    report = doctor(*IDLE, upstream(absent).url, probed.url)
    assert report.code == 0, report.json["verdict"]
    assert report.json["hops"][0]["not_examined"]


def test_the_report_in_a_terminal(probed, bad):
    """The strip, the finding, the setting and the verdict; progress as it goes; no header is shown."""
    front = bad(probed.url, collects=1 << 20)
    here, there = pty.openpty()
    command = [str(BINARY), "doctor", *IDLE, "-H", "Authorization: Bearer s3cret", front]
    with subprocess.Popen(command, stdout=there, stderr=subprocess.PIPE) as process:
        os.close(there)
        shown = b""
        try:
            while more := os.read(here, 65536):
                shown += more
        except OSError:
            # The terminal is gone with the process.
            pass
        said = process.stderr.read().decode()
        assert process.wait(10) == 1
    os.close(here)
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    sent = next(line for line in lines if line.strip().startswith("sent"))
    arrived = next(line for line in lines if line.strip().startswith("arrived"))
    assert sent.count("|") > 10 and arrived.count("|") < 3, (sent, arrived)
    assert all(len(line) < 80 for line in (sent, arrived))
    text = "\n".join(lines)
    for part in ("buffered:", "fix:", "docs/intermediaries.md#", "is at fault"):
        assert part in text, (part, text)
    assert "20 events" in said and "a silence of 2 s" in said
    assert "s3cret" not in text + said


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["127.0.0.1:8080"],
        ["--idle", "2h", "http://a"],
        ["-H", "s3cret", "http://a"],
        ["-d", "@/no/such/file", "http://a"],
        ["--openai", "m", "-d", "{}", "http://a"],
        ["--ca-file", "/no/such/file", "http://127.0.0.1:1"],
        ["--ca-file", __file__, "http://127.0.0.1:1"],
    ],
)
def test_wrong_usage_is_2(args):
    done = run(*args)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr and not done.stdout and "s3cret" not in done.stderr


def test_http_where_https_was_meant(probed):
    report = doctor(f"https://{probed.address}")
    assert report.ids() == {"unreachable"}
    assert "did you mean http://" in report.json["verdict"]


def test_nobody_there_is_a_finding():
    report = doctor("http://127.0.0.1:1")
    assert report.ids() == {"unreachable"}
    assert json.dumps(report.json)
