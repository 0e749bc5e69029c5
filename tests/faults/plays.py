# SPDX-License-Identifier: Apache-2.0
"""How faults are brought about at a request, and what may come of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tests.faults import surroundings
from tests.faults.cases import PHASES, Case, Play
from tests.faults.harness import Run, World

if TYPE_CHECKING:
    pass

MANY = 1000
SHORT = 0.3


def survives(connection: dict[str, Any] | None = None, **rule: Any) -> Play:
    """The fault strikes once; Airflow's retries are all the help that is needed."""

    def play(case: Case) -> None:
        case.world.connection.update(connection or {})
        case.rule(**rule)
        run = case.run()
        run.to_the_end()
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        case.check([run])

    return play


def survives_or_says_so(**rule: Any) -> Play:
    """The fault strikes once; the task may fail, with a clear error, and then clearing it is enough."""

    def play(case: Case) -> None:
        case.rule(**rule)
        case.finish(case.run())

    return play


def lasts(retried: bool | None = None, **rule: Any) -> Play:
    """The fault strikes from this request on. The task fails with a clear error, and clearing it mends it
    when the cause is gone.

    :param retried: whether the task is worth retrying; ``None``: that depends.
    """

    def play(case: Case) -> None:
        matching = [request for request in case.requests if re.search(rule.get("path", ""), request.path)]
        first = matching.index(case.request) + 1
        case.rule(nth=list(range(first, first + MANY)), **rule)
        case.world.connection.update({"max_attempts": 3})
        run = case.run(retries=1)
        run.to_the_end()
        assert run.state == "failed", f"{run.state} although the fault lasts"
        if retried is not None:
            assert run.try_number == (2 if retried else 1), f"{run.try_number} tries: {run.errors}"
        case.mend(run)
        case.check([run])

    return play


def killed(phase: str) -> Play:
    """SIGKILL to the process of the task, or to the triggerer, at this very moment."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()
        run.to_the_end(lambda run, held: kill_now(case, run))
        assert any(ended.state == "killed" for ended in run.history), "nothing was killed"
        case.finish(run)

    return play


def kill_now(case: Case, run: Run) -> None:
    run.kill()
    case.world.emulator.holds.release("drop")


def killed_twice(case: Case) -> None:
    """SIGKILL in the first try and again in the second."""
    chance = random.Random(case.detail)
    phases = [chance.choice(["before", "after"]) for _ in range(2)]
    case.rule(phase=phases[0], hold=True)
    run = case.run()

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        kill_now(case, run)
        if len([ended for ended in run.history if ended.state == "killed"]) == 0:
            case.rule(nth=chance.randint(1, len(case.requests)), phase=phases[1], hold=True)

    run.to_the_end(on_hold)
    case.finish(run)


def killed_at_the_very_end(case: Case) -> None:
    """SIGKILL when all is done, but before Airflow has noted so."""
    run = case.run()
    run.loses_outcome_of = PHASES[case.detail]
    run.to_the_end()
    assert any(ended.state == "killed" for ended in run.history), "nothing was killed"
    case.finish(run)


def ended_by_a_person(phase: str) -> Play:
    """Mark failed: Airflow sends SIGTERM, ``on_kill`` runs, and the interrupted work goes on for some
    seconds.
    """

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            if held["phase"] == "on_kill":
                case.world.emulator.holds.release("continue")
            else:
                run.terminate()

        run.to_the_end(on_hold)
        case.world.emulator.holds.release("drop")
        assert run.history[-1].state == "on_kill", run.history
        case.row.check_ended(case.world, [run])
        case.finish(run)

    return play


def another_run(phase: str) -> Play:
    """Another run of the same Dag does all its work while this one waits for this request."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()
        other = case.run(run_id="run_2")

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            other.to_the_end()
            case.world.emulator.holds.release("continue")

        run.to_the_end(on_hold)
        case.mend(other)
        case.mend(run)
        case.check(case.runs)

    return play


