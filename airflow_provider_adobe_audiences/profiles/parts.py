# SPDX-License-Identifier: Apache-2.0
"""Rows in, files out that Adobe Target takes as they are. Every row is checked before anything is sent, and
memory does not grow with the number of rows.

Source: "Bulk profile update API".
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, Self

from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.blocks import Block, BlockEncoder, Lines, Row
from airflow_provider_adobe_audiences.profiles.encode import Columns, RowRejected, header_of

# Adobe writes "less than 50 MB"; the smaller reading of MB is kept.
MAX_BYTES = 50_000_000
MAX_ROWS = 500_000
# Not documented; the type that curl, which Adobe's example uses, sends.
MEDIA_TYPE = "application/x-www-form-urlencoded"

_MAX_REPORTED = 10


@dataclass(frozen=True, slots=True)
class Part:
    """One upload.

    :param file: without a name, so that nothing of it is left on the disk when the process is killed.
    :param rows: number of profiles in it.
    :param first_row: number of its first row, counted over all sources from 1.
    :param size: of the whole body, in bytes.
    :param sha256: of the whole body; the same rows give the same one.
    :param has_values: whether any of its cells sets anything.
    """

    file: IO[bytes]
    rows: int
    first_row: int
    size: int
    sha256: str
    has_values: bool = True

    def content(self) -> Content:
        """Return the body of the request."""
        return Content(open=self.open, length=self.size, media_type=MEDIA_TYPE)

    def open(self) -> IO[bytes]:
        """Return the whole body, to be read by one reader at a time."""
        reader = os.fdopen(os.dup(self.file.fileno()), "rb")
        reader.seek(0)
        return reader


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one source.

    :param name: for messages.
    :param rows: first the names of the attributes; then for each row a tuple, the key first, or the
        :class:`RowRejected` that says why not; or a :class:`Block` for many rows.
    """

    name: str
    rows: Callable[[Columns], Iterator[Row | Block]]


@dataclass(slots=True)
class BadRows:
    """What becomes of rows that cannot be sent.

    :param max_rows: how many may be left out. With one more, nothing is sent.
    :param file: where those are written that are left out, one JSON object per line with ``source``, ``row``,
        ``reason`` and ``values``.
    """

    max_rows: int = 0
    file: IO[str] | None = None
    #: How many there were.
    count: int = 0
    _reported: list[str] = field(default_factory=list)

    def take(self, number: int, source: str, rejected: RowRejected) -> None:
        """Take note of one.

        :param number: of the row in its source, from 1.
        :param source: name of the source.
        :param rejected: why, and the values.
        :raises AdobeConfigurationError: when there are far too many to go on reading.
        """
        self.count += 1
        if len(self._reported) < _MAX_REPORTED:
            self._reported.append(f"row {number} of {source}: {rejected}")
        if self.file is not None:
            record = {"source": source, "row": number, "reason": str(rejected)}
            try:
                values = _with_text_names(rejected.values)
                text = json.dumps({**record, "values": values}, ensure_ascii=False, default=repr)
            except RecursionError:
                text = json.dumps(
                    {**record, "values": "they nest too deep to be written"}, ensure_ascii=False
                )
            # Half a character is no UTF-8, but has an escape in JSON.
            self.file.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
        if self.count >= self.max_rows + _MAX_REPORTED:
            raise self._too_many(more=True)

    def check(self) -> None:
        """Check their number.

        :raises AdobeConfigurationError: naming the first of them and why, when there are too many.
        """
        if self.count > self.max_rows:
            raise self._too_many(more=False)

    def __str__(self) -> str:
        return "; ".join(self._reported)

    def _too_many(self, *, more: bool) -> AdobeConfigurationError:
        rows = f"{self.count} or more rows" if more else "1 row" if self.count == 1 else f"{self.count} rows"
        most = f" ({self.max_rows} may be left out)" if self.max_rows else ""
        return AdobeConfigurationError(
            f"{rows} cannot be sent{most}: {self}",
            hint="Correct the rows in the source; nothing was sent to Adobe.",
        )


