# SPDX-License-Identifier: Apache-2.0
"""What a file is by its first bytes: for batches, which go to Adobe as they are, and for profiles, which are
read here.
"""

from __future__ import annotations

import codecs

HEAD_BYTES = 4096
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"

_KINDS = {
    GZIP: "compressed with gzip",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"BZh91AY&SY": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    PARQUET: "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
}
# A text may begin with these letters; then no such character follows.
_LETTERS = (PARQUET, b"ORC")
_CONTROLS = frozenset(range(9))
# The longer ones first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def kind_of(head: bytes) -> str | None:
    """Return what a file is, in words such as ``a Parquet file``; ``None`` when it looks like text.

    :param head: its first bytes, ``HEAD_BYTES`` of them or all.
    """
    if head.startswith(_LETTERS) and _CONTROLS.isdisjoint(head):
        return None
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text by its byte order mark, ``utf-8`` without one.

    :param head: its first bytes.
    """
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")


def looks_like_utf_16(head: bytes) -> bool:
    """Return whether a text without a mark has every other byte zero.

    :param head: its first bytes.
    """
    even, odd = head[0:200:2], head[1:200:2]
    return len(odd) > 1 and any(
        not any(half) and all(other) for half, other in ((even[: len(odd)], odd), (odd, even[: len(odd)]))
    )


def looks_like_json(head: bytes) -> bool:
    """Return whether a text begins like a JSON object, or an array of them; a CSV may begin with a bracket.

    :param head: its first bytes.
    """
    return b"".join(head.removeprefix(codecs.BOM_UTF8).split())[:3].startswith((b'{"', b'[{"', b"[{}"))
