# SPDX-License-Identifier: Apache-2.0
"""Rows of CSV files as people have them, for a bulk profile update."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator
from itertools import repeat
from operator import contains, itemgetter
from typing import IO, Any
from urllib.parse import unquote

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.blocks import Row, block_of_texts, chunks
from airflow_provider_adobe_audiences.profiles.encode import Columns, RowRejected
from airflow_provider_adobe_audiences.profiles.options import Escape
from airflow_provider_adobe_audiences.profiles.recognise import text_stream

_READY_MADE = "batch="
_ESCAPED = re.compile(r'(\\\\|\\"|")')


def csv_rows(
    file: IO[bytes], columns: Columns, name: str, delimiter: str, escape: Escape | None
) -> Iterator[Any]:
    """Give the names of the attributes, then the rows, in blocks where that is possible.

    :param file: at its first byte.
    :param columns: which columns become what.
    :param name: of the source, for messages.
    :param delimiter: between cells.
    :param escape: how a quote within quotes is written; ``None`` refuses a file that leaves it open.
    :returns: an iterator of names, then blocks and rows.
    :raises AdobeConfigurationError: when it is no CSV, or needs an option.
    """
    with text_stream(file, "csv", name) as text:
        lines: Iterable[str] = text
        if escape == "\\":
            lines = _without_backslashes(text)
        elif escape is None:
            lines = itertools.chain.from_iterable(_told(text, name))
        lines = iter(lines)
        reader, before = csv.reader(lines), 0
        try:
            begin = next(lines, None)
            if begin is None:
                return
            reader = csv.reader(itertools.chain([begin], lines), delimiter=delimiter, strict=True)
            available = next(reader)
            if available and available[0].startswith(_READY_MADE):
                rows: Iterable[list[str]] = reader
                if '"' not in begin:
                    # Its cells are percent-encoded: a quote in one is a quote.
                    before = reader.line_num
                    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
                    rows = _without_quotes(reader, name, before)
                yield from _ready_made(available, rows, columns, name)
            else:
                yield from _rows(available, reader, columns)
        except UnicodeError:
            raise AdobeConfigurationError(
                f"{name} is not {text.encoding.upper().removesuffix('-SIG')} near its line "
                f"{before + reader.line_num + 1}",
                hint="Save the file as UTF-8.",
            ) from None
        except csv.Error as error:
            raise AdobeConfigurationError(
                f"{name} is not CSV at its line {before + reader.line_num}: {error}",
                hint="Correct that line in the file: a quote may be open, or a cell too long.",
            ) from None


def _rows(
    available: list[str], reader: Iterable[list[str]], columns: Columns, header: list[str] | None = None
) -> Iterator[Any]:
    header = header or available
    pairs = columns.resolve(available, may_be_data=True)
    yield tuple(attribute for _, attribute in pairs)
    order = [available.index(columns.key_column), *(available.index(column) for column, _ in pairs)]
    width = len(available)
    in_order = order == list(range(width))
    for rows in chunks(reader):
        block = None
        if set(map(len, rows)) == {width} and header not in rows:
            block = block_of_texts(rows if in_order else list(map(itemgetter(*order), rows)))
        if block is not None:
            yield block
        else:
            yield from _each(rows, order, width, header)


def _each(rows: Iterable[list[str]], order: list[int], width: int, header: list[str]) -> Iterator[Row]:
    for row in rows:
        if not row:
            continue  # an empty line is no row
        if row == header:
            yield RowRejected("it is the names of the columns again: several files were put together", row)
            continue
        if len(row) > width:
            yield RowRejected(f"it has {len(row)} cells, but there are {width} column names", row)
            continue
        if len(row) < width:
            row += [""] * (width - len(row))
        yield tuple([row[index] for index in order])


def _ready_made(
    available: list[str], reader: Iterable[list[str]], columns: Columns, name: str
) -> Iterator[Any]:
    """Read a file that was made for Adobe's bulk update: its cells are percent-encoded."""
    names = [unquote(cell) for cell in (available[0].removeprefix(_READY_MADE), *available[1:])]
    if names[0] != columns.key:
        raise AdobeConfigurationError(
            f"{name} is made for the bulk update already (it begins with 'batch='), and its key is not "
            f"{columns.key}",
            hint="Set key to the word after 'batch=' (pcId or thirdPartyId).",
        )
    ready = Columns(columns.key, columns.key, columns.parameters, columns.show_values)
    yield from _rows(names, map(_unquoted, reader), ready, [_READY_MADE + names[0], *names[1:]])


def _without_quotes(reader: Any, name: str, before: int) -> Iterator[list[str]]:
    for row in reader:
        if any(cell[:1] == '"' or cell[-1:] == '"' for cell in row):
            raise AdobeConfigurationError(
                f"{name} is made for the bulk update, and a cell in its line {before + reader.line_num} is "
                "in quotes, but no name of its columns: whether the quotes belong to the value is not known",
                hint="Write a quote that belongs to a value as %22, and no other, or put names in quotes.",
            )
        yield row


def _unquoted(row: list[str]) -> list[str]:
    try:
        return [unquote(cell, errors="strict") for cell in row]
    except UnicodeDecodeError:
        raise AdobeConfigurationError(
            "a row of a file that is made for the bulk update is not UTF-8, once its percent signs are read",
            hint="Write its texts as UTF-8 before they are percent-encoded.",
        ) from None


def _told(lines: Iterable[str], name: str) -> Iterator[list[str]]:
    """Refuse a file in which a backslash before a quote may mean two things."""
    before = 0
    for some in chunks(lines):
        if any(map(contains, some, repeat("\\"))):
            for number, line in enumerate(some):
                if '\\"' in line:
                    yield some[:number]
                    raise _two_meanings(name, before + number + 1)
        before += len(some)
        yield some


def _two_meanings(name: str, number: int) -> AdobeConfigurationError:
    return AdobeConfigurationError(
        f"{name} has a backslash before a quote in its line {number}: by RFC 4180 the quote ends the "
        "cell, but Spark writes quotes within a cell like this",
        hint="Pass escape='\\\\' for a file that Spark wrote, or escape='\"' for one by RFC 4180.",
    )


def _without_backslashes(lines: Iterable[str]) -> Iterator[str]:
    """Turn a quote after a backslash, within quotes, into two quotes."""
    quoted = False
    for line in lines:
        if "\\" not in line:
            quoted ^= line.count('"') % 2 == 1
            yield line
            continue
        found = []
        for piece in _ESCAPED.split(line):
            if piece == '"':
                quoted = not quoted
            elif quoted and piece == '\\"':
                found.append('""')
                continue
            elif quoted and piece == "\\\\":
                found.append("\\")
                continue
            found.append(piece)
        yield "".join(found)
