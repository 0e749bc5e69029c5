# SPDX-License-Identifier: Apache-2.0
"""The body of a bulk profile update, compared byte by byte with an encoder that shares nothing with ours."""

from __future__ import annotations

import csv
import datetime
import decimal
import hashlib
import io
import itertools
import json
import multiprocessing
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.encode import Columns
from airflow_provider_adobe_audiences.profiles.parts import MAX_ROWS, Parts, Table
from airflow_provider_adobe_audiences.profiles.rows import table_of_file, table_of_rows
from benchmarks import bulk_profile_body

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"


def percent(text: str) -> str:
    """RFC 3986 by hand."""
    return "".join(chr(byte) if chr(byte) in UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8"))


def expected(key: str, names: list[str], rows: list[list[str]]) -> bytes:
    lines = [",".join([key, *map(percent, names)]), *(",".join(map(percent, row)) for row in rows)]
    return b"batch=" + "\n".join(lines).encode("ascii")


def bodies(table: Any, columns: Columns | None = None, **limits: int) -> list[bytes]:
    with Parts(columns or Columns("thirdPartyId", "id"), **limits) as parts:
        written = parts.write(table if isinstance(table, list) else [table])
        with ExitStack() as opened:
            read = [opened.enter_context(part.content().open()).read() for part in written]
        assert [len(body) for body in read] == [part.size for part in written]
        return read


def refusal(table: Any, columns: Columns | None = None, **limits: int) -> str:
    with pytest.raises(AdobeConfigurationError) as error:
        bodies(table, columns, **limits)
    return str(error.value)


def csv_table(text: str | bytes, **arguments: Any) -> Any:
    content = text if isinstance(text, bytes) else text.encode()
    return table_of_file(lambda: io.BytesIO(content), "csv", "rows.csv", **arguments)


def json_table(text: str) -> Any:
    return table_of_file(lambda: io.BytesIO(text.encode()), "json", "rows.json")


def parquet_table(tmp_path: Path, **columns: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), file)
    return table_of_file(lambda: file.open("rb"), "parquet", "rows.parquet")


# ------------------------------------------------------------------------------------------------------------
# what is sent

NASTY = [
    "a,b",
    "100%",
    "line\nbreak",
    "\r\n",
    'say "hi"',
    "São Paulo",
    "東京",
    "Привет",
    "👩‍👩‍👧",
    "+1/2",
    " lead",
    "a=b&c",
    "~_-.",
    "\x00",
    "'",
]


def test_the_example_of_adobes_page() -> None:
    rows = [{"id": "u1", "tier": "gold", "city": "São Paulo"}, {"id": "u2", "tier": "", "city": "Oslo"}]
    assert bodies(table_of_rows(rows)) == [
        b"batch=thirdPartyId,tier,city\nu1,gold,S%C3%A3o%20Paulo\nu2,,Oslo"
    ]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_is_encoded_from_every_format(value: str, tmp_path: Path) -> None:
    wanted = [expected("thirdPartyId", ["a b"], [["u,1", value]])]
    assert bodies(table_of_rows([{"id": "u,1", "a b": value}])) == wanted
    assert bodies(json_table(json.dumps({"id": "u,1", "a b": value}))) == wanted
    assert bodies(parquet_table(tmp_path, **{"id": ["u,1"], "a b": [value]})) == wanted
    if value != "\x00":
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["id", "a b"], ["u,1", value]])
        assert bodies(csv_table(text.getvalue())) == wanted


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), min_size=1, max_size=8))
def test_any_text_is_encoded_as_the_contract_says(values: list[str]) -> None:
    rows = [{"id": f"u{number}", "value": value, "x": "1"} for number, value in enumerate(values)]
    assert bodies(table_of_rows(rows)) == [
        expected(
            "thirdPartyId",
            ["value", "x"],
            [[f"u{number}", value, "1"] for number, value in enumerate(values)],
        )
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (10**30, "1" + "0" * 30),
        (1.5, "1.5"),
        (decimal.Decimal("1.10"), "1.10"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
    ],
)
def test_a_value_that_is_no_text_has_one(value: Any, text: str) -> None:
    assert bodies(table_of_rows([{"id": 7, "v": value, "x": "1"}])) == [
        expected("thirdPartyId", ["v", "x"], [["7", text, "1"]])
    ]


