# SPDX-License-Identifier: Apache-2.0
"""Reading the records of uploaded files, one at a time: memory does not grow with the file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_adobe_audiences.emulator.requests import finite, parse_json, refuse_constant

MAX_RECORD_BYTES = 16 << 20
CHUNK = 1 << 16


class BrokenFileError(Exception):
    """The file as a whole cannot be read.

    :param code: Adobe's error code.
    """

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code, self.description = code, description


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How the files of a batch are written."""

    format: str
    multi_line_json: bool = False
    delimiter: str = ","
    quote: str = '"'
    escape: str = "\\"
    charset: str = "UTF-8"
    header: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One row; ``value`` is None when it cannot be read."""

    value: dict[str, Any] | None
    raw: str = ""


def records(path: Path, written: InputFormat) -> Iterator[Record]:
    """Yield the records of a file.

    :raises BrokenFileError: when the file is empty or not of its format.
    """
    if path.stat().st_size == 0:
        raise BrokenFileError("106", "Dataset file is empty.")
    if written.format == "parquet":
        return _parquet(path)
    if written.format == "csv":
        return _csv(path, written)
    return _json_array(path) if written.multi_line_json else _json_lines(path)


def count_lines(path: Path) -> int:
    """Return how many lines a file has, as fast as can be."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def _json_lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        while line := file.readline(MAX_RECORD_BYTES):
            if len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
                yield Record(None, line[:1000].decode("utf-8", "replace"))
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_RECORD_BYTES)
                continue
            text = line.strip()
            if not text:
                continue
            try:
                value = parse_json(text)
            except ValueError:
                value = None
            yield (
                Record(value)
                if isinstance(value, dict)
                else Record(None, text[:1000].decode("utf-8", "replace"))
            )


def _json_array(path: Path) -> Iterator[Record]:
    """Decode one element after the other out of a sliding buffer."""
    decoder = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite)
    with path.open("r", encoding="utf-8", errors="replace") as file:
        buffer = file.read(CHUNK).lstrip("\ufeff \t\r\n")
        if not buffer.startswith("["):
            raise BrokenFileError(
                "INGEST-1401-400", "The file is not a JSON array, as isMultiLineJson says it is."
            )
        buffer, ended = buffer[1:], False
        size = CHUNK
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(buffer)
                # A number at the very end of the buffer may go on in the next chunk.
                incomplete = end == len(buffer) and not ended
            except (ValueError, RecursionError):
                incomplete = True
                if ended or len(buffer) > MAX_RECORD_BYTES:
                    yield Record(None, buffer[:1000])
                    return
            if incomplete:
                more = file.read(size)
                size, ended = size * 2, not more
                buffer += more
                continue
            buffer, size = buffer[end:], CHUNK
            yield Record(value) if isinstance(value, dict) else Record(None, json.dumps(value)[:1000])


def _csv(path: Path, written: InputFormat) -> Iterator[Record]:
    try:
        yield from _csv_rows(path, written)
    except (csv.Error, TypeError, ValueError) as error:  # a dialect or a charset that cannot be
        raise BrokenFileError("INGEST-1401-400", f"The file is not valid CSV: {str(error)[:200]}") from None


def _csv_rows(path: Path, written: InputFormat) -> Iterator[Record]:
    with path.open("r", encoding=written.charset, errors="replace", newline="") as file:
        escape = written.escape if written.escape and written.escape != written.quote else None
        rows = csv.reader(
            file, delimiter=written.delimiter, quotechar=written.quote, escapechar=escape, doublequote=True
        )
        header = next(rows, []) if written.header else []
        if written.header and not any(name.strip() for name in header):
            raise BrokenFileError("118", "CSV file contains an empty header row.")
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(None, str(error))
                continue
            if row:
                names = header or [str(number) for number in range(len(row))]
                yield Record(dict(zip(names, row, strict=False)))


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for value in _rows_of(batch):
                    yield Record(value)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise BrokenFileError(
            "INGEST-1401-400", f"The file is not valid Parquet: {str(error)[:200]}"
        ) from None


def _rows_of(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a record batch. Python knows neither nanoseconds nor years beyond 9999: a batch that
    has them shows its times as whole numbers, in their unit.
    """
    import pyarrow

    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError):
        schema = pyarrow.schema([(one.name, _without_times(one.type)) for one in batch.schema])
        rows = pyarrow.Table.from_batches([batch]).cast(schema).to_pylist()
    return rows


def _without_times(kind: Any) -> Any:
    import pyarrow

    types = pyarrow.types
    if types.is_date32(kind) or types.is_time32(kind):
        return pyarrow.int32()
    if types.is_temporal(kind):
        return pyarrow.int64()
    if types.is_list(kind) or types.is_large_list(kind):
        return pyarrow.list_(_without_times(kind.value_type))
    if types.is_struct(kind):
        return pyarrow.struct([(one.name, _without_times(one.type)) for one in kind])
    return kind


def parquet_rows(path: Path) -> int:
    """Return the row count that a Parquet file declares."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (pyarrow.ArrowException, OSError) as error:
        raise BrokenFileError(
            "INGEST-1401-400", f"The file is not valid Parquet: {str(error)[:200]}"
        ) from None


def as_json(value: Any) -> str:
    """Return a record in one canonical form, whatever format it came in."""
    try:
        text = _dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return _dumps(value, ensure_ascii=True, allow_nan=False)
    except ValueError:  # not a number, or infinite: JSON knows neither
        return as_json(_finite_only(value))
    return text


def _dumps(value: Any, **options: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain, **options)


def _finite_only(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite_only(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_only(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def preview(path: Path, written: InputFormat, rows: int) -> list[dict[str, Any]]:
    """Return the first rows of a file."""
    found: list[dict[str, Any]] = []
    for record in records(path, written):
        if len(found) >= rows:
            break
        if record.value is not None:
            found.append(record.value)
    return found
