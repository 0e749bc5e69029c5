# SPDX-License-Identifier: Apache-2.0
"""Rows of Parquet files, for a bulk profile update. Whole columns become text at once, where that is the text
that their values have one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import IO, Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.blocks import Block, Row
from airflow_provider_adobe_audiences.profiles.encode import Columns, RowRejected, text_of
from airflow_provider_adobe_audiences.profiles.recognise import damage_told, readable_parquet

_ROWS = 4096
# The years 1 to 9999, which Python's calendar has, from 1970 on.
_DAYS = tuple((day - date(1970, 1, 1)).days for day in (date.min, date.max))
_MICROSECONDS = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)


def parquet_rows(file: IO[bytes], columns: Columns, name: str) -> Iterator[Any]:
    """Give the names of the attributes, then the rows in blocks.

    :param file: at its first byte.
    :param columns: which columns become what.
    :param name: of the source, for messages.
    :returns: an iterator of names, then blocks and rows.
    :raises AdobeConfigurationError: when it is no Parquet file, or a column of it has no text.
    """
    with _lean_memory(), readable_parquet(file, name) as source:
        schema = source.schema_arrow
        pairs = columns.resolve(schema.names)
        wanted = [columns.key_column, *(column for column, _ in pairs)]
        targets = [_readable_type(schema.field(column), name) for column in wanted]
        yield tuple(attribute for _, attribute in pairs)
        for batch in _batches(source, wanted, name):
            arrays = [batch.column(column) for column in wanted]
            block = _block(arrays, targets, wanted)
            if block is not None:
                yield block
            else:
                yield from _rows(arrays, targets, wanted)


def _batches(source: Any, wanted: list[str], name: str) -> Iterator[Any]:
    with damage_told(f"{name} is no complete Parquet file", hint="Write the file again."):
        yield from source.iter_batches(batch_size=_ROWS, columns=wanted, use_threads=False)


@contextmanager
def _lean_memory() -> Iterator[None]:
    """Let Arrow give back what it no longer uses: its own allocator keeps 60 MB to read 8."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:  # which readable_parquet explains
        yield
        return
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _rows(arrays: Sequence[Any], targets: Sequence[Any], names: Sequence[str]) -> list[Row]:
    values = [_values(array, target) for array, target in zip(arrays, targets, strict=True)]
    rows: list[Row] = []
    for row in zip(*values, strict=True):
        unreadable = [
            f"column {column!r}: {value}"
            for column, value in zip(names, row, strict=True)
            if isinstance(value, RowRejected)
        ]
        rows.append(RowRejected("; ".join(unreadable)) if unreadable else row)
    return rows


def _block(arrays: Sequence[Any], targets: Sequence[Any], names: Sequence[str]) -> Block | None:
    """Join the rows of columns; ``None`` when they have to be looked at one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (_is_text(arrays[0].type) or pa.types.is_integer(arrays[0].type)):
        return None
    try:
        texts = [_texts(array, target) for array, target in zip(arrays, targets, strict=True)]
        rows = pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="")
        cells, keys = _joined(rows), _joined(texts[0])
        cells.decode()
    except (RowRejected, UnicodeDecodeError, pa.ArrowException):
        return None
    return Block(cells, keys, len(rows), lambda: _rows(arrays, targets, names))


def _joined(texts: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    # A list of one list; a key that is not given is empty.
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), pc.fill_null(texts, ""))
    return bytes(pc.binary_join(whole, "\x1e")[0].as_buffer())


def _texts(array: Any, target: Any) -> Any:
    """Return the values of a column as :func:`text_of` writes them, null for *not given*.

    :raises RowRejected: when one of them has no text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if target is not None and _is_text(target):
        return array.cast(target).cast(pa.string())
    if _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        texts = array.cast(pa.string())
        if not pc.any(pc.match_substring_regex(texts, "[a-z]")).as_py():  # no exponent, no nan, no inf
            return pc.replace_substring_regex(texts, r"^(-?[0-9]+)$", r"\1.0")
    if pa.types.is_date32(kind) and _within(array, pa.int32(), _DAYS):
        return array.cast(pa.string())
    if pa.types.is_timestamp(kind) and kind.tz is None:
        array = _in_microseconds(array, target)
        if _within(array, pa.int64(), _MICROSECONDS):
            texts = pc.replace_substring(array.cast(pa.string()), " ", "T")
            return pc.replace_substring_regex(texts, r"\.000000$", "")
    values = [None if value is None else text_of(value) for value in _values(array, target)]
    return pa.array(values, pa.string())


def _within(array: Any, kind: Any, limits: tuple[int, ...]) -> bool:
    import pyarrow.compute as pc

    found = pc.min_max(array.cast(kind)).as_py()
    return found["min"] is None or (found["min"] >= limits[0] and found["max"] <= limits[1])


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _values(array: Any, target: Any) -> list[Any]:
    """Return the values of a column; a :class:`RowRejected` where Python has none."""
    import pyarrow as pa

    if pa.types.is_float16(array.type) or pa.types.is_float32(array.type):
        # By their shortest text, so that 0.1 stays 0.1.
        return [None if text is None else float(text) for text in array.cast(pa.string()).to_pylist()]
    if target is not None:
        try:
            array = _in_microseconds(array, target)
        except RowRejected:
            return [_value(scalar) for scalar in array]
    try:
        return list(array.to_pylist())
    except (OverflowError, ValueError):
        return [_value(scalar) for scalar in array]


def _in_microseconds(array: Any, target: Any) -> Any:
    """Return times as Python has them; nanoseconds are cut.

    :raises RowRejected: when one of them has no place there.
    """
    import pyarrow as pa

    is_finer = getattr(array.type, "unit", "us") == "ns"
    try:
        return array.cast(target, safe=not is_finer)
    except pa.ArrowInvalid:
        raise RowRejected("it is a time outside the years 1 to 9999") from None


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return RowRejected("it is not UTF-8")
    except (OverflowError, ValueError):
        return RowRejected("it is a time outside the years 1 to 9999")


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
        _check_zone(kind.tz, field.name, name)
        return pa.timestamp("us", kind.tz)  # nanoseconds would need pandas
    if pa.types.is_time64(kind):
        return pa.time64("us")
    return kind if pa.types.is_dictionary(field.type) else None


def _check_zone(zone: str | None, column: str, name: str) -> None:
    import pyarrow as pa

    if zone is None:
        return
    try:
        pa.lib.string_to_tzinfo(zone)
    except Exception:  # noqa: BLE001  zoneinfo's, pytz' or Arrow's own
        raise AdobeConfigurationError(
            f"column {column!r} of {name} has the time zone {zone!r}, which is not known here",
            hint="Write the column in UTC.",
        ) from None
