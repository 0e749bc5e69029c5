# SPDX-License-Identifier: Apache-2.0
"""``make demo`` and ``make ui``: the example DAGs on a real Airflow, against the emulator, and what stands at
"Adobe" afterwards.

What the DAGs did is not taken from them: the rows sent are counted in the files that they staged, all else is
asked of Adobe's own APIs with a bare HTTP client. Anything that is not as it should be ends with a non-zero
exit code, and the log of the task.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
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
import yaml

from scripts.local_airflow import (
    ADMIN,
    REPO,
    LocalAirflow,
    NotReady,
    airflow_standalone,
    connection_to,
    emulator_process,
)

INGESTIONS = ("adobe_batch_ingestion_with_audience_metadata", "adobe_batch_ingestion_mapped")
GROUPS = "adobe_audience_manager_sync_on_merge"
ROTATION = "adobe_target_rotate_profile_token"
UPDATE = "adobe_target_bulk_profile_update"
DAGS_FOLDER = REPO / "example_dags"
RUN_SECONDS = 120


class Adobe:
    """Reads the state of the emulator as any client of Adobe's APIs would."""

    def __init__(self, url: str) -> None:
        connection = connection_to(url)
        client_id, org_id = connection["login"], connection["extra"]["org_id"]
        self.api = httpx.Client(base_url=url, timeout=30, trust_env=False)
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": connection["password"],
            "scope": "openid",
        }
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
        response = self.api.get(
            "/data/foundation/catalog/batches", params={"limit": 100, "orderBy": "asc:created"}
        )
        return dict(response.raise_for_status().json())

    def audiences(self) -> list[dict[str, Any]]:
        return list(
            self.api.get("/data/core/ups/audiences", params={"limit": 100})
            .raise_for_status()
            .json()["children"]
        )

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return Audience Manager's groups: permissions by name."""
        groups = self.api.get("/api/v1/groups/").raise_for_status().json()
        return {
            group["name"]: self.api.get(f"/api/v1/groups/{group['groupId']}/permissions")
            .raise_for_status()
            .json()
            for group in groups
        }

    def profile_token(self) -> tuple[str, int]:
        """Return Target's profile authentication token and the seconds that are left of it."""
        response = self.api.get(
            "/emulator/target/authentication/token", params={"authorizationScope": "profile_api"}
        )
        body = response.raise_for_status().json()
        return str(body["accessToken"]), int(body["expiresIn"])

    def profile(self, third_party_id: str, token: str) -> dict[str, Any]:
        """Return the attributes of one profile of Target."""
        response = self.api.get(
            f"/rest/v1/profiles/thirdPartyId/{third_party_id}",
            params={"client": "emulator"},
            headers={"Authorization": f"Bearer {token}"},
        )
        attributes = (
            {} if response.status_code == 404 else response.raise_for_status().json()["profileAttributes"]
        )
        return {name: attribute["value"] for name, attribute in attributes.items()}

    def requires_profile_token(self) -> bool:
        return bool(
            self.api.get("/emulator/target/clients/settings")
            .raise_for_status()
            .json()["enableProfileApiAuthentication"]
        )


@dataclass
class Run:
    """One DAG run."""

    dag_id: str
    run_id: str
    state: str
    seconds: float

    def problems(self) -> list[str]:
        return [] if self.state == "success" else [f"{self.dag_id}: the run is {self.state}"]


@dataclass
class Ingestion(Run):
    """One DAG run that ingests, and what it left at Adobe."""

    rows_sent: int
    batches: dict[str, dict[str, Any]]

    def problems(self) -> list[str]:
        found = super().problems()
        if not self.rows_sent:
            found.append(f"{self.dag_id}: no rows were sent")
        if len(self.batches) != 1:
            found.append(
                f"{self.dag_id}: {len(self.batches)} batches instead of one: {', '.join(self.batches)}"
            )
        for batch_id, batch in self.batches.items():
            if batch["status"] != "success":
                found.append(f"batch {batch_id} is {batch['status']}: {batch.get('errors')}")
            if batch.get("recordCount") != self.rows_sent:
                found.append(
                    f"batch {batch_id} has {batch.get('recordCount')} records, {self.rows_sent} rows were "
                    "sent"
                )
            if batch.get("failedRecordCount"):
                found.append(f"batch {batch_id}: {batch['failedRecordCount']} records were rejected")
        return found


def rows_in(folder: Path) -> int:
    """Return how many records the files below ``folder`` hold."""
    import pyarrow.parquet

    files = [file for file in folder.rglob("*") if file.is_file()]
    parquet: int = sum(
        pyarrow.parquet.read_metadata(file).num_rows for file in files if file.suffix == ".parquet"
    )
    lines = sum(
        1
        for file in files
        if file.suffix == ".jsonl"
        for line in file.read_bytes().splitlines()
        if line.strip()
    )
    return parquet + lines


def run(airflow: LocalAirflow, dag_id: str, staging: Path | None = None) -> Run:
    began = time.monotonic()
    run_id = airflow.trigger(
        dag_id, {"staging": staging.as_uri(), "keep_staged_files": True} if staging else None
    )
    state = airflow.wait(dag_id, run_id, RUN_SECONDS)
    return Run(dag_id, run_id, state, time.monotonic() - began)


def ingest(airflow: LocalAirflow, adobe: Adobe, dag_id: str, staging: Path) -> Ingestion:
    before = adobe.batches()
    done = run(airflow, dag_id, staging)
    new = {batch_id: batch for batch_id, batch in adobe.batches().items() if batch_id not in before}
    return Ingestion(**vars(done), rows_sent=rows_in(staging), batches=new)


