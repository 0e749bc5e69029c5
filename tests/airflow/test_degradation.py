# SPDX-License-Identifier: Apache-2.0
"""What older versions of Airflow do not have: it is said once, clearly, and the data are right all the same.

Each test runs on the versions that it is about, and says on the others why it does not.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG
from packaging.version import parse

from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.get_provider_info import CONNECTION_FIELDS, get_provider_info
from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.triggers import base as triggers
from tests.airflow.test_target_dags import events

pytestmark = pytest.mark.usefixtures("adobe_connection")

Run = Callable[..., Any]
AIRFLOW = parse(importlib.metadata.version("apache-airflow")).release
FORGETS = "Airflow before 3.3 keeps nothing between the tries of a task"
VARIABLE = "adobe_token_of_a_version"
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}

before_3_1 = pytest.mark.skipif(AIRFLOW >= (3, 1), reason="from 3.1 on people approve in Airflow's pages")


@pytest.fixture
def dag(request: pytest.FixtureRequest) -> DAG:
    return DAG(
        f"degradation_{abs(hash(request.node.nodeid))}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    )


@pytest.fixture
def messages(airflow_db: None) -> Iterator[list[str]]:
    """What the package logs, wherever Airflow's own handlers put it."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Collect()
    logger = logging.getLogger("airflow_provider_adobe_audiences")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


def said(messages: list[str]) -> int:
    return sum(FORGETS in message for message in messages)


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "rows.json"
    file.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(5)))
    return str(file)


# ------------------------------------------------------------------------------------------------------------
# no approval by a person before 3.1


@before_3_1
def test_a_plan_that_nobody_can_approve_is_not_applied_and_says_so(
    repo: Path, dag_bag: Run, run_dag: Run, emulator: Any
) -> None:
    file = repo / "example_dags" / "adobe_audience_manager_plan_approve_apply.py"
    dag = dag_bag(file).dags["adobe_audience_manager_plan_approve_apply"]
    for task in dag.tasks:
        task.retries = 0

    run = run_dag(dag)

    assert run.state == "failed"
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states == {"plan": "success", "nobody_can_approve": "failed", "apply": "upstream_failed"}
    assert emulator.audience_manager.groups == {}
    with pytest.raises(RuntimeError, match=r"Approvals need Airflow 3\.1 or later: upgrade, or use"):
        dag.task_dict["nobody_can_approve"].python_callable()


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="before 3.1 nobody can approve in Airflow's pages")
def test_from_3_1_on_the_example_asks_a_person(repo: Path, dag_bag: Run) -> None:
    file = repo / "example_dags" / "adobe_audience_manager_plan_approve_apply.py"
    dag = dag_bag(file).dags["adobe_audience_manager_plan_approve_apply"]

    assert dag.task_dict["approve"].task_type == "ApprovalOperator"


# ------------------------------------------------------------------------------------------------------------
# no memory of a task's tries before 3.3


def ingest_in_two_tries(dag: DAG, source: str, emulator: Any, adobe_connection: Run) -> None:
    """The first try dies of an error after Adobe has accepted the batch as complete."""
    adobe_connection(max_attempts=1)
    emulator.switches.update({"batch_seconds": 0.0})
    emulator.faults.add(method="POST", path="action=COMPLETE", phase="after", drop=True, times=1)
    with dag:
        AdobeIngestBatchOperator(
            task_id="ingest", dataset_id="ds", source=source, poll_interval=0.05, **AGAIN
        )


def test_a_retry_ingests_nothing_twice_whatever_it_remembers(
    dag: DAG, run_dag: Run, emulator: Any, adobe_connection: Run, source: str, messages: list[str]
) -> None:
    ingest_in_two_tries(dag, source, emulator, adobe_connection)

    assert run_dag(dag).state == "success"

    assert sorted(row["n"] for _, row in emulator.platform.rows("ds")) == list(range(5))
    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["success"]
    assert said(messages) == (1 if AIRFLOW < (3, 3) else 0), "once, in the try that it is about"


def test_a_first_try_says_nothing_of_memory(
    dag: DAG, run_dag: Run, emulator: Any, source: str, messages: list[str]
) -> None:
    emulator.switches.update({"batch_seconds": 0.0})
    with dag:
        AdobeIngestBatchOperator(task_id="ingest", dataset_id="ds", source=source, poll_interval=0.05)

    assert run_dag(dag).state == "success"
    assert said(messages) == 0


