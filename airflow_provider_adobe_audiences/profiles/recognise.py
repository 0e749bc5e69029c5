# SPDX-License-Identifier: Apache-2.0
"""What a file is by its first bytes: files are read as people have them, or refused by naming what they
are.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

_HEAD = 4096
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_OTHERS = {
    _PARQUET: ("a Parquet file", "Set file_format='parquet'."),
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "Unpack it, or export the sheet as CSV in UTF-8."),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Export the sheet as CSV in UTF-8."),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", "Unpack it, or compress it with gzip."),
    b"BZh91AY&SY": ("compressed with bzip2", "Unpack it, or compress it with gzip."),
    b"\xfd7zXZ": ("compressed with xz", "Unpack it, or compress it with gzip."),
    b"Obj\x01": ("an Avro file", "Write it as Parquet, and set file_format='parquet'."),
    b"ORC": ("an ORC file", "Write it as Parquet, and set file_format='parquet'."),
}
# The longer ones first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_CONTROLS = frozenset(range(9))


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
    head = raw.peek(_HEAD)[:_HEAD]
    if head.startswith(_GZIP):
        raw = io.BufferedReader(gzip.GzipFile(fileobj=raw))
        try:
            head = raw.peek(_HEAD)[:_HEAD]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise AdobeConfigurationError(f"{name} is no complete gzip file: {error}") from None
    for magic, (what, hint) in _OTHERS.items():
        if head.startswith(magic) and not _CONTROLS.isdisjoint(head):
            raise AdobeConfigurationError(f"{name} is {what}, not {file_format}", hint=hint)
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and _looks_like_utf_16(head):
        raise AdobeConfigurationError(
            f"{name} is UTF-16 without a byte order mark", hint="Save it as UTF-8, or with a byte order mark."
        )
    if file_format == "csv" and encoding.startswith("utf-8"):
        _refuse_json(head.removeprefix(codecs.BOM_UTF8), name)
    text = io.TextIOWrapper(raw, encoding=encoding, newline="")
    try:
        yield text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AdobeConfigurationError(f"{name} is no complete gzip file: {error}") from None
    finally:
        text.close()


def _looks_like_utf_16(head: bytes) -> bool:
    even, odd = head[0:200:2], head[1:200:2]
    return len(odd) > 1 and any(
        not any(half) and all(other) for half, other in ((even[: len(odd)], odd), (odd, even[: len(odd)]))
    )


def _refuse_json(head: bytes, name: str) -> None:
    if head.lstrip().startswith(b'{"'):
        raise AdobeConfigurationError(
            f"{name} holds JSON, not CSV", hint="Set file_format='json', with one object per line."
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
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise AdobeConfigurationError(
            "file_format='parquet' needs the package 'pyarrow', which is not installed",
            hint="Install it with: pip install 'airflow-provider-adobe-audiences[parquet]'",
        ) from None
    try:
        source = pq.ParquetFile(file, pre_buffer=False, memory_map=False, buffer_size=1 << 20)
    except pa.ArrowInvalid as error:
        raise AdobeConfigurationError(f"{name} is no Parquet file: {error}") from None
    with source:
        yield source
