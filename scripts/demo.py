# SPDX-License-Identifier: Apache-2.0
"""``make demo`` and ``make ui``: the example DAGs on a real Airflow, against the emulator, and what stands at "Adobe" afterwards.

What the DAGs did is not taken from them: the rows sent are counted in the files that they staged, all else is asked of Adobe's
own APIs with a bare HTTP client. Anything that is not as it should be ends with a non-zero exit code, and the log of the task.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scripts.local_airflow import REPO, LocalAirflow, NotReady, airflow_standalone, connection_to, emulator_process

DAGS = ("adobe_batch_ingestion_with_audience_metadata", "adobe_batch_ingestion_mapped")
RUN_SECONDS = 90


class Adobe:
    """Reads the state of the emulator as any client of Adobe's APIs would."""

    def __init__(self, url: str) -> None:
        connection = connection_to(url)
        client_id, org_id = connection["login"], connection["extra"]["org_id"]
        self.api = httpx.Client(base_url=url, timeout=30, trust_env=False)
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": connection["password"], "scope": "openid"}
        token = self.api.post("/ims/token/v3", data=form).raise_for_status().json()["access_token"]
        self.api.headers.update(
            {
                "Authorization": f"Bearer {token}",
                "x-api-key": client_id,
                "x-gw-ims-org-id": org_id,
                "x-sandbox-name": connection["extra"]["sandbox"],
            }
        )

    def batches(self) -> dict[str, dict[str, Any]]:
        """Return Catalog's batches by id, the oldest first."""
        answer = self.api.get("/data/foundation/catalog/batches", params={"limit": 100, "orderBy": "asc:created"})
        return dict(answer.raise_for_status().json())

    def audiences(self) -> list[dict[str, Any]]:
        return list(self.api.get("/data/core/ups/audiences", params={"limit": 100}).raise_for_status().json()["children"])


@dataclass
class Run:
    """One DAG run and what it left at Adobe."""

    dag_id: str
    run_id: str
    state: str
    seconds: float
    rows_sent: int
    batches: dict[str, dict[str, Any]]

    def problems(self) -> list[str]:
        found = []
        if self.state != "success":
            found.append(f"{self.dag_id}: the run is {self.state}")
        if not self.rows_sent:
            found.append(f"{self.dag_id}: no rows were sent")
        if len(self.batches) != 1:
            found.append(f"{self.dag_id}: {len(self.batches)} batches instead of one: {', '.join(self.batches)}")
        for batch_id, batch in self.batches.items():
            if batch["status"] != "success":
                found.append(f"batch {batch_id} is {batch['status']}: {batch.get('errors')}")
            if batch.get("recordCount") != self.rows_sent:
                found.append(f"batch {batch_id} has {batch.get('recordCount')} records, {self.rows_sent} rows were sent")
            if batch.get("failedRecordCount"):
                found.append(f"batch {batch_id}: {batch['failedRecordCount']} records were rejected")
        return found


def rows_in(folder: Path) -> int:
    """Return how many records the files below ``folder`` hold."""
    import pyarrow.parquet

    files = [file for file in folder.rglob("*") if file.is_file()]
    parquet: int = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files if file.suffix == ".parquet")
    lines = sum(1 for file in files if file.suffix == ".jsonl" for line in file.read_bytes().splitlines() if line.strip())
    return parquet + lines


def run(airflow: LocalAirflow, adobe: Adobe, dag_id: str, staging: Path) -> Run:
    began, before = time.monotonic(), adobe.batches()
    run_id = airflow.trigger(dag_id, {"staging": staging.as_uri()})
    state = airflow.wait(dag_id, run_id, RUN_SECONDS)
    new = {batch_id: batch for batch_id, batch in adobe.batches().items() if batch_id not in before}
    return Run(dag_id, run_id, state, time.monotonic() - began, rows_in(staging), new)


def table(rows: Sequence[Sequence[object]]) -> str:
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def summary(runs: list[Run], audiences: list[dict[str, Any]]) -> str:
    """Describe what now stands at Adobe."""
    succeeded, batches = sum(run.state == "success" for run in runs), sum(len(run.batches) for run in runs)
    lines: list[tuple[object, ...]] = [("Dag run", "state", "seconds", "batch", "status", "rows sent", "records in", "records rejected")]
    for run in runs:
        for batch_id, batch in run.batches.items() or [("none", {})]:
            counts = (run.rows_sent, batch.get("recordCount", "-"), batch.get("failedRecordCount", "-"))
            lines.append((run.dag_id, run.state, f"{run.seconds:.1f}", batch_id, batch.get("status", "-"), *counts))
    known = [("id", "audienceId", "name", "description")]
    known += [tuple(audience.get(name, "-") for name in known[0]) for audience in audiences]
    return "\n".join(
        [
            f"Dag runs: {succeeded} of {len(runs)} successful; batches: {batches}; audiences: {len(audiences)}",
            "",
            table(lines),
            "",
            table(known),
        ]
    )


def until_interrupted() -> None:
    """Return when a person presses Ctrl-C or the process is told to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description="Run DAGs on a real Airflow against the emulator.")
    parser.add_argument("dag_ids", nargs="*", default=DAGS, help="default: %(default)s")
    parser.add_argument("--dags-folder", type=Path, default=REPO / "example_dags")
    parser.add_argument("--audiences", type=int, default=1, help="how many audiences there must be afterwards (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    asked = parser.parse_args(arguments)
    # Told to end, clean up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    with emulator_process() as emulator:
        say(f"Adobe emulator at {emulator.url}")
        connections = {"adobe_default": connection_to(emulator.url)}
        with (
            tempfile.TemporaryDirectory(prefix="adobe-demo-") as staging,
            airflow_standalone(asked.dags_folder, connections=connections) as airflow,
        ):
            say(f"Airflow at {airflow.url}: {', '.join(f'{name} {state}' for name, state in airflow.components().items())}")
            adobe = Adobe(emulator.url)
            runs = []
            for dag_id in asked.dag_ids:
                runs.append(run(airflow, adobe, dag_id, Path(staging) / dag_id))
                say(f"{dag_id}: {runs[-1].state}")
            audiences = adobe.audiences()
            problems = [problem for finished in runs for problem in finished.problems()]
            if len(audiences) != asked.audiences:
                problems.append(f"there are {len(audiences)} audiences instead of {asked.audiences}")
            print(f"\nAt Adobe stands now:\n\n{summary(runs, audiences)}\n", flush=True)
            for finished in runs:
                if finished.state != "success":
                    print(airflow.report(finished.dag_id, finished.run_id), flush=True)
            if asked.keep:
                print(f"Airflow:  {airflow.url}   (no password; everybody is an admin)")
                print(f"Emulator: {emulator.url}/_emulator/state   (also /_emulator/journal, /_emulator/switches)")
                print("Trigger the Dags again, look around; Ctrl-C ends everything.", flush=True)
                until_interrupted()
    if problems:
        print("Not as it should be:\n" + "\n".join(f"  {problem}" for problem in problems), flush=True)
        return 1
    say("Everything is as it should be; all servers are stopped, all files of the demo are removed.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotReady as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
