# SPDX-License-Identifier: Apache-2.0
"""The body of a bulk profile update."""

from __future__ import annotations

from urllib.parse import unquote

MAX_BYTES = 50_000_000
MAX_ROWS = 500_000
KEYS = ("pcId", "thirdPartyId")


class BatchRefused(Exception):
    """Why a batch is refused."""


def parse_batch(body: bytes) -> tuple[str, list[tuple[str, dict[str, str]]]]:
    """Return the key column and the rows of a bulk update.

    :raises BatchRefused: saying what is wrong.
    """
    if len(body) >= MAX_BYTES:
        raise BatchRefused("The file is larger than 50 MB")
    if not body.startswith(b"batch="):
        raise BatchRefused("The file must begin with batch=")
    try:
        lines = body.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise BatchRefused("The file is not URL-encoded") from None
    names = lines[0].removeprefix("batch=").rstrip("\r").split(",")
    key, attributes = names[0], [unquote(name) for name in names[1:]]
    if key not in KEYS:
        raise BatchRefused("The first column must be pcId or thirdPartyId")
    if not attributes:
        raise BatchRefused("No parameters")
    lines = [line for line in (line.rstrip("\r") for line in lines[1:]) if line]
    if len(lines) > MAX_ROWS:
        raise BatchRefused("More than 500000 rows")
    rows: list[tuple[str, dict[str, str]]] = []
    for line in lines:
        cells = line.split(",")
        if len(cells) > len(names):
            raise BatchRefused(f"Row {len(rows) + 1} has more values than there are parameters")
        # Empty cells never clear a value.
        rows.append(
            (
                unquote(cells[0]),
                {name: unquote(cell) for name, cell in zip(attributes, cells[1:], strict=False) if cell},
            )
        )
    return key, rows
