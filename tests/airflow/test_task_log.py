# SPDX-License-Identifier: Apache-2.0
"""What the log of a failed task says of its error: every text once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobePermissionError
from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator
from airflow_provider_adobe_audiences.operators.target import AdobeRotateProfileTokenOperator
from airflow_provider_adobe_audiences.rotation.stores import CallableStore
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry
from tests.airflow.tries import Tasks

tracebacks = pytest.importorskip("structlog.tracebacks", reason="Airflow 2 has no structured logs")

pytestmark = pytest.mark.usefixtures("adobe_connection")


def logged(act: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the errors that Airflow 3 writes into a task's log when ``act`` fails: the last one first."""
    try:
        act()
    except Exception:
        transform = tracebacks.ExceptionDictTransformer(use_rich=False, show_locals=False)
        found: list[dict[str, Any]] = transform(sys.exc_info())
        return found
    raise AssertionError("it did not fail")


def refused(status: int) -> Callable[[Any, Tasks], Any]:
    def run(emulator: Any, tasks: Tasks) -> Any:
        emulator.faults.add(status=status, body={"message": "no, never"}, path="/data/")
        return tasks.run(AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=tasks.file("a", [{}])))

    return run


def value_error() -> None:
    with fail_without_retry():
        raise ValueError("no, never")


def import_error() -> None:
    with fail_without_retry():
        raise ImportError("no, never")


FAILURES: dict[str, tuple[Callable[[Any, Tasks], Any], str]] = {
    "Adobe refuses": (refused(403), "no, never"),
    "an argument": (
        lambda _, tasks: tasks.run(
            AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source="no, never")
        ),
        "does not exist",
    ),
    "Adobe refuses the token": (
        lambda emulator, tasks: (
            emulator.faults.add(status=401, body={"errors": [{"message": "no, never"}]}, path="/target/"),
            tasks.run(
                AdobeRotateProfileTokenOperator(
                    task_id="t", store=CallableStore(lambda: None), announce=False
                )
            ),
        ),
        "no, never",
    ),
    "a hook": (
        lambda emulator, _: (
            emulator.faults.add(status=401, body={"errors": [{"message": "no, never"}]}, path="/target/"),
            AdobeTargetHook().get_profile_token(),
        ),
        "no, never",
    ),
    "a value": (lambda *_: value_error(), "no, never"),
    "a package": (lambda *_: import_error(), "no, never"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_text_stands_once_in_the_log(emulator: Any, tmp_path: Path, name: str) -> None:
    fail, text = FAILURES[name]
    errors = logged(lambda: fail(emulator, Tasks(emulator, tmp_path)))
    assert json.dumps(errors).count(text) == 1
    assert len(errors) == 1
    assert errors[0]["frames"]


def test_the_cause_is_there_for_callbacks(emulator: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException) as caught:
        refused(403)(emulator, Tasks(emulator, tmp_path))
    cause = caught.value.__cause__
    assert isinstance(cause, AdobePermissionError)
    assert (cause.status, cause.message, str(cause)) == (403, "no, never", str(caught.value))

    with pytest.raises(AirflowFailException) as caught:
        Tasks(emulator, tmp_path).run(AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source="none"))
    assert isinstance(caught.value.__cause__, AdobeConfigurationError)


def test_a_fault_of_ours_is_logged_by_its_place_and_without_its_text() -> None:
    def fail() -> None:
        with fail_without_retry():
            raise KeyError("jane.roe@example.com")

    (error,) = logged(fail)
    assert error["exc_type"] == "AirflowFailException"
    assert error["exc_value"].startswith("KeyError in test_task_log.py, line ")
    assert "(fail)" in error["exc_value"]
    assert "jane" not in json.dumps(error)
