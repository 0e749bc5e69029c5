# SPDX-License-Identifier: Apache-2.0
"""What people do to a task, whichever it is: clear it, mark it, delete its run, run it twice. One entry for
each act, how it is brought about at a request, and what may come of it.

An act is a :class:`~tests.faults.cases.Fault` whose place has a phase: the lowest bit of the detail says
whether it happens before the request is processed or after it is committed; the others are a seed.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cases import SEED, Case, Fault, Play, first_request
from tests.faults.harness import OnHold, Request, Run
from tests.faults.people import RIGHT_AGAIN, ends_right, free_of_secrets, or_says_so_in_the_next_run

HOUR = 3600.0
AGAIN = ".again"
PHASES = ("before", "after")
#: So many more runs does a backfill start while a run is under way.
BACKFILLED = 2
#: Rows that no check can excuse when two work at once.
UNTOLD = {
    "AdobeCreateAudienceMetadataOperator (Adobe makes the id)": (
        "without an audience_id Adobe makes up an id for each request, so nothing tells one from another; "
        "give one"
    )
}


def at_every_moment(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        for phase in range(len(PHASES)):
            seed = zlib.crc32(f"{SEED} {request.number} {phase}".encode()) & 0xFFFF
            yield request, (seed << 1) | phase


def while_deferred(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    """Each request of the trigger with each moment of the next try."""
    for request in requests:
        if request.phase == "trigger":
            for phase in range(len(PHASES)):
                for moment in range(1, len(requests) + 1):
                    yield request, (moment << 1) | phase


@dataclass(frozen=True)
class Act(Fault):
    """A way in which people disturb.

    :param rows: the only rows that it can happen to; ``None``: all.
    :param not_with: rows of which it says nothing, with the reason.
    """

    rows: frozenset[str] | None = None
    not_with: dict[str, str] = field(default_factory=dict)

    def can_happen_to(self, row: str) -> bool:
        return row not in self.not_with and (self.rows is None or row in self.rows)


ACTS: dict[str, Act] = {}


def act(
    name: str,
    group: str,
    play: Play,
    places: Any = at_every_moment,
    rows: frozenset[str] | None = None,
    not_with: dict[str, str] | None = None,
) -> None:
    assert name not in ACTS
    ACTS[name] = Act(name, group, play, places, rows, not_with or {})


# ------------------------------------------------------------------------------------------------------------
# what the plays are made of


def phase_of(case: Case) -> str:
    return PHASES[case.detail & 1]


def at(
    do: Callable[[Run, dict[str, Any]], None],
    *,
    told: Callable[[Run], None] = lambda run: None,
    others: tuple[int, ...] = (),
) -> OnHold:
    """Call ``do`` for each request that is held, but for those of ``others``, and ``told`` when ``on_kill``
    has returned.
    """

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        if held["phase"] == "on_kill":
            told(run)
        elif held["id"] not in others:
            do(run, held)

    return on_hold


def release(case: Case, held: dict[str, Any], then: str = "continue") -> None:
    case.world.emulator.holds.release(then, held["id"])  # type: ignore[arg-type]


def told_to_end(case: Case, run: Run, *, goes_on: bool) -> None:
    """SIGTERM at the request of the case. ``on_kill`` runs; then the supervisor kills the process at once, or
    the interrupted work goes on for the seconds that the supervisor leaves it.
    """
    case.rule(phase=phase_of(case), hold=True)
    holds = case.world.emulator.holds

    def told(run: Run) -> None:
        if goes_on:
            holds.release("continue")
        else:
            run.kill()
            holds.release("drop")

    run.one_try(at(lambda run, held: run.terminate(), told=told))
    holds.release("drop")
    assert run.history[-1].state == "on_kill", run.history


def cleared_while_it_runs(goes_on: bool) -> Play:
    def play(case: Case) -> None:
        run = case.run()
        told_to_end(case, run, goes_on=goes_on)
        run.clear()
        ends_right(case, run)

    return play


def cleared_after_it_failed(case: Case) -> None:
    """Killed in its last try. A person sees it an hour later."""
    case.rule(phase=phase_of(case), hold=True)
    run = case.run(retries=0)

    def kill(run: Run, held: dict[str, Any]) -> None:
        run.kill()
        release(case, held, "drop")

    run.to_the_end(at(kill))
    if case.request.phase != "trigger":
        assert run.state == "failed", run.history
        case.world.jump(HOUR)
        run.clear()
    ends_right(case, run)


def cleared_after_it_succeeded(case: Case) -> None:
    run = ends_right(case, case.run())
    case.world.jump(HOUR)
    run.clear()
    ends_right(case, run)


def cleared_while_deferred(case: Case) -> None:
    """The next try has attached to the work when the old trigger is told of the clearing."""
    _two_processes(case, told=True, goes_on=False, cleared=True)


def marked_success(case: Case) -> None:
    """A person says that it has succeeded. That is no licence to destroy what is there; and clearing it
    later has it done.
    """
    run = case.run()
    told_to_end(case, run, goes_on=bool(case.detail & 2))
    run.state = "success"
    case.row.check_ended(case.world, [run])
    free_of_secrets(case)
    run.clear()
    ends_right(case, run)


def marked_failed(case: Case) -> None:
    run = case.run()
    told_to_end(case, run, goes_on=bool(case.detail & 2))
    assert run.state == "failed"
    case.row.check_ended(case.world, [run])
    run.clear()
    ends_right(case, run)


def run_again(case: Case, run: Run) -> Run:
    """A run of the same id is not the one that began the work: it may want to be told what to do. What the
    deleted run has brought about stays, but does not count as this run's.
    """
    return ends_right(case, run, follow_advice=True, right=RIGHT_AGAIN.get(case.row.name))


def deleted_and_triggered_again(case: Case) -> None:
    """The run's process has ended when the run of the same id begins."""
    told_to_end(case, case.run(), goes_on=bool(case.detail & 2))
    run_again(case, case.run(again=AGAIN))


