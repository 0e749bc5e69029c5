# SPDX-License-Identifier: Apache-2.0
"""The journal: what was asked of the emulator, and what came of it."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.requests import Request

MAX_ENTRIES = 20_000


@dataclass
class Entry:
    """One request. Nothing in it is secret."""

    sequence: int
    time: float
    method: str
    path: str
    query: str
    headers: dict[str, str]
    write: bool
    request_bytes: int = 0
    request_body: str | None = None
    #: None: no response was given (yet).
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    response_bytes: int = 0
    response_body: str | None = None
    #: True: the service has carried out this write, whatever the client was told.
    committed: bool = False
    #: Id of the fault rule that was applied.
    fault: int | None = None
    #: True: the request named no sandbox, so that it went to the default one.
    default_sandbox: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


class Journal:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._numbers = itertools.count(1)

    @property
    def entries(self) -> list[Entry]:
        """All that is kept, oldest first."""
        return list(self._entries)

    def add(self, **fields: Any) -> Entry:
        """Add an entry, given by its fields, and return it."""
        entry = Entry(sequence=next(self._numbers), **fields)
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Forget everything, and count from 1 again."""
        self._entries.clear()
        self._numbers = itertools.count(1)

    def find(self, method: str | None = None, path: str = "") -> list[Entry]:
        """Return the entries with this method whose path contains this text."""
        return [entry for entry in self._entries if method in (None, entry.method) and path in entry.path]

    def writes(self) -> list[Entry]:
        """Return the entries of requests that change something."""
        return [entry for entry in self._entries if entry.write]


def note(request: Request, **fields: Any) -> None:
    """Set fields of the journal's entry for this request."""
    entry: Entry | None = request.scope.get("emulator.entry")
    for name, value in fields.items() if entry is not None else ():
        setattr(entry, name, value)
