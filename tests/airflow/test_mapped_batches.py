# SPDX-License-Identifier: Apache-2.0
"""What people do to a batch that several tasks fill: clear, skip, change the source. Never a green Dag with
other rows than the source's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeCompleteBatchOperator,
)
from tests.airflow.tries import Mapped, Tasks, numbers

pytestmark = pytest.mark.usefixtures("adobe_connection")


@pytest.fixture
def tasks(emulator: Any, tmp_path: Path) -> Tasks:
    emulator.switches.update({"batch_seconds": 0.0})
    return Tasks(emulator, tmp_path)


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
