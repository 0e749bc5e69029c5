# SPDX-License-Identifier: Apache-2.0
"""The runs of ``make soak``: started, cleared, and what each has to leave at "Adobe" and in the store."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from scripts.demo import rows_in
from scripts.local_airflow import REPO, LocalAirflow
from scripts.soak_people import People

INGESTION = "adobe_batch_ingestion_with_audience_metadata"
MAPPED = "adobe_batch_ingestion_mapped"
GROUPS = "adobe_audience_manager_sync_on_merge"
ROTATION = "adobe_target_rotate_profile_token"
UPDATE = "adobe_target_bulk_profile_update"
#: The update is also started by each rotation, through its asset.
DAGS = (INGESTION, GROUPS, MAPPED, ROTATION, UPDATE)
VARIABLE = "adobe_target_profile_token"
CUSTOMERS = 2357
DRAIN_SECONDS = 600


@dataclass
class Started:
    """A DAG run, and how to see what is wrong with what it left."""

    dag_id: str
    run_id: str
    check: Callable[[], list[str]]


@dataclass
class Soak:
    """Starts the DAGs again and again, and looks at what each run left."""

    airflow: LocalAirflow
    adobe: httpx.Client
    folder: Path
    say: Callable[[str], None]
    started: list[Started] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    number: int = 0
    #: What was wrong when a run had just ended, whether or not it was mended later.
    noted: list[str] = field(default_factory=list)
    #: Who clears, marks and kills.
    people: People | None = None
    #: The group of somebody else.
    bystander: list[dict[str, Any]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        return dict(self.adobe.get("/_emulator/state").raise_for_status().json())

    def start(self, dag_id: str) -> None:
        self.number += 1  # of its own, also when the answer to the trigger is lost
        number = self.number
        staging = self.folder / "staging" / str(number)
        conf: dict[str, Any] = {}
        check: Callable[[], list[str]] = list
        if dag_id in (INGESTION, MAPPED):
            conf = {
                "dataset_id": f"soak-{number}",
                "staging": staging.as_uri(),
                "keep_staged_files": True,
            }
            check = lambda: self._wrong_batch(f"soak-{number}", staging)  # noqa: E731
        elif dag_id == UPDATE:
            conf = {"staging": staging.as_uri()}
        elif dag_id == GROUPS:
            file = self.folder / f"groups-{number}.json"
            desired = declared(sum(run.dag_id == GROUPS for run in self.started))
            file.write_text(json.dumps({"groups": desired}))
            conf = {"groups": str(file)}
            check = lambda: self._wrong_groups(desired)  # noqa: E731
        elif dag_id == ROTATION:
            check = self._wrong_token
        self.started.append(Started(dag_id, self.airflow.trigger(dag_id, conf), check))

    def active(self) -> set[tuple[str, str]]:
        """Return the runs that have not finished, including those that no person started."""
        response = self.airflow.api.get(
            "/dags/~/dagRuns", params={"state": ["queued", "running"], "limit": 100}
        )
        return {(run["dag_id"], run["dag_run_id"]) for run in response.raise_for_status().json()["dag_runs"]}

    def look(self) -> set[str]:
        """Check what the runs left that have ended since the last look; return which DAGs are busy."""
        try:
            return self._look()
        except httpx.HTTPError as error:
            # Airflow's API on sqlite may fail under load; the next look will tell.
            self.say(f"Airflow did not answer: {error}")
            return set(DAGS)

    def _look(self) -> set[str]:
        active = self.active()
        for run in self.started:
            if run.run_id in self.ended or (run.dag_id, run.run_id) in active:
                continue
            state = self.airflow.state(run.dag_id, run.run_id)
            self.ended.add(run.run_id)
            if self.people is not None and (run.dag_id, run.run_id) in self.people.touched:
                continue  # a person has had a hand in how it ended; it is judged in the end
            wrong = run.check() if state == "success" else [self.airflow.report(run.dag_id, run.run_id)]
            self.noted += [f"{run.dag_id}, {run.run_id}, {state}: {problem}" for problem in wrong]
            for problem in wrong:
                self.say(f"{run.dag_id} is {state}: {problem}")
        return {dag_id for dag_id, _ in active}

    def drain(self) -> None:
        """Wait until nothing runs."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.look() and time.monotonic() < deadline:
            time.sleep(2)

    def runs(self) -> list[tuple[str, str, str]]:
        """Return DAG, run id and state of every run there is."""
        found: list[tuple[str, str, str]] = []
        for dag_id in DAGS:
            while True:
                mine = sum(one[0] == dag_id for one in found)
                response = self.airflow.api.get(
                    f"/dags/{dag_id}/dagRuns", params={"limit": 100, "offset": mine, "order_by": "id"}
                )
                page = response.raise_for_status().json()["dag_runs"]
                found += [(dag_id, run["dag_run_id"], run["state"]) for run in page]
                if len(page) < 100:
                    break
        return found

    def newest(self) -> list[tuple[str, str]]:
        """Return the newest run of each Dag that a person has started."""
        return list({run.dag_id: (run.dag_id, run.run_id) for run in self.started}.values())

    def clear_at_last(self) -> list[tuple[str, str]]:
        """Clear what failed, and what a person has disturbed; then the newest runs, which shall have the last
        word. Wait until all is done, and return what was cleared.
        """
        touched = self.people.touched if self.people is not None else set()
        chosen = [
            (dag_id, run_id)
            for dag_id, run_id, state in self.runs()
            if state == "failed" or (dag_id, run_id) in touched
        ]
        newest = [one for one in self.newest() if {dag_id for dag_id, _ in chosen} & {one[0]}]
        for several in ([one for one in chosen if one not in newest], newest):
            for dag_id, run_id in several:
                self.clear(dag_id, run_id)
            self.drain()
        return chosen

    def retried(self) -> int:
        """Return how many tasks needed Airflow's own retries."""
        return sum(
            task["try_number"] > 1
            for dag_id, run_id, _ in self.runs()
            for task in self.airflow.task_instances(dag_id, run_id)
        )

    def clear(self, dag_id: str, run_id: str) -> None:
        self.airflow.clear(dag_id, run_id)
        self.ended.discard(run_id)

    # -- the invariants

    def _wrong_batch(self, dataset_id: str, staging: Path) -> list[str]:
        """One successful batch, none that is still open, and its rows are those of the files that were
        staged.
        """
        batches = [
            batch
            for batch in self.state()["experience_platform"]["batches"]
            if batch["dataSetId"] == dataset_id
        ]
        states = sorted(batch["status"] for batch in batches)
        wrong = (
            []
            if states == ["success"]
            else [f"the batches of {dataset_id} are {states}, not one that is a success"]
        )
        arrived = [
            json.loads(line)["row"] for line in self.adobe.get(f"/_emulator/rows/{dataset_id}").iter_lines()
        ]
        if not arrived or sorted_rows(arrived) != sorted_rows(staged_rows(staging)):
            wrong.append(
                f"{len(arrived)} rows arrived in {dataset_id}, {rows_in(staging)} are in its source, and "
                "they are not the same"
            )
        return wrong

    def _wrong_groups(self, desired: list[dict[str, Any]]) -> list[str]:
        live = [
            group for group in self.state()["audience_manager"]["groups"] if group["name"].startswith("EMEA ")
        ]
        duplicates = [name for name, count in Counter(group["name"] for group in live).items() if count > 1]
        wrong = [f"twin groups: {duplicates}"] if duplicates else []
        found, wanted = ({group["name"]: canonical(group) for group in groups} for groups in (live, desired))
        if found != wanted:
            wrong.append(f"live groups are {found}, desired are {wanted}")
        return wrong

    def _wrong_token(self) -> list[str]:
        live = self.state()["target"]["tokens"]["profile_api"]["sha256"]
        stored = hashlib.sha256(variable(self.airflow.home, VARIABLE).encode()).hexdigest()
        return [] if live == stored else ["the Variable does not hold the token that Target has"]

    def wrong_profiles(self) -> list[str]:
        """Compare every profile with what the files of the updates say."""
        import csv

        files = list((self.folder / "staging").rglob("loyalty.csv"))
        if not files:
            return ["no update has written its file"]
        with files[-1].open(newline="") as file:
            rows = [(row.pop("customer_id"), row) for row in csv.DictReader(file)]
        wrong = [] if len(rows) == CUSTOMERS else [f"{len(rows)} rows instead of {CUSTOMERS}"]
        headers = {"Authorization": f"Bearer {variable(self.airflow.home, VARIABLE)}"}
        for customer, values in rows:
            response = self.adobe.get(
                f"/rest/v1/profiles/thirdPartyId/{customer}", params={"client": "emulator"}, headers=headers
            )
            found = {
                name: value["value"] for name, value in response.json().get("profileAttributes", {}).items()
            }
            if found != values:
                wrong.append(f"profile {customer} has {found}, not {values}")
        return wrong

    def wrong_in_the_end(self) -> list[str]:
        wrong = [
            self.airflow.report(dag_id, run_id) for dag_id, run_id, state in self.runs() if state != "success"
        ]
        last_groups = [run for run in self.started if run.dag_id == GROUPS][-1:]
        for run in [run for run in self.started if run.dag_id in (INGESTION, MAPPED)] + last_groups:
            wrong += [f"{run.dag_id}, {run.run_id}: {problem}" for problem in run.check()]
        state = self.state()
        if [
            group for group in state["audience_manager"]["groups"] if group["name"] == "APAC"
        ] != self.bystander:
            wrong.append("a group that is not managed has changed")
        (ingested,) = [run for run in self.started if run.dag_id == INGESTION][-1:]
        batch = self.airflow.xcom(INGESTION, ingested.run_id, "ingest")["batch_id"]
        audiences = [audience["description"] for audience in state["experience_platform"]["audiences"]]
        if audiences != [f"Members were ingested by batch {batch}."]:
            wrong.append(f"the last batch is {batch}, and the audiences are {audiences}")
        for dag_id, run_id, _ in self.runs():
            if (
                dag_id == UPDATE
                and (self.airflow.xcom(UPDATE, run_id, "update_profiles") or {}).get("successful")
                != CUSTOMERS
            ):
                wrong.append(f"{UPDATE}, {run_id} has not updated {CUSTOMERS} profiles")
        return wrong + self._wrong_token() + self.wrong_profiles()[:5]

    def prepare(self) -> None:
        """Set the scene: a group of somebody else, and the pool that keeps uploads and rotations apart."""
        self.adobe.post(
            "/_emulator/audience_manager/groups", json={"name": "APAC", "description": "not managed"}
        ).raise_for_status()
        self.bystander = self.state()["audience_manager"]["groups"]
        pool = {"name": "adobe_target", "slots": 4, "include_deferred": True}
        self.airflow.api.post("/pools", json=pool).raise_for_status()
        for dag_id in DAGS:
            self.airflow.wait_for_dag(dag_id)


