# SPDX-License-Identifier: Apache-2.0
"""Rows that are encoded in blocks come out as rows that are encoded one by one do: the same bytes, and the
same refusals with the same numbers.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import enum
import io
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles import parquet_rows
from airflow_provider_adobe_audiences.profiles.blocks import BlockEncoder, Lines, chunks
from airflow_provider_adobe_audiences.profiles.encode import Columns, LineEncoder, RowRejected
from airflow_provider_adobe_audiences.profiles.parts import BadRows, Parts, Table
from airflow_provider_adobe_audiences.profiles.rows import table_of_file

THIRD = Columns("thirdPartyId", "id", show_values=True)
PC = Columns("pcId", "id")
Outcome = list[tuple[Any, ...]]


class Tier(str, enum.Enum):  # noqa: UP042  its text differs from its value, which is the point
    """A text that is written otherwise than it reads."""

    GOLD = "gold"


def one_by_one(rows: list[Any], names: tuple[str, ...], columns: Columns) -> Outcome:
    encoder = LineEncoder(columns, names)
    outcome: Outcome = []
    for row in rows:
        if isinstance(row, RowRejected):
            outcome.append(("refused", str(row), row.values))
            continue
        try:
            outcome.append(("line", *encoder.line(row)))
        except RowRejected as rejected:
            outcome.append(("refused", str(rejected), dict(zip((columns.key, *names), row, strict=True))))
    return outcome


def in_blocks(items: Iterator[Any], names: tuple[str, ...], columns: Columns) -> tuple[Outcome, int]:
    """Return the same of the product, and how many of the rows were encoded together with others."""
    outcome: Outcome = []
    together = 0
    for lines in BlockEncoder(columns, names).lines(items):
        if isinstance(lines, Lines):
            each = list(lines.each())
            assert len(each) == lines.rows
            assert lines.has_values == any(line.has_values for line in each)
            together += lines.rows if lines.rows > 1 else 0
            outcome += [("line", line.text, line.has_values) for line in each]
        else:
            outcome.append(("refused", str(lines), lines.values))
    return outcome, together


def comparable(outcome: Outcome) -> list[str]:
    return [repr(item) for item in outcome]  # nan is not equal to itself


# What is special in a row, in a block, in a body, in Unicode, or for a key.
characters = st.sampled_from('ab1,\n\r"%+/ ~\x00\x1e\x1f\u200b\u3164é東👩\udcff')
texts = st.one_of(
    st.text(characters, max_size=6), st.text(max_size=6), st.just("x" * 70_000), st.just("1" * 38)
)
values = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.just(Tier.GOLD),
    st.just(["a list"]),
)
rows = st.lists(
    st.one_of(st.tuples(values, values, values), st.builds(RowRejected, st.just("unreadable"), st.just(1))),
    max_size=6,
)
filler = st.integers(0, 700).map(lambda count: [(f"u{number}", "gold", "Oslo") for number in range(count)])


@given(st.lists(st.one_of(rows, filler), max_size=4), st.sampled_from([THIRD, PC]))
@settings(max_examples=150, deadline=None)
def test_any_rows_in_blocks_are_the_rows_one_by_one(lists: list[list[Any]], columns: Columns) -> None:
    together = [row for some in lists for row in some]
    found, _ = in_blocks(iter(together), ("tier", "city"), columns)
    assert comparable(found) == comparable(one_by_one(together, ("tier", "city"), columns))


def test_a_row_that_is_refused_costs_its_neighbours_little() -> None:
    table = [(f"u{number}", "gold") for number in range(10_000)]
    table[5_000] = ("", "gold")
    _, together = in_blocks(iter(table), ("tier",), THIRD)
    assert together > 9_900


@pytest.mark.parametrize("value", ["New York, NY", "two\nlines", 'say "hi"', "東京", 5, 1.5, None, True])
def test_values_as_people_have_them_are_encoded_together(value: Any) -> None:
    table = [(f"u{number}@example.com", value, "") for number in range(1_000)]
    found, together = in_blocks(iter(table), ("city", "note"), THIRD)
    assert together == 1_000
    assert found == one_by_one(table, ("city", "note"), THIRD)


def test_what_came_before_a_failure_comes_first() -> None:
    def failing() -> Iterator[int]:
        yield from range(700)
        raise OSError("the disk is gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):  # noqa: PT012
        for chunk in chunks(failing()):
            seen += chunk
    assert seen == list(range(700))


def test_the_rows_before_a_failure_are_refused_first() -> None:
    def failing(columns: Columns) -> Iterator[Any]:
        yield ("tier",)
        yield from [("", "gold")] * 20
        raise OSError("the disk is gone")

    with (
        pytest.raises(AdobeConfigurationError, match="10 or more rows cannot be sent: row 1 of rows"),
        Parts(THIRD) as parts,
    ):
        parts.write([Table("rows", failing)])


# ------------------------------------------------------------------------------------------------------------
# CSV

cells = st.text(st.sampled_from('ab,;"\n\r\\ é東\x1e\x1f+'), max_size=4)
csv_lines = st.one_of(
    st.lists(cells, min_size=0, max_size=4).map(",".join),
    st.lists(cells.map(lambda cell: '"' + cell.replace('"', '""') + '"'), min_size=1, max_size=4).map(
        ",".join
    ),
    st.integers(1, 300).map(lambda count: "\r\n".join(['u1,gold,"New York, NY"'] * count)),
    st.integers(1, 300).map(lambda count: "\n".join(["u2,silver,Oslo"] * count)),
)


def read_one_by_one(text: str, order: list[int]) -> tuple[list[Any], str | None]:
    """Return the rows of CSV text as Python's reader gives them, and what made it stop."""

    def lines() -> Iterator[str]:
        for number, line in enumerate(io.StringIO(text, newline=""), 1):
            if '\\"' in line:
                raise ValueError(f"rows.csv has a backslash before a quote in its line {number}:")
            yield line

    reader = csv.reader(lines(), strict=True)
    found: list[Any] = []
    try:
        next(reader)
        for row in reader:
            if len(row) > 3:
                found.append(RowRejected(f"it has {len(row)} cells, but there are 3 column names", row))
            elif row:
                row += [""] * (3 - len(row))
                found.append(tuple(row[index] for index in order))
    except ValueError as error:
        return found, str(error)
    except csv.Error as error:
        return found, f"rows.csv is not CSV at its line {reader.line_num}: {error}"
    return found, None


