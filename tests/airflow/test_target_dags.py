# SPDX-License-Identifier: Apache-2.0
"""Target's operators in DAG runs of a real Airflow, over real sockets."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, task
from packaging.version import parse

from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor
from airflow_provider_adobe_audiences.tasks import staging

pytestmark = pytest.mark.usefixtures("adobe_connection")

Run = Callable[..., Any]
VARIABLE = "adobe_target_profile_token"
STORE = AirflowVariableStore(VARIABLE)


AIRFLOW = parse(importlib.metadata.version("apache-airflow")).release
variable_in_trigger = pytest.mark.skipif(
    AIRFLOW[:2] == (3, 0),
    reason="under dag.test() of Airflow 3.0 no trigger can read a Variable; a real triggerer can",
)


@pytest.fixture
def dag(request: pytest.FixtureRequest) -> DAG:
    return DAG(
        f"dag_{abs(hash(request.node.nodeid))}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
    )


@pytest.fixture
def variable(airflow_db: None) -> Iterator[Callable[[], str | None]]:
    """``variable()`` returns what Airflow's database has, past everything that could hide it."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    def read() -> str | None:
        with create_session() as session:
            row = session.query(Variable).filter_by(key=VARIABLE).first()
            return None if row is None else str(row.val)

    def clear() -> None:
        with create_session() as session:
            session.query(Variable).filter_by(key=VARIABLE).delete()

    clear()
    yield read
    clear()


@pytest.fixture
def upload(emulator: Any, tmp_path: Path) -> Path:
    emulator.switches["batch_polls"] = 1
    file = tmp_path / "profiles.csv"
    file.write_text('id,tier,city\nu1,gold,"São Paulo, SP"\nu2,,Oslo\nu3,100%,\n', encoding="utf-8")
    return file


def events(asset: Asset) -> list[dict[str, Any]]:
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetEvent, AssetModel
    except ImportError:  # Airflow 2.11
        from airflow.models.dataset import DatasetEvent as AssetEvent
        from airflow.models.dataset import DatasetModel as AssetModel
    with create_session() as session:
        known = session.query(AssetModel).filter_by(uri=asset.uri).first()
        if known is None:
            return []
        column = AssetEvent.asset_id if hasattr(AssetEvent, "asset_id") else AssetEvent.dataset_id
        return [
            event.extra
            for event in session.query(AssetEvent).filter(column == known.id).order_by(AssetEvent.id)
        ]


def test_rotation_writes_the_variable_and_tells_who_waits_for_it(
    dag: DAG, run_dag: Run, xcom: Run, emulator: Any, variable: Callable[[], str | None]
) -> None:
    asset = profile_token_asset()
    before = len(events(asset))
    with dag:
        AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE)
    run = run_dag(dag)
    assert run.state == "success"
    result = xcom(run, "rotate")
    assert result | {"expires_at": "", "fingerprint": "", "outage_seconds": 0} == {
        "rotated": True,
        "adopted": False,
        "reason": "Target has no token",
        "expires_at": "",
        "fingerprint": "",
        "outage_seconds": 0,
        "verified": "accepted",
        "needed": "rotate",
    }
    assert variable() == emulator.target.token()
    told = events(asset)[before:]
    assert [event["fingerprint"] for event in told] == [result["fingerprint"]]
    assert str(emulator.target.token()) not in json.dumps(told)

    again = run_dag(dag)
    assert xcom(again, "rotate")["needed"] == "nothing"
    assert len(events(asset)) == before + 1, "no event when nothing happened"


def test_a_variable_that_is_hidden_is_found_out_before_post(
    dag: DAG, run_dag: Run, emulator: Any, variable: Callable[[], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", emulator.target.issue().value)
    with dag:
        AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE, force=True)
    assert run_dag(dag).state == "failed"
    assert emulator.journal.find("POST", "authentication/token") == []


def test_a_variable_that_is_hidden_is_not_written_when_a_token_is_adopted(
    dag: DAG,
    run_dag: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulator.target.issue()
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", "Q" * 36)
    with dag:
        AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE)
    assert run_dag(dag).state == "failed"
    if AIRFLOW[:2] != (3, 0):  # whose dag.test() does not show why a task failed
        assert "is hidden by an environment variable" in caplog.text + "".join(capsys.readouterr())
    monkeypatch.delenv(f"AIRFLOW_VAR_{VARIABLE.upper()}")
    assert variable() is None


@pytest.mark.skipif(AIRFLOW < (3,), reason="Airflow 2 has no supervisor")
@pytest.mark.parametrize("mode", ["rotate", "adopt"])
def test_a_variable_that_airflow_would_log_is_not_written(
    dag: DAG, run_dag: Run, emulator: Any, variable: Callable[[], str | None], mode: Any
) -> None:
    import structlog

    emulator.target.issue()
    with dag:
        AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE, force=True, mode=mode)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    try:
        assert run_dag(dag).state == "failed"
    finally:
        structlog.configure(**before)
    assert emulator.journal.find("POST", "authentication/token") == []
    assert variable() is None


