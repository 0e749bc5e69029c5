# SPDX-License-Identifier: Apache-2.0
"""Sync 300 changes into 10,000 live groups at 20 ms per request, next to the same requests one by one with
``requests.Session``. The emulator answers what changes something, and each group's permissions once; then the
sink has them, so that neither is what is measured.

Counts the requests and compares them with the least that is possible, measures time and memory above idle,
and runs a second time to see that nothing is written. The peer sends what a careful script would: the list,
each group's permissions, the writes, the verification. It takes minutes, so by default its pace is measured
on a part of the requests and multiplied; ``BENCH_FULL=1`` sends all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import requests
from requests.adapters import HTTPAdapter

from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from benchmarks import figures as shared
from benchmarks import sink
from scripts.local_airflow import connection_to, emulator_process

GROUPS = int(os.environ.get("BENCH_GROUPS", "10000"))
CHANGES = int(os.environ.get("BENCH_CHANGES", "300"))
LATENCY = float(os.environ.get("BENCH_LATENCY", "0.02"))
SAMPLE = int(os.environ.get("BENCH_SAMPLE", "1000"))
CONCURRENCIES = [
    int(number) for number in os.environ.get("BENCH_CONCURRENCY", f"8,{DEFAULT_CONCURRENCY},32").split(",")
]
OF_EACH = CHANGES // 3
GROWTH = (1, 10, 100, 1_000, 10_000)
PREFIX = "/api/v1"

_TASK = """
import json, resource, sys, time, types
from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

operator = AdobeSyncGroupsOperator(
    task_id="sync", desired=sys.argv[1], mode="apply", concurrency=int(sys.argv[2]),
    max_permission_removal_ratio=1.0
)
# What a task that does nothing large has loaded as well: Airflow looks for all its file systems and plugins.
import requests, urllib3, yaml, concurrent.futures
from airflow.sdk import ObjectStoragePath
with ObjectStoragePath(sys.argv[3]).open("rb") as file:
    file.read()
