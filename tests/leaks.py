# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in everything that an Airflow leaves behind."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Columns that hold secrets by design, encrypted with the Fernet key; their clear text is looked for all the
#: same.
PIECE = 1 << 22


def forms(secret: str) -> dict[str, bytes]:
    """Return how a secret may look: as it is, upper case, URL-encoded, and base64 wherever it begins in a
    group of three bytes.
    """
    found = {
        "raw": secret.encode(),
        "upper case": secret.upper().encode(),
        "URL-encoded": "".join(sign if sign.isalnum() else f"%{ord(sign):02X}" for sign in secret).encode(),
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
        # The ends depend on what stands before and after; the middle does not.
        found[f"base64 at {shift}"] = encoded[(shift * 8 + 5) // 6 : -1].encode()
    return found


def in_bytes(data: bytes, secrets: Iterable[str]) -> list[str]:
    """Return which form of which secret is in there."""
    return [
        f"secret {number} {name}"
        for number, secret in enumerate(secrets)
        for name, form in forms(secret).items()
        if form in data
    ]


def in_files(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Return which files below the folder hold a secret, in any form."""
    secrets = list(secrets)
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        found += [
            f"{file.relative_to(folder)}: {what}, in: {around(data, secrets)}"
            for what in in_bytes(data, secrets)
        ]
    return found


def around(data: bytes, secrets: list[str]) -> str:
    """Return what stands around the first find, with the secret itself cut out."""
    for secret in secrets:
        for form in forms(secret).values():
            if (at := data.find(form)) >= 0:
                return (
                    data[max(0, at - 300) : at] + b"<HERE>" + data[at + len(form) : at + len(form) + 100]
                ).decode(errors="replace")
    return ""


def in_database(file: Path, secrets: Iterable[str]) -> list[str]:
    """Return which tables and columns of an SQLite database hold a secret, in any form."""
    secrets = list(secrets)
    found = []
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            rows = database.execute(f'select * from "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    data = value if isinstance(value, bytes) else str(value).encode()
                    found += [f"{table}.{column}: {what}" for what in in_bytes(data, secrets)]
    database.close()
    return sorted(set(found))


def in_processes(secrets: Iterable[str]) -> list[str]:
    """Return which processes show a secret in their command line or environment."""
    secrets = list(secrets)
    found = []
    for process, data in _processes():
        found += [f"{process}: {what}" for what in in_bytes(data, secrets)]
    return found


def _processes() -> Iterator[tuple[str, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield f"{folder.name} {name}", (folder / name).read_bytes()
            except OSError:
                continue
