"""Tests that the configuration can change under load without affecting a stream."""

import json
import threading

import httpx

from support.raw import Raw
from support.wait import until
from support.weir import config_for


def reloads(proxy, result: str) -> float:
    return proxy.metrics().value("weir_config_reloads_total", result=result)


def rewrite(proxy, text: str) -> None:
    """Replaces the file atomically, as editors and ConfigMaps do."""
    fresh = proxy.file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(proxy.file)


def test_sighup_under_load(weir, fastapi, upstream, name):
    """Running streams keep their backend, new requests go to the new one, and none fails."""

    def script(connection):
        while True:
            connection.request()
            connection.head("application/json")
            connection.chunk('"second"')
            connection.end()

    second = upstream(script)
    proxy = weir(fastapi.url)
    runs = [name() for _ in range(10)]
    clients = [Raw(proxy.url).post(f"/v1/chat/completions?run={run}&hold=4") for run in runs]
    for client in clients:
        client.until_events(4)
    answers: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(timeout=10) as client:
            while not stop.is_set():
                answers.append(client.get(f"{proxy.url}/json").raise_for_status().text)

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    until("some answers", lambda: len(answers) > 50)
    assert '"second"' not in answers
    rewrite(proxy, json.dumps(config_for(second.url)))
    proxy.hang_up()
    until("the new configuration", lambda: reloads(proxy, "ok") >= 1)
    until("new answers", lambda: answers[-50:] == ['"second"'] * 50)
    stop.set()
    for worker in workers:
        worker.join(10)
    assert set(answers) == {answers[0], '"second"'}
    for run in runs:
        fastapi.open(run)
    for client in clients:
        assert client.read_body().endswith(b"data: [DONE]\n\n")
        client.close()
    proxy.outcomes(finished=10)
    assert proxy.metrics().value("weir_config_last_reload_successful") == 1


def test_an_invalid_file_keeps_the_old_configuration(weir, fastapi):
    proxy = weir(fastapi.url)
    assert proxy.metrics().value("weir_config_last_reload_successful") == 1
    rewrite(proxy, json.dumps({**config_for(fastapi.url), "heartbeet": "1s"}))
    proxy.hang_up()
    until("the refusal", lambda: reloads(proxy, "rejected") >= 1)
    assert proxy.metrics().value("weir_config_last_reload_successful") == 0
    assert any("heartbeet" in line for line in proxy.child.lines), "the log names the mistake"
    assert httpx.get(f"{proxy.url}/json").json()["text"] == "caf\u00e9"
    rewrite(proxy, json.dumps(config_for(fastapi.url)))
    proxy.hang_up()
    until("a good file again", lambda: reloads(proxy, "ok") >= 1)
    assert proxy.metrics().value("weir_config_last_reload_successful") == 1


def test_a_running_stream_keeps_its_settings(weir, fastapi, name):
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "off"}), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=2") as old:
        old.until_events(2)
        rewrite(proxy, json.dumps(config_for(fastapi.url, defaults={"heartbeat": "50ms"})))
        proxy.hang_up()
        until("the new configuration", lambda: reloads(proxy, "ok") >= 1)
        other = name()
        with Raw(proxy.url).get(f"/agent?run={other}&hold=2") as new:
            new.until_bytes(b"\n:")
        fastapi.open(run)
        assert b"\n:" not in old.read_body()