def test_the_description_of_the_variable_is_kept(
    dag: DAG, run_dag: Run, emulator: Any, variable: Callable[[], str | None]
) -> None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with dag:
        AdobeRotateProfileTokenOperator(
            task_id="rotate", store=AirflowVariableStore(VARIABLE, description="ours"), force=True
        )
    for _ in range(2):
        assert run_dag(dag).state == "success"
    with create_session() as session:
        rows = {
            row.key: row.description
            for row in session.query(Variable).filter(Variable.key.startswith(VARIABLE))
        }
    assert rows == {VARIABLE: "ours"}, "and no probe is left behind"


@pytest.mark.parametrize("fault", [{"phase": "after", "drop": True}, {"phase": "before", "drop": True}])
def test_a_lost_answer_costs_no_second_token_even_with_a_retry(
    dag: DAG,
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    fault: dict[str, Any],
) -> None:
    emulator.faults.add(method="POST", path="authentication/token", nth=1, **fault)
    with dag:
        AdobeRotateProfileTokenOperator(
            task_id="rotate", store=STORE, retries=1, retry_delay=pendulum.duration(seconds=0)
        )
    run = run_dag(dag)
    assert run.state == "success"
    assert xcom(run, "rotate")["rotated"]
    assert len(emulator.target.issued["profile_api"]) == 1
    assert variable() == emulator.target.token()


@pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="what a forced rotation has done is remembered from Airflow 3.3 on"
)
def test_a_retry_goes_on_where_the_first_try_failed(
    dag: DAG,
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    adobe_connection: Run,
    variable: Callable[[], str | None],
) -> None:
    adobe_connection(max_attempts=1)
    # The comparison after writing fails once: the first try ends there, with everything stored.
    emulator.target.issue()
    emulator.faults.add(method="GET", path="authentication/token", nth=4, status=503)
    with dag:
        AdobeRotateProfileTokenOperator(
            task_id="rotate", store=STORE, force=True, retries=1, retry_delay=pendulum.duration(seconds=0)
        )
    run = run_dag(dag)
    assert run.state == "success"
    assert variable() == emulator.target.token()
    assert len(emulator.journal.find("POST", "authentication/token")) == 1


@pytest.mark.parametrize("patch_status", [200, 404, 405])
@pytest.mark.parametrize("enabled", [True, False])
def test_authentication_is_switched_and_nothing_else(
    dag: DAG, run_dag: Run, xcom: Run, emulator: Any, patch_status: int, enabled: bool
) -> None:
    emulator.switches["patch_status"] = patch_status
    emulator.target.settings |= {
        "enableProfileApiAuthentication": not enabled,
        "locale": "de_DE",
        "a4TEnabled": False,
    }
    others = {
        name: value
        for name, value in emulator.target.settings.items()
        if name != "enableProfileApiAuthentication"
    }
    with dag:
        AdobeSetProfileAuthenticationOperator(task_id="set", enabled=enabled)
    assert xcom(run_dag(dag), "set") == {"enabled": enabled, "changed": True}
    assert emulator.target.settings == others | {"enableProfileApiAuthentication": enabled}
    writes = len(emulator.journal.writes())
    assert xcom(run_dag(dag), "set") == {"enabled": enabled, "changed": False}
    assert len(emulator.journal.writes()) == writes


def expected_result(deferred: bool = True) -> dict[str, Any]:
    return {"rows": 3, "successful": 3, "not_found": 0, "failed": 0}


@pytest.mark.parametrize("deferrable", [False, pytest.param(True, marks=variable_in_trigger)])
def test_a_bulk_update_is_encoded_sent_and_waited_for(
    dag: DAG,
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    upload: Path,
    deferrable: bool,
) -> None:
    with dag:
        rotate = AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE)
        update = AdobeBulkProfileUpdateOperator(
            task_id="update",
            source=str(upload),
            key_column="id",
            store=STORE,
            deferrable=deferrable,
            poll_interval=0.1,
        )
        rotate >> update
    run = run_dag(dag)
    assert run.state == "success"
    result = xcom(run, "update")
    (batch,) = result.pop("batches")
    assert result == {"rows": 3, "successful": 3, "not_found": 0, "failed": 0}
    assert batch["status"] == "complete"
    sent = emulator.target.batches[batch["batch_id"]]
    assert (
        sent.body == b"batch=thirdPartyId,tier,city\nu1,gold,S%C3%A3o%20Paulo%2C%20SP\nu2,,Oslo\nu3,100%25,"
    )
    assert emulator.target.profiles["thirdPartyId", "u1"] == {"tier": "gold", "city": "São Paulo, SP"}


