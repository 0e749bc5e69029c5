# SPDX-License-Identifier: Apache-2.0
"""What people do to a batch ingestion: clear, kill, change the source, abort, run twice. Never a green task
with other rows than the source's.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.batches.upload import fill
from airflow_provider_adobe_audiences.errors import (
    AdobeBatchLostError,
    AdobeConfigurationError,
    AdobeJobFailedError,
    AdobeSourceError,
)
from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeCreateAudienceMetadataOperator,
    AdobeCreateBatchOperator,
)
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from airflow_provider_adobe_audiences.tasks.files import resolve
from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger
from tests.airflow.tries import Row, Store, Tasks, ingest, numbers, while_held

pytestmark = pytest.mark.usefixtures("adobe_connection")


@pytest.fixture
def tasks(emulator: Any, tmp_path: Path) -> Tasks:
    emulator.switches.update({"batch_seconds": 0.0})
    return Tasks(emulator, tmp_path)


# ------------------------------------------------------------------------------------------------------------
# whose batch is it now


@pytest.mark.parametrize("remembers", [False, True])
def test_the_kill_of_an_earlier_try_does_not_hurt_a_later_one(tasks: Tasks, remembers: bool) -> None:
    source = [tasks.file("a.jsonl", numbers(0, 5)), tasks.file("b.jsonl", numbers(5, 10))]
    tasks.store = Store() if remembers else None
    tasks.emulator.faults.add(method="PUT", path="a.jsonl", status=503, times=6)
    lost, second = ingest(source), ingest(source)
    with pytest.raises(Exception, match="503"):
        tasks.run(lost)

    with while_held(tasks.emulator, lost.on_kill, method="PUT", nth=2):
        result = tasks.run(second)

    assert result["records_ingested"] == 10
    assert tasks.rows() == numbers(0, 10)
    assert tasks.states() == (["success"] if remembers else ["aborted", "success"])


def test_a_batch_that_is_aborted_while_it_is_filled_is_followed_by_another(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", numbers(0, 5))
    with while_held(
        tasks.emulator, lambda: tasks.abort(tasks.pushed["batch_id"]), method="PUT", path="/files/"
    ):
        result = tasks.run(ingest(source))

    assert result["records_ingested"] == 5
    assert tasks.states() == ["aborted", "success"]


@pytest.mark.parametrize("word", ["aborted", "reverted"])
def test_a_batch_that_is_lost_while_it_is_waited_for_is_begun_anew_by_a_retry(
    tasks: Tasks, word: str
) -> None:
    tasks.emulator.switches.update({"batch_seconds": 100.0})
    source = tasks.file("a.jsonl", numbers(0, 5))
    batches = tasks.emulator.platform.batches

    def lose() -> None:
        batches.set_state(batches.batches[tasks.pushed["batch_id"]], word)

    with (
        while_held(tasks.emulator, lose, method="GET", path="/catalog/batches/", nth=2),
        pytest.raises(AdobeBatchLostError) as caught,
    ):
        tasks.run(ingest(source))
    assert caught.value.batch_id == tasks.pushed["batch_id"]
    assert caught.value.transient

    tasks.emulator.switches.update({"batch_seconds": 0.0})
    assert tasks.run(ingest(source))["records_ingested"] == 5
    assert tasks.rows() == numbers(0, 5)


async def test_nothing_is_aborted_when_a_deferred_task_is_cleared_or_marked(tasks: Tasks) -> None:
    tasks.emulator.switches.update({"batch_seconds": 100.0, "abort_window": "running"})
    operator = ingest(tasks.file("a.jsonl", numbers(0, 5)), wait_for_completion=False)
    batch_id = tasks.run(operator)["batch_id"]

    trigger = AdobeBatchTrigger(batch_id=batch_id, deadline=0.0, abort_on_kill=True)  # of an earlier release
    if hasattr(trigger, "on_kill"):
        await trigger.on_kill()
    operator.on_kill()

    tasks.emulator.switches.update({"batch_seconds": 0.0})
    assert tasks.states() == ["success"]


# ------------------------------------------------------------------------------------------------------------
# the source


def test_a_corrected_value_of_equal_length_is_not_swallowed(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}])
    tasks.run(ingest(source))
    tasks.file("a.jsonl", [{"n": 2}])

    with pytest.raises(AirflowFailException, match=r"(?s)other content now.*start a new Dag run"):
        tasks.run(ingest(source))

    assert tasks.run(ingest(source, external_id="mine"))["status"] == "success"  # what the message says
    assert tasks.rows() == [{"n": 1}, {"n": 2}]


def test_a_file_that_was_only_touched_is_the_same(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}])
    first = tasks.run(ingest(source))
    tasks.file("a.jsonl", [{"n": 1}])
    os.utime(source, (1, 1))

    assert tasks.run(ingest(source)) == first


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(
    "new", [[{"n": 7}, {"n": 8}], [{"n": 1}, {"n": 2}, {"n": 3}]], ids=["same size", "grown"]
)
def test_a_file_that_is_written_while_it_is_sent_is_never_ingested_halfway(
    tasks: Tasks, new: list[Row], phase: str
) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}, {"n": 2}])
    with (
        while_held(tasks.emulator, lambda: tasks.file("a.jsonl", new), method="PUT", phase=phase),
        pytest.raises(AdobeSourceError, match="changed while it was being sent"),
    ):
        tasks.run(ingest(source))
    assert tasks.rows() == []

    tasks.run(ingest(source))
    assert tasks.rows() == new
    assert tasks.states() == ["aborted", "success"]


def test_a_file_that_changes_after_it_was_sent_but_before_the_others_are_is_noticed(tasks: Tasks) -> None:
    sources = [tasks.file("a.jsonl", numbers(0, 3)), tasks.file("b.jsonl", numbers(3, 6))]

    def rewrite() -> None:
        tasks.file("a.jsonl", numbers(6, 9))
        tasks.file("b.jsonl", numbers(3, 6))

    with (
        while_held(tasks.emulator, rewrite, method="PUT", nth=2, phase="after"),
        pytest.raises(AdobeSourceError),
    ):
        tasks.run(ingest(sources))
    tasks.run(ingest(sources))

    assert tasks.rows() == numbers(3, 9)


def test_parts_of_an_older_version_are_not_mixed_with_the_new_one(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_adobe_audiences.adobe import experience_platform

    monkeypatch.setattr(experience_platform, "MAX_WHOLE_FILE_BYTES", 10)
    source = tasks.file("a.jsonl", numbers(10, 20))
    tasks.emulator.faults.add(method="PATCH", nth=[3], status=403)
    with pytest.raises(AirflowFailException):
        tasks.run(ingest(source, part_size=30, abort_on_kill=False))
    tasks.file("a.jsonl", numbers(20, 30))

    tasks.run(ingest(source, part_size=30))

    assert tasks.rows() == numbers(20, 30)


def test_the_source_of_an_ingested_batch_may_be_gone(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", numbers(0, 5))
    first = tasks.run(ingest(source))
    Path(source).unlink()

    assert tasks.run(ingest(source)) == first


def test_a_source_that_is_gone_before_its_batch_was_complete_leaves_nothing_loading(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", numbers(0, 5))
    tasks.emulator.faults.add(method="PUT", status=503, times=6)
    with pytest.raises(Exception, match="503"):
        tasks.run(ingest(source))
    assert tasks.states() == ["loading"]
    Path(source).unlink()

    with pytest.raises(AirflowFailException, match="does not exist"):
        tasks.run(ingest(source))

    assert tasks.states() == ["aborted"]


@pytest.mark.parametrize("answer", ["conflict", "bad_request"])
def test_a_catalog_that_lags_is_waited_for(
    tasks: Tasks, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_adobe_audiences.batches.ingest._LOOK_AGAIN", (0.01,) * 4)
    tasks.emulator.switches["external_id_duplicate"] = answer
    source = tasks.file("a.jsonl", numbers(0, 5))
    tasks.emulator.faults.add(method="PUT", status=503, times=6)
    with pytest.raises(Exception, match="503"):
        tasks.run(ingest(source))
    tasks.emulator.faults.add(method="GET", path="/catalog/batches\\?", body={}, status=200, times=4)

    assert tasks.run(ingest(source))["records_ingested"] == 5
    assert tasks.states() == ["success"]


def test_a_catalog_that_lags_for_long_is_for_the_next_try(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_adobe_audiences.batches.ingest._LOOK_AGAIN", (0.01,) * 4)
    source = tasks.file("a.jsonl", numbers(0, 5))
    tasks.emulator.faults.add(method="PUT", status=503, times=6)
    with pytest.raises(Exception, match="503"):
        tasks.run(ingest(source))
    lag = tasks.emulator.faults.add(method="GET", path="/catalog/batches\\?", body={}, status=200)
    with pytest.raises(Exception, match="exists, but Catalog does not list it") as caught:
        tasks.run(ingest(source))
    assert not isinstance(caught.value, AirflowFailException)
    tasks.emulator.faults.remove(lag)

    assert tasks.run(ingest(source))["records_ingested"] == 5
    assert tasks.states() == ["success"]


# ------------------------------------------------------------------------------------------------------------
# which run it is


def test_a_task_that_airflow_runs_once_more_as_its_first_try_finds_its_batch(tasks: Tasks) -> None:
    operator = ingest(tasks.file("a.jsonl", numbers(0, 5)))
    create = AdobeCreateBatchOperator(task_id="create", dataset_id="ds", source=operator.source)

    def first_try(instance: str, operator: Any) -> Any:
        context = tasks.context(operator, 1)
        context["ti"].id = instance
        return operator.execute(context)

    result = first_try("01a216c2-18d3-7111", operator)
    assert first_try("01a216c2-18d3-7111", operator) == result
    with pytest.raises(AirflowFailException, match="although this is its first try"):
        first_try("01a216c2-18d3-7222", operator)
    begun = first_try("01a216c2-18d3-7111", create)
    assert first_try("01a216c2-18d3-7111", create) == begun
    with pytest.raises(AirflowFailException, match="although this is its first try"):
        first_try("01a216c2-18d3-7222", create)
    assert tasks.states() == ["success", "loading"]


@pytest.mark.parametrize("state", ["success", "failed"])
@pytest.mark.parametrize("if_empty", ["fail", "succeed", "skip"])
def test_a_task_that_is_run_once_more_as_its_first_try_needs_no_source(
    tasks: Tasks, state: str, if_empty: Any
) -> None:
    tasks.store = Store()
    source = tasks.file("a.jsonl", numbers(0, 5))
    operator = ingest(source, if_empty=if_empty)
    context = tasks.context(operator, 1)
    result = operator.execute(context)
    Path(source).unlink()
    if state == "success":
        assert operator.execute(context) == result
        return
    batches = tasks.emulator.platform.batches
    batches.set_state(batches.batches[result["batch_id"]], "failed")
    with pytest.raises(AirflowFailException, match=r"does not exist|is failed"):
        operator.execute(context)


@pytest.mark.parametrize("state", ["success", "loading"])
def test_a_batch_of_another_dataset_is_somebody_elses_where_tags_do_not_tell(
    tasks: Tasks, state: str
) -> None:
    with AdobeExperiencePlatformHook().session() as session:
        failed = session.send(platform.create_batch("ds", input_format="json", external_id="x"))
        session.send(platform.abort_batch(failed.id))
        other = session.send(platform.create_batch("ds2", input_format="json", external_id="x.2"))
        if state == "success":
            upload = resolve(tasks.file("other.jsonl", numbers(50, 51)), "json")
            fill(session, other.id, "ds2", upload, part_size=1_000_000)
            session.send(platform.complete_batch(other.id))

    result = tasks.run(ingest(tasks.file("a.jsonl", numbers(0, 2)), external_id="x"))

    assert (result["external_id"], result["dataset_id"]) == ("x.3", "ds")
    assert tasks.rows() == numbers(0, 2)
    assert tasks.states() == ["aborted", state, "success"]
    if state == "success":
        for batch in tasks.emulator.platform.batches.batches.values():
            batch.body["tags"] = {}
        assert tasks.run(ingest(f"{tasks.folder}/a.jsonl", external_id="x")) == result


def test_two_deployments_do_not_take_each_others_batch(tasks: Tasks, adobe_connection: Any) -> None:
    mine = tasks.run(ingest(tasks.file("a.jsonl", [{"n": 1}])))
    other = Tasks(tasks.emulator, tasks.folder)  # with the same Dag, run, and sandbox
    theirs = other.file("b.jsonl", [{"n": 2}])
    with pytest.raises(AirflowFailException, match=r"(?s)although this is its first try.*'deployment'"):
        other.run(ingest(theirs))

    adobe_connection(deployment="airflow-b")  # what the message says
    result = Tasks(tasks.emulator, tasks.folder).run(ingest(theirs))

    assert result["batch_id"] != mine["batch_id"]
    assert tasks.rows() == [{"n": 1}, {"n": 2}]


def test_a_run_that_was_deleted_and_triggered_again_is_another_run(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}])
    tasks.run(ingest(source), run_after=pendulum.datetime(2026, 1, 1))
    again = Tasks(tasks.emulator, tasks.folder)
    tasks.file("a.jsonl", [{"n": 2}])

    again.run(ingest(source), run_after=pendulum.datetime(2026, 1, 2))

    assert tasks.rows() == [{"n": 1}, {"n": 2}]
    assert again.run(ingest(source), run_after=pendulum.datetime(2026, 1, 2))["status"] == "success"
    assert tasks.states() == ["success", "success"]


AUDIENCE = {"name": "Buyers", "namespace": "shop", "origin_name": "Shop", "audience_id": "buyers"}


def create_audience(**more: Any) -> AdobeCreateAudienceMetadataOperator:
    return AdobeCreateAudienceMetadataOperator(
        **{"task_id": "audience", **AUDIENCE, "if_exists": "fail", **more}
    )


@pytest.mark.parametrize(
    "later", [timedelta(hours=2), timedelta(minutes=-10)], ids=["cleared later", "clock behind"]
)
def test_ones_own_audience_is_known_by_its_id(tasks: Tasks, later: timedelta) -> None:
    tasks.store = Store()
    if later < timedelta(0):
        tasks.emulator.clock.advance(later.total_seconds())
    first = tasks.run(create_audience())
    if later > timedelta(0):
        tasks.emulator.clock.advance(later.total_seconds())

    assert tasks.run(create_audience()) == first

    tasks.store = Store()
    with pytest.raises(AirflowFailException, match="exists already"):
        tasks.run(create_audience(task_id="other"))


def test_a_lost_response_leaves_ones_own_audience(tasks: Tasks) -> None:
    tasks.store = Store()
    tasks.emulator.faults.add(method="POST", path="/audiences", phase="after", drop=True, times=1)
    tasks.emulator.faults.add(method="GET", path="/audiences", nth=list(range(2, 40)), status=503)
    with pytest.raises(Exception, match="503"):
        tasks.run(create_audience())
    tasks.emulator.faults.clear()

    assert tasks.run(create_audience())["created"] is True


# ------------------------------------------------------------------------------------------------------------
# what callbacks and other tasks see


def test_ids_are_there_before_the_outcome_is(tasks: Tasks) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}])
    Path(source).write_text('{"n": 1}\n{"n": \n')
    with pytest.raises(AirflowFailException) as caught:
        tasks.run(ingest(source, partial_ingestion_percent=90))

    cause = caught.value.__cause__
    assert isinstance(cause, AdobeJobFailedError)
    assert (cause.batch_id, cause.external_id) == (tasks.pushed["batch_id"], tasks.pushed["external_id"])
    assert cause.records_failed == 1


def test_nothing_to_send(tasks: Tasks) -> None:
    folder = tasks.folder / "out"
    folder.mkdir()
    for name in ("_SUCCESS", ".part-0.jsonl.crc", "part-0.jsonl"):
        (folder / name).touch()
    source = f"{folder}/*"
    with pytest.raises(AirflowFailException, match=r"(?s)names no file that is not empty.*if_empty='skip'"):
        tasks.run(ingest(source))
    with pytest.raises(AirflowSkipException):
        tasks.run(ingest(source, if_empty="skip"))
    result = tasks.run(ingest(source, if_empty="succeed"))
    assert (result["batch_id"], result["files"], result["bytes"]) == (None, 0, 0)

    (folder / "part-1.jsonl").write_text('{"n": 1}\n')
    result = tasks.run(ingest(source, if_empty="skip"))
    assert (result["files"], tasks.rows()) == (1, [{"n": 1}])


def test_the_sandbox_of_a_task_wins(tasks: Tasks) -> None:
    tasks.emulator.switches["sandboxes"] = ["prod", "dev"]
    tasks.run(ingest(tasks.file("a.jsonl", [{"n": 1}]), sandbox="dev"))
    (batch,) = tasks.emulator.platform.snapshot()["batches"]
    assert batch["sandbox"] == "dev"
    with pytest.raises(AirflowFailException, match="sandbox"):
        tasks.run(ingest(tasks.file("a.jsonl", [{"n": 1}]), sandbox="No Such Name"))


@pytest.mark.parametrize(
    ("sandbox", "rule"), [("Dev Box", r"did you mean 'dev-box'\?"), ("a/b", "digits and hyphens")]
)
def test_a_bad_sandbox_is_blamed_on_the_argument(tasks: Tasks, sandbox: str, rule: str) -> None:
    source = tasks.file("a.jsonl", [{"n": 1}])
    with pytest.raises(
        AirflowFailException, match=f"argument 'sandbox' is '{sandbox}': must be .*{rule}"
    ) as error:
        tasks.run(ingest(source, sandbox=sandbox))
    assert "connection 'adobe_default'" not in str(error.value)
    sensor = AdobeBatchSensor(task_id="wait", batch_id="b", sandbox=sandbox)
    with pytest.raises(AirflowFailException, match="argument 'sandbox' is"):
        sensor.execute({})  # type: ignore[arg-type]
    with pytest.raises(AdobeConfigurationError, match="argument 'sandbox' is"):
        AdobeExperiencePlatformHook(sandbox=sandbox).settings  # noqa: B018
    assert tasks.emulator.journal.entries == []


def test_success_is_said_in_one_line(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        result = tasks.run(ingest(tasks.file("a.jsonl", numbers(0, 5))))
    assert f"Batch {result['batch_id']}: 5 of 5 rows ingested, 0 rejected." in caplog.text
