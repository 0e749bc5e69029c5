# SPDX-License-Identifier: Apache-2.0
"""Several files, and several parts of a large one, go into a batch at the same time: nothing is lost, nothing
is sent that has arrived, and the first failure ends it.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.parallel import in_parallel
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.batches.source import SourceFile
from airflow_provider_adobe_audiences.batches.upload import fill
from airflow_provider_adobe_audiences.errors import AdobeError, AdobeSourceError, AdobeValidationError
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

PART = 1_000


@pytest.fixture
def session(adobe_connection: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[AdobeSession]:
    # The large-file protocol is the same for a small file; 20 parts of 256 MB would only be slow.
    monkeypatch.setattr(platform, "MAX_WHOLE_FILE_BYTES", 5_000)
    with AdobeHook().session() as session:
        yield session


@pytest.fixture
def batch(session: AdobeSession) -> str:
    return session.send(platform.create_batch("ds", input_format="json")).id


def source(name: str, size: int, fill_with: bytes = b"abcdefghij") -> SourceFile:
    data = (fill_with * (size // len(fill_with) + 1))[:size]

    def open_at(offset: int) -> io.BytesIO:
        return io.BytesIO(data[offset:])

    return SourceFile(name=name, size=size, version="1", open_at=open_at, where=f"/data/{name}")


def of_bytes(data: bytes) -> SourceFile:
    return SourceFile("large.json", len(data), "1", lambda offset: io.BytesIO(data[offset:]))


def held(emulator: Any, batch: str) -> dict[str, bytes]:
    files = dict(emulator.platform.batches.batches[batch].files)  # what is under way may still arrive
    return {name: file.path.read_bytes() for name, file in files.items() if file.complete}


def content(files: list[SourceFile]) -> dict[str, bytes]:
    return {file.name: file.open_at(0).read() for file in files}


def requests(emulator: Any, method: str, path: str = "/files/") -> int:
    return len(emulator.journal.find(method, path))


def actions(emulator: Any, action: str) -> int:
    return sum(entry.query == f"action={action}" for entry in emulator.journal.find("POST", "/files/"))


@pytest.mark.parametrize("concurrency", [1, 3, 16, 64])
def test_many_files_and_parts_arrive_once_each(
    session: AdobeSession, batch: str, emulator: Any, concurrency: int
) -> None:
    files = [source(f"{number}.json", 10 + number) for number in range(60)]
    files += [source(f"large-{number}.json", 5_500 + number) for number in range(3)]
    fill(session, batch, "ds", files, part_size=PART, concurrency=concurrency)
    assert held(emulator, batch) == content(files)
    assert (requests(emulator, "PUT"), requests(emulator, "PATCH")) == (60, 18)


def test_no_more_requests_are_under_way_than_asked_for(
    session: AdobeSession, batch: str, emulator: Any
) -> None:
    emulator.faults.add(method="PUT", hold=True, times=4)
    files = [source(f"{number}.json", 10) for number in range(12)]
    thread = threading.Thread(
        target=fill, args=(session, batch, "ds", files), kwargs={"part_size": PART, "concurrency": 4}
    )
    thread.start()
    emulator.holds.wait(4)
    assert requests(emulator, "PUT") == 4
    emulator.holds.release("continue")
    thread.join(10)
    assert held(emulator, batch) == content(files)


@pytest.mark.parametrize("phase", ["before", "body", "after"])
def test_a_connection_that_breaks_in_part_7_of_20_costs_part_7_alone(
    session: AdobeSession, batch: str, emulator: Any, phase: str
) -> None:
    file = source("large.json", 20 * PART)
    emulator.switches["duplicate_part"] = "overlap"  # a part that arrived, sent again, would not pass
    emulator.faults.add(method="PATCH", nth=7, drop=True, phase=phase)
    fill(session, batch, "ds", [file], part_size=PART, concurrency=8)
    assert held(emulator, batch) == content([file])
    assert requests(emulator, "PATCH") == (20 if phase == "after" else 21)
    assert actions(emulator, "INITIALIZE") == 1


def test_a_later_try_sends_the_parts_that_are_missing(
    session: AdobeSession, batch: str, emulator: Any
) -> None:
    file = source("large.json", 20 * PART)
    emulator.faults.add(method="PATCH", nth=[9], status=403)
    with pytest.raises(AdobeError, match=r"large\.json"):
        fill(session, batch, "ds", [file], part_size=PART, concurrency=1)
    emulator.journal.clear()
    fill(session, batch, "ds", [file], part_size=PART, concurrency=4)
    assert held(emulator, batch) == content([file])
    assert requests(emulator, "PATCH") == 12


@pytest.mark.parametrize("counts", ["without a gap", "in all"])
@pytest.mark.parametrize("duplicate", ["replace", "overlap"])
def test_parts_that_arrived_beyond_a_gap_do_not_spoil_the_file(
    session: AdobeSession, batch: str, emulator: Any, duplicate: str, counts: str
) -> None:
    """A crash in the middle leaves gaps, and Adobe only tells how much it has: up to the first one, or in
    all.
    """
    emulator.switches["received_bytes"] = counts
    file = source("large.json", 20 * PART)
    emulator.switches["duplicate_part"] = duplicate
    session.send(platform.initialize_file(batch, "ds", file.name))
    for part in (0, 1, 5, 7):
        session.send(
            platform.upload_part(batch, "ds", file.name, part * PART, file.content(part * PART, PART))
        )
    emulator.journal.clear()
    fill(session, batch, "ds", [file], part_size=PART, concurrency=4)
    assert held(emulator, batch) == content([file])
    if counts == "in all":
        assert requests(emulator, "PATCH") == 16 + 20
    else:
        assert requests(emulator, "PATCH") == (18 if duplicate == "replace" else 18 + 20)


def test_parts_that_do_not_fit_although_all_were_sent_by_this_try_are_an_error(
    session: AdobeSession, batch: str, emulator: Any
) -> None:
    emulator.faults.add(method="POST", path="action=COMPLETE", status=400, body={"title": "no"})
    with pytest.raises(AdobeValidationError, match=r"large\.json"):
        fill(session, batch, "ds", [source("large.json", 20 * PART)], part_size=PART)
    assert actions(emulator, "INITIALIZE") == 1


def test_a_file_that_never_fits_is_an_error_in_the_end(
    session: AdobeSession, batch: str, emulator: Any
) -> None:
    file = source("large.json", 20 * PART)
    session.send(platform.initialize_file(batch, "ds", file.name))
    emulator.faults.add(method="POST", path="action=COMPLETE", status=400, body={"title": "no"})
    with pytest.raises(AdobeValidationError, match=r"large\.json"):
        fill(session, batch, "ds", [file], part_size=PART)
    assert actions(emulator, "COMPLETE") == 2


def test_the_first_failure_ends_all_that_is_under_way(
    session: AdobeSession, batch: str, emulator: Any
) -> None:
    emulator.faults.add(method="PUT", path="3.json", status=403)
    files = [source(f"{number}.json", 100) for number in range(500)]
    with pytest.raises(AdobeError, match=r"/3\.json answered 403"):
        fill(session, batch, "ds", files, part_size=PART, concurrency=4)
    assert requests(emulator, "PUT") < 100
    assert set(held(emulator, batch).items()) <= set(content(files).items())


def test_what_is_being_read_is_read_no_further(session: AdobeSession, batch: str, emulator: Any) -> None:
    """The body of the other file never ends by itself; it ends because nobody wants it any more."""
    begun, ended = threading.Event(), threading.Event()

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            begun.set()
            return b"x" * 1_000

        def close(self) -> None:
            ended.set()
            super().close()

    endless = SourceFile("endless.json", 4_999, "1", lambda offset: Endless(), where="/data/endless.json")
    object.__setattr__(endless, "content", lambda *_: SourceFile.content(endless, 0, 1 << 40))

    def fails(offset: int) -> Any:
        assert begun.wait(10)
        raise OSError("the disk is gone")

    broken = SourceFile("broken.json", 10, "1", fails, where="/data/broken.json")
    with pytest.raises(AdobeSourceError, match=r"/data/broken\.json cannot be opened: the disk is gone"):
        fill(session, batch, "ds", [endless, broken], part_size=PART, concurrency=2)
    assert ended.wait(10)
    assert held(emulator, batch) == {}


def test_a_source_that_ends_early_is_named(session: AdobeSession, batch: str) -> None:
    short = SourceFile("short.json", 10, "1", lambda offset: io.BytesIO(b"x"), where="/data/short.json")
    with pytest.raises(AdobeSourceError, match=r"/data/short\.json"):
        fill(session, batch, "ds", [short], part_size=PART)


def test_one_token_serves_all_threads(session: AdobeSession, batch: str, emulator: Any) -> None:
    before = requests(emulator, "POST", "/ims/token")
    emulator.faults.add(method="PUT", nth=[20], expire_token=True)
    files = [source(f"{number}.json", 100) for number in range(200)]
    fill(session, batch, "ds", files, part_size=PART, concurrency=16)
    assert held(emulator, batch) == content(files)
    assert requests(emulator, "POST", "/ims/token") - before <= 2


def test_a_large_file_is_known_by_all_of_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processors hash it: however many they are, it is the same, and any other content is another."""
    monkeypatch.setattr("airflow_provider_adobe_audiences.batches.source._READ_AT_ONCE", PART)
    known = set()
    for processors in (1, 2, 7, None):
        monkeypatch.setattr(os, "cpu_count", Mock(return_value=processors))
        known.add(source("large.json", 20 * PART + 3).fingerprint)
    assert len(known) == 1
    data = bytearray(source("large.json", 20 * PART + 3).open_at(0).read())
    for place in (0, PART, 20 * PART + 2):
        changed = bytearray(data)
        changed[place] ^= 1
        known.add(of_bytes(bytes(changed)).fingerprint)
    assert len(known) == 4


def test_nothing_is_begun_after_a_failure() -> None:
    """Even if the thread that waits is late to hear of it."""
    begun: list[int] = []

    def fails(item: int) -> None:
        begun.append(item)
        raise ValueError(str(item))

    for _ in range(200):
        begun.clear()
        with pytest.raises(ValueError, match=r"^0$"):
            in_parallel(fails, range(50), 1)
        assert begun == [0]