@pytest.fixture
def variable(airflow_db: None) -> Iterator[None]:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    def clear() -> None:
        with create_session() as session:
            session.query(Variable).filter(Variable.key == VARIABLE).delete()

    clear()
    yield
    clear()


def test_consumers_of_a_token_are_told_by_the_retry_whatever_it_remembers(
    dag: DAG, run_dag: Run, emulator: Any, adobe_connection: Run, variable: None, messages: list[str]
) -> None:
    adobe_connection(max_attempts=1)
    emulator.target.issue()
    before = len(events(profile_token_asset()))
    # The comparison after writing fails once: the first try ends there, with everything stored.
    emulator.faults.add(method="GET", path="authentication/token", nth=4, status=503)
    with dag:
        AdobeRotateProfileTokenOperator(
            task_id="rotate", store=AirflowVariableStore(VARIABLE), min_remaining=timedelta(days=80), **AGAIN
        )
    emulator.target.issued["profile_api"][-1].expires = emulator.clock.now() + 86_400

    assert run_dag(dag).state == "success"

    assert len(emulator.target.issued["profile_api"]) == 2, "one new token in two tries"
    assert len(events(profile_token_asset())) == before + 1, "consumers were told, once"
    assert said(messages) == (1 if AIRFLOW < (3, 3) else 0)


def test_profiles_have_the_values_of_their_rows_whatever_a_retry_remembers(
    dag: DAG, run_dag: Run, emulator: Any, adobe_connection: Run, messages: list[str]
) -> None:
    adobe_connection(max_attempts=1)
    emulator.switches["profile_batch_polls"] = 0
    emulator.target.settings["enableProfileApiAuthentication"] = False
    emulator.faults.add(method="POST", path="batchUpdate", phase="after", drop=True, times=2)
    with dag:
        AdobeBulkProfileUpdateOperator(
            task_id="update", rows=[{"thirdPartyId": "u1", "tier": "gold"}], poll_interval=0.05, **AGAIN
        )

    assert run_dag(dag).state == "success"

    assert len(emulator.target.profiles) == 1
    assert len(emulator.journal.find("POST", "batchUpdate")) == 3, "two in the first try, one in the second"
    assert said(messages) == (1 if AIRFLOW < (3, 3) else 0)


# ------------------------------------------------------------------------------------------------------------
# triggers hear of an end from 3.3 on


def test_no_trigger_has_anything_to_end() -> None:
    """What is waited for was handed over to Adobe: whoever marks or clears the task, it goes on there, on
    every version alike.
    """

    def below(kind: type) -> Iterator[type]:
        yield kind
        for one in kind.__subclasses__():
            yield from below(one)

    import airflow_provider_adobe_audiences.triggers.experience_platform
    import airflow_provider_adobe_audiences.triggers.target  # noqa: F401

    kinds = [
        kind for kind in below(triggers.AdobeWaitTrigger) if kind.__module__.startswith("airflow_provider")
    ]
    assert len(kinds) >= 3
    assert [kind.__name__ for kind in kinds if "on_kill" in vars(kind)] == []


# ------------------------------------------------------------------------------------------------------------
# the command line, and the form


def test_the_command_line_is_one_of_its_own_on_every_version() -> None:
    """Airflow takes commands of providers from 3.2 on; ours needs no Airflow for that."""
    assert "cli" not in get_provider_info()
    printed = subprocess.run(
        [Path(sys.executable).with_name("adobe-audiences"), "groups", "schema"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(printed)["type"] == "object"


def test_the_form_has_every_field_on_the_versions_that_take_it_from_the_hook() -> None:
    if AIRFLOW >= (3, 1):
        pytest.skip("for 3.1 see test_provider_info.py; from 3.2 on the form comes from the metadata")
    code = (
        "import json, warnings; warnings.simplefilter('ignore')\n"
        "from airflow.providers_manager import ProvidersManager\n"
        "names = ProvidersManager().connection_form_widgets\n"
        "print(json.dumps([name for name in names if '__adobe__' in name]))"
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    fields = [name.removeprefix("extra__adobe__") for name in json.loads(process.stdout.splitlines()[-1])]
    try:
        import flask_appbuilder  # noqa: F401
    except ImportError:
        if AIRFLOW[:2] == (3, 0):
            # Airflow's own message, which also says what to install.
            assert fields == []
            assert "AdobeHook' is not fully initialized" in process.stdout + process.stderr
            assert "'flask_appbuilder' package is not installed" in process.stdout + process.stderr
            return
    assert fields == list(CONNECTION_FIELDS)
