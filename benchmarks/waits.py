# SPDX-License-Identifier: Apache-2.0
"""Deferred waits in one event loop: lag of the loop, memory, time until all have polled, requests.

Each figure is of a process of its own, which runs triggers as Airflow's triggerer does, against an emulator
in another process; the peers take turns: one client for each trigger (what this package did before), and the
official airbyte provider's trigger against a stub of its API, where ``make bench`` has installed it. The lag
of a loop without any trigger tells what the machine itself adds.

    python -m benchmarks waits              1 to 5,000 waits and the peers
    python -m benchmarks.real_waits 1000    a real triggerer (Airflow 3)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks import figures
from scripts.local_airflow import connection_to, emulator_process

REPO = Path(__file__).parents[1]
PEERS = REPO / "build" / "peers"
COUNTS = tuple(int(count) for count in os.environ.get("BENCH_WAITS", "1,10,100,1000,5000").split(","))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
INTERVAL = 10.0
#: So many intervals are measured.
INTERVALS = 2
#: The most that the peers are asked for: one client each takes minutes to begin, and a megabyte.
MAX_PEER = 1000
MAX_SECONDS = 150.0
_MEGABYTE = 1024


# -- the process that is measured


def resident() -> int:
    """Return the memory of this process in kB."""
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])


def one_client_each(kind: Any) -> Any:
    """Return the trigger as it was before pollers: a session, and a request per poll, of its own."""
    from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch

    class OneClientEach(kind):  # type: ignore[misc]
        async def _wait(self) -> dict[str, Any]:
            async with self.hook().async_session() as session:
                while self.waiter.pending():
                    batch = await session.send(get_batch(self.batch_id))
                    self.waiter.note(self.batch_id, batch, time.time())
                    if self.waiter.pending():
                        await asyncio.sleep(self.poll_interval)
            return {"status": "done", "result": self.result()}

    return OneClientEach


class Waits:
    """Triggers, and when each of them has polled."""

    def __init__(self) -> None:
        self.triggers: list[Any] = []
        self.all_polled = asyncio.Event()
        self.first: dict[int, float] = {}
        self.polls = 0

    def of_ours(self, kind: str, ids: list[str]) -> None:
        from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

        cls = one_client_each(AdobeBatchTrigger) if kind == "one client each" else AdobeBatchTrigger
        for place, batch_id in enumerate(ids):
            trigger = cls(batch_id=batch_id, deadline=time.time() + 3600, poll_interval=INTERVAL)
            trigger.waiter.note = self._counting(place, trigger.waiter.note)
            self.triggers.append(trigger)

    def of_airbyte(self, count: int) -> None:
        from airflow.providers.airbyte.hooks.airbyte import AirbyteHook
        from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger

        ask = AirbyteHook.get_job_status

        def counted(hook: Any, job_id: int) -> Any:
            status = ask(hook, job_id)
            self._polled(job_id)
            return status

        AirbyteHook.get_job_status = counted
        self.triggers = [
            AirbyteSyncTrigger(number, "airbyte_default", time.time() + 3600, INTERVAL)
            for number in range(count)
        ]

    def _polled(self, place: int) -> None:
        self.polls += 1
        self.first.setdefault(place, time.monotonic())
        if len(self.first) == len(self.triggers):
            self.all_polled.set()

    def _counting(self, place: int, note: Any) -> Any:
        def counted(*arguments: Any) -> None:
            note(*arguments)
            self._polled(place)

        return counted


async def lag(found: list[float]) -> None:
    """Note by how much the loop is late, a hundred times a second."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        found.append(time.perf_counter() - began - 0.01)


async def measure(kind: str, ids: list[str], url: str) -> dict[str, Any]:
    waits, lags, ended = Waits(), [], []

    async def one(trigger: Any) -> None:
        async for _ in trigger.run():
            ended.append(time.monotonic())  # noqa: PERF401

    if kind != "airbyte" and ids:  # what the first trigger of a process loads is no matter of their number
        waits.of_ours(kind, ids[:1])
        warm = asyncio.create_task(one(waits.triggers[0]))
        await waits.all_polled.wait()
        warm.cancel()
        await asyncio.wait([warm])
        waits = Waits()
    waits.of_airbyte(len(ids)) if kind == "airbyte" else waits.of_ours(kind, ids)
    before = resident()
    sampler = asyncio.create_task(lag(lags))
    began, cpu = time.monotonic(), time.process_time()
    tasks = [asyncio.create_task(one(trigger)) for trigger in waits.triggers]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waits.all_polled.wait(), MAX_SECONDS if ids else 0)
    await asyncio.sleep(INTERVALS * INTERVAL)
    measured = {
        "polled": len(waits.first),
        "all_polled_after_s": round(max(waits.first.values(), default=began) - began, 2),
        "rss_growth_mb": round((resident() - before) / _MEGABYTE, 1),
        "polls": waits.polls,
        "cpu_percent": round(100 * (time.process_time() - cpu) / (time.monotonic() - began), 1),
    }
    if kind != "airbyte" and ids:
        async with httpx.AsyncClient(trust_env=False) as client:
            # What was never completed is abandoned from now on: all batches end at once.
            over = time.monotonic()
            await client.patch(f"{url}/_emulator/switches", json={"batch_abandon_seconds": 0.001})
            _, late = await asyncio.wait(tasks, timeout=3 * INTERVAL)
            measured["never_noticed"] = len(late)
            measured["all_noticed_after_s"] = round(max(ended, default=over) - over, 2)
    sampler.cancel()
    for task in tasks:
        task.cancel()
    quantiles = statistics.quantiles(lags, n=100, method="inclusive")
    return {
        **measured,
        "lag_p50_ms": round(1000 * quantiles[49], 2),
        "lag_p99_ms": round(1000 * quantiles[98], 2),
        "lag_max_ms": round(1000 * max(lags), 1),
    }