@given(st.lists(csv_lines, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_csv_in_blocks_is_the_same_as_row_by_row(lines: list[str], end: str, in_order: bool) -> None:
    names, order = (("tier", "city"), [0, 1, 2]) if in_order else (("city", "tier"), [0, 2, 1])
    columns = Columns("thirdPartyId", "id", {name: name for name in names})
    text = end.join(["id,tier,city", *lines])
    items = table_of_file(lambda: io.BytesIO(text.encode()), "csv", "rows.csv").rows(columns)
    assert next(items) == names

    stopped: list[str] = []

    def until_it_stops() -> Iterator[Any]:
        try:
            yield from items
        except AdobeConfigurationError as error:
            stopped.append(str(error))

    found, _ = in_blocks(until_it_stops(), names, columns)
    wanted, reason = read_one_by_one(text, order)
    assert comparable(found) == comparable(one_by_one(wanted, names, columns))
    assert [error[: len(reason or "")] for error in stopped] == ([reason] if reason else [])


def test_the_line_that_is_not_utf_8_is_named_after_the_rows_before_it() -> None:
    content = b"id,v\n" + b"u1,x\n" * 5_000 + b"u2,\xff\n"
    with (
        pytest.raises(AdobeConfigurationError, match="is not UTF-8 near its line") as error,
        Parts(THIRD) as parts,
    ):
        parts.write([table_of_file(lambda: io.BytesIO(content), "csv", "rows.csv")])
    line = int(re.findall(r"line ([0-9]+)", str(error.value))[0])
    assert 5_002 - 8_192 / 5 <= line <= 5_002


# ------------------------------------------------------------------------------------------------------------
# Parquet


def arrow_types() -> dict[str, Any]:
    import pyarrow as pa

    return {
        "string": (pa.string(), st.one_of(st.none(), texts.filter(lambda text: "\udcff" not in text))),
        "large_string": (pa.large_string(), st.text(max_size=5)),
        "dictionary": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["gold", "São", None])),
        "int8": (pa.int8(), st.integers(-128, 127)),
        "int64": (pa.int64(), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))),
        "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
        "bool": (pa.bool_(), st.one_of(st.none(), st.booleans())),
        "float64": (
            pa.float64(),
            st.one_of(st.none(), st.floats(), st.integers(-(10**17), 10**17).map(float)),
        ),
        "float64 of prices": (pa.float64(), st.integers(-(10**7), 10**7).map(lambda cents: cents / 100)),
        "float32": (pa.float32(), st.floats(width=32)),
        "float16": (pa.float16(), st.floats(width=16)),
        "date32": (pa.date32(), st.one_of(st.none(), st.dates())),
        "date64": (pa.date64(), st.dates()),
        "timestamp[s]": (pa.timestamp("s"), st.datetimes().map(lambda time: time.replace(microsecond=0))),
        "timestamp[us]": (pa.timestamp("us"), st.one_of(st.none(), st.datetimes())),
        "timestamp[ns]": (
            pa.timestamp("ns"),
            st.datetimes().filter(lambda time: 1700 < time.year < 2200),
        ),
        "timestamp of whole seconds": (
            pa.timestamp("us"),
            st.datetimes().map(lambda time: time.replace(microsecond=0)),
        ),
        "timestamp with a zone": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(datetime.UTC))),
        "time64": (pa.time64("us"), st.times()),
        "decimal": (pa.decimal128(20, 2), st.decimals(-(10**9), 10**9, places=2, allow_nan=False)),
        "null": (pa.null(), st.none()),
    }


