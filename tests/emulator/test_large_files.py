# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

OCTETS = {"content-type": "application/octet-stream"}
DATA = b'{"number": 1}\n' * 1000


class LargeFile:
    """The four calls of the protocol."""

    def __init__(self, adobe: httpx.Client, batch: str) -> None:
        self._adobe = adobe
        self.url = f"/data/foundation/import/batches/{batch}/datasets/ds/files/big.json"

    def act(self, action: str) -> httpx.Response:
        return self._adobe.post(self.url, params={"action": action})

    def part(self, first: int, data: bytes, content_range: str | None = None) -> httpx.Response:
        content_range = content_range or f"bytes {first}-{first + len(data) - 1}"
        return self._adobe.patch(self.url, content=data, headers=OCTETS | {"content-range": content_range})

    def range(self) -> str | None:
        answer = self._adobe.head(self.url)
        assert answer.status_code == 200
        return answer.headers.get("range")


@pytest.fixture
def large(adobe: httpx.Client, create_batch: Callable[..., str]) -> LargeFile:
    file = LargeFile(adobe, create_batch())
    assert file.act("INITIALIZE").status_code == 201
    return file


def batch_of(file: LargeFile) -> str:
    return file.url.split("/")[5]


def test_parts_in_any_order_make_the_file(
    emulator: RunningEmulator, large: LargeFile, act: Any, look_up: Any
) -> None:
    emulator.switches["batch_polls"] = 0
    assert large.range() is None
    assert large.part(5000, DATA[5000:]).status_code == 200
    assert large.range() is None
    assert large.part(0, DATA[:5000]).status_code == 200
    assert large.range() == f"bytes=0-{len(DATA) - 1}"
    assert large.act("COMPLETE").status_code == 201
    assert large.act("complete").status_code == 201
    act(batch_of(large), "COMPLETE")
    batch = look_up(batch_of(large))
    assert (batch["status"], batch["recordCount"], batch["size"]) == ("success", 1000, len(DATA))


@pytest.mark.parametrize(
    ("parts", "wrong"),
    (
        ([], "no part"),
        ([(0, 100), (150, 200)], "bytes 100-149 are missing"),
        ([(10, 100)], "bytes 0-9 are missing"),
        ([(0, 100), (50, 200)], "bytes 50-99 were sent twice"),
    ),
)
def test_gaps_and_overlaps_are_found_at_complete(
    large: LargeFile, parts: list[tuple[int, int]], wrong: str
) -> None:
    for first, end in parts:
        assert large.part(first, DATA[first:end]).status_code == 200
    answer = large.act("COMPLETE")
    assert answer.status_code == 400
    assert wrong in answer.json()["detail"]


def test_the_same_part_again(emulator: RunningEmulator, large: LargeFile) -> None:
    large.part(0, b"x" * 10)
    large.part(0, b"y" * 10)
    assert large.act("COMPLETE").status_code == 201
    (file,) = emulator.platform.batches.batches[batch_of(large)].files.values()
    assert file.path.read_bytes() == b"y" * 10


def test_the_same_part_again_overlaps_when_switched(emulator: RunningEmulator, large: LargeFile) -> None:
    emulator.switches["duplicate_part"] = "overlap"
    large.part(0, b"x" * 10)
    large.part(0, b"x" * 10)
    assert large.act("COMPLETE").status_code == 400


@pytest.mark.parametrize(
    "content_range", ("bytes 0-5", "bytes 0-50", "bytes 9-0", "0-9", "bytes=0-9", "bytes 0-600000000")
)
def test_bad_ranges(emulator: RunningEmulator, large: LargeFile, content_range: str) -> None:
    assert large.part(0, b"x" * 10, content_range).status_code == 400
    assert large.range() is None


def test_the_answers_of_the_specification(emulator: RunningEmulator, large: LargeFile) -> None:
    emulator.switches.update({"large_file_responses": "spec", "range_format": "bytes "})
    answer = large.part(0, b"x" * 10)
    assert (answer.status_code, answer.json(), answer.headers["range"]) == (
        200,
        {"name": "big.json", "sizeInBytes": 10},
        "bytes 0-9",
    )
    assert (large.act("COMPLETE").status_code, large.act("COMPLETE").json()["sizeInBytes"]) == (200, 10)


def test_an_open_file_keeps_the_batch_open(emulator: RunningEmulator, large: LargeFile, act: Any) -> None:
    large.part(0, DATA)
    answer = act(batch_of(large), "COMPLETE")
    assert answer.status_code == 400
    assert "big.json" in answer.json()["detail"]
    emulator.switches["complete_with_open_files"] = "ignore"
    assert act(batch_of(large), "COMPLETE").status_code == 200


def test_files_that_were_not_initialized(adobe: httpx.Client, create_batch: Callable[..., str]) -> None:
    file = LargeFile(adobe, create_batch())
    assert file.part(0, b"x").status_code == 404
    assert file.act("COMPLETE").status_code == 404
    assert adobe.head(file.url).status_code == 404
    assert file.act("OTHER").status_code == 400


def test_the_protocol_can_be_taken_away(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Callable[..., str]
) -> None:
    emulator.switches["large_files"] = False
    assert LargeFile(adobe, create_batch()).act("INITIALIZE").status_code == 404


def test_a_part_cut_in_the_middle_does_not_count(emulator: RunningEmulator, large: LargeFile) -> None:
    large.part(0, b"x" * 10)
    emulator.faults.add(method="PATCH", phase="body", drop=True, times=1)
    with pytest.raises(httpx.TransportError):
        large.part(10, b"y" * 1_000_000)
    assert large.range() == "bytes=0-9"
    assert large.part(10, b"y" * 1_000_000).status_code == 200
    assert large.range() == "bytes=0-1000009"