def test_rows_of_an_upstream_task(dag: DAG, run_dag: Run, xcom: Run, emulator: Any) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    with dag:

        @task
        def rows() -> list[dict[str, Any]]:
            return [{"thirdPartyId": f"u{number}", "score": number} for number in range(3)]

        AdobeBulkProfileUpdateOperator(
            task_id="update", rows=rows(), parameters={"score": "loyaltyScore"}, poll_interval=0.1
        )
    run = run_dag(dag)
    assert xcom(run, "update")["successful"] == 3
    assert emulator.target.profiles["thirdPartyId", "u2"] == {"loyaltyScore": "2"}


@pytest.mark.parametrize("deferrable", [False, pytest.param(True, marks=variable_in_trigger)])
def test_submitting_and_waiting_in_two_tasks(
    dag: DAG,
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    upload: Path,
    deferrable: bool,
) -> None:
    with dag:
        rotate = AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE)
        update = AdobeBulkProfileUpdateOperator(
            task_id="update", source=str(upload), key_column="id", store=STORE, wait_for_completion=False
        )
        wait = AdobeBulkProfileUpdateSensor(
            task_id="wait",
            batches=update.output,
            store=STORE,
            deferrable=deferrable,
            poke_interval=0.2,
            timeout=30,
        )
        rotate >> update >> wait
    run = run_dag(dag)
    assert run.state == "success"
    submitted, waited = xcom(run, "update"), xcom(run, "wait")
    assert (submitted["rows"], submitted["failed"]) == (3, None)
    assert (waited["rows"], waited["successful"]) == (3, 3)
    assert waited["batches"][0]["batch_id"] == submitted["batches"][0]["batch_id"]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("answer", ["403", "401", "200"])
