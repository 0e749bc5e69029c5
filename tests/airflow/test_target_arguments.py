# SPDX-License-Identifier: Apache-2.0
"""What templates give to Target's operators, and what Airflow keeps and shows of customers' rows."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import CallableStore
from tests import leaks

pytestmark = pytest.mark.usefixtures("adobe_connection")

Run = Callable[..., Any]
MEMORY: dict[str, str | None] = {}
STORE = CallableStore(lambda: MEMORY.get("token"), lambda token: MEMORY.update(token=token), lambda: None)


def dag_of(request: pytest.FixtureRequest, **options: Any) -> DAG:
    return DAG(
        f"arguments_{abs(hash(request.node.nodeid))}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        params={"force": False, "days": 1},
        **options,
    )


def test_text_for_force_is_an_error_and_never_a_rotation(
    request: pytest.FixtureRequest, run_dag: Run, emulator: Any
) -> None:
    MEMORY["token"] = emulator.target.issue().value
    with dag_of(request) as dag:
        AdobeRotateProfileTokenOperator(task_id="rotate", store=STORE, force="{{ params.force }}", retries=2)
    assert run_dag(dag).state == "failed"
    assert emulator.journal.entries == []


def test_templates_that_keep_their_types(
    request: pytest.FixtureRequest, run_dag: Run, xcom: Run, emulator: Any
) -> None:
    MEMORY["token"] = emulator.target.issue().value
    with dag_of(request, render_template_as_native_obj=True) as dag:
        AdobeRotateProfileTokenOperator(
            task_id="rotate",
            store=STORE,
            force="{{ params.force }}",
            min_remaining="P{{ params.days }}D",
            mode="{{ 'check' }}",
        )
        AdobeSetProfileAuthenticationOperator(task_id="require", enabled="{{ not params.force }}")
    run = run_dag(dag)
    assert run.state == "success"
    assert xcom(run, "rotate")["reason"] == "89 days left, which is more than 24 hours"
    assert xcom(run, "require")["enabled"] is True
    assert emulator.journal.find("POST", "authentication/token") == []


def test_check_with_a_limit_fails_the_task(
    request: pytest.FixtureRequest, run_dag: Run, emulator: Any
) -> None:
    MEMORY["token"] = emulator.target.issue().value
    emulator.clock.advance(80 * 86_400)
    with dag_of(request) as dag:
        AdobeRotateProfileTokenOperator(
            task_id="look", store=STORE, mode="check", fail_below=timedelta(days=14)
        )
    assert run_dag(dag).state == "failed"
    assert emulator.journal.writes() == []


def test_rows_are_in_no_rendered_field_log_or_xcom(
    request: pytest.FixtureRequest,
    run_dag: Run,
    xcom: Run,
    emulator: Any,
    airflow_home: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    emulator.switches["profile_batch_failed_rows"] = 1
    people = ["jane.roe.4711", "john.doe.4712"]
    with dag_of(request) as dag:
        update = AdobeBulkProfileUpdateOperator(
            task_id="update",
            rows=[{"thirdPartyId": one, "tier": "{{ params.days }}"} for one in people],
            poll_interval=0.1,
            max_failed_rows=None,
            trigger_rule="all_done",
        )
        update << AdobeBulkProfileUpdateOperator(
            task_id="fails",
            rows=[{"thirdPartyId": one, "tier": "a"} for one in people],
            poll_interval=0.1,
        )
    run = run_dag(dag)
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    assert states == {"update": "success", "fails": "failed"}
    assert emulator.target.profiles["thirdPartyId", people[1]] == {"tier": "1"}, "rendered like any other"
    result = xcom(run, "update")
    assert (result["failed"], "failed_ids" in json.dumps(result)) == (1, False)
    said = capfd.readouterr()
    hunt = leaks.Hunt(people)
    hunt.look("logs", "what was said", f"{said.out}{said.err}{caplog.text}")
    assert hunt.found == []
    fields = rendered(run)
    assert fields["update"]["rows"] == "2 rows, not shown"
    assert not any(one in str(fields) for one in people)


def rendered(run: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(RenderedTaskInstanceFields).filter_by(run_id=run.run_id, dag_id=run.dag_id)
        return {row.task_id: row.rendered_fields for row in found}


def test_bad_rows_are_left_out_and_written_to_a_file(
    request: pytest.FixtureRequest, run_dag: Run, xcom: Run, emulator: Any, tmp_path: Path
) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    rows = [{"thirdPartyId": key, "tier": "a"} for key in ("u1", "u/2", "u3")]
    with dag_of(request) as dag:
        AdobeBulkProfileUpdateOperator(
            task_id="update",
            rows=rows,
            on_bad_row="skip",
            max_bad_rows=1,
            bad_rows_path=f"file://{tmp_path}/left-out.jsonl",
            poll_interval=0.1,
        )
    result = xcom(run_dag(dag), "update")
    assert (result["rows"], result["skipped_rows"]) == (2, 1)
    (left_out,) = [json.loads(line) for line in (tmp_path / "left-out.jsonl").read_text().splitlines()]
    assert (left_out["row"], left_out["values"]["thirdPartyId"]) == (2, "u/2")
    assert stat.filemode((tmp_path / "left-out.jsonl").stat().st_mode) == "-rw-------"
    assert sorted(emulator.target.profiles) == [("thirdPartyId", "u1"), ("thirdPartyId", "u3")]


@pytest.mark.parametrize("if_empty", ["fail", "skip", "succeed"])
def test_nothing_to_send(
    request: pytest.FixtureRequest, run_dag: Run, emulator: Any, tmp_path: Path, if_empty: Any
) -> None:
    (tmp_path / "rows.csv").write_text("thirdPartyId,tier\n")
    (tmp_path / "_SUCCESS").touch()
    with dag_of(request) as dag:

        @task
        def nothing() -> list[dict[str, Any]]:
            return []

        AdobeBulkProfileUpdateOperator(task_id="rows", rows=nothing(), if_empty=if_empty)
        AdobeBulkProfileUpdateOperator(task_id="file", source=f"{tmp_path}/*", if_empty=if_empty)
    run = run_dag(dag)
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    expected = {"fail": "failed", "skip": "skipped", "succeed": "success"}[if_empty]
    assert states == {"nothing": "success", "rows": expected, "file": expected}
    assert emulator.journal.find("POST", "batchUpdate") == []


def test_a_resumed_update_asks_for_each_batch_once(
    request: pytest.FixtureRequest, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    emulator.switches["profile_batch_polls"] = 0
    states: dict[str, Any] = {}

    class States:
        get = staticmethod(lambda key, default=None: states.get(key, default))
        set = staticmethod(lambda key, value: states.update({key: value}))
        delete = staticmethod(lambda key: states.pop(key, None))

    class Ti:
        start_date = None
        xcom_push = staticmethod(lambda key, value: None)

    context: Any = {"task_state_store": States, "ti": Ti}
    update = AdobeBulkProfileUpdateOperator(
        task_id="update", rows=[{"thirdPartyId": "u1", "tier": "a"}], poll_interval=0.1
    )
    from airflow_provider_adobe_audiences.profiles.wait import BatchesWait

    with monkeypatch.context() as dying:
        dying.setattr(BatchesWait, "pending", lambda self: 1 / 0)
        with pytest.raises(Exception, match="ZeroDivisionError"):
            update.execute(context)
    assert states, "what was accepted is remembered"
    before = len(emulator.journal.find(path="batchStatus"))
    assert update.execute(context)["successful"] == 1
    assert len(emulator.journal.find("POST", "batchUpdate")) == 1
    assert len(emulator.journal.find(path="batchStatus")) == before + 1