def judge_groups(adobe: Adobe) -> tuple[str, list[str]]:
    """Compare Audience Manager's groups with the file that declares them."""
    declared = yaml.safe_load((DAGS_FOLDER / "data" / "groups.yaml").read_text())["groups"]

    def rows(permissions: list[dict[str, Any]]) -> set[tuple[str, int, frozenset[str]]]:
        return {(one["objectType"], one["objectId"], frozenset(one["permissions"])) for one in permissions}

    wanted = {group["name"]: rows(group["permissions"]) for group in declared}
    live = {name: rows(permissions) for name, permissions in adobe.groups().items()}
    wrong = [f"group {name!r} is not as declared" for name in wanted if live.get(name) != wanted[name]]
    return f"{len(live)} groups, {len(wanted)} declared: {', '.join(sorted(live))}", wrong


def judge_target(adobe: Adobe, staging: Path) -> tuple[str, str, list[str]]:
    """Compare every hundredth profile with its row. Target takes updates only with the token that the
    rotation has stored.
    """
    token, seconds = adobe.profile_token()
    rows = [row for file in staging.rglob("*.csv") for row in csv.DictReader(file.open(newline=""))]
    looked_at = rows[::100]
    wrong = [] if looked_at else ["no profile was sent"]
    for row in looked_at:
        customer = row.pop("customer_id")
        if (found := adobe.profile(customer, token)) != row:
            wrong.append(f"profile {customer} is {found}, not {row}")
    if not adobe.requires_profile_token():
        wrong.append("Target takes updates without a token")
    fingerprint = hashlib.sha256(token.encode()).hexdigest()[:16]
    return (
        f"fingerprint {fingerprint}, {seconds // 86_400} days left, required",
        f"{len(rows)} sent, {len(looked_at)} looked up",
        wrong,
    )


def table(rows: Sequence[Sequence[object]]) -> str:
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def summary(runs: list[Run], audiences: list[dict[str, Any]], services: Sequence[tuple[str, str]]) -> str:
    """Describe what now stands at Adobe."""
    ingestions = [one for one in runs if isinstance(one, Ingestion)]
    succeeded, batches = (
        sum(one.state == "success" for one in runs),
        sum(len(one.batches) for one in ingestions),
    )
    all_runs: list[tuple[object, ...]] = [("Dag run", "state", "seconds")]
    all_runs += [(one.dag_id, one.state, f"{one.seconds:.1f}") for one in runs]
    lines: list[tuple[object, ...]] = [
        ("batch", "status", "rows sent", "records in", "records rejected", "from")
    ]
    for one in ingestions:
        for batch_id, batch in one.batches.items() or [("none", {})]:
            counts = (one.rows_sent, batch.get("recordCount", "-"), batch.get("failedRecordCount", "-"))
            lines.append((batch_id, batch.get("status", "-"), *counts, one.dag_id))
    known = [("audience id", "audienceId", "name", "description")]
    known += [tuple(audience.get(name, "-") for name in ("id", *known[0][1:])) for audience in audiences]
    return "\n".join(
        [
            f"Dag runs: {succeeded} of {len(runs)} successful; batches: {batches}; audiences: "
            f"{len(audiences)}",
            "",
            table(all_runs),
            "\nExperience Platform",
            table(lines),
            "",
            table(known),
            "\nAudience Manager, Target",
            table(services),
        ]
    )


def until_interrupted() -> None:
    """Return when a person presses Ctrl-C or the process is told to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description="Run DAGs on a real Airflow against the emulator."
    )
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
            airflow_standalone(DAGS_FOLDER, connections=connections) as airflow,
        ):
            say(
                f"Airflow at {airflow.url}: "
                f"{', '.join(f'{name} {state}' for name, state in airflow.components().items())}"
            )
            adobe = Adobe(emulator.url)
            runs: list[Run] = []
            for dag_id in (*INGESTIONS, GROUPS, ROTATION, UPDATE):
                folder = Path(staging) / dag_id
                if dag_id in INGESTIONS:
                    runs.append(ingest(airflow, adobe, dag_id, folder))
                else:
                    runs.append(run(airflow, dag_id, folder if dag_id == UPDATE else None))
                say(f"{dag_id}: {runs[-1].state}")
            audiences = adobe.audiences()
            groups, wrong_groups = judge_groups(adobe)
            token, profiles, wrong_target = judge_target(adobe, Path(staging) / UPDATE)
            problems = (
                [problem for finished in runs for problem in finished.problems()]
                + wrong_groups
                + wrong_target
            )
            if len(audiences) != 1:
                problems.append(f"there are {len(audiences)} audiences instead of one")
            services = [("groups", groups), ("profile token", token), ("profiles", profiles)]
            print(f"\nAt Adobe stands now:\n\n{summary(runs, audiences, services)}\n", flush=True)
            for finished in runs:
                if finished.state != "success":
                    print(airflow.report(finished.dag_id, finished.run_id), flush=True)
            if asked.keep:
                print(f"Airflow:  {airflow.url}   (user {ADMIN}, password {airflow.password})")
                if os.geteuid() == 0:
                    print(
                        "          You are root, and so are the Dags that run here. Better be somebody else."
                    )
                print(
                    f"Emulator: {emulator.url}/_emulator/state   (also /_emulator/journal, "
                    "/_emulator/switches)"
                )
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