def test_a_token_that_was_rotated_behind_the_back_fails_clearly(
    dag: DAG,
    run_dag: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    upload: Path,
    answer: str,
    deferrable: bool,
    caplog: Any,
) -> None:
    emulator.switches["bad_token_status"] = answer
    with dag:
        rotate = AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE)

        @task
        def press_the_button() -> None:
            emulator.target.issue()

        update = AdobeBulkProfileUpdateOperator(
            task_id="update",
            source=str(upload),
            key_column="id",
            store=STORE,
            deferrable=deferrable,
            poll_interval=0.1,
        )
        rotate >> press_the_button() >> update
    assert run_dag(dag).state == "failed"
    assert len(emulator.journal.find("POST", "batchUpdate")) == 1, (
        "the store has no other token: no second request"
    )
    assert emulator.target.batches == {}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    "switches",
    [{"profile_batch_outcome": "stuck"}, {"profile_batch_failed_rows": 1}, {"batch_status_host": "foreign"}],
)
def test_an_update_that_did_not_work_fails(
    dag: DAG, run_dag: Run, emulator: Any, upload: Path, switches: dict[str, Any], deferrable: bool
) -> None:
    emulator.switches.update(switches)
    emulator.target.settings["enableProfileApiAuthentication"] = False
    with dag:
        AdobeBulkProfileUpdateOperator(
            task_id="update",
            source=str(upload),
            key_column="id",
            deferrable=deferrable,
            poll_interval=0.1,
            retries=2,
        )
    assert run_dag(dag).state == "failed"
    assert len(emulator.journal.find("POST", "batchUpdate")) == 1, (
        "an error that a retry cannot mend is not retried"
    )


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="what was accepted is remembered from Airflow 3.3 on")
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_batch_that_target_has_forgotten_is_not_waited_for_again(
    dag: DAG, run_dag: Run, emulator: Any, upload: Path, status: int, deferrable: bool
) -> None:
    emulator.switches["unknown_batch_status"] = status
    emulator.target.settings["enableProfileApiAuthentication"] = False

    class Forgetful(AdobeBulkProfileUpdateOperator):
        def _upload(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
            accepted = super()._upload(*args, **kwargs)
            emulator.target.batches.clear()
            return accepted

    states: dict[str, Any] = {}

    def keep(context: Any) -> None:
        states["left"] = context["task_state_store"].get("adobe_target_bulk_update")

    with dag:
        Forgetful(
            task_id="update",
            source=str(upload),
            key_column="id",
            poll_interval=0.1,
            deferrable=deferrable,
            on_failure_callback=keep,
            retries=2,
        )
    assert run_dag(dag).state == "failed"
    assert len(emulator.journal.find("POST", "batchUpdate")) == 1
    assert states == {"left": None}, "whoever runs it again wants to upload again"


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="what was accepted is remembered from Airflow 3.3 on")
@pytest.mark.parametrize("choice", ["send_again", "fail"])
@pytest.mark.parametrize("status", [200, 404])
def test_a_retry_uploads_again_what_target_has_forgotten_since(
    dag: DAG, run_dag: Run, emulator: Any, upload: Path, status: int, choice: Any
) -> None:
    emulator.switches["unknown_batch_status"] = status
    emulator.target.settings["enableProfileApiAuthentication"] = False

    class DiesOnce(AdobeBulkProfileUpdateOperator):
        def _upload(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
            accepted = super()._upload(*args, **kwargs)
            if len(emulator.journal.find("POST", "batchUpdate")) == 1:
                emulator.target.batches.clear()
                raise RuntimeError("the worker is gone, and comes back when Target has forgotten the batch")
            return accepted

    with dag:
        DiesOnce(
            task_id="update",
            source=str(upload),
            key_column="id",
            poll_interval=0.1,
            on_unknown_outcome=choice,
            retries=1,
            retry_delay=timedelta(0),
        )
    assert run_dag(dag).state == ("success" if choice == "send_again" else "failed")
    assert len(emulator.journal.find("POST", "batchUpdate")) == (2 if choice == "send_again" else 1)


def test_failed_rows_can_be_accepted(dag: DAG, run_dag: Run, xcom: Run, emulator: Any, upload: Path) -> None:
    emulator.switches["profile_batch_failed_rows"] = 1
    emulator.target.settings["enableProfileApiAuthentication"] = False
    with dag:
        AdobeBulkProfileUpdateOperator(
            task_id="update",
            source=str(upload),
            key_column="id",
            poll_interval=0.1,
            max_failed_rows=1,
            show_values=True,
        )
    result = xcom(run_dag(dag), "update")
    assert (result["failed"], result["successful"]) == (1, 2)
    assert result["batches"][0]["failed_ids"] == ["u1"]


def test_a_refused_row_sends_nothing(dag: DAG, run_dag: Run, emulator: Any, upload: Path) -> None:
    upload.write_text("id,tier\nu1,gold\nu/2,silver\n")
    with dag:
        AdobeBulkProfileUpdateOperator(task_id="update", source=str(upload), key_column="id", retries=2)
    assert run_dag(dag).state == "failed"
    assert emulator.journal.entries == []


# ------------------------------------------------------------------------------------------------------------
# the example DAGs


@variable_in_trigger
def test_the_example_dags(
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    repo: Path,
    dag_bag: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bag = dag_bag(repo / "example_dags")
    rotation = run_dag(bag.dags["adobe_target_rotate_profile_token"])
    assert rotation.state == "success"
    assert xcom(rotation, "complain_when_little_is_left") == "89 days left"
    emulator.clock.advance(31 * 86_400)
    assert xcom(run_dag(bag.dags["adobe_target_rotate_profile_token"]), "rotate")["rotated"], "every month"
    monkeypatch.setattr(staging.tempfile, "gettempdir", lambda: str(tmp_path))
    update = run_dag(bag.dags["adobe_target_bulk_profile_update"])
    assert update.state == "success"
    assert list((tmp_path / f"adobe-audiences-{os.geteuid()}").iterdir()) == [], "the file is gone"
    result = xcom(update, "update_profiles")
    assert result["rows"] == result["successful"] == len(emulator.target.profiles) == 2357
    tiers = {attributes["tier"] for attributes in emulator.target.profiles.values()}
    assert tiers == {"gold", "silver", "bronze"}


@pytest.mark.parametrize("days", [31, 62])
def test_the_example_of_the_rotation_fails_when_it_could_not_rotate(
    run_dag: Run,
    emulator: Any,
    variable: Callable[[], str | None],
    repo: Path,
    dag_bag: Any,
    days: int,
) -> None:
    dag = dag_bag(repo / "example_dags").dags["adobe_target_rotate_profile_token"]
    dag.get_task("rotate").retries = dag.get_task("complain_when_little_is_left").retries = 0
    assert run_dag(dag).state == "success"
    emulator.clock.advance(days * 86_400)
    emulator.faults.add(
        method="GET",
        path="clients/settings",
        status=403,
        body={"errors": [{"errorCode": "X", "message": "no"}]},
    )
    run = run_dag(dag)
    assert run.state == "failed"
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    little = days > 31
    assert states == {
        "rotate": "failed",
        "look": "success",
        "fail_with_the_rotation": "failed",
        "complain_when_little_is_left": "failed" if little else "success",
    }
