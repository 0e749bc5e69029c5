# SPDX-License-Identifier: Apache-2.0
"""What people do to a batch ingestion: clear, kill, change the source, abort, run twice. Never a green task
with other rows than the source's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_adobe_audiences.errors import (
    AdobeBatchLostError,
    AdobeConfigurationError,
    AdobeJobFailedError,
    AdobeSourceError,
)
from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateAudienceMetadataOperator,
    AdobeCreateBatchOperator,
    AdobeIngestBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

pytestmark = pytest.mark.usefixtures("adobe_connection")

Row = dict[str, Any]


class Store(dict[str, Any]):
    """Airflow 3.3's task state store, as far as it is used."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class Tasks:
    """Runs tries of tasks of one Dag run in this process, as Airflow's task runner would."""

    def __init__(self, emulator: Any, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.pushed: dict[str, Any] = {}
        self.tries: dict[tuple[str, int], int] = {}
        self.store: Store | None = None

    def context(self, operator: Any, try_number: int, map_index: int = -1, **run: Any) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="d",
            run_id="run",
            task_id=operator.task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=run.pop("max_tries", 2),
            start_date=pendulum.now("UTC"),
            xcom_push=lambda key, value: self.pushed.__setitem__(key, value),
        )
        dag_run = SimpleNamespace(start_date=pendulum.now("UTC"), logical_date=None, **run)
        context = {"ti": ti, "dag_run": dag_run}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def run(self, operator: Any, map_index: int = -1, **run: Any) -> Any:
        """Run the next try of a task."""
        key = (operator.task_id, map_index)
        self.tries[key] = self.tries.get(key, 0) + 1
        return operator.execute(self.context(operator, self.tries[key], map_index, **run))

    def file(self, name: str, rows: list[Row]) -> str:
        file = self.folder / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(file)

    def rows(self) -> list[Row]:
        return sorted((row for _, row in self.emulator.platform.rows("ds")), key=lambda row: row["n"])

    def states(self) -> list[str]:
        return [batch["status"] for batch in self.emulator.platform.snapshot()["batches"]]

    def abort(self, batch_id: str) -> None:
        """What a person does at Adobe."""
        batches = self.emulator.platform.batches
        batches.set_state(batches.batches[batch_id], "aborted")


@pytest.fixture
def tasks(emulator: Any, tmp_path: Path) -> Tasks:
    emulator.switches.update({"batch_seconds": 0.0})
    return Tasks(emulator, tmp_path)


def numbers(first: int, end: int) -> list[Row]:
    return [{"n": n} for n in range(first, end)]


def ingest(source: Any, **more: Any) -> AdobeIngestBatchOperator:
    return AdobeIngestBatchOperator(
        **{"task_id": "ingest", "dataset_id": "ds", "source": source, "poll_interval": 0.05, **more}
    )


@contextmanager
def while_held(emulator: Any, act: Callable[[], Any], **rule: Any) -> Iterator[list[Any]]:
    """``act`` while the next request that matches ``rule`` is parked."""
    emulator.faults.add(hold=True, times=1, **rule)
    done: list[Any] = []

    def wait_and_act() -> None:
        emulator.holds.wait()
        try:
            done.append(act())
        finally:
            emulator.holds.release("continue")

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield done
    finally:
        thread.join()


# ------------------------------------------------------------------------------------------------------------
# spread over several tasks


class Mapped:
    """create >> upload (mapped) >> complete >> wait, with an abort as teardown."""

    def __init__(self, tasks: Tasks, files: list[str]) -> None:
        self.tasks = tasks
        self.files = files
        self.uploads: dict[int, Any] = {}
        self.batch_id = ""

    def create(self) -> None:
        operator = AdobeCreateBatchOperator(task_id="create", dataset_id="ds", source=self.files)
        self.batch_id = self.tasks.run(operator)

    def upload(self, *indexes: int) -> None:
        for index in indexes:
            operator = AdobeUploadBatchFilesOperator(
                task_id="upload", batch_id=self.batch_id, dataset_id="ds", source=self.files[index]
            )
            self.uploads[index] = self.tasks.run(operator, index)

    def complete(self) -> None:
        operator = AdobeCompleteBatchOperator(
            task_id="complete", batch_id=self.batch_id, uploads=list(self.uploads.values())
        )
        self.tasks.run(operator)

    def wait(self) -> Any:
        return self.tasks.run(AdobeBatchSensor(task_id="wait", batch_id=self.batch_id, poke_interval=0.05))

    def abort(self) -> None:
        self.tasks.run(AdobeAbortBatchOperator(task_id="abort", batch_id=self.batch_id))


