# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a file say of its format, before Adobe fails the whole batch for it."""

from __future__ import annotations

from airflow_provider_adobe_audiences.formats import (
    PARQUET,
    encoding_of,
    kind_of,
    looks_like_json,
    looks_like_utf_16,
)


def contradiction(head: bytes, file_format: str, *, is_multi_line_json: bool = False) -> str | None:
    """Return what a file is instead of ``file_format``, and what to do; ``None`` when nothing contradicts it.

    Adobe takes plain UTF-8 JSON Lines, JSON arrays and CSV, and Parquet ("Batch ingestion developer guide").

    :param head: the first bytes of the file.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each JSON file is one array.
    """
    if file_format == "parquet":
        return None if head.startswith(PARQUET) else "is not Parquet. Check file_format"
    kind, encoding = kind_of(head), encoding_of(head)
    if kind:
        if head.startswith(PARQUET):
            return f"is {kind}. Pass file_format='parquet'"
        if kind.startswith("compressed"):
            return f"is {kind}. Unpack it first: Adobe takes plain files"
        return f"is {kind}. Adobe takes JSON, CSV and Parquet"
    if encoding == "utf-8-sig":
        return "begins with a byte order mark. Write it as UTF-8 without one ('utf-8', not 'utf-8-sig')"
    if encoding != "utf-8" or looks_like_utf_16(head) or b"\x00" in head:
        return "is not UTF-8 (it looks like UTF-16, or binary). Write it as UTF-8"
    first = head.lstrip(b" \t\r\n")[:1]
    if file_format == "csv":
        return "is JSON. Pass file_format='json'" if looks_like_json(head) else None
    if is_multi_line_json or first == b"{":
        return None if first in (b"[", b"{", b"") else "is not JSON. Check file_format"
    if first == b"[":
        return "is one JSON array. Pass is_multi_line_json=True, or write one object per line"
    return "is not JSON Lines: it does not begin with an object. Check file_format" if first else None
