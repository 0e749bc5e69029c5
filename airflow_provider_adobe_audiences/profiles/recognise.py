# SPDX-License-Identifier: Apache-2.0
"""What a file is by its first bytes: files are read as people have them, or refused by naming what they
are.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.formats import (
    GZIP,
    HEAD_BYTES,
    encoding_of,
    kind_of,
    looks_like_json,
    looks_like_utf_16,
)
from airflow_provider_adobe_audiences.text import one_line

# What to do about what is neither CSV nor JSON; gzip is read.
_TODO = {
    "a Parquet file": "Set file_format='parquet'.",
    "a ZIP archive or an Excel workbook": "Unpack it, or export the sheet as CSV in UTF-8.",
    "an old Excel workbook": "Export the sheet as CSV in UTF-8.",
    "an Avro file": "Write it as Parquet, and set file_format='parquet'.",
    "an ORC file": "Write it as Parquet, and set file_format='parquet'.",
}
# A bracket with an object, or nothing, after it in its line.
_ARRAY = re.compile(r"\s*\[[^\S\n]*(\{|\n|\Z)").match
_UNPACK = "Unpack it, or compress it with gzip."


@contextmanager
def text_stream(file: IO[bytes], file_format: str, name: str) -> Iterator[io.TextIOWrapper]:
    """Give the text of a CSV or JSON file, unpacked and decoded as its first bytes say.

    :param file: at its first byte.
    :param file_format: what it should be: ``csv`` or ``json``.
    :param name: for messages.
    :returns: a context manager of the text.
    :raises AdobeConfigurationError: when it is something else, saying what, and which option to pass.
    """
    raw = cast("io.BufferedReader", file if hasattr(file, "peek") else io.BufferedReader(cast(Any, file)))
    head = raw.peek(HEAD_BYTES)[:HEAD_BYTES]
    if head.startswith(GZIP):
        raw = io.BufferedReader(gzip.GzipFile(fileobj=raw))
        try:
            head = raw.peek(HEAD_BYTES)[:HEAD_BYTES]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise AdobeConfigurationError(f"{name} is no complete gzip file: {error}") from None
    if kind := kind_of(head):
        todo = _UNPACK if kind.startswith("compressed") else _TODO.get(kind, "Give a CSV or JSON file.")
        raise AdobeConfigurationError(f"{name} is {kind}, not {file_format}", hint=todo)
    encoding = encoding_of(head)
    if encoding == "utf-8" and looks_like_utf_16(head):
        raise AdobeConfigurationError(
            f"{name} is UTF-16 without a byte order mark", hint="Save it as UTF-8, or with a byte order mark."
        )
    if file_format == "csv" and encoding.startswith("utf-8") and looks_like_json(head):
        raise AdobeConfigurationError(
            f"{name} holds JSON, not CSV", hint="Set file_format='json', with one object per line."
        )
    if file_format == "json":
        _refuse_one_document(head.decode(encoding, "replace"), name)
    text = io.TextIOWrapper(raw, encoding=encoding, newline="")
    try:
        yield text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AdobeConfigurationError(f"{name} is no complete gzip file: {error}") from None
    finally:
        text.close()


def _refuse_one_document(head: str, name: str) -> None:
    """Refuse what is not a file with bad rows, but another file: all its rows would be one bad row."""
    if head.lstrip().startswith("<"):
        raise AdobeConfigurationError(
            f"{name} begins with '<': it is HTML or XML, not one JSON object per line",
            hint="Look into the file: a page may have been saved in place of the data.",
        )
    if _ARRAY(head):
        raise AdobeConfigurationError(
            f"{name} holds one JSON array of rows, not one JSON object per line",
            hint="Write each row as a line of its own (JSON lines), or read the file in a task: pass rows.",
        )


@contextmanager
def readable_parquet(file: IO[bytes], name: str) -> Iterator[Any]:
    """Give a Parquet file, open.

    :param file: at its first byte.
    :param name: for messages.
    :returns: a context manager of ``pyarrow``'s file.
    :raises AdobeConfigurationError: when it is none, or the package that reads it is missing.
    """
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise AdobeConfigurationError(
            "file_format='parquet' needs the package 'pyarrow', which is not installed",
            hint="Install it with: pip install 'airflow-provider-adobe-audiences[parquet]'",
        ) from None
    with damage_told(f"{name} is no Parquet file"):
        source = pq.ParquetFile(file, pre_buffer=False, memory_map=False, buffer_size=1 << 20)
    with source:
        yield source


@contextmanager
def damage_told(what: str, hint: str = "") -> Iterator[None]:
    """Tell what Arrow says of a damaged file; an error of the storage that it lies in stays as it is.

    :param what: the message, before Arrow's own words.
    :param hint: what to do.
    :returns: a context manager.
    :raises AdobeConfigurationError: when Arrow cannot read the file.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise AdobeConfigurationError(f"{what}: {one_line(str(error))}", hint=hint or None) from None
