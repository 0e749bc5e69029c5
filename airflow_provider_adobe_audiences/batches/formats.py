# SPDX-License-Identifier: Apache-2.0
"""What the first bytes of a file say of its format, before Adobe fails the whole batch for it."""

from __future__ import annotations

HEAD_BYTES = 4096

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (or an office document)",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_OTHERS = {b"Obj\x01": "Avro", b"ORC": "ORC", b"\x89PNG": "a PNG image", b"%PDF": "PDF"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_UTF_8_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


def contradiction(head: bytes, file_format: str, *, is_multi_line_json: bool = False) -> str | None:
    """Return what a file is instead of ``file_format``, and what to do; ``None`` when nothing contradicts it.

    Adobe takes plain UTF-8 JSON Lines, JSON arrays and CSV, and Parquet ("Batch ingestion developer guide").

    :param head: the first bytes of the file.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each JSON file is one array.
    """
    if file_format == "parquet":
        return None if head.startswith(b"PAR1") else "is not Parquet. Check file_format"
    for magic, packed in _PACKED.items():
        if head.startswith(magic):
            return f"is packed with {packed}. Unpack it first: Adobe takes plain files"
    if head.startswith(b"PAR1"):
        return "is Parquet. Pass file_format='parquet'"
    for magic, other in _OTHERS.items():
        if head.startswith(magic):
            return f"is {other}. Adobe takes JSON, CSV and Parquet"
    if head.startswith(_UTF_16) or b"\x00" in head:
        return "is not UTF-8 (it looks like UTF-16, or binary). Write it as UTF-8"
    if head.startswith(_UTF_8_BOM):
        return "begins with a byte order mark. Write it as UTF-8 without one ('utf-8', not 'utf-8-sig')"
    first = head.lstrip(_BLANK)[:1]
    if file_format == "csv":
        return "is JSON. Pass file_format='json'" if _looks_like_json(head) else None
    if is_multi_line_json or first == b"{":
        return None if first in (b"[", b"{", b"") else "is not JSON. Check file_format"
    if first == b"[":
        return "is one JSON array. Pass is_multi_line_json=True, or write one object per line"
    return "is not JSON Lines: it does not begin with an object. Check file_format" if first else None


def _looks_like_json(head: bytes) -> bool:
    text = b"".join(head.split())[:3]
    return text.startswith((b'{"', b'[{"', b"[{}"))
