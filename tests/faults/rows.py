# SPDX-License-Identifier: Apache-2.0
"""One row for each operator and sensor (more where it works in several ways): what it needs, and what must be
true in the end.

``prepare`` runs next to the emulator and sets the scene; ``build`` runs in the task's process, where the Dag
would be parsed; ``check`` looks at what Adobe holds after all tries. Nothing in a check depends on what went
wrong on the way.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.harness import Run, World

Facts = dict[str, Any]


def _nothing(world: World, runs: list[Run]) -> None:
    return None


@dataclass(frozen=True)
class Row:
    """An operator under fire.

    :param name: unique; the class' name, and how it works in brackets.
    :param invariant: what must be true in the end, in words, for the table.
    :param prepare: sets Adobe's state and the source files; returns what ``build`` needs, as JSON.
    :param build: makes the operator.
    :param check: raises :class:`AssertionError` unless the invariant holds for all these finished runs
        together.
    :param check_ended: the same for one run that a person ended (Airflow called ``on_kill``).
    :param switches: of the emulator.
    :param needs_next_run: why it takes the Dag's next run to notice a write that Adobe processes when the
        task is over, if it does.
    :param for_run: given the id of a Dag run, returns the facts for it, where they differ: what an earlier
        task of the run has made.
    :param not_with: names of faults that say nothing about this operator, with the reason.
    """

    name: str
    invariant: str
    prepare: Callable[[World], Facts]
    build: Callable[[Facts], Any]
    check: Callable[[World, list[Run]], None]
    check_ended: Callable[[World, list[Run]], None] = _nothing
    switches: dict[str, Any] = field(default_factory=dict)
    needs_next_run: str = ""
    for_run: Callable[[World, Facts, str], Facts] | None = None
    not_with: dict[str, str] = field(default_factory=dict)

    @property
    def operator(self) -> str:
        return self.name.partition(" ")[0]


ROWS: dict[str, Row] = {}
#: Rows for the acts of people only: what wires do to them, they do to a row of :data:`ROWS` in the same way.
ROWS_OF_PEOPLE: dict[str, Row] = {}


def row(*, for_people_only: bool = False, **fields: Any) -> None:
    """Add a row."""
    new = Row(**fields)
    if new.name in ROWS | ROWS_OF_PEOPLE:
        raise ValueError(f"two rows are called {new.name}")
    (ROWS_OF_PEOPLE if for_people_only else ROWS)[new.name] = new


def find(name: str) -> Row:
    """Return a row, whoever it is for."""
    return ROWS.get(name) or ROWS_OF_PEOPLE[name]


def _load() -> None:
    import tests.faults

    for module in pkgutil.iter_modules(tests.faults.__path__):
        if module.name.startswith("rows_"):
            importlib.import_module(f"tests.faults.{module.name}")


_load()
