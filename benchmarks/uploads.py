# SPDX-License-Identifier: Apache-2.0
"""Files into a batch by the operator: 2 GB beside ``curl -T``, 2,000 of 64 KB at 20 ms beside one by one.

Both go to a sink that is no bottleneck, which is shown in the same run. Rounds alternate; a ratio is the
median over the rounds. The operator does all that it does in a task: it looks at the files, hashes them,
creates the batch, sends, compares and completes. The emulator counts rows: what is fast is right.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import requests

from benchmarks import figures, sink
from scripts.local_airflow import connection_to, emulator_process

GIGABYTES = float(os.environ.get("BENCH_GIGABYTES", "2"))
SPARSE_GIGABYTES = float(os.environ.get("BENCH_SPARSE_GIGABYTES", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
LATENCY_MS = int(os.environ.get("BENCH_LATENCY_MS", "20"))
FILES = int(os.environ.get("BENCH_FILES", "2000"))
FILE_BYTES = 64_000
GROWTH = (1, 10, 100, 1_000)
CONCURRENCIES = (1, 4, 8, 16, 32, 64)

_TASK = """
import json, os, sys, time, types
from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator

def resident(what="VmRSS"):
    return int(next(line for line in open("/proc/self/status") if line.startswith(what)).split()[1])

source, run_id, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
operator = AdobeIngestBatchOperator(task_id="ingest", dataset_id="benchmark", source=source, **options)
ti = types.SimpleNamespace(
    dag_id="d", run_id=run_id, task_id="ingest", map_index=-1, try_number=1, max_tries=0,
    xcom_push=lambda key, value: None,
)
# What a task that does nothing large has loaded as well: Airflow looks for all its file systems and plugins.
import requests, urllib3
from airflow.sdk import ObjectStoragePath
with ObjectStoragePath(sys.argv[4]).open("rb") as file:
    file.read()
