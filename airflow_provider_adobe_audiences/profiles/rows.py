# SPDX-License-Identifier: Apache-2.0
"""The body of a bulk profile update: rows in, files out that Adobe Target takes as they are.

Source: "Bulk profile update API". Every row is checked before anything is sent, and memory does not grow with
the number of rows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import IO, Any, Literal, Self
from urllib.parse import quote

from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

# Adobe writes "less than 50 MB"; the smaller reading of MB is kept.
MAX_BYTES = 50_000_000
MAX_ROWS = 500_000
MAX_BYTES_PER_PROFILE = 64 * 1024
# Not documented; the type that curl, which Adobe's example uses, sends.
MEDIA_TYPE = "application/x-www-form-urlencoded"

SourceFormat = Literal["csv", "json", "parquet"]
Key = Literal["thirdPartyId", "pcId"]

_REPORTED = 10
_PARQUET_ROWS = 4096
_MAX_LINE = 1 << 20
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the source become what.

    :param key: ``thirdPartyId`` or ``pcId``.
    :param key_column: the column of the source that holds it.
    :param parameters: column of the source -> name of the profile attribute; ``None`` for all columns under
        their own names.
    """

    key: Key
    key_column: str
    parameters: Mapping[str, str] | None = None

    def resolve(self, available: Sequence[str] | None) -> list[tuple[str, str]]:
        """Return the pairs (column of the source, attribute).

        :param available: the columns that the source has; ``None`` when it cannot tell.
        :raises AdobeConfigurationError: naming the column and the rule that it breaks.
        """
        if available is not None:
            if len(set(available)) < len(available):
                double = sorted({name for name in available if available.count(name) > 1})
                raise AdobeConfigurationError(
                    f"the source has columns of the same name: {', '.join(map(repr, double))}"
                )
            missing = [name for name in (self.key_column, *(self.parameters or ())) if name not in available]
            if missing:
                raise AdobeConfigurationError(
                    f"the source has no column {', '.join(map(repr, missing))}; it has: "
                    f"{', '.join(map(repr, available))}",
                    hint="Check key_column and parameters, and that the file begins with its column names.",
                )
        if self.parameters is None:
            pairs = [(name, name) for name in available or () if name != self.key_column]
        else:
            pairs = list(self.parameters.items())
        check_names(self.key, [attribute for _, attribute in pairs])
        return pairs


def check_names(key: str, attributes: Sequence[str]) -> None:
    """Raise :class:`AdobeConfigurationError` when the attributes cannot be sent under these names."""
    if not attributes:
        raise AdobeConfigurationError("there is no profile attribute to set: the source has only the key")
    for name in attributes:
        if not name or name != name.strip():
            raise AdobeConfigurationError(
                f"the attribute name {name!r} is empty, or begins or ends with a blank"
            )
        if name.startswith("profile."):
            raise AdobeConfigurationError(
                f"the attribute name {name!r} must not begin with 'profile.'",
                hint=f"Send {name.removeprefix('profile.')!r}; Target shows it as {name!r}.",
            )
        if name in ("pcId", "thirdPartyId"):
            raise AdobeConfigurationError(
                f"the attribute name {name!r} is a key of Target; the key of this upload is {key!r}"
            )
        if not _encodable(name):
            raise AdobeConfigurationError(f"the attribute name {name!r} cannot be written in UTF-8")
    if len(set(attributes)) < len(attributes):
        double = sorted({name for name in attributes if list(attributes).count(name) > 1})
        raise AdobeConfigurationError(f"attributes are named twice: {', '.join(double)}")


class RowRejected(Exception):
    """Why a row cannot be sent."""


@dataclass(frozen=True, slots=True)
class Part:
    """One upload.

    :param file: without a name, so that nothing of it is left on the disk when the process is killed.
    :param rows: number of profiles in it.
    :param first_row: number of its first row, counted over all sources from 1.
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
        :class:`RowRejected` that says why not.
    """

    name: str
    rows: Callable[[Columns], Iterator[tuple[Any, ...] | RowRejected]]


