"""Tests of how Weir reaches a Redis server, of what it stores there, and of `weir check --probe`."""

import base64
import json
import os
import re
import subprocess

import pytest

from backends.resumable import Agent
from support import sse
from support.fleet import is_up, known, over, read, ready, run, state, whole
from support.process import ROOT
from support.raw import Raw
from support.redis import HOST, free_port
from support.resume import RESUME, numbers, rest
from support.wait import until
from support.weir import BINARY, config_for

COUNT = 40
HOLD = 10
SECRET = "canary-password"
KEY = {"authorization": "Bearer canary-token"}


def works(a, b) -> str:
    """Fails unless one instance has the streams of the other. Returns the id of one."""
    stream = run(a, COUNT, **KEY)
    over(b, stream, **KEY)
    whole(read(b, stream, **KEY), stream, COUNT)
    return stream


def file_of(folder, name: str, text: str) -> str:
    """Writes a secret, and returns how the configuration names it."""
    (folder / name).write_text(text)
    return f"file:{folder / name}"


def commands() -> list[str]:
    """Returns the rules of the documented user: keys and commands."""
    found = re.search(r"~weir:\*(?:\s+(?:\\\s+)?\+[a-z|]+)+", (ROOT / "docs/resume.md").read_text())
    assert found, "docs/resume.md has no ACL rule that begins with `~weir:* +`"
    return [word for word in found[0].split() if word != "\\"]


def rules(words: list[str]) -> str:
    return " ".join(["weir", "on", f">{SECRET}", "resetchannels", "-@all", *words])


@pytest.mark.parametrize("database", [0, 3])
def test_a_unix_socket_and_a_database(redis, fleet, database):
    server = redis(unix=True)
    works(*fleet(Agent(COUNT), {"url": server.url.replace("db=0", f"db={database}")}))
    with server.connect() as connection:
        connection.ask("SELECT", database)
        assert connection.ask("DBSIZE") > 0
        connection.ask("SELECT", 1)
        assert connection.ask("DBSIZE") == 0


@pytest.mark.parametrize("client", [False, True], ids=["server only", "client certificate"])
def test_tls(redis, fleet, authority, tmp_path, client):
    server = redis(authority=authority, **({"tls_auth_clients": "yes"} if client else {}))
    tls = {"roots": "none", "ca_file": authority.file(tmp_path)}
    if client:
        own = authority.issue(tmp_path, "weir")
        tls |= {"cert": own.cert, "key": own.key}
    works(*fleet(Agent(COUNT), server.reached(tls=tls)))
    # Neither a server that nobody vouches for is used, nor one that wants a certificate that there is not.
    spoilt = {**tls, "cert": None, "key": None} if client else {}
    (strict,) = fleet(Agent(COUNT), server.reached(tls=spoilt), number=1, up=False)
    strict.logged("the store of streams cannot be used")
    run(strict, COUNT)
    assert not is_up(strict)


def test_the_documented_commands_are_enough(redis, fleet, tmp_path):
    """With all ways between instances: following, stopping, names."""
    server = redis(user=rules(commands()))
    password = file_of(tmp_path, "password", SECRET)
    agent = Agent(COUNT, hold=HOLD)
    chats = {"idempotency": True, "chats": {"path": "/api/chat/{id}/stream"}}
    a, b = fleet(agent, server.reached(username="weir", password=password), resume=chats)
    with Raw(a.url).post("/agent", idempotency_key="k1") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with Raw(b.url).post("/agent", idempotency_key="k1") as again, rest(b.url, stream, 4) as follower:
            assert again.headers["weir-stream-id"] == stream
            with Raw(b.url).send("DELETE", f"/.weir/streams/{stream}").read_head() as stopping:
                assert stopping.status == 202
            for one in (client, again, follower):
                assert "stopped" in (sse.events(one.read_body())[-1].data or "")
    agent.go.set()
    works(a, b)
    for proxy in (a, b):
        metrics = proxy.metrics()
        assert metrics.value("weir_resume_store_errors_total") == 0
        assert metrics.value("weir_resume_store_broken_total") == 0
    assert server.ask("ACL", "LOG") == []


def test_a_wrong_password(redis, fleet, tmp_path):
    server = redis(user=rules(commands()))
    wrong = file_of(tmp_path, "wrong", "canary-wrong")
    (proxy,) = fleet(Agent(COUNT), server.reached(username="weir", password=wrong), number=1, up=False)
    proxy.logged("the store of streams cannot be used")
    run(proxy, COUNT)
    assert not is_up(proxy)
    assert "canary" not in "\n".join(proxy.child.lines)


def test_a_prefix_keeps_fleets_apart(redis, fleet):
    server, agent = redis(), Agent(COUNT)
    a, b = fleet(agent, server.reached(prefix="one:"))
    (other,) = fleet(agent, server.reached(prefix="two:"), number=1)
    stream = works(a, b)
    assert state(other, stream, **KEY) == {}
    run(other, COUNT)
    beginnings = {key.partition(":")[0] for key in server.everything()}
    assert beginnings == {"one", "two"}


