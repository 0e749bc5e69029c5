# SPDX-License-Identifier: Apache-2.0
"""The chores on a cluster, while workers, the triggerer and the broker are killed.

What the Dags did is not taken from them: Adobe is asked. A part is killed when a request of its task is held
by the emulator, so that each kill strikes in the middle of work, every time.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts.cluster import Cluster, cluster, wait_for
from scripts.demo import GROUPS, ROTATION, UPDATE, Adobe, judge_groups, judge_target, rows_in
from scripts.local_airflow import REPO, LocalAirflow, connection_to

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

INGESTION = "adobe_batch_ingestion_mapped"
DAGS = (INGESTION, GROUPS, ROTATION, UPDATE)
FILES = 6


class Chaos:
    """Kills parts of the cluster while they are in the middle of something."""

    def __init__(self, emulator: Any, parts: Cluster, airflow: LocalAirflow) -> None:
        self.emulator, self.parts, self.airflow = emulator, parts, airflow
        self.killed: list[str] = []

    def hold(self, method: str, path: str, phase: str) -> None:
        """Hold the next request of this kind."""
        self.emulator.faults.add(method=method, path=path, phase=phase, hold=True, times=1)

    def held(self, method: str, path: str) -> int:
        """Wait until a request of this kind is held, and return its number."""

        def look() -> int:
            for one in self.emulator.holds.as_list():
                if one["method"] == method and re.search(path, one["target"]):
                    return int(one["id"])
            return 0

        return int(wait_for(look, 120, f"{method} {path} is held"))

    def kill_the_worker(self, method: str, path: str) -> None:
        """Kill the worker whose request is held, let Adobe go on with it, and start the worker again."""
        number = self.held(method, path)
        port = int(urlsplit(self.emulator.url).port or 0)
        # Other tasks come to their end meanwhile; the held one is left.
        (worker,) = wait_for(lambda: len(w := self.parts.talking_to(port)) == 1 and w, 60, "one is left")
        assert self.parts.kill(worker) >= 3, "the worker, its pool and a task"
        self.killed.append(f"{worker} at {method} {path}")
        self.emulator.holds.release("process", number)
        self.parts.start(worker)
        wait_for(lambda: self.parts.has_said(worker, "ready."), 120, f"{worker} is ready again")

    def kill_the_triggerer(self, method: str, path: str) -> None:
        """Kill the triggerer while a poll of its trigger is held, and start it again."""
        number = self.held(method, path)
        self.parts.kill("triggerer")
        self.killed.append(f"triggerer at {method} {path}")
        self.emulator.holds.release("process", number)
        self.parts.start("triggerer")

    def kill_the_broker(self) -> None:
        """Kill Redis, with whatever is queued there."""
        self.parts.restart("redis")
        self.killed.append("redis")

    def state(self, dag_id: str, run_id: str, task_id: str) -> str:
        (state,) = {
            one["state"] for one in self.airflow.task_instances(dag_id, run_id) if one["task_id"] == task_id
        }
        return str(state)

    def wait_for_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        wait_for(lambda: self.state(dag_id, run_id, task_id) == state, 120, f"{dag_id}.{task_id} is {state}")


def staged(folder: Path) -> Path:
    """Where the bulk update stages its rows: a folder that every host reaches."""
    return folder / "profiles"


def copy_dags(folder: Path) -> Path:
    """Copy the example Dags. The bulk update, which an asset starts, stages its rows below ``folder`` and
    keeps them.
    """
    dags = folder / "dags"
    dags.mkdir()
    for name in DAGS:
        text = (REPO / "example_dags" / f"{name}.py").read_text()
        if name == UPDATE:
            for default, other in (("            None,", f'            "{staged(folder).as_uri()}",'),
                                   ("Param(False,", "Param(True,")):  # fmt: skip
                assert text.count(default) == 1
                text = text.replace(default, other)
        (dags / f"{name}.py").write_text(text)
    shutil.copytree(REPO / "example_dags" / "data", dags / "data")
    return dags


@pytest.fixture
def running(emulator: Any, tmp_path: Path) -> Iterator[tuple[Cluster, LocalAirflow]]:
    # Adobe is not done before the triggerer was killed.
    emulator.switches.update({"batch_polls": 10**6, "profile_batch_polls": 10**6})
    dags = copy_dags(tmp_path)
    connection = connection_to(emulator.url, session_cache=True)
    with cluster(dags, {"adobe_default": connection}) as (parts, airflow):
        for dag_id in DAGS:
            airflow.wait_for_dag(dag_id)
        yield parts, airflow


def finished(airflow: LocalAirflow, dag_id: str, run_id: str) -> None:
    assert airflow.wait(dag_id, run_id, 240) == "success", airflow.report(dag_id, run_id)


def run_of(airflow: LocalAirflow, dag_id: str, run_type: str) -> str:
    """Return the run that Airflow has started by itself."""
    path = f"/dags/{dag_id}/dagRuns"
    runs = wait_for(
        lambda: airflow.api.get(path).raise_for_status().json()["dag_runs"], 60, f"{dag_id} has a run"
    )
    assert [one["run_type"] for one in runs] == [run_type]
    return str(runs[0]["dag_run_id"])


def test_the_chores_survive_the_death_of_every_part(
    emulator: Any, running: tuple[Cluster, LocalAirflow], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, airflow = running
    adobe, chaos = Adobe(emulator.url), Chaos(emulator, parts, airflow)
    staging = tmp_path / "staging"
    began = time.monotonic()

    # Mapped ingestion: a worker dies with a file half sent, and the broker with what is queued there.
    upload, poll = r"/batches/[^/]+/datasets/", r"/catalog/batches"
    chaos.hold("PUT", upload, "body")
    conf = {"staging": staging.as_uri(), "files": FILES, "keep_staged_files": True}
    ingestion = airflow.trigger(INGESTION, conf)
    chaos.kill_the_worker("PUT", upload)
    chaos.kill_the_broker()

    # Group sync: a worker dies after its first write has reached Adobe.
    chaos.hold("POST", r"/api/v1/groups", "after")
    sync = airflow.trigger(GROUPS, {})
    chaos.kill_the_worker("POST", r"/api/v1/groups")

    # The triggerer dies while it asks for the batch.
    chaos.wait_for_state(INGESTION, ingestion, "wait", "deferred")
    chaos.hold("GET", poll, "before")
    chaos.kill_the_triggerer("GET", poll)
    emulator.switches["batch_polls"] = 1
    finished(airflow, INGESTION, ingestion)
    finished(airflow, GROUPS, sync)

    # Rotation: a worker dies after Target has created the token and before anybody has stored it.
    accepted, status = r"/profile/batchUpdate", r"/profile/batchStatus"
    chaos.hold("POST", r"/authentication/token", "after")
    chaos.hold("POST", accepted, "after")
    for dag_id in (UPDATE, ROTATION):  # nobody starts these: the schedule and the asset of the rotation do
        airflow.api.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
    rotation = run_of(airflow, ROTATION, "scheduled")
    chaos.kill_the_worker("POST", r"/authentication/token")
    chaos.kill_the_broker()
    finished(airflow, ROTATION, rotation)

    # Bulk update, started by the asset: a worker dies after Target has accepted the rows, then the triggerer.
    update = run_of(airflow, UPDATE, "asset_triggered")
    chaos.kill_the_worker("POST", accepted)
    chaos.wait_for_state(UPDATE, update, "update_profiles", "deferred")
    chaos.hold("GET", status, "before")
    chaos.kill_the_triggerer("GET", status)
    emulator.switches["profile_batch_polls"] = 1
    finished(airflow, UPDATE, update)

    with capsys.disabled():
        print(f"\n{len(chaos.killed)} kills: {'; '.join(chaos.killed)}")
        print(f"{time.monotonic() - began:.0f} s; megabytes: {parts.memory()}")
    assert len(chaos.killed) == 8
    assert rows_in(staging) == emulator.platform.digest("cdnow-purchases")["count"] == 6919
    assert judge_groups(adobe)[1] == []
    assert judge_target(adobe, staged(tmp_path))[2] == []
    assert len(emulator.target.issued["profile_api"]) == 1, "one token, whoever died"
    signed_in = [one for one in emulator.journal.entries if one.path.startswith("/ims/token")]
    assert len(signed_in) <= 4, "one access token for each host, and one for the judge"
