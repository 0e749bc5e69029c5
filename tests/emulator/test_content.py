# SPDX-License-Identifier: Apache-2.0
"""What is uploaded is really read."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_adobe_audiences.emulator.experience_platform.models.records import InputFormat, records

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator


@pytest.fixture(autouse=True)
def metrics_of_every_batch(emulator: RunningEmulator) -> None:
    """Adobe documents none for CSV and for batches that fail; here they tell what was counted."""
    emulator.switches["batch_metrics"] = "all"


ARRAY = {"format": "json", "isMultiLineJson": True}


def parquet(*rows: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("written", "content"),
    (
        ({"format": "json"}, b'{"a": 1}\n\n{"a": 2}'),
        (ARRAY, b'\xef\xbb\xbf [ {"a": 1},\n {"a": 2} ] '),
        ({"format": "csv"}, b"a\n1\n2\n"),
        ({"format": "csv", "delimiter": ";", "header": False}, b"1;x\n2;y\n"),
        ({"format": "Parquet"}, parquet({"a": 1}, {"a": 2})),
    ),
)
def test_good_files(ingest: Any, written: dict[str, Any], content: bytes) -> None:
    batch = ingest(content, inputFormat=written)
    assert (batch["status"], batch["recordCount"], batch["failedRecordCount"], batch["errors"]) == (
        "success",
        2,
        0,
        [],
    )
    assert batch["metrics"]["inputByteSize"] == batch["size"] == len(content)
    assert batch["metrics"]["outputRecordCount"] == 2


@pytest.mark.parametrize(
    ("written", "content", "code"),
    (
        ({"format": "json"}, b"", "106"),
        ({"format": "json"}, b"\n\n", "106"),
        ({"format": "csv"}, b"a,b\n", "106"),
        ({"format": "csv"}, b"\n1,2\n", "118"),
        ({"format": "parquet"}, b"PAR1 this is not Parquet PAR1", "INGEST-1401-400"),
        ({"format": "parquet"}, parquet({"a": 1})[:-20], "INGEST-1401-400"),
        (ARRAY, b'{"a": 1}', "INGEST-1401-400"),
    ),
)
def test_broken_files(
    emulator: RunningEmulator, ingest: Any, written: dict[str, Any], content: bytes, code: str
) -> None:
    batch = ingest(content, inputFormat=written)
    assert (batch["status"], batch["errors"][0]["code"], batch["metrics"]["outputRecordCount"]) == (
        "failed",
        code,
        0,
    )
    assert list(emulator.platform.rows("ds")) == []


BAD_ROWS = b'{"a": 1}\nnot json\n[1]\n{"a": 2}\n\xff\xfe\n{"a": 3'


def test_one_bad_row_fails_a_batch(ingest: Any) -> None:
    batch = ingest(BAD_ROWS)
    assert (batch["status"], batch["errors"][0]["code"]) == ("failed", "INGEST-1211-400")


def test_diagnostics_name_the_rows(ingest: Any) -> None:
    batch = ingest(BAD_ROWS, enableErrorDiagnostics=True)
    summary, corrupt = batch["errors"]
    assert summary["code"] == "INGEST-1212-400"
    assert (corrupt["code"], corrupt["recordCount"], corrupt["rows"]) == (
        "INGEST-1401-400",
        4,
        ["2-3", "5-6"],
    )
    assert batch["tags"]["acp_enableErrorDiagnostics"] == ["true"]


@pytest.mark.parametrize(("percent", "status", "out"), ((66, "failed", 0), (67, "success", 2)))
def test_partial_ingestion(
    emulator: RunningEmulator, ingest: Any, percent: int, status: str, out: int
) -> None:
    batch = ingest(BAD_ROWS, partialIngestionPercent=percent)
    assert (batch["status"], batch["recordCount"], batch["metrics"]["outputRecordCount"]) == (status, 6, out)
    assert batch["failedRecordCount"] == batch["metrics"]["failedRecordCount"] == 6 - out
    assert len(list(emulator.platform.rows("ds"))) == out


def test_required_fields(emulator: RunningEmulator, ingest: Any) -> None:
    emulator.platform.datasets.add("ds", required=("person.id",))
    content = '{"person": {"id": "x"}}\n{"person": {"id": null}}\n{}\n'
    batch = ingest(content, enableErrorDiagnostics=True, partialIngestionPercent=90)
    assert (batch["status"], batch["errors"][1]["code"], batch["errors"][1]["rows"]) == (
        "success",
        "INGEST-1555-400",
        ["2-3"],
    )
    assert [row for _, row in emulator.platform.rows("ds")] == [{"person": {"id": "x"}}]


def test_a_large_batch_is_read_in_the_background(
    emulator: RunningEmulator, create_batch: Any, upload: Any, act: Any, look_up: Any
) -> None:
    emulator.switches["batch_polls"] = 0
    batch = create_batch()
    upload(
        batch,
        json.dumps({"text": "x" * 90}).encode()
        + b"\n"
        + (json.dumps({"text": "y" * 90}).encode() + b"\n") * 60_000,
    )
    act(batch, "COMPLETE")
    for reading in list(emulator.platform.batches._reading):
        while not reading.done():
            assert look_up(batch)["status"] in {"staged", "success"}
    assert (look_up(batch)["status"], look_up(batch)["recordCount"]) == ("success", 60_001)


@pytest.mark.parametrize(
    ("written", "start", "row", "between", "end"),
    (
        (InputFormat("json"), b"", b'{"text": "0123456789"}', b"\n", b""),
        (InputFormat("json", multi_line_json=True), b"[", b'{"text": "0123456789"}', b",", b"]"),
        (InputFormat("csv"), b"text\n", b'"0123456789"', b"\n", b""),
    ),
)
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, written: InputFormat, start: bytes, row: bytes, between: bytes, end: bytes
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(start + between.join([row] * 300_000) + end)
    tracemalloc.start()
    try:
        count = sum(record.value == {"text": "0123456789"} for record in records(path, written))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 300_000
    assert peak < 2 << 20


@pytest.mark.parametrize("cut", (b"[1", b'[{"a": 1}, {"b"', b"[" * 100_000, b'["' + b"x" * 200_000))
def test_a_broken_array_ends_in_one_bad_record(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "array.json"
    path.write_bytes(cut)
    found = list(records(path, InputFormat("json", multi_line_json=True)))
    assert found[-1].value is None


def test_numbers_cut_by_the_buffer_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_bytes(b"[" + b" " * 65_533 + b"12345]")
    assert [record.raw for record in records(path, InputFormat("json", multi_line_json=True))] == ["12345"]


def test_times_that_python_does_not_know(emulator: RunningEmulator, ingest: Any) -> None:
    def parquet(column: pyarrow.Array) -> bytes:
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"t": column}), sink)
        return sink.getvalue()

    nanoseconds = pyarrow.array([1, None], pyarrow.timestamp("ns"))
    far = pyarrow.array([2**62, -(2**62)], pyarrow.timestamp("us"))
    for column, count in ((nanoseconds, 2), (far, 2), (pyarrow.array([[2**62]], pyarrow.list_(far.type)), 1)):
        batch = ingest(parquet(column), "parquet")
        assert (batch["status"], batch["recordCount"]) == ("success", count)
    rows = [row["t"] for _, row in emulator.platform.rows("ds")]
    assert rows[-1] == [2**62]
    assert httpx.get(f"{emulator.url}/_emulator/rows/ds/digest").json()["count"] == 5


def test_nan_is_no_json_but_a_number_of_parquet(emulator: RunningEmulator, ingest: Any) -> None:
    assert ingest('{"a": NaN}')["status"] == "failed"
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": [float("nan")]}), sink)
    assert ingest(sink.getvalue(), "parquet")["status"] == "success"
    assert httpx.get(f"{emulator.url}/_emulator/rows/ds").json()["row"] == {"a": None}


def test_half_of_a_surrogate_pair_is_text(emulator: RunningEmulator, ingest: Any) -> None:
    assert ingest('{"a": "\\ud800"}\nbroken \\ud800', partialIngestionPercent=50)["status"] == "success"
    assert httpx.get(f"{emulator.url}/_emulator/rows/ds").json()["row"] == {"a": "\ud800"}


def test_a_charset_or_a_dialect_that_cannot_be(ingest: Any) -> None:
    for written in ({"charset": "idna"}, {"delimiter": "\n"}, {"quote": "\r"}):
        batch = ingest("a,b\n\xfc,2\n".encode(), "csv", inputFormat={"format": "csv", **written})
        assert batch["status"] in ("success", "failed")