operator.hook.settings
idle = resident()
cpu = os.times()[:2]
began = time.perf_counter()
result = operator.execute({"ti": ti})
seconds = time.perf_counter() - began
peak = resident("VmHWM")
cpu = [one - other for one, other in zip(os.times()[:2], cpu)]
memory = {"idle_mb": idle / 1024, "peak_mb": peak / 1024}
print(json.dumps({"seconds": seconds, "cpu": sum(cpu), **memory, "result": result}))
"""


def with_task(url: str, source: Path, folder: Path, run_id: str, **options: Any) -> dict[str, Any]:
    """Run the operator in a process of its own, and return what it measured of itself."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_ADOBE_DEFAULT": json.dumps(connection_to(url)),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }
    command = [sys.executable, "-c", _TASK, str(source), run_id, json.dumps(options), __file__]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(finished.stdout[-2000:] + finished.stderr[-4000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def rows_file(file: Path, size: int) -> None:
    """Write JSON lines of so many bytes in all."""
    row = json.dumps({"customerId": "customer-000000001", "notes": "x" * 4_000}) + "\n"
    block = (row * 256).encode()
    with file.open("wb") as target:
        for _ in range(size // len(block)):
            target.write(block)
        target.write(block[: size % len(block)])


def small_files(folder: Path, count: int) -> Path:
    """Write ``count`` files; return the glob that matches them."""
    folder.mkdir()
    content = folder / "first"
    rows_file(content, FILE_BYTES)
    for number in range(count):
        (folder / f"part-{number:05}.json").write_bytes(content.read_bytes())
    content.unlink()
    return folder / "*.json"


def one_by_one(url: str, source: Path) -> float:
    """Send the files with ``requests.Session``, one after another, and return the seconds."""
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer token"
        begun = time.perf_counter()
        for file in sorted(source.parent.glob(source.name)):
            with file.open("rb") as content:
                session.put(f"{url}/sink/files/{file.name}", data=content).raise_for_status()
        return time.perf_counter() - begun


def large(program: Path, emulator: str, folder: Path) -> dict[str, Any]:
    file = folder / "large.json"
    rows_file(file, int(GIGABYTES * 1e9))
    with sink.running(program, emulator) as (url, _):
        found = sink.proof(program, url, file.stat().st_size)
        sink.with_curl(url, file)  # fills the page cache, for all
        rounds = [
            (
                sink.with_curl(url, file),
                with_task(url, file, folder, f"large-{number}", wait_for_completion=False),
            )
            for number in range(ROUNDS)
        ]
    curl, tasks = [round_[0] for round_ in rounds], [round_[1] for round_ in rounds]
    task = [measured["seconds"] for measured in tasks]
    file.unlink()
    size = GIGABYTES * 1e9
    return found | {
        "gigabytes": GIGABYTES,
        "curl_gb_per_s": round(size / 1e9 / statistics.median(curl), 2),
        "operator_gb_per_s": round(size / 1e9 / statistics.median(task), 2),
        "operator_to_curl": figures.ratio(curl, task),
        "operator_processor_seconds": round(statistics.median(m["cpu"] for m in tasks), 2),
        "megabytes_above_idle": round(max(m["peak_mb"] - m["idle_mb"] for m in tasks), 1),
        "load_average": figures.load(),
    }


def sparse(program: Path, emulator: str, folder: Path) -> dict[str, Any]:
    file = folder / "sparse.json"
    rows_file(file, 1_000_000)
    with file.open("ab") as target:
        target.truncate(int(SPARSE_GIGABYTES * 1e9))
    with sink.running(program, emulator) as (url, _):
        measured = with_task(url, file, folder, "sparse", wait_for_completion=False)
    file.unlink()
    return {
        "gigabytes": SPARSE_GIGABYTES,
        "seconds": round(measured["seconds"], 1),
        "megabytes_above_idle": round(measured["peak_mb"] - measured["idle_mb"], 1),
        "megabytes_in_all": round(measured["peak_mb"], 1),
    }


def many(program: Path, emulator: str, folder: Path) -> dict[str, Any]:
    source = small_files(folder / "many", FILES)
    curves: dict[str, dict[int, float]] = {"one by one": {}, "operator": {}}
    by_concurrency: dict[int, float] = {}
    with sink.running(program, emulator, LATENCY_MS) as (url, _):

        def task(pattern: Path, **options: Any) -> dict[str, Any]:
            run_id = f"many-{time.monotonic_ns()}"
            return with_task(url, pattern, folder, run_id, wait_for_completion=False, **options)

        rounds = [(one_by_one(url, source), task(source)) for _ in range(min(3, ROUNDS))]
        for concurrency in CONCURRENCIES:
            by_concurrency[concurrency] = round(task(source, concurrency=concurrency)["seconds"], 2)
        for count in GROWTH:
            some = small_files(folder / f"many-{count}", count)
            curves["one by one"][count] = round(one_by_one(url, some), 3)
            curves["operator"][count] = round(task(some)["seconds"], 3)
    curves["one by one"][FILES] = round(statistics.median(seconds for seconds, _ in rounds), 2)
    curves["operator"][FILES] = round(statistics.median(m["seconds"] for _, m in rounds), 2)
    return {
        "files": FILES,
        "bytes_each": FILE_BYTES,
        "latency_ms": LATENCY_MS,
        "one_by_one_seconds": curves["one by one"][FILES],
        "operator_seconds": curves["operator"][FILES],
        "times_one_by_one": figures.ratio(
            [seconds for seconds, _ in rounds], [measured["seconds"] for _, measured in rounds]
        ),
        "operator_processor_seconds": round(statistics.median(m["cpu"] for _, m in rounds), 2),
        "seconds_by_concurrency": by_concurrency,
        "growth_seconds": curves,
        "load_average": figures.load(),
    }


def right(emulator: str, folder: Path) -> dict[str, Any]:
    """Ingest into the emulator, which counts rows."""
    place = folder / "right"
    place.mkdir()
    for number in range(200):
        text = "".join(json.dumps({"n": number * 50 + row}) + "\n" for row in range(50))
        (place / f"{number}.json").write_text(text)
    result = with_task(emulator, place / "*.json", folder, "right", poll_interval=0.5)["result"]
    return {"rows_sent": 10_000, "rows_ingested": result["records_ingested"], "status": result["status"]}


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="adobe-benchmark-"))
    found: dict[str, Any] = {"machine": figures.machine()}
    try:
        with sink.compiled() as program, emulator_process() as emulator:
            httpx.get(f"{emulator.url}/_emulator/health").raise_for_status()
            found["right"] = right(emulator.url, folder)
            found["large"] = large(program, emulator.url, folder)
            found["sparse"] = sparse(program, emulator.url, folder)
            found["many"] = many(program, emulator.url, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.plot(
        "uploads",
        f"Files of 64 KB into a batch at {LATENCY_MS} ms",
        "files",
        "seconds",
        found["many"]["growth_seconds"],
    )
    return found


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