def test_json_numbers_are_sent_as_they_are_written() -> None:
    assert bodies(json_table('{"id": 1, "v": 1.10, "w": 12345678901234567890}\n\n')) == [
        b"batch=thirdPartyId,v,w\n1,1.10,12345678901234567890"
    ]


def test_parquet_types(tmp_path: Path) -> None:
    import pyarrow as pa

    table = parquet_table(
        tmp_path,
        id=pa.array([1, 2]),
        single=pa.array([0.1, None], pa.float32()),
        nanos=pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
        words=pa.array(["a", "b"]).dictionary_encode(),
        price=pa.array([decimal.Decimal("1.10"), None]),
        flag=pa.array([True, None]),
    )
    assert bodies(table)[0].decode().splitlines()[1:] == [
        "1,0.1,2023-11-14T22%3A13%3A20.123456%2B00%3A00,a,1.10,true",
        "2,,,b,,",
    ]


def test_missing_trailing_values_and_empty_lines_of_csv() -> None:
    assert bodies(csv_table("id,a,b\nu1,1\n\nu2\nu3,,3\n")) == [b"batch=thirdPartyId,a,b\nu1,1,\nu2,,\nu3,,3"]


def test_a_byte_order_mark_another_delimiter_and_quotes() -> None:
    content = '\ufeffid;a\nu1;"x;""y"""\n'.encode()
    assert bodies(csv_table(content, delimiter=";")) == [expected("thirdPartyId", ["a"], [["u1", 'x;"y"']])]


def test_columns_are_chosen_renamed_and_the_key_comes_first() -> None:
    columns = Columns("pcId", "visitor", {"b": "beta", "a": "a"})
    assert bodies(csv_table("a,unused,visitor,b\n1,x,v1,2\n"), columns) == [b"batch=pcId,beta,a\nv1,2,1"]


def test_several_sources_become_one_upload() -> None:
    assert bodies([csv_table("id,a\n1,x\n"), csv_table("id,a\n2,y\n")]) == [b"batch=thirdPartyId,a\n1,x\n2,y"]


def test_no_rows_are_no_uploads() -> None:
    assert bodies(table_of_rows([])) == []
    assert bodies(csv_table("id,a\n")) == []
    assert bodies(csv_table("")) == []


# ------------------------------------------------------------------------------------------------------------
# splitting


def test_rows_are_split_at_the_limit_and_none_is_lost() -> None:
    rows = [{"id": f"u{number}", "v": str(number)} for number in range(25)]
    parts = bodies(table_of_rows(rows), max_rows=10)
    assert [len(part.split(b"\n")) - 1 for part in parts] == [10, 10, 5]
    assert all(part.startswith(b"batch=thirdPartyId,v\n") for part in parts)
    assert [line for part in parts for line in part.decode().split("\n")[1:]] == [
        f"u{number},{number}" for number in range(25)
    ]


def test_1_200_000_rows_are_three_uploads() -> None:
    table = Table(
        "rows", lambda columns: itertools.chain([("v",)], ((f"{number}", "1") for number in range(1_200_000)))
    )
    with Parts(Columns("thirdPartyId", "id")) as parts:
        written = parts.write([table])
        assert [(part.rows, part.first_row) for part in written] == [
            (500_000, 1),
            (500_000, 500_001),
            (200_000, 1_000_001),
        ]
        for part in written:
            with part.open() as file:
                lines = itertools.islice(file, 1, None)
                assert all(
                    line.rstrip(b"\n") == b"%d,1" % number
                    for number, line in enumerate(lines, part.first_row - 1)
                )


def test_a_parquet_file_of_40_mb_is_one_upload_in_constant_memory(tmp_path: Path) -> None:
    """In processes of their own, so that the memory is the product's, and the other encoder shares nothing
    with it.
    """
    file = tmp_path / "profiles.parquet"
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        pool.apply(bulk_profile_body.write_parquet, (file, 500_000))
        figures = pool.apply(bulk_profile_body.ours, (str(file),))
        assert file.stat().st_size > 40_000_000
        assert figures["uploads"] == [500_000]
        assert figures["sha256"] == [pool.apply(bulk_profile_body.independent, (file,))]
        assert figures["megabytes_above_idle"] < 60
    print(
        f"500,000 rows of Parquet: {figures['megabytes_above_idle']} MB above idle, "
        f"{figures['seconds']:.2f} s, byte-exact"
    )


