# SPDX-License-Identifier: Apache-2.0
"""Every kind of fault, as a client on a real socket meets it."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

CREATE = "/data/foundation/import/batches"
BODY = {"datasetId": "ds", "inputFormat": {"format": "json"}}
AUDIENCES = "/data/core/ups/audiences"


def batches(emulator: RunningEmulator) -> int:
    return len(emulator.platform.batches.batches)


@pytest.mark.parametrize("drop", (True, "close"))
@pytest.mark.parametrize(("phase", "made"), (("before", 0), ("body", 0), ("after", 1)))
def test_a_dropped_connection(
    emulator: RunningEmulator, adobe: httpx.Client, phase: str, made: int, drop: bool | str
) -> None:
    emulator.faults.add(method="POST", path="/import/batches", phase=phase, drop=drop, times=1)
    error = httpx.ReadError if drop is True else httpx.RemoteProtocolError
    with pytest.raises(error):
        adobe.post(CREATE, json=BODY)
    assert batches(emulator) == made
    (entry,) = emulator.journal.find("POST", "/import/batches")
    assert (entry.status, entry.committed, entry.write) == (None, bool(made), True)
    assert adobe.post(CREATE, json=BODY).status_code == 201


@pytest.mark.parametrize(("phase", "made"), (("before", 0), ("body", 0), ("after", 1)))
def test_an_answer_of_its_own(emulator: RunningEmulator, adobe: httpx.Client, phase: str, made: int) -> None:
    emulator.faults.add(
        path="batches",
        phase=phase,
        status=503,
        headers={"Retry-After": "7"},
        body={"message": "later"},
        nth=1,
    )
    answer = adobe.post(CREATE, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (
        503,
        "7",
        {"message": "later"},
    )
    assert batches(emulator) == made
    (entry,) = emulator.journal.writes()
    assert (entry.status, entry.committed) == (503, bool(made))


def test_html_instead_of_json(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(
        path="audiences", body="<html>Bad gateway</html>", headers={"content-type": "text/html"}
    )
    answer = adobe.get(AUDIENCES)
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (
        200,
        "text/html",
        "<html>Bad gateway</html>",
    )


def test_nth_times_and_method(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    rule = emulator.faults.add(method="get", path=r"audiences\?name=x", nth=[1, 3], status=500)
    assert [adobe.get(AUDIENCES, params={"name": "x"}).status_code for _ in range(4)] == [500, 200, 500, 200]
    assert adobe.get(AUDIENCES).status_code == 200
    assert emulator.faults.as_list()[0] | {"matched": 4, "applied": 2} == emulator.faults.as_list()[0]
    assert emulator.faults.applied(rule) == 2
    emulator.faults.clear()
    emulator.faults.add(path="audiences", times=2, status=502)
    assert [adobe.get(AUDIENCES).status_code for _ in range(3)] == [502, 502, 200]


def test_a_share_of_the_requests(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(path="audiences", probability=0.5, status=500)
    seen = [adobe.get(AUDIENCES).status_code for _ in range(40)]
    assert 5 < seen.count(500) < 35


def test_the_first_rule_wins_but_all_count(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(path="audiences", nth=1, status=500)
    emulator.faults.add(path="audiences", nth=2, status=502)
    assert [adobe.get(AUDIENCES).status_code for _ in range(3)] == [500, 502, 200]


@pytest.mark.parametrize("phase", ("before", "after"))
def test_delay(emulator: RunningEmulator, adobe: httpx.Client, phase: str) -> None:
    emulator.faults.add(path="audiences", phase=phase, delay=0.3)
    started = time.monotonic()
    assert adobe.get(AUDIENCES).status_code == 200
    assert time.monotonic() - started >= 0.3
    with pytest.raises(httpx.ReadTimeout):
        adobe.get(AUDIENCES, timeout=0.1)


def test_truncated_body(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    whole = adobe.get(AUDIENCES).content
    emulator.faults.add(path="audiences", truncate=5)
    with adobe.stream("GET", AUDIENCES) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(whole)
        received = []
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(answer.iter_bytes())
    assert b"".join(received) == whole[:5]


def test_dripping_body(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(path="audiences", drip=0.02, body="0123456789")
    started = time.monotonic()
    with adobe.stream("GET", AUDIENCES) as answer:
        assert [len(chunk) for chunk in answer.iter_raw()] == [1] * 10
    assert time.monotonic() - started >= 0.2


def test_endless_body(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(path="audiences", endless=True)
    size = 0
    with adobe.stream("GET", AUDIENCES) as answer:
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > 20_000_000:
                break
    assert size > 20_000_000
    emulator.faults.clear()
    assert adobe.get(AUDIENCES).status_code == 200


@pytest.mark.parametrize("size", (10, 1 << 20, 50_000_001))
def test_bomb(emulator: RunningEmulator, adobe: httpx.Client, size: int) -> None:
    emulator.faults.add(path="audiences", bomb=size)
    with adobe.stream("GET", AUDIENCES) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    assert len(packed) < max(100, size // 100)
    unpack = zlib.decompressobj(31)
    assert len(unpack.decompress(packed)) == size
    assert unpack.eof


@pytest.mark.parametrize(("phase", "first"), (("before", 401), ("after", 200)))
def test_the_token_ends(emulator: RunningEmulator, adobe: httpx.Client, phase: str, first: int) -> None:
    emulator.faults.add(path="audiences", phase=phase, expire_token=True, times=1)
    assert [adobe.get(AUDIENCES).status_code for _ in range(2)] == [first, 401]


def test_a_drop_in_the_middle_of_an_upload(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any, upload: Any
) -> None:
    batch = create_batch()
    emulator.faults.add(method="PUT", phase="body", drop=True, times=1)
    with pytest.raises(httpx.TransportError):
        upload(batch, b"x" * 2_000_000)
    stored = emulator.platform.batches.batches[batch]
    assert not stored.files
    (entry,) = emulator.journal.find("PUT")
    assert 1_000_000 <= entry.request_bytes < 2_000_000
    assert not entry.committed
    assert upload(batch, b"x" * 2_000_000).status_code == 200


def test_a_delay_in_the_middle_of_an_upload_loses_nothing(
    emulator: RunningEmulator, create_batch: Any, upload: Any
) -> None:
    batch = create_batch()
    emulator.faults.add(method="PUT", phase="body", delay=0.2)
    assert upload(batch, b"x" * 2_000_000).status_code == 200
    assert emulator.platform.batches.batches[batch].files["a.json"].size == 2_000_000


@pytest.mark.parametrize("fault", ({"truncate": 3}, {"drip": 0.001}))
@pytest.mark.parametrize("phase", ("before", "body", "after"))
def test_an_odd_answer_to_a_write_is_committed(
    emulator: RunningEmulator, adobe: httpx.Client, phase: str, fault: dict[str, float]
) -> None:
    emulator.faults.add(method="POST", phase=phase, **fault)
    try:
        assert adobe.post(CREATE, json=BODY).status_code == 201
    except httpx.RemoteProtocolError:
        assert "truncate" in fault
    assert batches(emulator) == 1
    assert emulator.journal.writes()[-1].committed


def test_rules_over_http(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    faults = f"{emulator.url}/_emulator/faults"
    number = httpx.post(faults, json={"path": "audiences", "status": 500}).json()["id"]
    assert adobe.get(AUDIENCES).status_code == 500
    assert httpx.get(faults).json() == [
        {"id": number, "matched": 1, "applied": 1, "path": "audiences", "status": 500}
    ]
    assert httpx.delete(f"{faults}/{number}").status_code == 204
    assert httpx.delete(f"{faults}/{number}").status_code == 404
    assert adobe.get(AUDIENCES).status_code == 200


@pytest.mark.parametrize(
    "rule",
    (
        {},
        {"path": "["},
        {"path": "x"},
        {"status": 5},
        {"status": 500, "phase": "late"},
        {"status": 500, "colour": "red"},
        [],
    ),
)
def test_bad_rules_are_refused(emulator: RunningEmulator, rule: Any) -> None:
    answer = httpx.post(f"{emulator.url}/_emulator/faults", json=rule)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert emulator.faults.as_list() == []


def test_the_control_api_is_never_faulted_nor_journalled(emulator: RunningEmulator) -> None:
    emulator.faults.add(status=500)
    assert httpx.get(f"{emulator.url}/_emulator/health").json()["status"] == "ok"
    assert emulator.journal.entries == []
