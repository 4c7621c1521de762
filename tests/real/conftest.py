"""Fixtures for all tests: the binary, the backends, and direct connections to compare with."""

import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.scripted import Script, Upstream
from support.backend import Backend, Names
from support.fleet import ready
from support.redis import Redis
from support.resume import RESUME
from support.tls import Authority
from support.weir import Weir, config_for

import json


# Tests that run alone: they load the machine, or measure times or memory that other tests would affect.
ALONE = {
    "acknowledgements",
    "attacked",
    "bounds",
    "fair_shares",
    "leaving",
    "memory",
    "neighbours",
    "punctual",
    "slow_client",
    "small_frames",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem.removeprefix("test_") in ALONE:
            item.add_marker("alone")


def pytest_configure() -> None:
    """Raises the descriptor limit for thousands of streams. Children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture
def weir(tmp_path: Path) -> Iterator[Callable[..., Weir]]:
    """`weir(upstream)` starts Weir. Takes any configuration section by name, or `weir(config={...})`; and `under`, a
    command that executes it."""
    running: list[Weir] = []

    def start(
        upstream: str = "",
        config: dict[str, Any] | None = None,
        under: Sequence[str] = (),
        **sections: Any,
    ) -> Weir:
        file = tmp_path / f"weir-{len(running)}.yaml"
        # JSON is valid YAML.
        file.write_text(json.dumps(config or config_for(upstream, **sections), indent=1))
        one = Weir("--config", str(file), under=under)
        one.file = file
        running.append(one)
        return one

    yield start
    problems = []
    for one in running:
        try:
            one.close()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, problems


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """`upstream(script)` starts a scripted server. `path=` or `tls=` change how it listens."""
    running: list[Upstream] = []

    def start(script: Script, **where: Any) -> Upstream:
        running.append(Upstream(script, **where))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """`redis()` starts a server: of Redis or `valkey`, with any setting of its configuration file."""
    running: list[Redis] = []

    def start(kind: str = "redis", **settings: Any) -> Redis:
        running.append(Redis(tmp_path / f"redis-{len(running)}", kind, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def fleet(
    redis: Callable[..., Redis], upstream: Callable[..., Upstream], weir: Callable[..., Weir]
) -> Callable[..., list[Weir]]:
    """`fleet(script, store)` starts Weir processes before one agent, which keep their streams in this store, a section
    `resume.redis`; and waits until they can use it, unless `up` is false. Takes settings of the route, too."""

    def start(script: Script, store: dict[str, Any], number: int = 2, up: bool = True, **policy: Any) -> list[Weir]:
        agent = upstream(script).url
        resume = {"store": "redis", "redis": store}
        all = [weir(agent, defaults={**RESUME, **policy}, resume=resume) for _ in range(number)]
        if up:
            ready(*all)
        return all

    return start


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Signs certificates that `authority.client()` trusts."""
    return Authority()


@pytest.fixture(scope="session")
def name() -> Names:
    """`name()` returns a name for a run that no other test uses."""
    return Names()


def backend(start: Callable[[], Backend]) -> Any:
    """Makes a session fixture for a backend process."""

    @pytest.fixture(scope="session")
    def fixture() -> Iterator[Backend]:
        one = start()
        yield one
        one.close()

    return fixture


fastapi = backend(lambda: Backend.uvicorn("fastapi_app"))
sse_starlette = backend(lambda: Backend.uvicorn("sse_starlette_app"))
langgraph = backend(lambda: Backend.uvicorn("langgraph_app"))
langgraph_agent = backend(lambda: Backend.uvicorn("langgraph_agent_app"))
gzip = backend(lambda: Backend.uvicorn("gzip_app"))
gthread = backend(
    lambda: Backend.gunicorn("backends.flask_app:app", "--worker-class", "gthread", "--threads", "16")
)
uvicorn_worker = backend(
    lambda: Backend.gunicorn(
        "backends.fastapi_app:app", "--worker-class", "uvicorn_worker.UvicornWorker"
    )
)
