# SPDX-License-Identifier: Apache-2.0
"""Tasks that share no home, no temporary folder and no process, as on Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import GROUPS, ROTATION, UPDATE, Adobe, judge_groups, judge_target, rows_in
from scripts.local_airflow import REPO, LocalAirflow, airflow_standalone, connection_to
from tests.cluster.test_cluster import INGESTION, copy_dags, staged

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def airflow(emulator: Any, tmp_path: Path) -> Iterator[LocalAirflow]:
    emulator.switches.update({"batch_polls": 1, "profile_batch_polls": 1})
    (tmp_path / "logs").mkdir()
    env = {
        "AIRFLOW__CORE__EXECUTOR": "tests.cluster.pods.PodsExecutor",
        "PODS_LOGS": str(tmp_path / "logs"),
        "PYTHONPATH": str(REPO),
    }
    connections = {"adobe_default": connection_to(emulator.url, session_cache=True)}
    with airflow_standalone(copy_dags(tmp_path), connections=connections, env=env, parallelism=4) as running:
        yield running


def printed(folder: Path) -> str:
    return "\n".join(file.read_text(errors="replace") for file in sorted((folder / "logs").iterdir()))


def run(airflow: LocalAirflow, folder: Path, dag_id: str, expected: str = "success", **conf: Any) -> str:
    run_id = airflow.trigger(dag_id, conf)
    state = airflow.wait(dag_id, run_id, 180)
    assert state == expected, f"{airflow.report(dag_id, run_id)}\n{printed(folder)[-6000:]}"
    return run_id


def test_the_chores_run_in_pods_with_a_folder_that_all_reach(
    emulator: Any, airflow: LocalAirflow, tmp_path: Path
) -> None:
    staging = tmp_path / "staging"
    run(airflow, tmp_path, INGESTION, staging=staging.as_uri(), files=3, keep_staged_files=True)
    run(airflow, tmp_path, GROUPS)
    run(airflow, tmp_path, ROTATION)
    run(airflow, tmp_path, UPDATE)

    assert rows_in(staging) == emulator.platform.digest("cdnow-purchases")["count"] == 6919
    adobe = Adobe(emulator.url)
    assert judge_groups(adobe)[1] == []
    assert judge_target(adobe, staged(tmp_path))[2] == []
    assert len(emulator.target.issued["profile_api"]) == 1
    # No cache is shared, so each task that speaks to Adobe signs in once, and no more than once.
    pods = list((tmp_path / "logs").iterdir())
    signed_in = [one for one in emulator.journal.entries if one.path.startswith("/ims/token")]
    assert len(signed_in) <= len(pods) + 2, "one for each pod, one for the triggerer, one for the judge"


def test_files_that_only_one_pod_has_are_an_error_that_says_what_to_give(
    emulator: Any, airflow: LocalAirflow, tmp_path: Path
) -> None:
    run_id = run(airflow, tmp_path, INGESTION, expected="failed", files=2)

    states = {one["task_id"]: one["state"] for one in airflow.task_instances(INGESTION, run_id)}
    assert states["split_purchases"] == "success"
    assert states["create_batch"] == "failed"
    text = printed(tmp_path)
    assert "does not exist" in text
    assert "must be in a folder that all workers reach" in text
    assert emulator.platform.snapshot()["batches"] == [], "nothing was sent"
    assert not list(emulator.platform.rows("cdnow-purchases"))