def test_nothing_stays_for_ever(redis, fleet):
    """Everything but the key of the callers' digests has an end of its own."""
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    options = {"keep": "30s", "idempotency": True, "chats": {"path": "/api/chat/{id}/stream"}}
    a, b = fleet(agent, server.reached(), resume=options, deadlines={"total": "10m"})
    with Raw(a.url).post("/agent", b'{"id":"chat-1"}', idempotency_key="k1") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            live = times(server)
            agent.go.set()
            client.read_body()
            follower.read_body()
    over(b, stream)
    ended = times(server)
    for found in (live, ended):
        assert {key for key, left in found.items() if left == -1} == {"weir:key"}
        assert max(found.values()) <= 650_000
    own = {key: left for key, left in ended.items() if stream in key}
    assert set(own) == {f"weir:{{{stream}}}:s", f"weir:{{{stream}}}:m"}
    assert all(10_000 < left <= 30_000 for left in own.values()), own


def times(server) -> dict[str, int]:
    """Returns how long each key stays, in milliseconds."""
    with server.connect() as connection:
        return {key.decode(): connection.ask("PTTL", key) for key in connection.ask("KEYS", "*")}


def key_of(folder, name: str) -> str:
    return file_of(folder, name, base64.b64encode(os.urandom(32)).decode())


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_is_stored(redis, fleet, tmp_path, is_sealed):
    """Never a credential. With a key, nothing of what was said, and nothing about the route either."""
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    sealing = {"encrypt": key_of(tmp_path, "key")} if is_sealed else {}
    a, b = fleet(agent, server.reached(**sealing), resume={"idempotency": True})
    headers = {**KEY, "idempotency_key": "canary-key", "cookie": "s=canary-cookie"}
    with Raw(a.url).post("/agent?q=canary-query", b'{"canary":"body"}', **headers) as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
        known(b, stream, HOLD, **KEY)
        with rest(b.url, stream, 4, **KEY) as follower:
            assert follower.until_events(HOLD - 4) == first[4:]
            agent.go.set()
            follower.read_body()
        whole(sse.events(client.read_body()), stream, COUNT)
    over(b, stream, **KEY)
    whole(read(b, stream, **KEY), stream, COUNT)
    stored = b"\n".join(key.encode() + b"\n" + value for key, value in server.everything().items())
    assert stream.encode() in stored
    assert b"canary" not in stored
    said = [b"Bergen", b"Oslo", b"token", b"tool_result", b"text/event-stream"]
    assert [word for word in said if word in stored] == ([] if is_sealed else said)


def test_another_key_opens_nothing(redis, fleet, tmp_path):
    server, agent = redis(), Agent(COUNT)
    one, other = key_of(tmp_path, "one"), key_of(tmp_path, "other")
    a, b = fleet(agent, server.reached(encrypt=one))
    (foreign,) = fleet(agent, server.reached(encrypt=other), number=1)
    (clear,) = fleet(agent, server.reached(), number=1)
    stream = works(a, b)
    for proxy in (foreign, clear):
        assert state(proxy, stream, **KEY) == {}
    # Nor is anything believed that was stored in clear.
    plain = run(clear, COUNT, **KEY)
    over(clear, plain, **KEY)
    assert state(a, plain, **KEY) == {}


def test_one_key_replaces_another(redis, fleet, tmp_path):
    """Instances with both keys are started beside those with the old one, which then go."""
    server, agent = redis(), Agent(COUNT)
    old, new = key_of(tmp_path, "old"), key_of(tmp_path, "new")
    (before,) = fleet(agent, server.reached(encrypt=old), number=1)
    stream = run(before, COUNT, **KEY)
    (both,) = fleet(agent, server.reached(encrypt=new, encrypt_old=old), number=1)
    over(both, stream, **KEY)
    whole(read(both, stream, **KEY), stream, COUNT)
    (after,) = fleet(agent, server.reached(encrypt=new), number=1)
    works(both, after)
    assert state(after, stream, **KEY) == {}