def arrays(data: Any, name: str, kind: Any, count: int) -> Any:
    import pyarrow as pa

    if name in ("date32", "timestamp[us]") and data.draw(st.booleans()):
        # Beyond the calendar of Python.
        wide = st.integers(-(2**31), 2**31 - 1) if name == "date32" else st.integers(-(2**62), 2**62)
        storage = pa.int32() if name == "date32" else pa.int64()
        return pa.array(data.draw(st.lists(wide, min_size=count, max_size=count)), storage).cast(kind[0])
    found = data.draw(st.lists(kind[1], min_size=count, max_size=count))
    if name == "float16":
        bits = [struct.unpack("<H", struct.pack("<e", value))[0] for value in found]
        return pa.array(bits, pa.uint16()).view(kind[0])
    return pa.array(found, kind[0])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_parquet_in_blocks_is_the_same_as_row_by_row(data: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = arrow_types()
    count = data.draw(st.integers(1, 5))
    keys = data.draw(st.sampled_from(["string", "large_string", "dictionary", "int64", "bool", "float64"]))
    chosen = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3))
    columns = [arrays(data, name, kinds[name], count) for name in (keys, *chosen)]
    names = ("id", *(f"c{number}" for number in range(len(chosen))))
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), buffer)
    items = table_of_file(lambda: io.BytesIO(buffer.getvalue()), "parquet", "rows.parquet").rows(THIRD)
    assert next(items) == names[1:]
    found, _ = in_blocks(items, names[1:], THIRD)

    batch = next(iter(pq.ParquetFile(io.BytesIO(buffer.getvalue())).iter_batches()))
    targets = [parquet_rows._readable_type(field, "rows.parquet") for field in batch.schema]
    wanted = parquet_rows._rows(batch.columns, targets, names)
    assert comparable(found) == comparable(one_by_one(wanted, names[1:], THIRD))


def test_parquet_of_every_common_type_is_encoded_together() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 2_000
    table = pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "price": [number / 100 for number in range(count)],
            "whole": [float(number) for number in range(count)],
            "day": pa.array(range(count), pa.int32()).cast(pa.date32()),
            "seen": pa.array(range(count), pa.int64()).cast(pa.timestamp("ms")),
            "zone": pa.array([datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)] * count),
            "exact": [decimal.Decimal("1.10")] * count,
            "flag": [bool(number % 2) for number in range(count)],
            "city": ["New York, NY", None] * (count // 2),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        pq.write_table(table, file)
        items = table_of_file(lambda: file.open("rb"), "parquet", "rows.parquet").rows(THIRD)
        found, together = in_blocks(items, next(items), THIRD)
    assert together == count
    rest = [b"2024-05-01T00%3A00%3A00%2B00%3A00", b"1.10"]
    assert [line.split(b",") for _, line, _ in found[:2]] == [
        [
            b"0",
            b"0.0",
            b"0.0",
            b"1970-01-01",
            b"1970-01-01T00%3A00%3A00",
            *rest,
            b"false",
            b"New%20York%2C%20NY",
        ],
        [b"1", b"0.01", b"1.0", b"1970-01-02", b"1970-01-01T00%3A00%3A00.001000", *rest, b"true", b""],
    ]


def test_text_of_a_parquet_file_that_is_not_utf_8_is_refused_by_its_row() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    broken = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["u1", "u2"], "city": broken}), buffer)
    bad_rows = BadRows(max_rows=1)
    with Parts(THIRD) as parts:
        written = parts.write(
            [table_of_file(lambda: io.BytesIO(buffer.getvalue()), "parquet", "rows.parquet")], bad_rows
        )
        assert [part.rows for part in written] == [1]
    assert str(bad_rows) == "row 2 of rows.parquet: column 'city': it is not UTF-8"