def declared(edition: int) -> list[dict[str, Any]]:
    """Return the groups of the example, in one of two editions: a rename, a deletion, changed permissions and
    texts lie between them.
    """
    groups: list[dict[str, Any]] = yaml.safe_load(
        (REPO / "example_dags" / "data" / "groups.yaml").read_text()
    )["groups"]
    analysts, activation, auditors = groups
    auditors["previously"] = ["EMEA Audit"]
    if edition % 2:
        analysts["description"] = f"Edition {edition}"
        activation["permissions"][2]["permissions"] = ["READ"]
        auditors |= {"name": "EMEA Audit", "previously": ["EMEA Auditors"]}
        auditors["permissions"][0]["permissions"] = ["READ", "WRITE"]
        groups.append({"name": "EMEA Interns", "description": None, "permissions": []})
    return groups


def canonical(group: dict[str, Any]) -> Any:
    rows = [
        (row["objectType"], int(row["objectId"]), sorted(row["permissions"])) for row in group["permissions"]
    ]
    return group.get("description") or None, sorted(rows)


def staged_rows(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for file in folder.rglob("*"):
        if file.suffix == ".parquet":
            rows += pyarrow.parquet.read_table(file).to_pylist()
        elif file.suffix == ".jsonl":
            rows += [json.loads(line) for line in file.read_text().splitlines()]
    return rows


def sorted_rows(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


def variable(home: Path, name: str) -> str:
    """Return an Airflow Variable from the database, decrypted: the REST API masks it."""
    import configparser
    import sqlite3

    from cryptography.fernet import Fernet

    config = configparser.RawConfigParser()
    config.read(home / "airflow.cfg")
    database = sqlite3.connect(home / "airflow.db")
    try:
        (value,) = database.execute("select val from variable where key = ?", [name]).fetchone()
    finally:
        database.close()
    return Fernet(config["core"]["fernet_key"].encode()).decrypt(value.encode()).decode()