def child(kind: str, url: str) -> None:
    """Measure in this process; the ids come by the standard input."""
    import logging

    logging.disable(logging.INFO)
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(measure(kind, json.load(sys.stdin), url))))


# -- the process that compares


@contextmanager
def airbyte() -> Iterator[str]:
    """Serve as much of Airbyte's API as its trigger asks for: every job is running."""

    class Jobs(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            job = {"jobId": int(self.path.rsplit("/", 1)[-1]), "status": "running", "jobType": "sync"}
            body = json.dumps({**job, "startTime": "2026-01-01T00:00:00Z", "connectionId": "c"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def new_batches(url: str, count: int) -> list[str]:
    """Create batches, and return their ids."""
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
    from airflow_provider_adobe_audiences.adobe.experience_platform import create_batch

    connection = connection_to(url)
    fields = {"client_id": connection["login"], "client_secret": connection["password"]}
    with AdobeSession(AdobeSettings.of({**connection["extra"], **fields})) as session:
        return [session.send(create_batch("ds", input_format="json")).id for _ in range(count)]


def in_a_process(kind: str, ids: list[Any], url: str) -> dict[str, Any]:
    connections = {
        "AIRFLOW_CONN_ADOBE_DEFAULT": json.dumps(connection_to(url)),
        "AIRFLOW_CONN_AIRBYTE_DEFAULT": json.dumps({"conn_type": "airbyte", "host": url}),
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        **connections,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": os.pathsep.join(map(str, (REPO, PEERS))),
    }
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.waits", "--child", kind, url],
        env=environment,
        input=json.dumps(ids),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(finished.stderr)
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def one_round(kind: str, count: int) -> dict[str, Any]:
    """Return the figures of so many waits."""
    if kind == "airbyte":
        with airbyte() as url:
            return in_a_process(kind, list(range(count)), url)
    with emulator_process() as emulator, httpx.Client(base_url=emulator.url, trust_env=False) as control:
        control.patch("/_emulator/switches", json={"journal_bodies": 0})
        ids = new_batches(emulator.url, count)
        control.delete("/_emulator/journal")
        measured = in_a_process(kind, ids, emulator.url)
        asked = control.get(
            "/_emulator/journal", params={"method": "GET", "path": "/catalog/batches"}, timeout=60
        ).json()
        measured["requests"] = len(asked)
        measured["polls_per_request"] = round((measured["polls"] + len(ids)) / max(1, len(asked)), 1)
        return measured


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    allow_descriptors()
    kinds = [("one poller", count) for count in COUNTS]
    kinds += [("one client each", count) for count in COUNTS if count <= MAX_PEER]
    if (PEERS / "airflow" / "providers" / "airbyte").is_dir():
        kinds += [("airbyte", count) for count in COUNTS if count <= MAX_PEER]
    rounds: dict[tuple[str, int], list[dict[str, Any]]] = {pair: [] for pair in [("idle", 0), *kinds]}
    for _ in range(ROUNDS):
        for kind, count in rounds:
            load = figures.load()
            one = one_round("one poller" if kind == "idle" else kind, count)
            rounds[kind, count].append({**one, "load": load})
            print(f"  {kind} {count}: {one}", file=sys.stderr, flush=True)
    found: dict[str, Any] = {"machine": figures.machine()}
    for (kind, count), measured in rounds.items():
        found.setdefault(kind, {})[str(count)] = medians(measured)
    ours = found["one poller"]
    for kind in ("one client each", "airbyte"):
        for count, theirs in found.get(kind, {}).items():
            for name in ("rss_growth_mb", "lag_p99_ms", "cpu_percent", "all_polled_after_s"):
                theirs[f"{name}_ratio_to_ours"] = round(theirs[name] / max(ours[count][name], 0.01), 1)
    draw(found)
    return found


def draw(found: dict[str, Any]) -> None:
    """Write the images of the page."""
    kinds = [kind for kind in ("one poller", "one client each", "airbyte") if kind in found]
    for name, title, figure, unit in (
        ("waits-memory", "Memory of deferred waits", "rss_growth_mb", "MB above idle"),
        ("waits-lag", "The longest time that the event loop stood still", "lag_max_ms", "milliseconds"),
    ):
        series = {
            kind: {float(count): max(one[figure], 0.1) for count, one in found[kind].items()}
            for kind in kinds
        }
        figures.plot(name, title, "waits", unit, series)


def allow_descriptors() -> None:
    """One client each needs a descriptor each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16_384, hard), hard))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--child", nargs=2, metavar=("KIND", "URL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
    else:
        print(json.dumps(run(), indent=2))


if __name__ == "__main__":
    main()
