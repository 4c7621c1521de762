"""Tests that a pod with Weir as a sidecar starts and stops without a broken stream, with the real processes.

The kubelet's part comes from the shipped manifest: the hooks are called as written, and the configuration is that of
its ConfigMap with shorter times. The order is the kubelet's: the sidecar starts and is ready, then the agent starts; at
the end all hooks run at once, then the agent gets SIGTERM, and the sidecar gets it once the agent has ended.
"""

import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import yaml

from support.backend import Backend
from support.process import ROOT, python
from support.raw import Raw
from support.wait import until

MANIFEST = ROOT / "deploy/kubernetes/sidecar.yaml"
STREAMS = 50
DELAY, LIMIT = 0.5, 3


class Pod:
    """One of the manifest's pods, run without the kubelet."""

    def __init__(self, weir, drain: dict | None = None):
        objects = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}
        spec = objects["Deployment"]["spec"]["template"]["spec"]
        [sidecar], [agent] = spec["initContainers"], spec["containers"]
        self.hooks = [one["lifecycle"]["preStop"]["httpGet"] for one in (sidecar, agent)]
        self.probe = sidecar["startupProbe"]["httpGet"]["path"]
        config = yaml.safe_load(objects["ConfigMap"]["data"]["weir.yaml"])
        assert f":{self.hooks[1]['port']}" in config["admin"]["listen"] and self.hooks[0]["port"] == "weir-admin"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config["upstreams"]["agent"]["endpoints"] = [f"http://127.0.0.1:{self.port}"]
        config |= {"listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"}}
        config["drain"] = drain or {"delay": f"{int(DELAY * 1000)}ms", "limit": f"{LIMIT}s"}
        self.weir = weir(config=config)
        self.agent: Backend | None = None
        self._pool = ThreadPoolExecutor()

    def starts_agent(self, module: str = "sse_starlette_app") -> Backend:
        """Starts an agent that cuts its streams on SIGTERM, as sse-starlette does."""
        command = python("-m", "uvicorn", f"backends.{module}:app", "--host", "127.0.0.1", "--port", str(self.port))
        self.agent = Backend(command, r"running on http://127\.0\.0\.1:(\d+)")
        return self.agent

    def calls(self, hook: dict) -> Future:
        """Calls a hook as the kubelet does and waits for the response. Returns its status and its time."""

        def call():
            fields = {field["name"]: field["value"] for field in hook["httpHeaders"]}
            fields |= {"User-Agent": "kube-lifecycle/1.34", "Accept": "*/*"}
            with Raw(f"http://{self.weir.admin}").get(hook["path"], **fields) as client:
                client.read_body()
                return client.status, time.monotonic()

        return self._pool.submit(call)

    def close(self) -> None:
        if self.agent:
            self.agent.close()
        self._pool.shutdown()


@pytest.fixture
def pod(weir):
    pods: list[Pod] = []

    def start(**settings) -> Pod:
        pods.append(Pod(weir, **settings))
        return pods[-1]

    yield start
    for one in pods:
        one.close()


def holding(pod: Pod, runs: list[str]) -> list[Raw]:
    clients = [Raw(pod.weir.url).get(f"/agent?run={run}&hold=2") for run in runs]
    for client in clients:
        client.until_events(2)
    return clients


