# SPDX-License-Identifier: Apache-2.0
"""Somebody else edits at Adobe what a task works on, at every request of it, through Adobe's own API.

What is right: what is declared stands as declared, and what is not declared stands as the other left it. An
edit may be lost only in the window that the API leaves: it lies between a task's last look and its write, and
no more than :data:`WINDOW` requests of the task lie between them. What is edited after the task's last look
is not the task's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.acts import at, phase_of, release
from tests.faults.cases import Case, Play
from tests.faults.harness import Run, World
from tests.faults.people import FOLLOWED, follow, free_of_secrets
from tests.faults.rows import Facts

#: So many requests of a task may lie between its look at a thing and its write to it.
WINDOW = 2


@dataclass
class Edited:
    """What was done, and when.

    :ivar before: sequence of the last request before it.
    :ivar until: sequence of its own last request.
    :ivar on_its_way: sequence of the task's request that was held before it was processed.
    """

    world: World
    before: int
    on_its_way: int | None
    until: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def requests_since(self) -> list[Any]:
        """Return what of the task was processed after the edit, in order."""
        entries = self.world.emulator.journal.entries
        return [
            *(entry for entry in entries if entry.sequence == self.on_its_way),
            *(entry for entry in entries if entry.sequence > self.until),
        ]

    def in_the_window(self, writes: Callable[[Any], bool]) -> bool:
        """Whether the first of these writes came so soon that the task could not know."""
        since = self.requests_since()
        first = next(
            (number for number, entry in enumerate(since) if entry.committed and writes(entry)), None
        )
        return first is not None and first <= WINDOW

    def after_the_last_look(self, looks: Callable[[Any], bool]) -> bool:
        return not any(entry.method == "GET" and looks(entry) for entry in self.requests_since())


@dataclass(frozen=True)
class Edit:
    """What somebody else does.

    :param do: does it; what it returns, ``right`` finds in :attr:`Edited.facts`.
    :param right: raises :class:`AssertionError` unless the finished, green run has left the right data.
    """

    name: str
    do: Callable[[World, Facts], dict[str, Any] | None]
    right: Callable[[Edited, Run], None]


def edited(edit: Edit) -> Play:
    def play(case: Case) -> None:
        world = case.world
        case.rule(phase=phase_of(case), hold=True)
        run = case.run()
        seen: list[Edited] = []

        def change(run: Run, held: dict[str, Any]) -> None:
            last = world.emulator.journal.entries[-1].sequence
            note = Edited(world, last, held["sequence"] if held["phase"] == "before" else None)
            note.facts = edit.do(world, case.facts) or {}
            note.until = world.emulator.journal.entries[-1].sequence
            seen.append(note)
            release(case, held)

        run.to_the_end(at(change))
        for _ in range(FOLLOWED):
            if run.state == "failed":
                run = follow(case, run)
        free_of_secrets(case)
        if run.state == "failed":
            assert case.row.name in MAY_STAY_FAILED, f"failed for good: {run.history[-1]}"
            return
        edit.right(seen[0], run)

    return play


#: Rows that wait for what somebody else has ended; that it has ended so is the truth.
MAY_STAY_FAILED = {
    "AdobeBatchSensor",
    "AdobeBatchSensor (deferrable)",
    "AdobeCompleteBatchOperator",
}


def look_with(text: str) -> Callable[[Any], bool]:
    return lambda entry: text in entry.path