operator.hook.settings
idle = resident()
began = time.monotonic()
cpu = time.process_time()
result = operator.execute({"ti": types.SimpleNamespace(try_number=1)})
seconds = time.monotonic() - began
cpu = time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
memory = {"idle_mb": idle / 1024, "peak_mb": peak / 1024}
print(json.dumps({"seconds": seconds, "cpu": cpu, **memory, "written": result["written"]}))
"""


def row(object_id: int, *permissions: str) -> dict[str, Any]:
    return {"objectType": "TRAIT", "objectId": object_id, "permissions": list(permissions)}


def fill(adobe: httpx.Client) -> None:
    """Make the live groups."""
    for number in range(GROUPS):
        body = {
            "name": f"Group {number:05}",
            "description": "as it was",
            "permissions": [row(number + 1, "READ"), row(7, "WRITE")],
        }
        adobe.post("/_emulator/audience_manager/groups", json=body).raise_for_status()


def unchanged(count: int) -> dict[str, Any]:
    """Declare the first live groups as they were made."""
    return {
        "groups": [
            {"name": f"Group {number:05}", "permissions": [row(number + 1, "READ"), row(7, "WRITE")]}
            for number in range(count)
        ]
    }


def desired(round_number: int) -> dict[str, Any]:
    """Declare all live groups, with as many creations, updates and permission changes as make up the
    changes.
    """
    groups: list[dict[str, Any]] = []
    for number in range(GROUPS):
        second = row(7, "WRITE")
        if OF_EACH <= number < 2 * OF_EACH:
            second = row(100 + round_number, "READ")
        groups.append({"name": f"Group {number:05}", "permissions": [row(number + 1, "READ"), second]})
        if number < OF_EACH:
            groups[-1]["description"] = f"changed in round {round_number}"
    return {"groups": groups + [{"name": f"New {round_number} {number}"} for number in range(OF_EACH)]}


def minimum() -> dict[str, int]:
    """The least number of requests, by what they are for."""
    return {
        "list groups": 1,
        "read permissions of managed groups that declare them": GROUPS,
        "who is calling, because permissions are taken away": 1,
        "stale checks: list groups before creations": 1,
        "stale checks: a changed group, and its permissions before and after": 3 * OF_EACH,
        "stale checks: permissions before they are replaced": OF_EACH,
        "changes": 3 * OF_EACH,
        "verify: list groups": 1,
        "verify: permissions that changed": OF_EACH,
    }


def with_task(url: str, file: Path, home: Path, concurrency: int) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ADOBE_DEFAULT": json.dumps(connection_to(url)),
    }
    command = [sys.executable, "-c", _TASK, str(file), str(concurrency), __file__]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(finished.stdout[-2000:] + finished.stderr[-4000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def processor_seconds(pid: int) -> float:
    """Return how long a process has worked so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_by_one(url: str, token: str, total: int) -> tuple[float, int, float]:
    """Send the same kinds of requests one after another; return the seconds that all of them take, how many
    were really sent, and the seconds of one reading.
    """
    full = os.environ.get("BENCH_FULL") == "1"
    writes = 3 * OF_EACH
    reads = total - writes if full else SAMPLE
    with requests.Session() as session:
        session.headers.update({"Authorization": f"Bearer {token}", "x-api-key": "emulator-client"})
        began = time.monotonic()
        ids = [group["groupId"] for group in session.get(f"{url}{PREFIX}/groups/").json()]
        listing = time.monotonic() - began
        began = time.monotonic()
        for number in range(reads):
            session.get(f"{url}{PREFIX}/groups/{ids[number % len(ids)]}/permissions").raise_for_status()
        per_read = (time.monotonic() - began) / reads
        began = time.monotonic()
        count = writes if full else max(1, SAMPLE // 10)
        for number in range(count):
            # A write that changes nothing costs the same.
            body = (
                session.get(f"{url}{PREFIX}/groups/{ids[number]}/permissions").json()
                if number == 0
                else [row(ids[number], "READ")]
            )
            session.put(f"{url}{PREFIX}/groups/{ids[-1 - number]}/permissions/", json=body).raise_for_status()
        per_write = (time.monotonic() - began) / count
    seconds = 2 * listing + per_read * (total - writes - 2) + per_write * writes
    return seconds, reads + count + 2, per_read


def sent_since(adobe: httpx.Client, url: str) -> tuple[int, int]:
    """Return how many requests there were since this was asked, and how many of them write."""
    entries = [entry for entry in adobe.get("/_emulator/journal").json() if entry["path"].startswith(PREFIX)]
    adobe.delete("/_emulator/journal")
    served = int(httpx.get(f"{url}/sink/served").text)
    return len(entries) + served, sum(entry["write"] for entry in entries)


def in_threads(url: str, token: str, concurrency: int, readings: int) -> float:
    """Read permissions with bare ``requests`` in as many threads; return the seconds of one reading times the
    threads. What is above the latency there is the machine's.
    """
    with requests.Session() as session, ThreadPoolExecutor(concurrency) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=concurrency))
        session.headers.update({"Authorization": f"Bearer {token}", "x-api-key": "emulator-client"})
        ids = [group["groupId"] for group in session.get(f"{url}{PREFIX}/groups/").json()]

        def read(number: int) -> None:
            session.get(f"{url}{PREFIX}/groups/{ids[number % len(ids)]}/permissions").raise_for_status()

        begun = time.monotonic()
        list(pool.map(read, range(readings)))
        return (time.monotonic() - begun) / readings * concurrency


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    least = minimum()
    total = sum(least.values())
    figures: dict[str, Any] = {
        "machine": shared.machine(),
        "groups": GROUPS,
        "changes": 3 * OF_EACH,
        "latency_ms": LATENCY * 1000,
        "minimum_requests": total,
    }
    with (
        tempfile.TemporaryDirectory(prefix="adobe-benchmark-") as folder,
        emulator_process() as emulator,
        sink.compiled() as program,
        sink.running(program, emulator.url, round(LATENCY * 1000)) as (url, sink_pid),
    ):
        adobe = httpx.Client(base_url=emulator.url, timeout=600)
        fill(adobe)
        # Setting up is not part of the measurement.
        form = {
            "grant_type": "client_credentials",
            "client_id": "emulator-client",
            "client_secret": "emulator-client-secret",
        }
        token = adobe.post("/ims/token/v3", data=form).json()["access_token"]
        adobe.get(
            f"{PREFIX}/users/self",
            headers={"Authorization": f"Bearer {token}", "x-api-key": "emulator-client"},
        ).raise_for_status()
        in_threads(url, token, 32, GROUPS)  # the sink knows all permissions then
        adobe.post("/_emulator/faults", json={"path": PREFIX, "delay": LATENCY}).raise_for_status()
        sent_since(adobe, url)
        file = Path(folder) / "groups.json"
        rounds = []
        for number, concurrency in enumerate(CONCURRENCIES):
            file.write_text(json.dumps(desired(number)))
            before = processor_seconds(emulator.process.pid), processor_seconds(sink_pid)
            measured = with_task(url, file, Path(folder) / "airflow", concurrency)
            measured["emulator_cpu"] = processor_seconds(emulator.process.pid) - before[0]
            measured["sink_cpu"] = processor_seconds(sink_pid) - before[1]
            measured["requests"], measured["writes"] = sent_since(adobe, url)
            measured |= {"concurrency": concurrency, "bare": in_threads(url, token, concurrency, SAMPLE)}
            sent_since(adobe, url)
            rounds.append(measured)
        second = with_task(url, file, Path(folder) / "airflow", CONCURRENCIES[-1])
        _, second_writes = sent_since(adobe, url)
        seconds, sent, reading = one_by_one(url, token, total)
        growth: dict[str, dict[int, float]] = {"one by one": {}, "operator": {}}
        for count in (size for size in GROWTH if size <= GROUPS):
            file.write_text(json.dumps(unchanged(count)))
            task = with_task(url, file, Path(folder) / "airflow", DEFAULT_CONCURRENCY)
            growth["one by one"][count] = round(reading * (count + 1), 3)
            growth["operator"][count] = round(task["seconds"], 3)
    shared.plot(
        "groups-sync",
        f"A sync that finds nothing to change, at {LATENCY * 1000:.0f} ms per request",
        "declared groups",
        "seconds",
        growth,
    )
    figures |= {
        "one_by_one_seconds": round(seconds, 1),
        "one_by_one_requests_really_sent": sent,
        "rounds": [
            {
                "concurrency": measured["concurrency"],
                "seconds": round(measured["seconds"], 1),
                "is_default": measured["concurrency"] == DEFAULT_CONCURRENCY,
                "times_faster_than_one_by_one": round(seconds / measured["seconds"], 1),
                "times_latency_x_requests_by_concurrency": round(
                    measured["seconds"] / (LATENCY * measured["requests"] / measured["concurrency"]), 2
                ),
                "times_latency_of_bare_requests_in_threads": round(measured["bare"] / LATENCY, 2),
                "requests": measured["requests"],
                "requests_equal_minimum": measured["requests"] == total,
                "writes": measured["writes"],
                "processor_share": round(measured["cpu"] / measured["seconds"], 2),
                # Of one core: near 1, they would be what is measured.
                "emulator_processor_share": round(measured["emulator_cpu"] / measured["seconds"], 2),
                "sink_processor_share": round(measured["sink_cpu"] / measured["seconds"], 2),
                "memory_above_idle_mb": round(measured["peak_mb"] - measured["idle_mb"], 1),
            }
            for measured in rounds
        ],
        "second_run_writes": second_writes,
        "second_run_seconds": round(second["seconds"], 1),
        "growth_seconds_without_changes": growth,
        "load_average": shared.load(),
    }
    return figures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