def test_a_pod_comes_and_goes_under_fifty_streams(pod, name):
    one = pod()
    # The sidecar must be ready without an agent; otherwise the agent would never be started.
    assert one.weir.ask(one.probe)[0] == 200 and one.weir.ask("/readyz")[0] == 200
    with ThreadPoolExecutor(STREAMS) as pool:
        early = pool.submit(lambda: Raw(one.weir.url).get("/agent?count=3").read_body())
        agent = one.starts_agent()
        assert b'"done"' in early.result(), "who came before the agent has waited for it"

        runs = [name() for _ in range(STREAMS)]
        clients = holding(one, runs)
        began = time.monotonic()
        hooks = [one.calls(hook) for hook in one.hooks]
        until("the pod is not ready", lambda: one.weir.ask("/readyz")[0] == 503)
        with Raw(one.weir.url).get("/agent?count=3") as late:
            assert b'"done"' in late.read_body(), "balancers learn it late"
        for run in runs[::2]:
            agent.open(run)
        bodies = list(pool.map(Raw.read_body, clients))
        ended = time.monotonic()
        answers = [hook.result() for hook in hooks]
    assert [status for status, _ in answers] == [200, 200]
    assert all(at - began >= LIMIT - 0.1 for _, at in answers), "the agent is kept for as long as anybody listens"
    assert all(at - ended < 1 for _, at in answers), "and no longer"

    assert agent.child.exited() is None, "nobody has told it anything so far"
    agent.child.stop()
    one.weir.terminate()
    assert one.weir.stopped(within=2) == 0
    for client, body in zip(clients[::2], bodies[::2]):
        assert body.endswith(b'data: {"type": "done"}\n\n') and b"drained" not in body
    for client, body in zip(clients[1::2], bodies[1::2]):
        assert client.events()[-1].json()["code"] == "drained" and b'"done"' not in body
    # The stream id finds the log line.
    told = {client.headers["weir-stream-id"] for client in clients[1::2]}
    ends = [line for line in one.weir.logs() if line["message"] == "stream ended"]
    assert told == {line["stream_id"] for line in ends if line["outcome"] == "drained"}
    assert sorted(line["outcome"] for line in ends) == ["drained"] * (STREAMS // 2) + ["finished"] * (STREAMS // 2 + 2)


def test_hooks_answer_as_soon_as_the_last_stream_is_over(pod, name):
    one, run = pod(drain={"delay": "0s", "limit": "60s"}), name()
    agent = one.starts_agent()
    [client] = holding(one, [run])
    hooks = [one.calls(hook) for hook in one.hooks]
    until("the pod is not ready", lambda: one.weir.ask("/readyz")[0] == 503)
    assert not any(hook.done() for hook in hooks)
    agent.open(run)
    assert b'"done"' in client.read_body()
    assert [hook.result(timeout=2)[0] for hook in hooks] == [200, 200]


def test_an_agent_without_the_hook_cuts_its_streams_and_every_client_is_told(pod, name):
    """Shows why the agent needs a hook: sse-starlette ends its streams on SIGTERM, even while clients listen."""
    one = pod()
    agent = one.starts_agent()
    clients = holding(one, [name() for _ in range(10)])
    hook = one.calls(one.hooks[0])
    until("the pod is not ready", lambda: one.weir.ask("/readyz")[0] == 503)
    agent.child.stop()
    for client in clients:
        client.read_body()
        assert client.events()[-1].json()["code"] in ("truncated", "upstream_reset")
    assert hook.result(timeout=5)[0] == 200


def test_an_agent_with_its_own_knob_turned_needs_no_hook(pod, name):
    """`AppStatus.disable_automatic_graceful_drain()`, and uvicorn waits without limit, so running streams finish."""
    one, run = pod(drain={"delay": "0s", "limit": "60s"}), name()
    agent = one.starts_agent("sse_starlette_patient_app")
    side = agent.child.line("its other port", lambda line: line.startswith("side: "))
    [client] = holding(one, [run])
    hook = one.calls(one.hooks[0])
    until("the pod is not ready", lambda: one.weir.ask("/readyz")[0] == 503)
    agent.child.signal(signal.SIGTERM)
    agent.child.line("that the signal is heard", lambda line: "Shutting down" in line)
    with socket.create_connection(("127.0.0.1", int(side.removeprefix("side: ")))) as other:
        other.sendall(f"{run}\n".encode())
    assert client.read_body().endswith(b'data: {"type": "done"}\n\n')
    assert hook.result(timeout=5)[0] == 200
    assert agent.child.wait(within=5) is not None


def test_a_job_ends_with_its_agent(pod):
    """A native sidecar gets SIGTERM once the containers of its job are done. For jobs, `drain.delay: 0s` is
    recommended."""
    one = pod(drain={"delay": "0s", "limit": "25s"})
    one.starts_agent().child.stop()
    started = time.monotonic()
    one.weir.terminate()
    assert one.weir.stopped(within=2) == 0 and time.monotonic() - started < 1
