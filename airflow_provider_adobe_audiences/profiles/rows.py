# SPDX-License-Identifier: Apache-2.0
"""Rows of an upstream task, of JSON lines and of other files, for a bulk profile update."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.csv_rows import csv_rows
from airflow_provider_adobe_audiences.profiles.encode import Columns, RowRejected
from airflow_provider_adobe_audiences.profiles.options import Escape, SourceFormat
from airflow_provider_adobe_audiences.profiles.parquet_rows import parquet_rows
from airflow_provider_adobe_audiences.profiles.parts import Table
from airflow_provider_adobe_audiences.profiles.recognise import text_stream

_MAX_LINE = 1 << 20
_MAX_UNREADABLE = 100
_END: Any = object()
_NO_ROWS = "Check that the source holds rows, and that key_column names the column of the key."
_NO_MAPPING = "it is no mapping from column to value"


def table_of_rows(rows: Iterable[Any], name: str = "rows") -> Table:
    """Return the rows that an upstream task returned.

    Without ``parameters`` the first row names the columns; further columns in later rows are refused.

    :param rows: mappings from column to value.
    :param name: for messages.
    """

    def read(columns: Columns) -> Iterator[Any]:
        iterator = iter(rows)
        # The first row that can be read, and has the key, names the columns.
        rejected: list[RowRejected] = []
        keyless: Mapping[Any, Any] | None = None
        first: Any = next(iterator, _END)
        while first is not _END and not (isinstance(first, Mapping) and columns.key_column in first):
            if isinstance(first, Mapping):
                keyless = keyless or first
                first = RowRejected(f"it has no {columns.key_column!r}", first)
            elif not isinstance(first, RowRejected):
                first = RowRejected(_NO_MAPPING, first)
            rejected.append(first)
            first = next(iterator, _END) if len(rejected) < _MAX_UNREADABLE else _END
        if first is _END:
            if keyless is not None:
                columns.resolve(list(keyless))  # which says what there is instead
            if len(rejected) == _MAX_UNREADABLE:
                raise AdobeConfigurationError(f"row 1 of {name}: {rejected[0]}", hint=_NO_ROWS)
            if rejected:
                yield ()
                yield from rejected
            return
        if columns.parameters is None and (
            wrong := [column for column in first if not isinstance(column, str)]
        ):
            raise AdobeConfigurationError(
                f"row {len(rejected) + 1} of {name} has names of columns that are no texts, but of type "
                f"{', '.join(sorted({type(column).__name__ for column in wrong}))}",
                hint="Name every column by a text, or name those to send with parameters.",
            )
        pairs = columns.resolve(list(first) if columns.parameters is None else None)
        yield tuple(attribute for _, attribute in pairs)
        yield from rejected
        yield from _mapped(itertools.chain([first], iterator), columns, [column for column, _ in pairs])

    return Table(name, read)


def _mapped(
    rows: Iterable[Any], columns: Columns, names: Sequence[str]
) -> Iterator[tuple[Any, ...] | RowRejected]:
    known = {columns.key_column, *names}
    missing = set(names)
    for row in rows:
        if isinstance(row, RowRejected):
            yield row
        elif not isinstance(row, Mapping):
            yield RowRejected(_NO_MAPPING, row)
        elif columns.key_column not in row:
            yield RowRejected(f"it has no {columns.key_column!r}", row)
        elif columns.parameters is None and (further := row.keys() - known):
            others = columns.shown(*sorted(further, key=str))
            yield RowRejected(
                f"it has {others}, which row 1 does not have; name the columns but for the key in parameters",
                row,
            )
        else:
            if missing:
                missing -= row.keys()
            yield (row[columns.key_column], *(row.get(name) for name in names))
    if missing:
        raise AdobeConfigurationError(
            f"no row has {', '.join(sorted(map(repr, missing)))}, which parameters name",
            hint="Correct the names in parameters; they are those of the rows' columns.",
        )


def table_of_file(
    open_file: Callable[[], IO[bytes]],
    file_format: SourceFormat,
    name: str,
    *,
    delimiter: str = ",",
    escape: Escape | None = None,
) -> Table:
    """Return the rows of a file: CSV with a first line of column names, JSON with an object per line, or
    Parquet. CSV and JSON may be compressed with gzip, and written in UTF-8, or in UTF-16 with a byte order
    mark.

    :param open_file: opens it at its first byte.
    :param file_format: what it should be; another content is refused.
    :param name: for messages.
    :param delimiter: between the cells of a CSV file.
    :param escape: how a CSV file writes a quote within quotes; see :data:`Escape`.
    """

    def read(columns: Columns) -> Iterator[Any]:
        with open_file() as file:
            match file_format:
                case "csv":
                    yield from csv_rows(file, columns, name, delimiter, escape)
                case "json":
                    yield from table_of_rows(_json_lines(file, name), name).rows(columns)
                case "parquet":
                    yield from parquet_rows(file, columns, name)

    return Table(name, read)


def _json_lines(file: IO[bytes], name: str) -> Iterator[Any]:
    # Numbers are sent as they are written: 1.10 stays 1.10.
    decoder = json.JSONDecoder(
        parse_float=Decimal, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_Object
    )
    with text_stream(file, "json", name) as text:
        while line := _line(text, name):
            if len(line) == _MAX_LINE:
                raise AdobeConfigurationError(
                    f"a line is longer than 1 MB: {name} does not hold one JSON object per line"
                )
            if not line.strip():
                continue
            try:
                row = decoder.decode(line.strip())
                if isinstance(row, _Object) and row.is_twice:
                    raise ValueError("a name stands twice in an object")
            except RecursionError:
                yield RowRejected("it is not JSON (it nests too deep)")
            except (ValueError, ArithmeticError) as error:
                yield RowRejected(
                    f"it is not JSON ({error if isinstance(error, ValueError) else 'a number'})"
                )
            else:
                yield row


def _line(text: Any, name: str) -> str:
    try:
        return str(text.readline(_MAX_LINE))
    except UnicodeDecodeError:
        raise AdobeConfigurationError(
            f"{name} is not {text.encoding.upper()}", hint="Save the file as UTF-8."
        ) from None


class _Object(dict[str, Any]):
    """An object of JSON, and whether a name stands twice in it."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.is_twice = len(self) != len(pairs)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
