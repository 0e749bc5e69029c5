# SPDX-License-Identifier: Apache-2.0
"""A call beside one of bare ``requests.Session``, of Airflow's ``HttpHook`` and of aepp, one after another.

The first three read the permissions of a group from the sink, which responds at once: what is compared is the
client. Ours has the limiter, retries, redaction and all checks; the peers have nothing but their headers.
aepp asks the emulator for a batch, and so do we: the emulator's own time is part of both.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import requests

from airflow_provider_adobe_audiences.adobe.audience_manager import list_group_permissions
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.experience_platform import create_batch, get_batch
from benchmarks import figures, peers, sink
from scripts.local_airflow import connection_to, emulator_process

CALLS = int(os.environ.get("BENCH_CALLS", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


def timed(do: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the milliseconds of one call, and those of the processor."""
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(calls):
        do()
    return (
        (time.perf_counter() - begun) * 1000 / calls,
        (time.process_time() - worked) * 1000 / calls,
    )


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    return {
        "machine": figures.machine(),
        "calls": CALLS,
        **to_the_sink(),
        "get_batch": beside_aepp(),
        "load_average": figures.load(),
    }


def to_the_sink() -> dict[str, Any]:
    """Measure us, ``requests`` and ``HttpHook``, in turn."""
    from airflow.providers.http.hooks.http import HttpHook

    logging.getLogger("airflow").setLevel(logging.WARNING)
    headers = {"Authorization": "Bearer a-token-of-the-benchmark", "x-api-key": "benchmark"}
    with sink.compiled() as program, sink.running(program, "http://127.0.0.1:9") as (url, _):
        settings = AdobeSettings.of(
            {
                "client_id": "benchmark",
                "authentication": "access_token",
                "access_token": "a-token-of-the-benchmark",
                "audience_manager_url": f"{url}/sink",
            },
            "the benchmark",
        )
        place = list_group_permissions(1).path
        os.environ["AIRFLOW_CONN_SINK"] = json.dumps({"conn_type": "http", "host": f"{url}/sink"})
        with AdobeSession(settings) as session, requests.Session() as peer:
            peer.headers.update(headers)

            def ours() -> object:
                return session.send(list_group_permissions(1))

            def bare() -> object:
                response = peer.get(f"{settings.audience_manager_url}{place}")
                response.raise_for_status()
                return response.json()

            def hook() -> object:
                return HttpHook("GET", http_conn_id="sink").run(place.lstrip("/"), headers=headers).json()

            assert ours() == ()
            assert bare() == hook() == []
            rounds = [
                (timed(ours, CALLS), timed(bare, CALLS), timed(hook, CALLS // 10)) for _ in range(ROUNDS + 1)
            ][1:]
    found: dict[str, Any] = {}
    for number, what in enumerate(("milliseconds", "processor_milliseconds")):
        us, *others = ([one[number] for one in series] for series in zip(*rounds, strict=True))
        found[what] = {"ours": round(statistics.median(us), 3)}
        for name, other in zip(("requests.Session", "HttpHook"), others, strict=True):
            found[what][name] = round(statistics.median(other), 3)
            found[what][f"ours to {name}"] = figures.ratio(us, other)
    return found


def beside_aepp() -> Any:
    """Measure us and aepp, in turn, at the emulator."""
    with emulator_process() as emulator, AdobeSession(_settings(emulator.url)) as session:
        batch = session.send(create_batch("benchmark", input_format="json")).id
        rounds = []
        for _ in range(ROUNDS):
            peer = peers.measured("aepp", emulator.url, batch, str(CALLS // 2))
            if peer is None:
                return peers.MISSING
            rounds.append((timed(lambda: session.send(get_batch(batch)), CALLS // 2), peer))
    found: dict[str, Any] = {}
    for number, what in enumerate(("milliseconds", "processor_milliseconds")):
        us, other = [one[number] for one, _ in rounds], [peer[what] for _, peer in rounds]
        found[what] = {
            "ours": round(statistics.median(us), 3),
            "aepp": round(statistics.median(other), 3),
            "ours to aepp": figures.ratio(us, other),
        }
    return found


def _settings(url: str) -> AdobeSettings:
    connection = connection_to(url)
    fields = {
        **connection["extra"],
        "client_id": connection["login"],
        "client_secret": connection["password"],
    }
    return AdobeSettings.of(fields, "the benchmark")


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
