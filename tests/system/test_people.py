# SPDX-License-Identifier: Apache-2.0
"""What people do to runs, on a real scheduler and triggerer: clearing, marking, following the advice. Many
more acts, at every request, are in ``tests/faults``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_adobe_audiences.emulator.server import running_emulator
from scripts.local_airflow import REPO, LocalAirflow, airflow_standalone, connection_to

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

INGESTION = "adobe_batch_ingestion_with_audience_metadata"
MAPPED = "adobe_batch_ingestion_mapped"
PURCHASES = 6919
BUYERS = 388


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAirflow, Any]]:
    """One Airflow for all tests here, and Adobe."""
    dags = tmp_path_factory.mktemp("people") / "dags"
    dags.mkdir()
    for name in (INGESTION, MAPPED):
        # What fails for good is what these tests are about.
        text = (REPO / "example_dags" / f"{name}.py").read_text()
        quick = text.replace('"retries": 2, "retry_delay": timedelta(seconds=10)', '"retries": 0')
        assert quick != text
        (dags / f"{name}.py").write_text(quick)
    shutil.copytree(REPO / "example_dags" / "data", dags / "data")
    with (
        running_emulator() as emulator,
        airflow_standalone(dags, connections={"adobe_default": connection_to(emulator.url)}) as airflow,
    ):
        yield airflow, emulator


@pytest.fixture
def airflow(world: tuple[LocalAirflow, Any]) -> LocalAirflow:
    return world[0]


@pytest.fixture
def emulator(world: tuple[LocalAirflow, Any]) -> Any:
    world[1].reset()
    return world[1]


def ends(airflow: LocalAirflow, dag_id: str, run_id: str, state: str) -> None:
    """Wait for a run that was just started or cleared."""
    assert airflow.wait(dag_id, run_id) == state, airflow.report(dag_id, run_id)


def until(what: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def state_of(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> str | None:
    return next(
        task["state"] for task in airflow.task_instances(dag_id, run_id) if task["task_id"] == task_id
    )


def rows(emulator: Any, dataset_id: str) -> int:
    return int(emulator.platform.digest(dataset_id)["count"])


def test_a_whole_run_that_succeeded_is_cleared(airflow: LocalAirflow, emulator: Any) -> None:
    run_id = airflow.trigger(MAPPED)
    ends(airflow, MAPPED, run_id, "success")
    assert rows(emulator, "cdnow-purchases") == PURCHASES

    airflow.clear(MAPPED, run_id)
    until(lambda: airflow.state(MAPPED, run_id) != "success")

    ends(airflow, MAPPED, run_id, "success")
    assert rows(emulator, "cdnow-purchases") == PURCHASES, "all rows, and none twice"


def test_an_upload_that_was_refused_is_cleared_and_then_what_the_error_says(
    airflow: LocalAirflow, emulator: Any
) -> None:
    emulator.faults.add(method="PUT", nth=2, status=403, body={"message": "no"})
    run_id = airflow.trigger(MAPPED)
    ends(airflow, MAPPED, run_id, "failed")
    assert rows(emulator, "cdnow-purchases") == 0
    (refused,) = (
        task["map_index"]
        for task in airflow.task_instances(MAPPED, run_id)
        if (task["task_id"], task["state"]) == ("upload", "failed")
    )

    airflow.clear(MAPPED, run_id, ("upload", refused))
    until(lambda: airflow.state(MAPPED, run_id) != "failed")
    ends(airflow, MAPPED, run_id, "failed")
    assert rows(emulator, "cdnow-purchases") == 0, "a part of the rows is no success"
    said = airflow.log(MAPPED, run_id, "complete_batch")
    assert "Clear" in said, said

    airflow.clear(MAPPED, run_id, "create_batch")
    until(lambda: airflow.state(MAPPED, run_id) != "failed")
    ends(airflow, MAPPED, run_id, "success")
    assert rows(emulator, "cdnow-purchases") == PURCHASES


def test_an_ingestion_that_waits_in_the_triggerer_is_cleared(airflow: LocalAirflow, emulator: Any) -> None:
    emulator.switches["batch_seconds"] = 3600
    run_id = airflow.trigger(INGESTION)
    until(lambda: state_of(airflow, INGESTION, run_id, "ingest") == "deferred")

    airflow.clear(INGESTION, run_id, "ingest")
    until(lambda: state_of(airflow, INGESTION, run_id, "ingest") != "deferred")
    until(lambda: state_of(airflow, INGESTION, run_id, "ingest") == "deferred")
    emulator.clock.advance(3600)

    ends(airflow, INGESTION, run_id, "success")
    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["success"]
    assert rows(emulator, "cdnow-frequent-buyers") == BUYERS


def test_marking_a_waiting_ingestion_as_success_destroys_nothing(
    airflow: LocalAirflow, emulator: Any
) -> None:
    emulator.switches["batch_seconds"] = 3600
    run_id = airflow.trigger(INGESTION)
    until(lambda: state_of(airflow, INGESTION, run_id, "ingest") == "deferred")

    airflow.mark(INGESTION, run_id, "ingest", "success")
    ends(airflow, INGESTION, run_id, "success")
    emulator.clock.advance(3600)

    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["success"]
    assert rows(emulator, "cdnow-frequent-buyers") == BUYERS
