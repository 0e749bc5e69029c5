# SPDX-License-Identifier: Apache-2.0
"""Uploads over several tries of a task, and the waiting for them, without a network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.target import ProfileBatch, ProfileBatchStatus
from airflow_provider_adobe_audiences.errors import (
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
)
from airflow_provider_adobe_audiences.profiles.encode import Columns
from airflow_provider_adobe_audiences.profiles.parts import Parts
from airflow_provider_adobe_audiences.profiles.rows import table_of_rows
from airflow_provider_adobe_audiences.profiles.upload import NoMemory, Uploads
from airflow_provider_adobe_audiences.profiles.wait import BatchesWait, summary


class Remembering:
    def __init__(self) -> None:
        self.record: dict[str, Any] | None = None

    def load(self) -> dict[str, Any] | None:
        return self.record

    def save(self, record: Mapping[str, Any]) -> None:
        self.record = {**record, "accepted": list(record["accepted"])}

    def clear(self) -> None:
        self.record = None


class Target:
    """Takes uploads; the profiles are what the last upload of each set."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.sent: list[str] = []
        self.asked: list[str] = []
        self.profiles: dict[str, str] = {}
        self.lose: list[bool] = []
        self.forgotten: set[str] = set()

    def submit(self, content: Any) -> ProfileBatch:
        with content.open() as file:
            text = file.read().decode()
        self.sent.append(text)
        for line in text.splitlines()[1:]:
            key, _, value = line.partition(",")
            self.profiles[key] = value
        if self.lose and self.lose.pop(0):
            raise AdobeUnknownOutcomeError("lost")
        number = next(self.numbers)
        return ProfileBatch(f"b{number}", f"http://edge/status?batchId=b{number}")

    def status(self, url: str) -> ProfileBatchStatus:
        self.asked.append(url)
        if url in self.forgotten:
            raise AdobeNotFoundError("who?")
        return ProfileBatchStatus(None, "complete", successful=1, failed=0, not_found=0)


def a_try(target: Target, memory: Any, rows: list[tuple[str, str]], **options: Any) -> list[dict[str, Any]]:
    uploads = Uploads(target.submit, target.status, memory, "acme/v2", **options)
    with Parts(Columns("thirdPartyId", "id"), max_rows=1) as parts:
        return uploads.upload(parts.write([table_of_rows([{"id": key, "v": value} for key, value in rows])]))


A, B = [("u1", "a")], [("u1", "b")]


def test_rows_that_change_and_change_back_are_sent_each_time() -> None:
    target, memory = Target(), Remembering()
    for rows in (A, B, A):
        a_try(target, memory, rows)
    assert target.profiles == {"u1": "a"}
    assert len(target.sent) == 3


def test_a_retry_with_the_same_rows_sends_nothing_again() -> None:
    target, memory = Target(), Remembering()
    first = a_try(target, memory, [("u1", "a"), ("u2", "a")])
    assert a_try(target, memory, [("u1", "a"), ("u2", "a")]) == first
    assert len(target.sent) == 2
    assert len(target.asked) == 2


def test_a_retry_goes_on_after_the_part_that_was_accepted() -> None:
    target, memory = Target(), Remembering()
    target.lose = [False, True, True]
    with pytest.raises(AdobeUnknownOutcomeError):
        a_try(target, memory, [("u1", "a"), ("u2", "a")])
    a_try(target, memory, [("u1", "a"), ("u2", "a")])
    assert [text.splitlines()[1] for text in target.sent] == ["u1,a", "u2,a", "u2,a", "u2,a"]


def test_what_follows_a_part_that_adobe_has_forgotten_is_sent_again_too() -> None:
    """Of two rows of one profile the later counts: the first part alone would undo the second."""
    target, memory = Target(), Remembering()
    first, _ = a_try(target, memory, [("u1", "old"), ("u1", "new")])
    target.forgotten = {first["status_url"]}
    a_try(target, memory, [("u1", "old"), ("u1", "new")])
    assert target.profiles == {"u1": "new"}


def test_with_fail_an_unknown_outcome_is_not_sent_again_until_the_task_is_cleared() -> None:
    target, memory = Target(), Remembering()
    target.lose = [True]
    with pytest.raises(AdobeJobFailedError, match="rows 1 to 1 were sent"):
        a_try(target, memory, A, on_unknown_outcome="fail")
    assert len(target.sent) == 1
    a_try(target, memory, A, on_unknown_outcome="fail")
    assert len(target.sent) == 2


def test_without_a_memory_everything_is_sent_again() -> None:
    target = Target()
    for _ in range(2):
        a_try(target, NoMemory(), A)
    assert len(target.sent) == 2


BATCHES = [{"batch_id": f"b{n}", "status_url": f"url{n}", "rows": n} for n in (1, 2)]


def test_the_waiting_remembers_what_has_ended() -> None:
    wait = BatchesWait(BATCHES)
    wait.note("url1", ProfileBatchStatus("b1", "complete", successful=1, failed=0, not_found=0))
    wait.note("url2", ProfileBatchStatus("b2", "incomplete"))
    assert wait.pending() == ["url2"]
    assert wait.progress() == "1 of 2 batches have ended; b2 is incomplete."
    elsewhere = BatchesWait(BATCHES, wait.ended)
    assert elsewhere.pending() == ["url2"]
    elsewhere.note("url2", ProfileBatchStatus("b2", "complete", successful=2, failed=0, not_found=0))
    assert summary(elsewhere.result()["batches"]) | {"batches": []} == {
        "rows": 3,
        "successful": 3,
        "not_found": 0,
        "failed": 0,
        "batches": [],
    }


def test_ids_of_people_are_kept_only_on_request() -> None:
    status = ProfileBatchStatus("b1", "complete", successful=0, failed=1, failed_ids=("jane",))
    assert "jane" not in repr(status)
    for show in (False, True):
        wait = BatchesWait(BATCHES[:1], show_values=show)
        wait.note("url1", status)
        assert ("jane" in str(wait.result())) is show