def _with_text_names(values: Any) -> Any:
    """Return a value whose mappings JSON can hold, at any depth."""
    if isinstance(values, Mapping):
        return {str(name): _with_text_names(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_with_text_names(value) for value in values]
    return values


class Parts:
    """Writes rows into as few uploads as Adobe's limits allow. A context manager: the uploads are gone at its
    end.

    :param columns: which columns of the sources become what.
    :param max_rows: rows in one upload.
    :param max_bytes: an upload stays below.
    :raises AdobeConfigurationError: when the limits are beyond Adobe's.
    """

    def __init__(self, columns: Columns, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        if not 1 <= max_rows <= MAX_ROWS:
            raise AdobeConfigurationError(
                f"max_rows is {max_rows}: Adobe takes 1 to {MAX_ROWS} rows in one upload"
            )
        if not 1 <= max_bytes <= MAX_BYTES:
            raise AdobeConfigurationError(
                f"max_bytes is {max_bytes}: Adobe takes uploads below {MAX_BYTES} bytes"
            )
        self._columns, self._max_rows, self._max_bytes = columns, max_rows, max_bytes
        self._stack = ExitStack()
        self._parts: list[Part] = []
        self._header: bytes | None = None
        self._current: _Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, tables: Iterable[Table], bad_rows: BadRows | None = None) -> list[Part]:
        """Check and write all rows of all tables.

        :param tables: the sources.
        :param bad_rows: what becomes of rows that cannot be sent; by default, one is too many.
        :returns: the uploads in order, none when there is no row.
        :raises AdobeConfigurationError: naming the first refused rows and why. Nothing has been sent then.
        """
        bad_rows = bad_rows or BadRows()
        total = 0
        for table in tables:
            lines, names = _lines(self._columns, table)
            header = header_of(self._columns.key, names)
            before = total
            for some in lines:
                first = total + 1
                if isinstance(some, RowRejected):
                    total += 1
                    bad_rows.take(total - before, table.name, some)
                else:
                    total += some.rows
                    self._check_header(header, table.name)
                    self._add(some, first, first - before, table.name)
        bad_rows.check()
        if self._current is not None:
            self._parts.append(self._current.close())
        if self._parts and not any(part.has_values for part in self._parts):
            raise AdobeConfigurationError(
                f"none of the {total} rows holds a value",
                hint=(
                    "An empty cell leaves the attribute as it is: Adobe skips an upload of empty cells. "
                    "Nothing was sent."
                ),
            )
        return [part for part in self._parts if part.has_values]

    def _check_header(self, header: bytes, source: str) -> None:
        if self._header is not None and header != self._header:
            raise AdobeConfigurationError(
                f"{source} has other columns, or another order of them, than the source before it",
                hint="Name the columns to send with parameters.",
            )
        self._header = header

    def _add(self, lines: Lines, number: int, in_source: int, source: str) -> None:
        if self._current is not None and self._current.has_room(lines):
            self._current.add(lines)
            return
        for offset, line in enumerate(lines.each()):
            if self._current is not None and not self._current.has_room(line):
                self._parts.append(self._current.close())
                self._current = None
            if self._current is None:
                self._current = self._writer(number + offset)
                if not self._current.has_room(line):
                    what = f"row {in_source + offset} of {source}"
                    raise AdobeConfigurationError(f"max_bytes is {self._max_bytes}: too small for {what}")
            self._current.add(line)

    def _writer(self, first_row: int) -> _Writer:
        file = self._stack.enter_context(tempfile.TemporaryFile(buffering=1 << 20))  # noqa: SIM115
        return _Writer(file, self._header or b"", first_row, self._max_rows, self._max_bytes)


class _Writer:
    """Writes one upload."""

    def __init__(self, file: IO[bytes], header: bytes, first_row: int, max_rows: int, max_bytes: int) -> None:
        self._file, self._first_row = file, first_row
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._digest = hashlib.sha256()
        self._rows, self._size, self._values = 0, 0, False
        self._put(header)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def has_room(self, lines: Lines) -> bool:
        return (
            self._rows + lines.rows <= self._max_rows and self._size + 1 + len(lines.text) < self._max_bytes
        )

    def add(self, lines: Lines) -> None:
        self._put(b"\n")
        self._put(lines.text)
        self._rows += lines.rows
        self._values = self._values or lines.has_values

    def close(self) -> Part:
        self._file.flush()
        return Part(
            self._file, self._rows, self._first_row, self._size, self._digest.hexdigest(), self._values
        )


def _lines(columns: Columns, table: Table) -> tuple[Iterator[Lines | RowRejected], list[str]]:
    """Return the encoded rows, and the attributes in order."""
    rows = table.rows(columns)
    # The first item tells which attributes there are: only an open file knows its columns.
    names = next(rows, None)
    if names is None:
        return iter(()), []
    assert isinstance(names, tuple)
    return BlockEncoder(columns, names).lines(rows), list(names)
