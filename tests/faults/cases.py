# SPDX-License-Identifier: Apache-2.0
"""A case: one fault at one place of one row's run; and the places where faults are tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.file_store import KNOCK
from tests.faults.harness import Request, Run, World
from tests.faults.task import Phase

if TYPE_CHECKING:
    from tests.faults.rows import Row

#: Two per operator and fault at random, always the same: a seed is part of a case's name.
SEED = 20261123
#: Paths of Target's edge, where the profile token counts instead of IMS' access token.
EDGE = ("/m2/", "/rest/")
AT_THE_EDGE = "^/(m2|rest)/"


@dataclass
class Case:
    """One fault at one place of one row's run."""

    world: World
    row: Row
    fault: str
    request: Request
    requests: list[Request]
    detail: int = 0
    facts: dict[str, Any] = field(init=False)
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.fault = self.fault
        self.world.emulator.switches.update(self.row.switches)
        self.facts = self.row.prepare(self.world)

    def run(self, **more: Any) -> Run:
        """Return a task instance that is about to begin."""
        run = Run(self.world, self.row, self.facts, **more)
        self.runs.append(run)
        return run

    def rule(self, **fields: Any) -> int:
        return self.world.emulator.faults.add(**{"nth": self.request.number, **fields})

    def lift(self) -> None:
        self.world.emulator.faults.clear()
        self.world.connection.clear()
        self.world.environment.clear()
        self.world.largest_file = None

    def finish(self, run: Run, *, alone: bool = True) -> None:
        """Let a run come to its end, clear it if it failed, and hold it to its invariant."""
        run.to_the_end()
        self.mend(run)
        self.check([run] if alone else self.runs)

    def mend(self, run: Run) -> None:
        """What a person does with a failed task: remove the cause, clear it."""
        self.lift()
        if run.state == "failed":
            run.clear()
            run.to_the_end()
        assert run.state == "success", f"{run.state} after it was cleared: {run.history[-1]}"

    def check(self, runs: list[Run]) -> None:
        for run in runs:
            for ended in run.errors:
                assert clear(ended.details), f"not a clear error: {ended.details}"
        assert not self.world.secrets_in_log(), "a secret is in the task's log"
        self.row.check(self.world, runs)


def clear(details: dict[str, Any]) -> bool:
    """Whether an error tells what to do next."""
    return "What to do: " in details["error"] and any(
        kind in ("AdobeError", "AirflowFailException", "AirflowSensorTimeout") for kind in details["kind"]
    )


Play = Callable[[Case], None]


def every_moment(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        yield request, 0


def every_request(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith(KNOCK))


def with_body(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.sends_body)


def answered_with_body(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request, _ in every_request(requests) if request.gets_body)


def of_the_task(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.phase != "trigger")


def of_the_triggerer(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.phase == "trigger")


def with_an_ims_token(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith((*EDGE, "/ims/", KNOCK)))


def not_to_the_edge(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith((*EDGE, KNOCK)))


def to_the_edge(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.path.startswith(EDGE))


def downloads(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return (
        (request, 0) for request in requests if request.path.endswith("/failed") and "path=" in request.query
    )


PHASES: tuple[Phase, ...] = ("execute", "trigger", "resume")


def each_process(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    """Yield the number of each process that the run needs, in :data:`PHASES`."""
    defers = any(request.phase == "trigger" for request in requests)
    return ((requests[0], number) for number in range(len(PHASES) if defers else 1))


def to_ims(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.path.startswith("/ims/"))


def first_request(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    yield requests[0], 0


def each_write_with_each_later_moment(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        if request.write:
            for moment in range(1, len(requests) + 2):
                yield request, moment


def each_write_with_the_next_moments(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        if request.write:
            for moment in range(1, 5):
                yield request, moment


def pairs_at_random(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    chance = random.Random(SEED)
    for _ in range(min(12, len(requests) ** 2)):
        yield chance.choice(requests), chance.randrange(1 << 16)


@dataclass(frozen=True)
class Fault:
    """A way to fail.

    :param name: for the table.
    :param group: the column of the table.
    :param play: brings it about, and checks what came of it.
    :param places: at which requests it is tried (with a detail that some faults use).
    """

    name: str
    group: str
    play: Play
    places: Callable[[list[Request]], Iterator[tuple[Request, int]]] = every_request