@given(st.integers(35, 200))
def test_an_upload_stays_below_the_limit_of_bytes(limit: int) -> None:
    rows = [{"id": f"u{number}", "v": "x" * (1 + number % 5)} for number in range(40)]
    parts = bodies(table_of_rows(rows), max_bytes=limit)
    assert max(map(len, parts)) < limit
    assert sum(len(part.split(b"\n")) - 1 for part in parts) == 40


def test_the_same_rows_have_the_same_hash_and_numbers() -> None:
    rows = [{"id": str(number), "v": "1"} for number in range(5)]
    hashes = []
    for _ in range(2):
        with Parts(Columns("thirdPartyId", "id"), max_rows=3) as parts:
            first, second = parts.write([table_of_rows(rows)])
            assert (first.rows, first.first_row, second.rows, second.first_row) == (3, 1, 2, 4)
            hashes.append((first.sha256, second.sha256))
    assert hashes[0] == hashes[1]
    assert (
        hashes[0][0]
        == hashlib.sha256(
            expected("thirdPartyId", ["v"], [[str(number), "1"] for number in range(3)])
        ).hexdigest()
    )


def test_an_upload_of_empty_cells_is_left_out() -> None:
    rows = [{"id": str(number), "v": "" if number in (2, 3) else "1"} for number in range(6)]
    assert bodies(table_of_rows(rows), max_rows=2) == [
        b"batch=thirdPartyId,v\n0,1\n1,1",
        b"batch=thirdPartyId,v\n4,1\n5,1",
    ]


def test_nothing_is_left_on_the_disk_even_by_a_process_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Parts(Columns("thirdPartyId", "id")) as parts:
        (part,) = parts.write([table_of_rows([{"id": "1", "v": "1"}])])
        assert list(tmp_path.iterdir()) == []
        for _ in range(2):
            with part.open() as body:
                assert body.read() == b"batch=thirdPartyId,v\n1,1"
    assert part.file.closed


# ------------------------------------------------------------------------------------------------------------
# refusals


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "", "v": "1"}, "row 2 of rows: the key is empty"),
        ({"id": "  ", "v": "1"}, "row 2 of rows: the key is empty"),
        ({"id": None, "v": "1"}, "row 2 of rows: the key is empty"),
        ({"id": "a+b", "v": "1"}, "row 2 of rows: the thirdPartyId contains '+' or '/'"),
        ({"id": "a/b", "v": "1"}, "row 2 of rows: the thirdPartyId contains '+' or '/'"),
        ({"v": "1"}, "row 2 of rows: it has no 'id'"),
        ({"id": "1", "v": "1", "w": "2"}, "row 2 of rows: it has 'w', which row 1 does not have"),
        ({"id": "1", "v": float("nan")}, "row 2 of rows: attribute 'v': nan is no number"),
        ({"id": "1", "v": float("inf")}, "row 2 of rows: attribute 'v': inf is no number"),
        ({"id": "1", "v": ["x"]}, "row 2 of rows: attribute 'v': a value of type list has no text"),
        ({"id": "1", "v": b"x"}, "row 2 of rows: attribute 'v': a value of type bytes has no text"),
        ({"id": "1", "v": "\ud800"}, "row 2 of rows: a value cannot be written in UTF-8"),
        (
            {"id": "1", "v": "x" * 65_600},
            "row 2 of rows: its attributes take 65601 bytes; Adobe keeps 65536 per profile",
        ),
        ("text", "row 2 of rows: it is no mapping"),
    ],
)
def test_a_row_is_refused_by_its_number(row: Any, reason: str) -> None:
    assert reason in refusal(table_of_rows([{"id": "0", "v": "1"}, row]))


def test_a_profile_of_64_kb_is_just_allowed() -> None:
    assert len(bodies(table_of_rows([{"id": "1", "v": "%" * 65_535}]))[0]) > 3 * 65_535


