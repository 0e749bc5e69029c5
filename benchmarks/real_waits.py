# SPDX-License-Identifier: Apache-2.0
"""Deferred tasks in a real triggerer of Airflow 3: memory and descriptors of its two processes, requests, and
whether every completion is noticed.

    python -m benchmarks.real_waits 1000

The tasks begin and end in the triggerer, so that no worker takes part; each waits for a batch of its own.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import psutil  # type: ignore[import-untyped]
from airflow.sdk import BaseOperator
from airflow.triggers.base import StartTriggerArgs, TaskSuccessEvent

from airflow_provider_adobe_audiences.batches.wait import BatchWaiter
from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger
from benchmarks.waits import INTERVAL, new_batches
from scripts.local_airflow import REPO, LocalAirflow, airflow_standalone, connection_to, emulator_process

MIN_DESCRIPTORS = 16_384
MAX_SECONDS = 300
DAG_FILE = """
import pendulum
from airflow.sdk import DAG, task
from benchmarks.real_waits import COUNT, WaitInTheTriggerer

@task
def numbers():
    return list(range(COUNT))

start = pendulum.datetime(2026, 1, 1, tz="UTC")
with DAG("waits", schedule=None, start_date=start, max_active_tasks=100_000):
    # Not a literal list: Airflow hands the whole Dag to the triggerer with each of these tasks.
    WaitInTheTriggerer.partial(task_id="wait").expand(number=numbers())
"""
COUNT = int(os.environ.get("BENCH_COUNT", "0"))
_numbers = itertools.count()


@functools.cache
def _ids() -> list[str]:
    return Path(os.environ["BENCH_IDS"]).read_text().split()


class NumberedBatchTrigger(AdobeBatchTrigger):
    """Waits for one of the batches of a file, each for another: Airflow gives all the same arguments."""

    async def run(self) -> AsyncIterator[Any]:
        self.batch_id = _ids()[next(_numbers)]
        self.waiter = BatchWaiter(self.batch_id)
        async for event in super().run():
            if event.payload["status"] == "done":
                yield TaskSuccessEvent()
            else:
                raise RuntimeError(str(event.payload))


class WaitInTheTriggerer(BaseOperator):
    """Defers without a worker."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="benchmarks.real_waits.NumberedBatchTrigger",
        trigger_kwargs={"batch_id": "", "deadline": 4e9, "poll_interval": INTERVAL},
        next_method="execute_complete",
    )

    def __init__(self, *, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context: Any) -> None:
        raise AssertionError("it ran on a worker")


def memory(processes: Iterable[psutil.Process]) -> list[float]:
    """Return the memory of each process in MB; what they share counts half for each."""
    return [round(process.memory_full_info().pss / 1e6, 1) for process in processes]


def triggerer_of(airflow: LocalAirflow) -> list[psutil.Process]:
    """Return the processes of the triggerer: the supervisor, and the runner with the event loop."""
    children = psutil.Process(airflow.server.process.pid).children()
    supervisor = next(child for child in children if "triggerer" in child.cmdline())
    return [supervisor, *supervisor.children()]


def asked_for(control: httpx.Client) -> tuple[int, list[str]]:
    """Return how many requests there were, and the ids that they asked for."""
    entries = control.get(
        "/_emulator/journal", params={"method": "GET", "path": "/catalog/batches"}, timeout=60
    ).json()
    ids: list[str] = []
    for entry in entries:
        listed = parse_qs(entry["query"]).get("batch")
        ids += listed[0].split(",") if listed else [entry["path"].rsplit("/", 1)[-1]]
    return len(entries), ids


def in_state(airflow: LocalAirflow, run_id: str, state: str) -> int:
    where = {"state": state, "limit": 1, "task_display_name_pattern": "wait"}
    response = airflow.api.get(f"/dags/waits/dagRuns/{run_id}/taskInstances", params=where)
    return int(response.json()["total_entries"])


def until(holds: Any, seconds: float) -> float:
    """Return after how many seconds it held.

    :raises SystemExit: when it did not.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise SystemExit("it took too long")
        time.sleep(0.5)
    return round(time.monotonic() - began, 1)


def run(count: int) -> dict[str, Any]:
    """Measure so many deferred tasks, and return the figures."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MIN_DESCRIPTORS, hard), hard))
    with tempfile.TemporaryDirectory() as folder, emulator_process() as emulator:
        dags = Path(folder, "dags")
        dags.mkdir()
        (dags / "waits.py").write_text(DAG_FILE)
        control = httpx.Client(base_url=emulator.url, trust_env=False)
        control.patch("/_emulator/switches", json={"journal_bodies": 0})
        ids = new_batches(emulator.url, count)
        Path(folder, "ids").write_text("\n".join(ids))
        environment = {
            "PYTHONPATH": str(REPO),
            "BENCH_COUNT": str(count),
            "BENCH_IDS": str(Path(folder, "ids")),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__MAX_MAP_LENGTH": "20000",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "100000",
            "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "0",
            "AIRFLOW__TRIGGERER__CAPACITY": "20000",
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "500",
        }
        connections = {"adobe_default": connection_to(emulator.url)}
        with airflow_standalone(dags, connections=connections, env=environment) as airflow:
            return measured(airflow, control, ids)


def measured(airflow: LocalAirflow, control: httpx.Client, ids: list[str]) -> dict[str, Any]:
    airflow.wait_for_dag("waits")
    processes = triggerer_of(airflow)
    idle = memory(processes)
    control.delete("/_emulator/journal")
    run_id = airflow.trigger("waits")
    deferred = until(lambda: in_state(airflow, run_id, "deferred") == len(ids), MAX_SECONDS)
    polled = until(lambda: set(asked_for(control)[1]) == set(ids), MAX_SECONDS)
    control.delete("/_emulator/journal")
    began, cpu = time.monotonic(), [sum(process.cpu_times()[:2]) for process in processes]
    time.sleep(3 * INTERVAL)
    seconds = time.monotonic() - began
    busy = [
        round(100 * (sum(process.cpu_times()[:2]) - before) / seconds, 1)
        for process, before in zip(processes, cpu, strict=True)
    ]
    requests, asked = asked_for(control)
    figures = {
        "waits": len(ids),
        "deferred_after_s": deferred,
        "all_polled_s_later": polled,
        "idle_mb": idle,
        "above_idle_mb": [round(now - then, 1) for now, then in zip(memory(processes), idle, strict=True)],
        "descriptors": [process.num_fds() for process in processes],
        "sockets_of_runner": len(processes[-1].net_connections()),
        "cpu_percent": busy,
        "requests": requests,
        "polls_per_request": round(len(asked) / max(1, requests), 1),
        "load": round(os.getloadavg()[0], 1),
    }
    control.patch("/_emulator/switches", json={"batch_abandon_seconds": 0.001})
    figures["all_noticed_and_succeeded_after_s"] = until(
        lambda: in_state(airflow, run_id, "success") == len(ids), MAX_SECONDS
    )
    time.sleep(1)
    figures["sockets_of_runner_afterwards"] = len(processes[-1].net_connections())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=1000)
    print(json.dumps(run(parser.parse_args().count), indent=2))


if __name__ == "__main__":
    main()