class Parts:
    """Writes rows into as few uploads as Adobe's limits allow. A context manager: the uploads are gone at its
    end.

    :param most_rows: rows in one upload.
    :param most_bytes: an upload stays below.
    """

    def __init__(self, columns: Columns, *, most_rows: int = MAX_ROWS, most_bytes: int = MAX_BYTES) -> None:
        if not 1 <= most_rows <= MAX_ROWS:
            raise AdobeConfigurationError(
                f"most_rows is {most_rows}: Adobe takes 1 to {MAX_ROWS} rows in one upload"
            )
        if not 1 <= most_bytes <= MAX_BYTES:
            raise AdobeConfigurationError(
                f"most_bytes is {most_bytes}: Adobe takes uploads below {MAX_BYTES} bytes"
            )
        self._columns, self._most_rows, self._most_bytes = columns, most_rows, most_bytes
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, tables: Iterable[Table]) -> list[Part]:
        """Check and write all rows of all tables; return the uploads in order, none when there is no row.

        :raises AdobeConfigurationError: naming the first refused rows and why. Nothing has been sent then.
        """
        parts: list[Part] = []
        refused: list[str] = []
        header: bytes | None = None
        current: _Writer | None = None
        total = 0
        for table in tables:
            lines, names = _lines(self._columns, table)
            this_header = _header(self._columns.key, names)
            for number, line in enumerate(lines, 1):
                total += 1
                if isinstance(line, RowRejected):
                    refused.append(f"row {number} of {table.name}: {line}")
                    if len(refused) >= _REPORTED:
                        raise _too_bad(refused, more=True)
                    continue
                text, has_value = line
                if header is not None and this_header != header:
                    raise AdobeConfigurationError(
                        f"{table.name} has other columns, or another order of them, than the source before "
                        "it",
                        hint="Name the columns to send with parameters.",
                    )
                header = this_header
                if current is not None and not current.has_room(text):
                    parts.append(current.close())
                    current = None
                if current is None:
                    file = self._stack.enter_context(tempfile.TemporaryFile(buffering=1 << 20))  # noqa: SIM115
                    current = _Writer(file, header, total, self._most_rows, self._most_bytes)
                    if not current.has_room(text):
                        raise AdobeConfigurationError(
                            f"most_bytes is {self._most_bytes}: too small for row {number} of {table.name}"
                        )
                current.add(text, has_value)
        if refused:
            raise _too_bad(refused, more=False)
        if current is not None:
            parts.append(current.close())
        if parts and not any(part.has_values for part in parts):
            raise AdobeConfigurationError(
                f"none of the {total} rows holds a value",
                hint=(
                    "An empty cell leaves the attribute as it is: Adobe skips an upload of empty cells. "
                    "Nothing was sent."
                ),
            )
        return [part for part in parts if part.has_values]


def _too_bad(refused: Sequence[str], *, more: bool) -> AdobeConfigurationError:
    what = (
        f"{len(refused)} or more rows" if more else ("1 row" if len(refused) == 1 else f"{len(refused)} rows")
    )
    return AdobeConfigurationError(
        f"{what} cannot be sent: " + "; ".join(refused),
        hint="Correct the rows in the source; nothing was sent to Adobe.",
    )


class _Writer:
    """Writes one upload."""

    def __init__(
        self, file: IO[bytes], header: bytes, first_row: int, most_rows: int, most_bytes: int
    ) -> None:
        self._file, self._first_row, self._most_rows, self._most_bytes = (
            file,
            first_row,
            most_rows,
            most_bytes,
        )
        self._digest = hashlib.sha256()
        self._rows, self._size, self._values = 0, 0, False
        self._put(header)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def has_room(self, line: bytes) -> bool:
        return self._rows < self._most_rows and self._size + 1 + len(line) < self._most_bytes

    def add(self, line: bytes, has_value: bool) -> None:
        self._put(b"\n" + line)
        self._rows += 1
        self._values = self._values or has_value

    def close(self) -> Part:
        self._file.flush()
        return Part(
            self._file, self._rows, self._first_row, self._size, self._digest.hexdigest(), self._values
        )


def _header(key: str, attributes: Sequence[str]) -> bytes:
    return ("batch=" + ",".join([key, *(quote(name, safe="") for name in attributes)])).encode()