def test_the_first_ten_rows_are_named_and_the_rest_is_not_read() -> None:
    message = refusal(table_of_rows({"id": "", "v": "1"} for _ in range(10_000)))
    assert message.startswith("10 or more rows cannot be sent: row 1 of rows: ")
    assert "row 10 of rows" in message
    assert "row 11" not in message


def test_a_row_of_the_second_source_is_named_with_it() -> None:
    second = table_of_file(lambda: io.BytesIO(b"id,a\n2,y\n/,z\n"), "csv", "second.csv")
    assert "row 2 of second.csv: the thirdPartyId contains" in refusal([csv_table("id,a\n1,x\n"), second])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (csv_table("id,a\nu1,1,2\n"), "row 1 of rows.csv: it has 3 cells, but there are 2 column names"),
        (csv_table("id,a,a\nu1,1,2\n"), "columns of the same name: 'a'"),
        (csv_table("other,a\nu1,1\n"), "the source has no column 'id'; it has: 2 others"),
        (csv_table("id\nu1\n"), "there is no profile attribute to set"),
        (csv_table("id,profile.tier\nu1,x\n"), "must not begin with 'profile.'"),
        (csv_table("id,\nu1,x\n"), "the name of an attribute is empty, or begins or ends with a blank: ''"),
        (
            csv_table("id,a \nu1,x\n"),
            "the name of an attribute is empty, or begins or ends with a blank: 'a '",
        ),
        (csv_table("id,pcId\nu1,x\n"), "the attribute name 'pcId' is a key of Target"),
        (csv_table(b"id,a\nu1,\xff\n"), "rows.csv is not UTF-8"),
        (csv_table('id,a\nu1,"x\n'), "rows.csv is not CSV at its line"),
        (csv_table("id,a\nu1,\nu2,\n"), "none of the 2 rows holds a value"),
        (json_table('{"id": 1, "a": 2}\n{"id": 2, '), "row 2 of rows.json: it is not JSON"),
        (json_table("[1]\n"), "row 1 of rows.json: it is no mapping"),
        (json_table('{"id": 1, "a": NaN}\n'), "rows.json"),
        (json_table('{"id": 1, "a": ["x"]}\n'), "row 1 of rows.json: attribute 'a': a value of type list"),
        (json_table("[" * 100_000), "rows.json"),
        (json_table('"' + "x" * (1 << 20) + '"'), "a line is longer than 1 MB"),
    ],
)
def test_a_source_is_refused(table: Any, reason: str) -> None:
    assert reason in refusal(table)


def test_sources_with_other_columns_are_refused() -> None:
    assert "has other columns" in refusal([csv_table("id,a\n1,x\n"), csv_table("id,b\n2,y\n")])


def test_an_experience_cloud_id_is_no_pc_id() -> None:
    rows = table_of_rows([{"pc": "1" * 38, "v": "1"}])
    assert "is a Marketing Cloud (ECID) visitor id" in refusal(rows, Columns("pcId", "pc"))


@pytest.mark.parametrize("kind", ["list", "binary", "duration"])
def test_parquet_types_without_a_text_are_refused(tmp_path: Path, kind: str) -> None:
    import pyarrow as pa

    value = {
        "list": pa.array([["x"]]),
        "binary": pa.array([b"x"]),
        "duration": pa.array([1], pa.duration("s")),
    }[kind]
    assert "column 'v' of rows.parquet has the type" in refusal(parquet_table(tmp_path, id=["1"], v=value))


def test_what_is_no_parquet_is_refused() -> None:
    assert "no.parquet is no Parquet file" in refusal(
        table_of_file(lambda: io.BytesIO(b"PAR1 no"), "parquet", "no.parquet")
    )


@pytest.mark.parametrize(
    "limits", [{"max_rows": 0}, {"max_rows": MAX_ROWS + 1}, {"max_bytes": 0}, {"max_bytes": 50_000_001}]
)
def test_limits_beyond_adobes_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(AdobeConfigurationError, match="Adobe takes"):
        Parts(Columns("thirdPartyId", "id"), **limits)
