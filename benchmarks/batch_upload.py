# SPDX-License-Identifier: Apache-2.0
"""A large file into a batch: throughput next to ``curl -T`` to a sink of the same server, and memory above an
idle task.

Rounds alternate, so that both see the same machine; the result is the ratio of the medians. The batch is then
completed and its rows are counted, so that what was fast was also right.
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

from scripts.local_airflow import connection_to, emulator_process

GIGABYTES = float(os.environ.get("BENCH_GIGABYTES", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ROW = {"customerId": "", "notes": "x" * 4000}

_TASK = """
import json, resource, sys, time, types
from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

source, run_id = sys.argv[1:]
operator = AdobeIngestBatchOperator(
    task_id="ingest", dataset_id="benchmark", source=source, wait_for_completion=False
)
ti = types.SimpleNamespace(
    dag_id="d", run_id=run_id, task_id="ingest", map_index=-1, try_number=1, max_tries=0,
    xcom_push=lambda key, value: None,
)
import requests, urllib3  # what a task that does nothing large has loaded as well
operator.hook.settings
idle = resident()
began = time.monotonic()
result = operator.execute({"ti": ti})
seconds = time.monotonic() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
memory = {"idle_mb": idle / 1024, "peak_mb": peak / 1024}
print(json.dumps({"seconds": seconds, **memory, "batch_id": result["batch_id"]}))
"""


def write_rows(file: Path, size: float) -> int:
    """Write JSON lines until ``size`` bytes are reached; return the number of rows."""
    rows = 0
    with file.open("w") as target:
        written = 0
        while written < size:
            written += target.write(json.dumps({**ROW, "customerId": f"customer-{rows:09}"}) + "\n")
            rows += 1
    return rows


def with_curl(url: str, file: Path) -> float:
    began = time.monotonic()
    subprocess.run(
        ["curl", "-sS", "--fail", "-T", str(file), f"{url}/_emulator/sink/benchmark"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def with_task(url: str, file: Path, home: Path, number: int) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ADOBE_DEFAULT": json.dumps(connection_to(url)),
    }
    command = [sys.executable, "-c", _TASK, str(file), f"round-{number}"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="adobe-benchmark-"))
    try:
        file = folder / "rows.jsonl"
        rows = write_rows(file, GIGABYTES * 1e9)
        size = file.stat().st_size
        with emulator_process() as emulator:
            with_curl(emulator.url, file)  # fills the page cache, for both
            curl, task = [], []
            for number in range(ROUNDS):
                curl.append(with_curl(emulator.url, file))
                task.append(with_task(emulator.url, file, folder / "airflow", number))
            adobe = httpx.Client(base_url=emulator.url, timeout=600)
            last = task[-1]["batch_id"]
            while True:
                batch = next(
                    batch
                    for batch in adobe.get("/_emulator/state").json()["experience_platform"]["batches"]
                    if batch["id"] == last
                )
                if batch["status"] in ("success", "failed"):
                    break
                time.sleep(0.5)
        seconds = statistics.median(measured["seconds"] for measured in task)
        return {
            "bytes": size,
            "rows_sent": rows,
            "rows_ingested": batch["recordsIn"],
            "status": batch["status"],
            "curl_mb_per_s": round(size / 1e6 / statistics.median(curl), 1),
            "task_mb_per_s": round(size / 1e6 / seconds, 1),
            "throughput_ratio_to_curl": round(statistics.median(curl) / seconds, 3),
            "memory_above_idle_mb": round(
                max(measured["peak_mb"] - measured["idle_mb"] for measured in task), 1
            ),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