def deleted_and_triggered_again_at_once(case: Case) -> None:
    """The process of the deleted run is told to end while the run of the same id is at work."""
    _two_processes(case, told=True, goes_on=bool(case.detail & 2), again=AGAIN)


def deleted_after_it_succeeded(case: Case) -> None:
    ends_right(case, case.run())
    run_again(case, case.run(again=AGAIN))


def zombie(*, told: bool, goes_on: bool) -> Play:
    """Airflow took the task for dead and started its next try; the first process is still there. Its
    heartbeat is refused, so Airflow tells it to end.
    """

    def play(case: Case) -> None:
        _two_processes(case, told=told, goes_on=goes_on)

    return play


def _two_processes(case: Case, *, told: bool, goes_on: bool, cleared: bool = False, again: str = "") -> None:
    """The first process is held at the request of the case while the next try, or the next run, works; in the
    middle of that the first is told to end, or goes on by itself.
    """
    seed = case.detail >> 1
    chance = random.Random(seed)
    moment = seed if cleared else chance.randint(1, len(case.requests) + 1)
    emulator = case.world.emulator
    case.rule(phase=phase_of(case), hold=True)
    first = case.run()
    second = case.run(again=again) if again else case.run(copy=True)
    second.try_number = 1 if again else 2

    def while_held(first: Run, held: dict[str, Any]) -> None:
        done: list[bool] = []

        def disturb() -> None:
            done.append(True)
            if told:
                first.terminate()
            else:
                release(case, held)
            first.wait_until_told()

        def at_the_moment(_: Run, here: dict[str, Any]) -> None:
            disturb()
            release(case, here)

        rule = case.rule(nth=moment, phase=chance.choice(PHASES), hold=True)
        second.to_the_end(at(at_the_moment, others=(held["id"],)))
        emulator.faults.remove(rule)
        if not done:
            disturb()
        if told and not goes_on:
            first.kill()
            release(case, held, "drop")
        else:
            release(case, held)

    first.one_try(at(while_held))
    emulator.holds.release("drop")
    late = goes_on or not told

    def ends() -> Run:
        return run_again(case, second) if again else ends_right(case, second)

    or_says_so_in_the_next_run(case, ends) if late else ends()


def backfilled(case: Case) -> None:
    """A backfill of the same Dag runs while this run waits for this request."""
    run = case.run()
    others = [
        case.run(
            run_id=f"backfill__2026-01-0{day}T00:00:00+00:00", logical_date=f"2026-01-0{day}T00:00:00+00:00"
        )
        for day in range(1, BACKFILLED + 1)
    ]

    case.rule(phase=phase_of(case), hold=True)

    def backfill(_: Run, held: dict[str, Any]) -> None:
        for other in others:
            other.to_the_end(at(lambda *_: None, others=(held["id"],)))
        release(case, held)

    run.to_the_end(at(backfill))
    or_says_so_in_the_next_run(case, lambda: ends_right(case, *others, run))


act("cleared while it runs, and killed", "clear", cleared_while_it_runs(goes_on=False))
act("cleared while it runs, and it goes on for a while", "clear", cleared_while_it_runs(goes_on=True))
act("cleared while deferred; the trigger is told late", "clear", cleared_while_deferred, while_deferred)
act("cleared an hour after it failed", "clear", cleared_after_it_failed)
act("cleared an hour after it succeeded", "clear", cleared_after_it_succeeded, first_request)
act("marked success, and cleared", "mark", marked_success)
act("marked failed, and cleared", "mark", marked_failed)
act("the run deleted and triggered again", "delete the run", deleted_and_triggered_again)
act(
    "the run deleted and triggered again at once",
    "delete the run",
    deleted_and_triggered_again_at_once,
    not_with=UNTOLD,
)
act(
    "the run deleted after it succeeded and triggered again",
    "delete the run",
    deleted_after_it_succeeded,
    first_request,
)
act("a backfill meanwhile", "backfill", backfilled, not_with=UNTOLD)
act("zombie, told to end and killed", "zombie", zombie(told=True, goes_on=False))
act("zombie, told to end and going on", "zombie", zombie(told=True, goes_on=True), not_with=UNTOLD)
act("zombie, not told", "zombie", zombie(told=False, goes_on=True), not_with=UNTOLD)
