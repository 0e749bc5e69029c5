# SPDX-License-Identifier: Apache-2.0
"""``make soak``: the example DAGs again and again on a real Airflow, while one request in ten to the emulator
meets a fault, and once a minute somebody clears, marks or kills something (:mod:`scripts.soak_people`).

Then the faults are lifted, runs that failed or were disturbed are cleared once, and it is checked what now
stands at "Adobe" and in the store. Memory and open files of the emulator and of Airflow's processes are
sampled all the time. Ends with a non-zero exit code when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import yaml

from scripts.demo import rows_in, table
from scripts.local_airflow import (
    REPO,
    LocalAirflow,
    NotReady,
    airflow_standalone,
    connection_to,
    emulator_process,
)
from scripts.soak_people import People, is_worker, slopes

INGESTION = "adobe_batch_ingestion_with_audience_metadata"
MAPPED = "adobe_batch_ingestion_mapped"
GROUPS = "adobe_audience_manager_sync_on_merge"
ROTATION = "adobe_target_rotate_profile_token"
UPDATE = "adobe_target_bulk_profile_update"
#: The update is also started by each rotation, through its asset.
DAGS = (INGESTION, GROUPS, MAPPED, ROTATION, UPDATE)
VARIABLE = "adobe_target_profile_token"
CUSTOMERS = 2357

READ_TIMEOUT = 5.0
TOO_LONG = READ_TIMEOUT + 1
SAMPLE_SECONDS = 30
DRAIN_SECONDS = 600
#: A token of 40 days: less than the Dag's `min_remaining`, so that every run rotates, and more than it
#: complains about.
TOKEN_SECONDS = 40 * 86_400

HTML = {"content-type": "text/html"}
TOO_MANY = {"error_code": "429050", "message": "Too many requests"}
REFUSED = {"error_code": "401013", "message": "Oauth token is not valid"}
#: An access token of IMS, not the profile token: that one Target's users lose only by a rotation.
WITH_IMS_TOKEN = r"^/(?!ims/|m2/|rest/v1/profiles)"
FAULTS: dict[str, dict[str, Any]] = {
    **{
        str(status): {"status": status, "body": {"message": "upstream request failed"}}
        for status in (500, 502, 503, 504)
    },
    "503 after it is committed": {
        "status": 503,
        "headers": HTML,
        "body": "<html>Bad gateway</html>",
        "phase": "after",
    },
    "429": {"status": 429, "body": TOO_MANY},
    "429 with Retry-After": {"status": 429, "body": TOO_MANY, "headers": {"retry-after": "2"}},
    "reset before it is processed": {"drop": True},
    "reset after it is committed": {"drop": True, "phase": "after"},
    "closed without an answer": {"drop": "close"},
    "truncated answer": {"truncate": 5},
    "read timeout, not processed": {"delay": TOO_LONG, "drop": True},
    "read timeout, committed": {"delay": TOO_LONG, "phase": "after", "drop": True},
    "read timeout, processed late": {"delay": TOO_LONG},
    "HTML instead of JSON": {
        "status": 200,
        "headers": HTML,
        "body": "<html><title>Log in to the guest network</title></html>",
    },
    "token expired": {"expire_token": True, "path": WITH_IMS_TOKEN},
    "401 once": {"status": 401, "body": REFUSED, "path": WITH_IMS_TOKEN},
}


def rules(share: float) -> dict[str, dict[str, Any]]:
    """Return fault rules, equally likely, that together meet this share of the requests."""
    each = 1 - (1 - share) ** (1 / len(FAULTS))
    return {name: {**fault, "probability": each} for name, fault in FAULTS.items()}


# ------------------------------------------------------------------------------------------------------------
# measuring

Sample = dict[str, tuple[float, int]]


def sample(emulator: int, airflow: int) -> Sample:
    """Return resident memory in MB and open files of each server, without the processes that live for one
    task or one parsing only.
    """
    found: Sample = {"emulator": _use([psutil.Process(emulator)])}
    for child in psutil.Process(airflow).children():
        name = next(
            (
                word
                for word in ("scheduler", "triggerer", "api_server", "dag-processor")
                if word in _command(child)
            ),
            None,
        )
        if name == "triggerer":
            # Its event loop is a process of its own.
            found[name] = _use([child, *(one for one in child.children() if "triggerer" in _command(one))])
        elif name is not None:
            found[name] = _use([child])
        if name == "scheduler":
            workers = [one for one in child.children() if is_worker(one)]
            if workers:
                memory, files = _use(workers)
                found["worker, on average"] = memory / len(workers), files // len(workers)
    return found


def _command(process: Any) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        # Airflow leaves the servers of logs that found their port taken as zombies.
        return ""


def _use(processes: list[Any]) -> tuple[float, int]:
    memory, files = 0.0, 0
    for process in processes:
        try:
            memory += process.memory_info().rss / 1e6
            files += process.num_fds()
        except psutil.NoSuchProcess:
            pass
    return memory, files


def growth(samples: list[tuple[float, Sample]], seconds: float) -> list[tuple[str, ...]]:
    """Compare the medians of two windows, each a sixth of the time: the one after warm-up and the last."""
    windows = [
        [one for at, one in samples if first * seconds <= at <= last * seconds]
        for first, last in ((1 / 6, 1 / 3), (5 / 6, 1))
    ]
    lines: list[tuple[str, ...]] = [
        ("process", "samples", "MB early", "MB late", "MB most", "files early", "files late", "files most")
    ]
    for name in sorted({name for _, one in samples for name in one}):
        early, late = ([one[name] for one in window if name in one] for window in windows)
        every = [one[name] for _, one in samples if name in one]
        if early and late:
            memory = [f"{statistics.median(use[0] for use in window):.1f}" for window in (early, late)]
            files = [f"{statistics.median(use[1] for use in window):.0f}" for window in (early, late)]
            most = [f"{max(use[0] for use in every):.1f}", str(max(use[1] for use in every))]
            lines.append((name, str(len(every)), *memory, most[0], *files, most[1]))
    return lines


# ------------------------------------------------------------------------------------------------------------
# the runs


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
        body = {"dry_run": False, "only_failed": False}
        self.airflow.api.post(f"/dags/{dag_id}/dagRuns/{run_id}/clear", json=body).raise_for_status()
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


# ------------------------------------------------------------------------------------------------------------
# the program


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.soak", description="Run the example Dags under faults for a while."
    )
    parser.add_argument(
        "--minutes", type=float, default=30, help="for so long new runs are started (default: %(default)s)"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.1,
        help="share of the requests that meet a fault (default: %(default)s)",
    )
    parser.add_argument(
        "--at-once", type=int, default=3, help="so many Dags run at once (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of what people do (default: the time)"
    )
    asked = parser.parse_args(arguments)
    # Told to end, clean up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="adobe-soak-") as name:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        dags = folder / "dags"
        shutil.copytree(REPO / "example_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        update = dags / f"{UPDATE}.py"
        # Runs that an asset starts have no conf.
        text = update.read_text()
        for shown, needed in (
            (
                "Param(\n            None,",
                f"Param(\n            '{(folder / 'staging' / 'assets').as_uri()}',",
            ),
            ("Param(False,", "Param(True,"),
        ):
            assert text.count(shown) == 1, f"{update.name} has other Params than this knows"
            text = text.replace(shown, needed)
        update.write_text(text)
        env = {
            "ADOBE_TARGET_POOL": "adobe_target",
            "ADOBE_TARGET_POOL_SLOTS": "4",
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        with emulator_process("--switch", f"profile_token_seconds={TOKEN_SECONDS}") as emulator:
            connection = connection_to(emulator.url, read_timeout=READ_TIMEOUT, session_cache=True)
            with (
                httpx.Client(base_url=emulator.url, timeout=30, trust_env=False) as adobe,
                airflow_standalone(dags, connections={"adobe_default": connection}, env=env) as airflow,
            ):
                people = People(airflow, airflow.server.process.pid, say, asked.seed)
                soak = Soak(airflow, adobe, folder, say, people=people)
                soak.prepare()
                numbers = {name: install(adobe, rule) for name, rule in rules(asked.share).items()}
                say(
                    f"{len(FAULTS)} kinds of faults strike {asked.share:.0%} of the requests; "
                    f"{asked.minutes:g} minutes begin, with seed {asked.seed}"
                )
                samples = disturb(
                    soak, asked.minutes * 60, asked.at_once, emulator.process.pid, airflow.server.process.pid
                )
                say("no new runs; waiting for those under way")
                soak.drain()
                counted = {rule["id"]: rule for rule in adobe.get("/_emulator/faults").json()}
                adobe.delete("/_emulator/faults").raise_for_status()
                failed = [(dag_id, run_id) for dag_id, run_id, state in soak.runs() if state == "failed"]
                retried = soak.retried()
                say(f"the faults are lifted; {len(failed)} runs failed, {len(people.touched)} were disturbed")
                for dag_id, run_id in failed:
                    say(airflow.report(dag_id, run_id))
                say(f"{len(soak.clear_at_last())} runs were cleared once")
                problems = soak.wrong_in_the_end()
                runs = soak.runs()
                requests = max(rule["matched"] for rule in counted.values())
                struck = {name: counted[number]["applied"] for name, number in numbers.items()}
    print(
        f"\nRequests: {requests}; with a fault: {sum(struck.values())} "
        f"({sum(struck.values()) / max(1, requests):.1%})\n"
    )
    print(table([("fault", "requests"), *struck.items()]))
    print(
        f"\nDag runs: {len(runs)}; failed before the faults were lifted: {len(failed)}; tasks that Airflow "
        f"retried: {retried}\n"
    )
    print(table([("Dag", "runs", "successful in the end"), *tally(runs)]))
    print("\nMemory (resident) and open files, medians of the early and the last sixth of the time:\n")
    print(table(growth(samples, asked.minutes * 60)))
    print(f"\nWhat people did (seed {asked.seed}):\n")
    print(table([("act", "times"), *sorted(people.acts.items())]))
    print("\nHow memory moves, with the standard error of the slope:\n")
    print(table(slopes(samples)), flush=True)
    for title, found in (("Noted when a run had just ended", soak.noted), ("Not as it should be", problems)):
        if found:
            print(f"\n{title}:\n" + "\n".join(f"  {one}" for one in found), flush=True)
    if not problems:
        say("Every run is a success and every invariant holds.")
    return 1 if problems else 0


def install(adobe: httpx.Client, rule: dict[str, Any]) -> int:
    return int(adobe.post("/_emulator/faults", json=rule).raise_for_status().json()["id"])


def disturb(
    soak: Soak, seconds: float, at_once: int, emulator: int, airflow: int
) -> list[tuple[float, Sample]]:
    """Keep some DAGs running for so many seconds; return the samples, each with its moment."""
    began, turn = time.monotonic(), 0
    samples: list[tuple[float, Sample]] = []
    while (now := time.monotonic() - began) < seconds:
        if now >= len(samples) * SAMPLE_SECONDS:
            samples.append((now, sample(emulator, airflow)))
            if missing := {"scheduler", "triggerer", "api_server", "dag-processor"} - set(samples[-1][1]):
                raise NotReady(
                    f"Airflow has lost its {', '.join(missing)}. Its last "
                    f"words:\n{soak.airflow.server.tail()}"
                )
            soak.say(
                ", ".join(
                    f"{name} {memory:.0f} MB {files} files"
                    for name, (memory, files) in sorted(samples[-1][1].items())
                )
            )
            # It keeps the last 20,000 requests by design, which would hide everything else.
            soak.adobe.delete("/_emulator/journal").raise_for_status()
        busy = soak.look()
        if len(busy) < at_once:
            idle = [dag_id for dag_id in DAGS[turn:] + DAGS[:turn] if dag_id not in busy]
            try:
                soak.start(idle[0])
            except httpx.HTTPError as error:
                soak.say(f"{idle[0]} was not started: {error}")
            turn = (DAGS.index(idle[0]) + 1) % len(DAGS)
        if soak.people is not None:
            soak.people.act(now, soak.newest())
        time.sleep(2)
    samples.append((seconds, sample(emulator, airflow)))
    return samples


def tally(runs: list[tuple[str, str, str]]) -> list[tuple[str, int, int]]:
    return [
        (
            dag_id,
            sum(one[0] == dag_id for one in runs),
            sum(one[0] == dag_id and one[2] == "success" for one in runs),
        )
        for dag_id in DAGS
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotReady as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
