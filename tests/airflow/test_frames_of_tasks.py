# SPDX-License-Identifier: Apache-2.0
"""What a crash reporter would send of a task that fails: whichever of its requests is refused, and however,
no frame of the error holds a secret, a token or a customer's id.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.redaction import all_forms
from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeCreateAudienceMetadataOperator,
    AdobeIngestBatchOperator,
)
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.profiles import parts
from airflow_provider_adobe_audiences.rotation import rotate
from airflow_provider_adobe_audiences.rotation.stores import SecretStore
from tests.airflow.tries import Tasks
from tests.security.test_frames import reported

pytestmark = pytest.mark.usefixtures("adobe_connection")

CUSTOMERS = ("jane.roe@example.com", "john.doe@example.com")
GROUPS = {"groups": [{"name": "EMEA Analysts", "description": "they read"}]}
REFUSALS: dict[str, dict[str, Any]] = {
    "403": {"status": 403},
    "another shape": {"status": 200, "body": [[[]]]},
    "no response": {"drop": True},
    "a late drop": {"drop": True, "phase": "after"},
}


class Store(SecretStore):
    """Keeps the token in this process; refuses to do one thing, and says more than it should."""

    def __init__(self, refuses: str = "", kept: str = "") -> None:
        self.refuses, self.kept = refuses, kept

    def __str__(self) -> str:
        return "store of a test"

    def _prove_writable(self) -> None:
        pass

    def _read(self) -> str | None:
        if self.refuses == "read":
            raise RuntimeError("it is sealed")
        return self.kept or None

    def _write(self, secret: str) -> None:
        if self.refuses == "write":
            raise RuntimeError(f"not {secret}")
        self.kept = secret


def ingest(folder: Any) -> Any:
    file = folder / "a.json"
    file.write_text("".join(json.dumps({"email": one}) + "\n" for one in CUSTOMERS))
    return AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=str(file), poll_interval=0.01)


TASKS: dict[str, Callable[[Any, Any], Any]] = {
    "ingest": lambda _, folder: ingest(folder),
    "audience": lambda *_: AdobeCreateAudienceMetadataOperator(
        task_id="t", name="A", namespace="email", origin_name="CRM"
    ),
    "sync": lambda *_: AdobeSyncGroupsOperator(task_id="t", desired=GROUPS, mode="apply"),
    "rotate": lambda *_: AdobeRotateProfileTokenOperator(
        task_id="t", store=Store(), force=True, announce=False
    ),
    "authentication": lambda *_: AdobeSetProfileAuthenticationOperator(task_id="t", enabled=True),
    "update": lambda emulator, _: AdobeBulkProfileUpdateOperator(
        task_id="t",
        rows=[{"thirdPartyId": one, "tier": "a"} for one in CUSTOMERS],
        store=Store(kept=emulator.target.issue().value),
        poll_interval=0.01,
    ),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(rotate, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    monkeypatch.setattr(flow, "limiter_for", lambda *_: limiter.Limiter())


def attempt(emulator: Any, folder: Any, operator: Any) -> BaseException | None:
    """Return what the only try of the task raises, as Airflow gets it."""
    try:
        Tasks(emulator, folder).run(operator, max_tries=0)
    except Exception as error:
        return error
    return None


def secrets(emulator: Any) -> set[str]:
    """Return, in every form, what no error may hold by now."""
    issued = [token.value for tokens in emulator.target.issued.values() for token in tokens]
    known = ["emulator-client-secret", *emulator.ims.tokens, *issued, *CUSTOMERS]
    return {form for secret in known for form in all_forms(secret)}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("name", TASKS)
def test_no_refused_request_of_a_task_brings_out_a_secret(
    emulator: Any, tmp_path: Any, name: str, refusal: str
) -> None:
    assert attempt(emulator, tmp_path, TASKS[name](emulator, tmp_path)) is None, (
        "without a refusal it succeeds"
    )
    requests = [(entry.method, entry.path) for entry in emulator.journal.entries]
    failed = 0
    for number in range(1, len(requests) + 1):
        emulator.reset()
        emulator.switches.update({"batch_seconds": 0.0})
        nth = list(range(number, number + 20)) if refusal != "a late drop" else [number]
        emulator.faults.add(nth=nth, **REFUSALS[refusal])
        error = attempt(emulator, tmp_path, TASKS[name](emulator, tmp_path))
        if error is not None:
            failed += 1
            text = reported(error)
            assert [form for form in secrets(emulator) if form in text] == []
    assert failed >= (1 if refusal != "a late drop" else 0)


@pytest.mark.parametrize("refuses", ("read", "write"))
def test_no_store_that_fails_brings_out_a_token(emulator: Any, tmp_path: Any, refuses: str) -> None:
    old = emulator.target.issue("profile_api") if refuses == "read" else None
    store = Store(refuses, old.value if old else "")
    rotate_token = AdobeRotateProfileTokenOperator(task_id="t", store=store, force=True, announce=False)
    error = attempt(emulator, tmp_path, rotate_token)
    assert error is not None
    text = reported(error)
    assert "store of a test" in text
    assert emulator.target.issued["profile_api"], "there is a token that could have come out"
    assert [form for form in secrets(emulator) if form in text] == []


JSON = b'{"email": "john.doe@example.com", "tier": "a"}\n'
CSV = b"email,tier\njohn.doe@example.com,a\n"
REFUSED_ROWS: dict[str, tuple[str, bytes]] = {
    "a key that Adobe does not take": ("csv", CSV + b"jane.roe+1@example.com,a\n"),
    "a row that is too long": ("csv", CSV + b"jane.roe@example.com,a,b\n"),
    "a line that is no JSON": ("json", JSON + b'{"jane.roe@example.com"\n'),
    "a value in a value": ("json", JSON + b'{"email": "a", "tier": {"jane.roe@example.com": [1]}}\n'),
    "no UTF-8": ("csv", CSV + b"jane.roe@example.com,\xff\n"),
    "no header": ("csv", b"john.doe@example.com,a\njane.roe@example.com,b\n"),
}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("reason", REFUSED_ROWS)
def test_no_refused_row_brings_out_a_customer(
    emulator: Any, tmp_path: Any, reason: str, deferrable: bool
) -> None:
    file_format, content = REFUSED_ROWS[reason]
    (tmp_path / "rows").write_bytes(content)
    update = AdobeBulkProfileUpdateOperator(
        task_id="t",
        source=str(tmp_path / "rows"),
        file_format=file_format,
        key_column="email",
        deferrable=deferrable,
        poll_interval=0.01,
    )
    error = attempt(emulator, tmp_path, update)
    assert error is not None
    text = reported(error)
    assert "row" in str(error) or "column" in str(error)
    assert [one for one in ("jane.roe", "john.doe") if one in text] == []
    assert [(entry.method, entry.path) for entry in emulator.journal.entries if "/m2/" in entry.path] == []


def test_no_failing_disk_brings_out_a_customer(
    emulator: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is not of this package passes through it, too."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.tempfile, "TemporaryFile", full)
    (tmp_path / "rows.csv").write_text("email,tier\njohn.doe@example.com,a\n")
    update = AdobeBulkProfileUpdateOperator(
        task_id="t", source=str(tmp_path / "rows.csv"), key_column="email", poll_interval=0.01
    )
    error = attempt(emulator, tmp_path, update)
    assert error is not None
    assert "No space left on device" in reported(error)
    assert "john.doe" not in reported(error)
    assert "parts.py" in reported(error), "where it came from is told all the same"
