# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in everything that an Airflow leaves behind."""

from __future__ import annotations

import base64
import html
import json
import re
import sqlite3
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

#: What stands around a find is shown, so many bytes on each side.
AROUND = 200


def small(text: str) -> str:
    """Write the digits of percent-encoded bytes small, as some programs do."""
    return re.sub("%..", lambda found: found[0].lower(), text)


def forms(secret: str) -> dict[str, bytes]:
    """Return how a secret may look, each form once. Written without the package's own list of forms, which
    is tried by this one.
    """
    found = {
        "raw": secret.encode(),
        "upper case": secret.upper().encode(),
        "URL-encoded": quote(secret, safe="").encode(),
        "URL-encoded, every character": "".join(
            sign if sign.isalnum() and sign.isascii() else "".join(f"%{byte:02X}" for byte in sign.encode())
            for sign in secret
        ).encode(),
        "URL-encoded, small digits": small(quote(secret, safe="")).encode(),
        "as in a form": quote_plus(secret).encode(),
        "JSON-escaped": json.dumps(secret)[1:-1].encode(),
        "JSON-escaped twice": json.dumps(json.dumps(secret))[3:-3].encode(),
        "as Python shows it": repr(secret)[1:-1].encode(),
        "HTML-escaped": html.escape(secret).encode(),
        "hex": secret.encode().hex().encode(),
        "hex in capitals": secret.encode().hex().upper().encode(),
        "UTF-16, little end first": secret.encode("utf-16-le"),
        "UTF-16, big end first": secret.encode("utf-16-be"),
    }
    for name, encode in (("base64", base64.b64encode), ("base64 for URLs", base64.urlsafe_b64encode)):
        for shift in range(3):
            encoded = encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
            # The ends depend on what stands before and after; the middle does not.
            found[f"{name} at {shift}"] = encoded[(shift * 8 + 5) // 6 : -1].encode()
    once = {form: name for name, form in reversed(found.items())}
    return {name: form for form, name in reversed(once.items())}


def spellings(secret: str) -> dict[str, str | bytes]:
    """Return what programs write of a secret, whole: any of it has to be found by its :func:`forms`."""
    found: dict[str, str | bytes] = {
        "raw": secret,
        "upper case": secret.upper(),
        "URL": quote(secret, safe=""),
        "URL, small digits": small(quote(secret, safe="")),
        "form": quote_plus(secret),
        "JSON": json.dumps(secret),
        "JSON in JSON": json.dumps({"a": json.dumps({"b": secret})}),
        "Python": repr(secret),
        "HTML": html.escape(secret),
        "hex": secret.encode().hex(),
        "UTF-16": secret.encode("utf-16"),
        "base64 for URLs": base64.urlsafe_b64encode(secret.encode()),
    }
    for before in ("", "a", "ab", "abc"):
        found[f"base64 after {before!r}"] = base64.b64encode(f"{before}{secret}zz".encode())
    return found


class Hunt:
    """A search for secrets in many places.

    :param secrets: what nobody may find.
    :ivar found: where which form of which secret is, and what stands around it.
    :ivar places: how many places of each kind were searched, in order.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = [
            (f"secret {number} {name}", form)
            for number, secret in enumerate(secrets)
            for name, form in forms(secret).items()
        ]
        assert self._forms, "nothing to look for"
        self.found: list[str] = []
        self.places: Counter[str] = Counter()

    def __str__(self) -> str:
        places = ", ".join(f"{count} {kind}" for kind, count in self.places.items())
        return f"{len(self.found)} finds of {len(self._forms)} forms in {places}"

    def look(self, kind: str, place: str, data: bytes | str) -> None:
        """Look into one place."""
        data = data if isinstance(data, bytes) else data.encode()
        self.places[kind] += 1
        for what, form in self._forms:
            if (at := data.find(form)) >= 0:
                around = data[max(0, at - AROUND) : at] + b"<HERE>" + data[at + len(form) :][:AROUND]
                self.found.append(f"{place}: {what}, in: {around.decode(errors='replace')}")

    def files(self, folder: Path) -> None:
        """Look into all files below a folder."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.look("files", str(file.relative_to(folder)), file.read_bytes())

    def database(self, file: Path) -> None:
        """Look into each cell of an SQLite database. What is encrypted there is no find."""
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
            tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (table,) in tables:
                rows = database.execute(f'select * from "{table}"')
                columns = [column[0] for column in rows.description]
                for row in rows:
                    for column, value in zip(columns, row, strict=True):
                        data = value if isinstance(value, bytes) else str(value)
                        self.look("cells of the database", f"{table}.{column}", data)

    def processes(self) -> None:
        """Look into the command line and the environment of every process."""
        for process, data in _processes():
            self.look("command lines and environments", process, data)


def _processes() -> Iterator[tuple[str, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield f"{folder.name} {name}", (folder / name).read_bytes()
            except OSError:
                continue


def locals_of(error: BaseException) -> str:
    """Return what an error reporter would send: the local variables of every frame, of causes as well."""
    told, seen = [], set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        told.append(f"{one!r}")
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                told += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
    return "\n".join(told)