@pytest.fixture
def mapped(tasks: Tasks) -> Mapped:
    return Mapped(tasks, [tasks.file(f"{n}.jsonl", numbers(10 * n, 10 * n + 10)) for n in range(4)])


def test_an_upload_that_is_cleared_alone_after_the_abort_is_not_enough(mapped: Mapped, tasks: Tasks) -> None:
    mapped.create()
    mapped.upload(0, 1, 3)  # the third is refused, so the teardown follows
    mapped.abort()

    mapped.create()  # a person clears that upload: Airflow runs its set-up again
    mapped.upload(2)
    with pytest.raises(
        AirflowFailException, match=r"(?s)map index 0, 1, 3 went .*Clear the task that creates"
    ):
        mapped.complete()
    assert tasks.rows() == []
    mapped.abort()

    mapped.create()  # what the message says
    mapped.upload(0, 1, 2, 3)
    mapped.complete()
    assert mapped.wait()["records_ingested"] == 40
    assert tasks.rows() == numbers(0, 40)


def test_a_whole_successful_run_that_is_cleared_ends_right(mapped: Mapped, tasks: Tasks) -> None:
    for _ in range(2):
        mapped.create()
        mapped.upload(0, 1, 2, 3)
        mapped.complete()
        assert mapped.wait()["records_ingested"] == 40
        mapped.abort()
        for file in mapped.files:  # the upstream task writes them again, alike
            Path(file).write_text(Path(file).read_text())
            os.utime(file, (1, 1))

    assert tasks.states() == ["success"]
    assert tasks.rows() == numbers(0, 40)


def test_one_upload_of_a_successful_run_that_is_cleared_ends_right(mapped: Mapped, tasks: Tasks) -> None:
    mapped.create()
    mapped.upload(0, 1, 2, 3)
    mapped.complete()
    mapped.create()
    mapped.upload(2)
    mapped.complete()

    assert tasks.states() == ["success"]
    assert tasks.rows() == numbers(0, 40)


def test_an_upload_that_is_missing_is_named(mapped: Mapped, tasks: Tasks) -> None:
    mapped.create()
    mapped.upload(0, 1, 3)

    with pytest.raises(AirflowFailException, match=r"(?s)3 files with .* not 4 .*no upload with map index 2"):
        mapped.complete()

    assert tasks.rows() == []


def test_a_list_that_changed_leaves_no_stale_file(mapped: Mapped, tasks: Tasks) -> None:
    mapped.create()
    mapped.upload(0, 1, 2, 3)
    mapped.files[3] = tasks.file("other.jsonl", numbers(30, 40))  # upstream was cleared, and names it anew
    mapped.upload(3)
    with pytest.raises(AirflowFailException, match="other files or sizes now"):
        mapped.complete()
    assert tasks.rows() == []

    mapped.create()  # what the message says
    mapped.upload(0, 1, 2, 3)
    mapped.complete()
    assert tasks.states() == ["aborted", "success"]
    assert tasks.rows() == numbers(0, 40)


def test_a_file_rewritten_between_its_upload_and_that_of_others_is_found(
    mapped: Mapped, tasks: Tasks
) -> None:
    mapped.create()
    mapped.upload(0, 1, 2)
    tasks.file("3.jsonl", numbers(60, 70))
    mapped.upload(3)

    with pytest.raises(AirflowFailException, match="other content now, with the same names and sizes"):
        mapped.complete()

    assert tasks.rows() == []


@pytest.mark.parametrize("uploads", [None, [], "01H", [{"batch_id": "b"}], [7], {"files": 2, "bytes": 3}])
def test_what_is_no_result_of_uploads_is_refused_before_any_request(tasks: Tasks, uploads: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"(?s)argument 'uploads'.*uploads=upload.output"):
        tasks.run(AdobeCompleteBatchOperator(task_id="complete", batch_id="b", uploads=uploads))
    assert tasks.emulator.journal.entries == []


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