def _lines(columns: Columns, table: Table) -> tuple[Iterator[tuple[bytes, bool] | RowRejected], list[str]]:
    """Return the encoded rows, and the attributes in order."""
    rows = table.rows(columns)
    # The first item tells which attributes there are: only an open file knows its columns.
    names = next(rows, None)
    if names is None:
        return iter(()), []
    assert isinstance(names, tuple)
    forbidden = _forbidden_in_key(columns.key)

    def encoded() -> Iterator[tuple[bytes, bool] | RowRejected]:
        name_bytes = sum(len(name.encode()) for name in names)
        for row in rows:
            if isinstance(row, RowRejected):
                yield row
                continue
            try:
                yield _line(row, names, forbidden, name_bytes)
            except RowRejected as reason:
                yield reason

    return encoded(), list(names)


def _line(
    row: tuple[Any, ...], names: tuple[str, ...], forbidden: Callable[[str], str | None], name_bytes: int
) -> tuple[bytes, bool]:
    key = text_of(row[0])
    if not key.strip():
        raise RowRejected("the key is empty")
    if reason := forbidden(key):
        raise RowRejected(reason)
    cells = [
        key,
        *[
            value if type(value) is str else _text_in(name, value)
            for name, value in zip(names, row[1:], strict=True)
        ],
    ]
    # Most cells need no encoding, and finding that out is ten times cheaper than encoding.
    try:
        line = ",".join([cell if _PLAIN(cell) else quote(cell, safe="") for cell in cells])
    except UnicodeEncodeError:
        raise RowRejected("a value cannot be written in UTF-8") from None
    # Encoding never shortens, so only a long line needs to be measured.
    if len(line) + name_bytes > MAX_BYTES_PER_PROFILE:
        exact = name_bytes + sum(len(cell.encode()) for cell in cells[1:])
        if exact > MAX_BYTES_PER_PROFILE:
            raise RowRejected(
                f"its attributes take {exact} bytes; Adobe keeps {MAX_BYTES_PER_PROFILE} per profile"
            )
    return line.encode("ascii"), any(cells[1:])


def _text_in(name: str, value: Any) -> str:
    if value is None:
        return ""
    try:
        return text_of(value)
    except RowRejected as reason:
        raise RowRejected(f"attribute {name!r}: {reason}") from None


