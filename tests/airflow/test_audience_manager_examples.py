# SPDX-License-Identifier: Apache-2.0
"""The example Dags of Audience Manager, run as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("adobe_connection")


@pytest.fixture
def example(repo: Path, dag_bag: Any) -> Any:
    """``example(dag_id)`` loads a file of ``example_dags`` as a scheduler does."""
    return lambda dag_id: dag_bag(repo / "example_dags" / f"{dag_id}.py").dags[dag_id]


@pytest.fixture
def world(emulator: Any) -> Any:
    aam = emulator.audience_manager
    user = aam.add_user("ann")
    trait = {"objectType": "TRAIT", "objectId": 1496, "permissions": ["READ"]}
    aam.add_group("EU Analysts", "old text", users=[user.user_id], permissions=[trait])
    aam.add_group("EMEA Activation")
    aam.add_group("EMEA Interns")
    aam.add_group("APAC", "somebody else's", permissions=[trait])
    return aam


def names(aam: Any) -> list[str]:
    return sorted(group.name for group in aam.groups.values())


def test_sync_on_merge_then_no_drift(run_dag, xcom, emulator, world, example):
    run = run_dag(example("adobe_audience_manager_sync_on_merge"))

    assert run.state == "success"
    assert names(world) == ["APAC", "EMEA Activation", "EMEA Analysts", "EMEA Auditors"]
    result = xcom(run, "sync")
    assert result["counts"] == {
        "create": 1,
        "rename": 1,
        "update": 1,
        "set_permissions": 3,
        "delete": 1,
        "unchanged": 0,
        "unmanaged": 1,
        "findings": 0,
    }

    emulator.journal.clear()
    again = run_dag(example("adobe_audience_manager_sync_on_merge"))
    assert again.state == "success"
    assert xcom(again, "sync")["written"] == 0
    checked = run_dag(example("adobe_audience_manager_drift_check"))
    assert checked.state == "success"
    assert emulator.journal.writes() == []

    # Somebody gives a group a wildcard by hand: nothing but the check would tell.
    next(group for group in world.groups.values() if group.name == "EMEA Analysts").wildcards = [
        "VIEW_ALL_SEGMENTS"
    ]
    assert run_dag(example("adobe_audience_manager_drift_check")).state == "failed"
    assert emulator.journal.writes() == []


def test_the_drift_check_fails_and_writes_nothing(run_dag, emulator, world, example):
    assert run_dag(example("adobe_audience_manager_drift_check")).state == "failed"
    assert emulator.journal.writes() == []


def test_the_plan_waits_for_a_person(run_dag, xcom, emulator, world, example):
    """``dag.test()`` answers no approval, so only the planning task is run here; a browser approves in
    ``tests/system``.
    """
    dag = example("adobe_audience_manager_plan_approve_apply")
    (approve,) = dag.get_task("plan").downstream_task_ids - {"apply"}
    assert dag.get_task("apply").upstream_task_ids == {"plan", approve}

    run = run_dag(dag.partial_subset("plan"))

    plan = xcom(run, "plan")
    assert plan["changes"] == 7
    assert "EMEA Interns" in plan["markdown"]
    assert emulator.journal.writes() == []
