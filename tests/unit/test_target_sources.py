# SPDX-License-Identifier: Apache-2.0
"""Rows as people have them: keys, numbers, CSV of every kind, and rows that cannot be sent."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.encode import Columns, RowRejected, text_of
from airflow_provider_adobe_audiences.profiles.parts import BadRows, Parts
from airflow_provider_adobe_audiences.profiles.rows import table_of_file, table_of_rows

COLUMNS = Columns("thirdPartyId", "id")


def body(table: Any, columns: Columns = COLUMNS, bad_rows: BadRows | None = None) -> bytes:
    with Parts(columns) as parts:
        (part,) = parts.write([table], bad_rows)
        with part.open() as file:
            return file.read()


def refusal(
    table: Any, columns: Columns = COLUMNS, bad_rows: BadRows | None = None
) -> AdobeConfigurationError:
    with pytest.raises(AdobeConfigurationError) as error:
        body(table, columns, bad_rows)
    return error.value


def file_of(content: bytes, file_format: Any = "csv", **options: Any) -> Any:
    return table_of_file(lambda: io.BytesIO(content), file_format, f"rows.{file_format}", **options)


# ------------------------------------------------------------------------------------------------------------
# keys and numbers

SCALARS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40),
)


@given(SCALARS)
def test_a_number_is_written_in_plain_notation_and_means_the_same(value: Any) -> None:
    text = text_of(value)
    assert set(text) <= set("-.0123456789")
    assert Decimal(text) == (Decimal(repr(value)) if isinstance(value, float) else Decimal(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0E-18"), "0.000000000000000000"),
        (1e-05, "0.00001"),
        (1e22, "10000000000000000000000"),
        (Decimal("1E+3"), "1000"),
    ],
)
def test_no_exponent_reaches_adobe(value: Any, text: str) -> None:
    assert body(table_of_rows([{"id": "u1", "v": value}])).endswith(f"\nu1,{text}".encode())


def test_a_number_without_end_is_refused_and_fills_no_memory() -> None:
    error = refusal(file_of(b'{"id": "u1", "v": 1e999999999}\n', "json"))
    assert "row 1 of rows.json: attribute 'v': it is a number of more than 400 digits" in str(error)


@pytest.mark.parametrize(
    "key", [12345.0, Decimal("12345.0"), Decimal("12345E0") * Decimal("1.00"), 0.0, 1e22]
)
def test_a_whole_number_held_as_a_fraction_is_no_key(key: Any) -> None:
    error = refusal(table_of_rows([{"id": "u0", "v": 1}, {"id": key, "v": 1}]))
    assert "row 2 of rows: the key is a whole number that is held as a fraction" in str(error)


def test_the_same_from_json_and_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert "row 1 of rows.json: the key is a whole number" in str(
        refusal(file_of(b'{"id": 12345.0, "v": 1}\n', "json"))
    )
    for kind in (pa.float32(), pa.float64()):
        file = tmp_path / "rows.parquet"
        pq.write_table(pa.table({"id": pa.array([12345.0], kind), "v": ["x"]}), file)
        assert "the key is a whole number" in str(refusal(file_of(file.read_bytes(), "parquet")))


@pytest.mark.parametrize("key", [12345, "12345", Decimal(12345)])
def test_a_whole_number_is_a_key(key: Any) -> None:
    assert body(table_of_rows([{"id": key, "v": "x"}])) == b"batch=thirdPartyId,v\n12345,x"


def test_a_boolean_is_no_key() -> None:
    assert "the key is a boolean" in str(refusal(table_of_rows([{"id": True, "v": 1}])))


@pytest.mark.parametrize("around", [" ", "\u00a0", "\u3000", "\t", "\n"])
@pytest.mark.parametrize("template", ["{}u1", "u1{}"])
def test_a_key_with_blanks_around_it_is_refused(around: str, template: str) -> None:
    error = refusal(table_of_rows([{"id": template.format(around), "v": 1}]))
    assert "row 1 of rows: the key begins or ends with a blank" in str(error)


@pytest.mark.parametrize(
    "around", ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u200e", "\u3164", "\u2800", "\x00"]
)
@pytest.mark.parametrize("template", ["{}u1", "u1{}"])
def test_a_key_with_something_invisible_around_it_is_refused(around: str, template: str) -> None:
    error = refusal(table_of_rows([{"id": template.format(around), "v": 1}]))
    assert "row 1 of rows: the key begins or ends with a character that cannot be seen" in str(error)


def test_dates_beyond_the_calendar_of_python_are_refused_by_their_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "rows.parquet"
    days = pa.array([0, 10_000_000], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"id": ["u1", "u2"], "born": days}), file)
    error = refusal(file_of(file.read_bytes(), "parquet"))
    assert "row 2 of rows.parquet: column 'born': it is a time outside the years 1 to 9999" in str(error)
    seconds = pa.array([0, 400_000_000_000], pa.timestamp("s"))
    pq.write_table(pa.table({"id": ["u1", "u2"], "seen": seconds}), file)
    assert "row 2 of rows.parquet: column 'seen'" in str(refusal(file_of(file.read_bytes(), "parquet")))


def test_a_missing_package_for_parquet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refusal(file_of(b"PAR1", "parquet"))
    assert "needs the package 'pyarrow'" in str(error)
    assert "airflow-provider-adobe-audiences[parquet]" in error.hint


# ------------------------------------------------------------------------------------------------------------
# CSV as people have it

PLAIN = 'id,city\nu1,"São Paulo"\n'
WANTED = b"batch=thirdPartyId,city\nu1,S%C3%A3o%20Paulo"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_with_a_byte_order_mark_and_gzip_are_read(encoding: str, packed: bool) -> None:
    content = PLAIN.encode(encoding)
    assert body(file_of(gzip.compress(content) if packed else content)) == WANTED
    line = json.dumps({"id": "u1", "city": "São Paulo"}, ensure_ascii=False).encode(encoding)
    assert body(file_of(gzip.compress(line) if packed else line, "json")) == WANTED


@pytest.mark.parametrize(
    ("content", "file_format", "words"),
    [
        (PLAIN.encode("utf-16-le"), "csv", "is UTF-16 without a byte order mark"),
        (PLAIN.encode("utf-16-be"), "csv", "is UTF-16 without a byte order mark"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-12], "csv", "no complete gzip file"),
        (b"PAR1\x15\x04\x15\x00", "csv", "is a Parquet file, not csv"),
        (b"PAR1\x15\x04\x15\x00", "json", "file_format='parquet'"),
        (b"PK\x03\x04\x14\x00\x06\x00", "csv", "a ZIP archive or an Excel workbook"),
        (b"\x28\xb5\x2f\xfd\x00\x01", "csv", "compressed with Zstandard"),
        (b'{"id": "u1", "city": "Oslo"}\n', "csv", "file_format='json'"),
        (b"id,city\nu1,Oslo\n", "parquet", "is no Parquet file"),
    ],
)
def test_what_is_something_else_is_named(content: bytes, file_format: str, words: str) -> None:
    assert words in str(refusal(file_of(content, file_format)))


def test_a_file_whose_columns_begin_like_the_magic_of_another_format_is_read() -> None:
    assert body(file_of(b"id,ORC\nu1,x\n")) == b"batch=thirdPartyId,ORC\nu1,x"
    assert body(file_of(b"ORCID,id\nx,u1\n")) == b"batch=thirdPartyId,ORCID\nu1,x"


SPARK = b'id,said,path\nu1,"say \\"hi\\", bob","C:\\\\dir\\\\"\nu2,a\\b,"two\nlines \\"x\\""\n'


def test_sparks_backslash_is_asked_about_and_then_read() -> None:
    error = refusal(file_of(SPARK))
    assert "a backslash before a quote in its line 2" in str(error)
    assert "escape='\\\\'" in error.hint
    assert body(file_of(SPARK, escape="\\")).decode().splitlines()[1:] == [
        "u1,say%20%22hi%22%2C%20bob,C%3A%5Cdir%5C",
        "u2,a%5Cb,two%0Alines%20%22x%22",
    ]


def test_a_backslash_at_the_end_of_a_cell_by_rfc_4180() -> None:
    assert body(file_of(b'id,path\nu1,"C:\\dir\\"\n', escape='"')).endswith(b"u1,C%3A%5Cdir%5C")


def test_a_file_made_for_the_bulk_update_is_read() -> None:
    content = b"batch=thirdPartyId,tier%20x,city\nu1,gold,S%C3%A3o%20Paulo%2C%20SP\nu2,,Oslo\n"
    columns = Columns("thirdPartyId", "customer_id")
    assert body(file_of(content), columns) == content.rstrip(b"\n")
    error = refusal(file_of(content), Columns("pcId", "pcId"))
    assert "begins with 'batch='" in str(error)


# ------------------------------------------------------------------------------------------------------------
# what is told of rows


def test_the_first_row_of_a_file_without_column_names_is_not_told() -> None:
    content = b"jane@example.org,Jane Roe,1970-01-01\n"
    error = refusal(file_of(content))
    assert "it has: 3 others" in str(error)
    assert "jane" not in str(error).lower()
    shown = refusal(file_of(content), Columns("thirdPartyId", "id", show_values=True))
    assert "'jane@example.org'" in str(shown)
    again = b"jane@example.org,jane@example.org\n"
    assert "jane" not in str(refusal(file_of(again)))


@pytest.mark.parametrize("key", ["jane+1@example.org", "jane/1"])
def test_the_key_of_a_person_is_not_told(key: str) -> None:
    assert "jane" not in str(refusal(table_of_rows([{"id": key, "v": 1}])))
    shown = refusal(table_of_rows([{"id": key, "v": 1}]), Columns("thirdPartyId", "id", show_values=True))
    assert repr(key) in str(shown)


# ------------------------------------------------------------------------------------------------------------
# rows that are left out

MIXED = [
    {"id": "u1", "v": "1"},
    {"id": "a+b", "v": "2"},
    {"id": "u3", "v": float("nan")},
    {"id": "u4", "v": "4"},
]


def test_bad_rows_are_left_out_and_written_down_with_their_reason() -> None:
    file = io.StringIO()
    bad_rows = BadRows(2, file)
    assert body(table_of_rows(MIXED), bad_rows=bad_rows) == b"batch=thirdPartyId,v\nu1,1\nu4,4"
    assert bad_rows.count == 2
    written = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [(one["source"], one["row"], one["values"]["v"] == "2") for one in written] == [
        ("rows", 2, True),
        ("rows", 3, False),
    ]
    assert written[0]["reason"] == "the thirdPartyId contains '+' or '/', which Adobe does not allow"
    assert written[0]["values"] == {"thirdPartyId": "a+b", "v": "2"}


def test_one_bad_row_more_than_may_be_left_out_sends_nothing() -> None:
    error = refusal(table_of_rows(MIXED), bad_rows=BadRows(1))
    assert str(error).startswith("2 rows cannot be sent (1 may be left out): row 2 of rows: ")


def test_the_rows_after_one_with_a_further_column_keep_their_values() -> None:
    rows = [{"id": f"u{number}", "a": "1", "b": "2", "c": "3"} for number in range(4)]
    rows[1]["w"] = "4"
    sent = body(table_of_rows(rows), bad_rows=BadRows(1))
    assert sent == b"batch=thirdPartyId,a,b,c\nu0,1,2,3\nu2,1,2,3\nu3,1,2,3"


def test_names_that_may_be_customers_are_counted() -> None:
    further = {f"jane.roe{number}@example.com": number for number in range(2_000)}
    error = str(refusal(table_of_rows([{"id": "u1", "v": "1"}, {"id": "u2", "v": "1", "w": 2, **further}])))
    assert "it has 20 names that this message does not show, 1981 more, which row 1" in error
    error = str(refusal(table_of_rows([{"id": "u1", "jane.roe@example.com": {}}])))
    assert "attribute 1 name that this message does not show: a value of type dict" in error
    for hidden in (" jane.roe@example.com", 4915112345678, ("jane.roe@example.com", 1), "\u200bjane@x.com"):
        for rows in ([{"id": "u1", hidden: "1"}], [{"x": "u1", hidden: "1"}]):
            assert "jane" not in (error := str(refusal(table_of_rows(rows))))
            assert "49151" not in error
    named = Columns("thirdPartyId", "id", {"v": "my attribute"})
    for unseen in ("name\u200b", "\u3164name"):
        error = str(refusal(table_of_rows([{"id": "u1", unseen: "1"}])))
        assert f"character that cannot be seen: {unseen!a}" in error
    prefixed = str(refusal(table_of_rows([{"id": "u1", "profile.jane@example.com": "1"}])))
    assert "must not begin with 'profile.'" in prefixed
    assert "jane" not in prefixed
    assert "attribute 'my attribute': a value of" in str(
        refusal(table_of_rows([{"id": "u1", "v": {}}]), named)
    )


def test_a_line_that_is_no_json_can_be_left_out_wherever_it_is() -> None:
    good = b'{"id": "u1", "v": "1"}\n'
    for content in (b"{broken\n" + good, good + b"{broken\n"):
        bad_rows = BadRows(1)
        assert body(file_of(content, "json"), bad_rows=bad_rows) == b"batch=thirdPartyId,v\nu1,1"
        assert bad_rows.count == 1


@pytest.mark.parametrize("column", [1, 2.5, None, b"v", ("v",)])
def test_columns_are_named_by_texts(column: Any) -> None:
    row = {"id": "u1", column: "1"}
    error = refusal(table_of_rows([row]))
    assert (
        f"row 1 of rows has names of columns that are no texts, but of type {type(column).__name__}"
        in str(error)
    )
    assert "What to do: Name every column by a text, or name those to send with parameters." in str(error)

    later = refusal(table_of_rows([{"id": "u1", "v": "1"}, row]))
    # It may be a customer's: rows pivoted by number.
    assert "row 2 of rows: it has 1 name that this message does not show, which row 1 does not" in str(later)

    named = Columns("thirdPartyId", "id", {"v": "v"})
    assert body(table_of_rows([{**row, "v": "2"}]), named) == b"batch=thirdPartyId,v\nu1,2"


def test_a_rejected_row_is_no_part_of_its_message() -> None:
    assert str(RowRejected("why", {"id": "jane"})) == "why"


def test_times_have_a_text() -> None:
    assert text_of(datetime.time(1, 2, 3)) == "01:02:03"


# ------------------------------------------------------------------------------------------------------------
# what looks like nothing, or like something else


@pytest.mark.parametrize("line", [b"null", b"[]", b"0", b'""', b"false"])
def test_a_first_line_that_is_nothing_does_not_end_the_file(line: bytes) -> None:
    content = line + b'\n{"id": "u1", "v": "1"}\n'
    assert "row 1 of rows.json: it is no mapping" in str(refusal(file_of(content, "json")))
    bad_rows = BadRows(1)
    assert body(file_of(content, "json"), bad_rows=bad_rows) == b"batch=thirdPartyId,v\nu1,1"
    assert bad_rows.count == 1


@pytest.mark.parametrize("row", [{"v": "2"}, None, {"id": "a+b", "v": "2"}])
def test_a_bad_row_is_left_out_wherever_it_is(row: Any) -> None:
    good = {"id": "u1", "v": "1"}
    for rows in ([row, good], [good, row]):
        assert body(table_of_rows(rows), bad_rows=BadRows(1)) == b"batch=thirdPartyId,v\nu1,1"


def test_a_bad_row_that_is_the_only_one_is_left_out() -> None:
    for content in (b"{broken\n", b"null\n"):
        bad_rows = BadRows(1)
        with Parts(COLUMNS) as parts:
            assert parts.write([file_of(content, "json")], bad_rows) == []
        assert bad_rows.count == 1


def test_rows_without_the_key_say_what_they_have() -> None:
    error = refusal(table_of_rows([{"name": "x", "v": "1"}] * 3), bad_rows=BadRows(9))
    assert "the source has no column 'id'; it has: 'name', 'v'" in str(error)


@pytest.mark.parametrize(
    "content", [b'{"id": "u1", "v": 1, "id": "u2"}\n', b'{"id": "u1", "v": "1", "v": "2"}\n']
)
def test_a_name_that_stands_twice_in_a_row_is_refused(content: bytes) -> None:
    assert "row 1 of rows.json: it is not JSON (a name stands twice in an object)" in str(
        refusal(file_of(content, "json"))
    )


def test_names_that_may_be_customers_are_not_told() -> None:
    people = {f"jane{number}@example.org": "1" for number in range(2_000)}
    for table in (
        table_of_rows([people]),
        file_of(json.dumps(people).encode() + b"\n", "json"),
        table_of_rows([{"id": "u1", "v": "1"}, {"id": "u2", "jane@example.org": "1"}]),
    ):
        error = str(refusal(table))
        assert "jane" not in error
        assert len(error) < 1_000
    columns = Columns("thirdPartyId", "id", show_values=True)
    assert "'jane0@example.org', " in str(refusal(table_of_rows([people]), columns))
    assert "1980 more" in str(refusal(table_of_rows([people]), columns))


@pytest.mark.parametrize(
    "content",
    [b"id,v\nu1,1\nid,v\nu2,2\n", b"batch=thirdPartyId,v\nu1,1\nbatch=thirdPartyId,v\nu2,2\n"],
)
def test_names_of_columns_in_the_middle_are_no_profile(content: bytes) -> None:
    columns = Columns("thirdPartyId", "id")
    assert "row 2 of rows.csv: it is the names of the columns again" in str(
        refusal(file_of(content), columns)
    )
    bad_rows = BadRows(1)
    assert body(file_of(content), columns, bad_rows) == b"batch=thirdPartyId,v\nu1,1\nu2,2"


def test_a_quote_in_a_ready_made_file_is_a_quote() -> None:
    content = b'batch=thirdPartyId,v\nu1,a "q" b\nu2,%22\n'
    assert body(file_of(content)) == b"batch=thirdPartyId,v\nu1,a%20%22q%22%20b\nu2,%22"


@pytest.mark.parametrize("cell", ['"q"', '""', '"', '"Doe, Jane"', 'half"'])
def test_a_cell_in_quotes_of_a_ready_made_file_is_one_only_if_the_names_are(cell: str) -> None:
    error = refusal(file_of(f"batch=thirdPartyId,v,w\nu1,x,y\nu2,{cell}\n".encode()))
    assert "rows.csv is made for the bulk update, and a cell in its line 3 is in quotes" in str(error)
    advised = file_of(b'batch=thirdPartyId,"v","w"\nu1,x,y\nu2,"Doe, Jane",""\n')
    assert body(advised) == b"batch=thirdPartyId,v,w\nu1,x,y\nu2,Doe%2C%20Jane,"


def test_a_ready_made_file_in_quotes_is_csv() -> None:
    content = b'"batch=thirdPartyId","v"\n"u1","Bern, CH"\n"u2",""\nu3,%22\n'
    assert body(file_of(content)) == b"batch=thirdPartyId,v\nu1,Bern%2C%20CH\nu2,\nu3,%22"


def test_a_wrong_line_of_a_ready_made_file_is_named() -> None:
    rows = "".join(f"u{number},1\n" for number in range(3))
    error = refusal(file_of(f"batch=thirdPartyId,v\n{rows}u9,{'x' * 200_000}\n".encode()))
    assert "is not CSV at its line 5" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b'[{"id": "u1", "v": "1"}, {"id": "u2", "v": "2"}]',
        b'[\n{"id": "u1", "v": "1"},\n{"id": "u2", "v": "2"}\n]\n',
        b'\n [{"id": "u1", "v": "1"}, \n {"id": "u2", "v": "2"}]\n',
        b"<html>Sign in</html>",
    ],
)
def test_another_file_is_no_bad_row(content: bytes) -> None:
    good = table_of_rows([{"id": "u0", "v": 1}])
    for tables in ([file_of(content, "json")], [good, file_of(content, "json")]):
        with Parts(COLUMNS) as parts, pytest.raises(AdobeConfigurationError) as refused:
            parts.write(tables, BadRows(9))
        what = "holds one JSON array of rows" if b"[" in content else "begins with '<': it is HTML or XML"
        assert f"rows.json {what}" in str(refused.value)


@pytest.mark.parametrize("line", [b'[{"id": "u2"}]', b"[", b"<b>"])
def test_a_line_of_something_else_in_the_middle_is_a_bad_row(line: bytes) -> None:
    bad_rows = BadRows(1)
    content = b'{"id": "u1", "v": "1"}\n' + line + b'\n{"id": "u3", "v": "3"}\n'
    assert body(file_of(content, "json"), bad_rows=bad_rows) == b"batch=thirdPartyId,v\nu1,1\nu3,3"
    assert bad_rows.count == 1


def test_a_name_that_stands_twice_in_a_column_that_is_not_sent_is_no_fault() -> None:
    content = b'{"id": "u1", "v": "1", "x": {"a": 1, "a": 2}}\n{"id": "u2", "v": "1", "v": "2"}\n'
    columns, bad_rows = Columns("thirdPartyId", "id", {"v": "v"}), BadRows(1)
    assert body(file_of(content, "json"), columns, bad_rows) == b"batch=thirdPartyId,v\nu1,1"
    assert "row 2 of rows.json: it is not JSON (a name stands twice in an object)" in str(bad_rows)


@pytest.mark.parametrize(
    "row", [{"id": "u1", "v": "\ud800"}, {"id": "u1", ("v",): "1"}, {"id": "u1", "v": [{(1, 2): 3}]}]
)
def test_a_row_that_cannot_be_written_down_can_be_left_out(row: Any) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    bad_rows = BadRows(1, file)
    good = {"id": "u0", "v": "1"}
    assert body(table_of_rows([good, row]), bad_rows=bad_rows) == b"batch=thirdPartyId,v\nu0,1"
    file.flush()
    record = json.loads(file.buffer.getvalue())  # type: ignore[attr-defined]
    assert record["row"] == 2
    assert (
        "u1" in record["values"].values() if isinstance(record["values"], dict) else "u1" in record["values"]
    )


def test_a_row_that_nests_too_deep_can_be_left_out() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    rows = [{"id": "u0", "v": "1"}, {"id": "u1", "v": deep}]
    assert body(table_of_rows(rows), bad_rows=BadRows(1, file)) == b"batch=thirdPartyId,v\nu0,1"
    file.flush()
    assert json.loads(file.buffer.getvalue())["row"] == 2  # type: ignore[attr-defined]