def text_of(value: Any) -> str:
    """Return the text that a value is sent as; empty for *not given*.

    :raises RowRejected: when it has no such text.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)):
        if not math.isfinite(value):
            raise RowRejected(f"{value} is no number that a profile can hold")
        return str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    raise RowRejected(
        f"a value of type {type(value).__name__} has no text; send a text, a number, a boolean or a time"
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _forbidden_in_key(key: Key) -> Callable[[str], str | None]:
    def third_party_id(value: str) -> str | None:
        if "+" in value or "/" in value:
            return f"the thirdPartyId {_shown(value)} contains '+' or '/', which Adobe does not allow"
        return None

    def pc_id(value: str) -> str | None:
        if len(value) == 38 and value.isdigit():
            return (
                f"the pcId {_shown(value)} is a Marketing Cloud (ECID) visitor id, which the bulk update "
                "does not take"
            )
        return None

    return third_party_id if key == "thirdPartyId" else pc_id


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:60]}…")


# ------------------------------------------------------------------------------------------------------------
# the sources


def table_of_rows(rows: Iterable[Any], name: str = "rows") -> Table:
    """Return the rows that an upstream task returned: mappings from column to value.

    Without ``parameters`` the first row names the columns; further columns in later rows are refused.
    """

    def read(columns: Columns) -> Iterator[Any]:
        iterator = iter(rows)
        first = next(iterator, None)
        if first is None:
            return
        if not isinstance(first, Mapping):
            raise AdobeConfigurationError(f"row 1 of {name} is no mapping from column to value")
        pairs = columns.resolve([str(column) for column in first] if columns.parameters is None else None)
        yield tuple(attribute for _, attribute in pairs)
        yield from _mapped(itertools.chain([first], iterator), columns, [column for column, _ in pairs])

    return Table(name, read)


def _mapped(
    rows: Iterable[Any], columns: Columns, names: Sequence[str]
) -> Iterator[tuple[Any, ...] | RowRejected]:
    known = {columns.key_column, *names}
    for row in rows:
        if isinstance(row, RowRejected):
            yield row
        elif not isinstance(row, Mapping):
            yield RowRejected("it is no mapping from column to value")
        elif columns.key_column not in row:
            yield RowRejected(f"it has no {columns.key_column!r}")
        elif columns.parameters is None and (further := row.keys() - known):
            yield RowRejected(
                f"it has {', '.join(sorted(map(repr, further)))}, which row 1 does not have; name the "
                "columns with parameters"
            )
        else:
            yield (row[columns.key_column], *(row.get(name) for name in names))


def table_of_file(
    open_file: Callable[[], IO[bytes]], file_format: SourceFormat, name: str, *, delimiter: str = ","
) -> Table:
    """Return the rows of a CSV file with a first line of column names, of a file of JSON lines, or of a
    Parquet file.
    """

    def read(columns: Columns) -> Iterator[Any]:
        with open_file() as file:
            match file_format:
                case "csv":
                    yield from _csv(file, columns, name, delimiter)
                case "json":
                    yield from table_of_rows(_json_lines(file), name).rows(columns)
                case "parquet":
                    yield from _parquet(file, columns, name)

    return Table(name, read)


def _csv(file: IO[bytes], columns: Columns, name: str, delimiter: str) -> Iterator[Any]:
    reader = csv.reader(
        io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), delimiter=delimiter, strict=True
    )
    try:
        available = next(reader, None)
        if available is None:
            return
        pairs = columns.resolve(available)
        yield tuple(attribute for _, attribute in pairs)
        order = [available.index(columns.key_column), *(available.index(column) for column, _ in pairs)]
        width = len(available)
        for row in reader:
            if not row:
                continue  # an empty line is no row
            if len(row) > width:
                yield RowRejected(f"it has {len(row)} cells, but there are {width} column names")
                continue
            if len(row) < width:
                row += [""] * (width - len(row))
            yield tuple([row[index] for index in order])
    except UnicodeDecodeError:
        raise AdobeConfigurationError(
            f"{name} is not UTF-8 near its line {reader.line_num + 1}", hint="Save the file as UTF-8."
        ) from None
    except csv.Error as error:
        raise AdobeConfigurationError(f"{name} is not CSV at its line {reader.line_num}: {error}") from None


def _json_lines(file: IO[bytes]) -> Iterator[Any]:
    # Numbers are sent as they are written: 1.10 stays 1.10.
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise AdobeConfigurationError(
                "a line is longer than 1 MB: the file does not hold one JSON object per line"
            )
        if not line.strip():
            continue
        try:
            yield decoder.decode(line.decode("utf-8-sig").strip())
        except (ValueError, RecursionError) as error:
            yield RowRejected(
                f"it is not JSON ({type(error).__name__ if isinstance(error, RecursionError) else error})"
            )


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _parquet(file: IO[bytes], columns: Columns, name: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file, pre_buffer=False, memory_map=False, buffer_size=1 << 20)
    except pa.ArrowInvalid as error:
        raise AdobeConfigurationError(f"{name} is no Parquet file: {error}") from None
    with source:
        schema = source.schema_arrow
        pairs = columns.resolve(schema.names)
        wanted = [columns.key_column, *(column for column, _ in pairs)]
        targets = [_readable_type(schema.field(column), name) for column in wanted]
        yield tuple(attribute for _, attribute in pairs)
        for batch in source.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted, use_threads=False):
            arrays = [batch.column(column) for column in wanted]
            yield from zip(
                *(
                    (array if target is None else array.cast(target, safe=False)).to_pylist()
                    for array, target in zip(arrays, targets, strict=True)
                ),
                strict=True,
            )


def _readable_type(field: Any, name: str) -> Any:
    """Return the type to cast a column to before its values become text, ``None`` for its own."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return kind
    if pa.types.is_nested(kind) or any(
        test(kind)
        for test in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_duration,
            pa.types.is_interval,
        )
    ):
        raise AdobeConfigurationError(
            f"column {field.name!r} of {name} has the type {field.type}, which has no text",
            hint="Leave it out with parameters, or write it as a text.",
        )
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)  # nanoseconds would need pandas
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return pa.string()  # 0.1 stays 0.1
    return kind if pa.types.is_dictionary(field.type) else None