def test_a_slow_reader_of_a_large_sealed_stream(redis, fleet, tmp_path):
    """Entries are sealed one by one, whatever their size."""
    server, agent = redis(), Agent(5000)
    sealing = {"encrypt": key_of(tmp_path, "key")}
    a, b = fleet(agent, server.reached(**sealing), queue={"overflow": "block"})
    stream = run(a, 5000)
    over(b, stream)
    seen = read(b, stream)
    whole(seen, stream, 5000)
    last = numbers(seen[-1:], stream)[0]
    for after in (1, last // 2, last - 1):
        assert read(b, stream, after)[-1] == seen[-1]


@pytest.fixture
def probed(tmp_path):
    """`probed(redis)` runs `weir check --probe` with this section. Returns the exit code and what was said."""

    def check(redis: dict | None) -> tuple[int, str]:
        sections = {"resume": {"store": "redis", "redis": redis}} if redis else {}
        file = tmp_path / "probed.yaml"
        file.write_text(json.dumps(config_for("http://127.0.0.1:1", defaults=RESUME, **sections)))
        done = subprocess.run([BINARY, "check", "--probe", str(file)], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    return check


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_probe_of_a_good_server(redis, probed, tmp_path, kind):
    server = redis(kind, user=rules(commands()))
    password = file_of(tmp_path, "password", SECRET)
    before = server.everything()
    code, said = probed(server.reached(username="weir", password=password))
    assert code == 0, said
    for finding in ("Redis can be reached", "all commands are allowed"):
        assert finding in said
    # This user may not ask for them.
    assert "the version of Redis cannot be read" in said and "the eviction policy of Redis cannot be read" in said
    assert SECRET not in said
    assert server.everything() == before, "nothing is left behind"
    code, said = probed(server.reached())
    assert code == 0 and re.search(r"Redis has version \d+\.\d+", said) and "the eviction policy is noeviction" in said


def test_a_probe_without_a_store(probed):
    code, said = probed(None)
    assert code == 0 and "there is nothing to probe" in said


NEEDED = ["xadd", "xread", "xrange", "xrevrange", "set", "get", "del", "pexpire", "exists", "multi", "exec", "ping"]


def test_a_probe_names_each_command_that_is_missing(redis, probed, tmp_path):
    server = redis(user=rules(commands()))
    access = server.reached(username="weir", password=file_of(tmp_path, "password", SECRET))
    assert {f"+{name}" for name in NEEDED} <= set(commands())
    for name in NEEDED:
        server.ask("ACL", "SETUSER", "weir", f"-{name}")
        code, said = probed(access)
        assert code == 2 and f"{name.upper()} on `weir:probe` is refused" in said, (name, said)
        server.ask("ACL", "SETUSER", "weir", f"+{name}")
    # Keys that begin in another way.
    code, said = probed({**access, "prefix": "other:"})
    assert code == 2 and "SET on `other:probe` is refused" in said


def unreachable(server) -> dict:
    return {"url": f"redis://{HOST}:{free_port()}"}


def read_only(server) -> dict:
    server.ask("REPLICAOF", HOST, 1)
    return server.reached()


def full(server) -> dict:
    server.ask("CONFIG", "SET", "maxmemory", 1)
    return server.reached()


def paused(server) -> dict:
    server.pause()
    return server.reached()


def wants_tls(server) -> dict:
    return {"url": server.url.replace("redis://", "rediss://")}


BAD = {
    "unreachable": (unreachable, "Redis cannot be reached"),
    "read-only": (read_only, "SET on `weir:probe` is refused: "),
    "full": (full, "SET on `weir:probe` is refused: "),
    "paused": (paused, "Redis cannot be reached"),
    "no TLS": (wants_tls, "Redis cannot be reached"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_probe_of_a_bad_server(redis, probed, case):
    spoil, finding = BAD[case]
    code, said = probed(spoil(redis()))
    assert code == 2 and finding in said, said


def test_a_probe_with_a_wrong_password(redis, probed, tmp_path):
    server = redis(user=rules(commands()))
    code, said = probed(server.reached(username="weir", password=file_of(tmp_path, "wrong", "canary-wrong")))
    assert code == 2 and "Redis cannot be reached" in said
    assert "canary" not in said


def test_a_probe_of_a_server_that_is_too_old(redis, probed):
    """Servers before version 6.0 know no HELLO."""
    code, said = probed(redis(rename_command='HELLO ""').reached())
    assert code == 2 and "it must be 6.2 at least" in said, said


@pytest.mark.parametrize("policy, is_fine", [("allkeys-lru", False), ("volatile-ttl", True)])
def test_a_probe_warns_of_servers_that_delete(redis, probed, policy, is_fine):
    """A warning is no error."""
    code, said = probed(redis(maxmemory_policy=policy).reached())
    assert code == 0 and f"the eviction policy is {policy}" in said
    assert ("use `noeviction`" in said) is not is_fine


def test_streams_are_evicted(redis, fleet):
    """With a policy that the probe warns of: what is gone is told, and nothing hangs."""
    server, agent = redis(maxmemory_policy="allkeys-lru"), Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, server.reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            follower.until_events(HOLD)
            # Now it deletes all that it can.
            server.ask("CONFIG", "SET", "maxmemory", 1)
            until("everything is deleted", lambda: server.ask("DBSIZE") == 0)
            server.ask("CONFIG", "SET", "maxmemory", 0)
            agent.go.set()
            whole(sse.events(client.read_body()), stream, COUNT)
            last = sse.events(follower.read_body())[-1]
            assert last.name == "error" and "resume_gap" in (last.data or "")
    assert state(b, stream).get("state") in (None, "gap")
    ready(a, b)
    fresh = run(a, COUNT)
    over(b, fresh)
    whole(read(b, fresh), fresh, COUNT)