def zombie(phase: str) -> Play:
    """Airflow took the task for dead and started it again; then the first process comes back to life."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        lost = case.run()
        second = case.run(copy=True)
        second.try_number = 2

        def on_hold(lost: Run, held: dict[str, Any]) -> None:
            second.to_the_end()
            case.world.emulator.holds.release("continue")

        lost.one_try(on_hold)
        case.mend(second)
        case.check([second])

    return play


def arrives_late(case: Case) -> None:
    """The task is killed while a write is on its way, and Adobe processes it only when the next try has come
    to this moment.
    """
    late = case.rule(phase="before", hold=True)
    run = case.run()
    number: list[int] = []

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        if not number:
            number.append(held["id"])
            run.kill()
            case.world.emulator.faults.remove(late)
            case.rule(nth=case.detail, phase="before", hold=True)
        elif held["id"] != number[0]:
            process_now(case, number[0])
            case.world.emulator.holds.release("continue")

    run.to_the_end(on_hold)
    if number:
        process_at_last(case, number[0])
    case.finish(run, alone=False)


def processed_late(case: Case) -> None:
    """Adobe is slow: the client gives the write up, goes on, and only then it is processed."""
    case.world.connection["read_timeout"] = SHORT
    case.rule(phase="before", hold=True)
    late: list[int] = []

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        if not late:
            late.append(held["id"])
            case.rule(nth=case.detail, phase="before", hold=True)
        elif held["id"] != late[0]:
            process_now(case, late[0])
            case.world.emulator.holds.release("continue")

    run = case.run()
    run.to_the_end(on_hold)
    if late:
        process_at_last(case, late[0])
    case.finish(run, alone=False)


def process_now(case: Case, number: int) -> bool:
    """Let the held request with this number be processed, wait until it has been, and return whether it was
    still held.
    """
    holds = case.world.emulator.holds
    sequence = next((held["sequence"] for held in holds.as_list() if held["id"] == number), None)
    if sequence is None:
        return False
    entry = next(entry for entry in case.world.emulator.journal.entries if entry.sequence == sequence)
    holds.release("process", number)
    case.world.wait_until(lambda: entry.status is not None, "the late request to be processed")
    return True


def process_at_last(case: Case, number: int) -> None:
    """The task is over when Adobe processes the request; for some operators it takes the Dag's next run to
    notice.
    """
    if process_now(case, number) and case.row.needs_next_run:
        case.lift()
        case.run(run_id="run_2").to_the_end()


def restarted(downtime: float) -> Play:
    """Adobe's side of all connections breaks, and for a while nobody listens."""

    def play(case: Case) -> None:
        case.rule(phase="before", hold=True)
        run = case.run()
        run.to_the_end(lambda run, held: case.world.emulator.restart(downtime))
        assert run.state == "success", run.history[-1]
        case.check([run])

    return play


def jumps(seconds: float) -> Play:
    """The worker's wall clock jumps in the middle."""

    def play(case: Case) -> None:
        case.rule(phase="before", hold=True)
        run = case.run()

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            case.world.jump(seconds)
            case.world.emulator.holds.release("continue")

        run.to_the_end(on_hold)
        case.finish(run)

    return play


def hours_pass(case: Case) -> None:
    """All access tokens run out while this request is on its way."""
    case.rule(phase="before", hold=True)
    run = case.run()

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        case.world.emulator.ims.expire_tokens()
        case.world.emulator.holds.release("continue")

    run.to_the_end(on_hold)
    assert run.state == "success", run.history[-1]
    case.check([run])


def profile_token_expires(case: Case) -> None:
    """Target's profile token runs out while this request is on its way. Only a rotation helps: the task says
    so, and has it.
    """
    case.rule(expire_token=True)
    run = case.run()
    run.to_the_end()
    if run.state == "failed":
        assert "rotate" in run.history[-1].details["error"], run.history[-1]
        (case.world.folder / "token").write_text(case.world.emulator.target.issue().value)
    case.finish(run)


def through_a_proxy(phase: str) -> Play:
    """A company's proxy leads to Adobe, and one of its connections breaks."""

    def play(case: Case) -> None:
        case.rule(drop=True, phase=phase)
        run = case.run()
        with elsewhere(case, surroundings.behind_a_proxy, run):
            run.to_the_end()
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        case.check([run])

    return play


def cleared_and_rerun(case: Case) -> None:
    """The task succeeded; a person clears it all the same."""
    run = case.run()
    run.to_the_end()
    case.check([run])
    run.clear()
    case.finish(run)


Surroundings = Callable[[World], AbstractContextManager[str]]


@contextmanager
def elsewhere(case: Case, place: Surroundings, run: Run) -> Iterator[None]:
    """Let the run find Adobe in these surroundings."""
    own = case.world.emulator.url
    with place(case.world) as url:
        if url != own:
            case.world.connection.update(surroundings.everything_at(url))
        run.facts = surroundings.facts_at(url, own, case.facts)
        yield
        run.facts = case.facts


def first_try_in(place: Surroundings) -> Play:
    """The first try runs in hostile surroundings, the next in good ones."""

    def play(case: Case) -> None:
        run = case.run()
        case.world.connection["max_attempts"] = 2
        with elsewhere(case, place, run):
            run.one_try()
        assert run.state != "success", "the surroundings did no harm"
        assert run.errors, run.history
        case.lift()
        case.finish(run)

    return play
