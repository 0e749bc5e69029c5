# SPDX-License-Identifier: Apache-2.0
"""Random chains: two to five acts of people and faults on the wire upon one task, one after the other.

A seed says all: which row, what happens, and at which requests. ``python -m tests.faults.chains`` goes on
until it is interrupted or something is wrong, and prints the seed of each chain (``make chaos``).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.acts import HOUR, UNTOLD, at, release
from tests.faults.cases import Case
from tests.faults.faults import GATEWAY, HTML, LOGIN_PAGE, TOO_MANY
from tests.faults.harness import Request, Run, World, forkserver, undisturbed
from tests.faults.known import KNOWN
from tests.faults.people import FOLLOWED, RIGHT, follow, free_of_secrets, or_says_so_in_the_next_run
from tests.faults.rows import ROWS, find
from tests.faults.sources import SOURCES

SHORTEST, LONGEST = 2, 5
CHANGE = "the source changes"
#: What meets a request on the wire.
WIRE: dict[str, dict[str, Any]] = {
    "503": {"status": 503, "body": GATEWAY},
    "502 after it is committed": {"status": 502, "body": LOGIN_PAGE, "headers": HTML, "phase": "after"},
    "429": {"status": 429, "body": TOO_MANY, "headers": {"retry-after": "2"}},
    "400": {"status": 400, "body": {"title": "BadRequestError", "detail": "no"}},
    "reset before it is processed": {"drop": True},
    "reset after it is committed": {"drop": True, "phase": "after"},
    "closed without a response": {"drop": "close"},
    "HTML instead of JSON": {"status": 200, "headers": HTML, "body": LOGIN_PAGE},
    "truncated": {"truncate": 5},
}


@dataclass
class Chain:
    """What happens to one task instance.

    :ivar told: what has happened, for the report.
    """

    case: Case
    chance: random.Random
    run: Run
    told: list[str]

    def moment(self) -> int:
        return self.chance.randint(1, len(self.case.requests) + 1)

    def phase(self) -> str:
        return self.chance.choice(("before", "after"))

    def tried_at(self, act: Callable[[Run, dict[str, Any]], None], told: Any = lambda run: None) -> bool:
        """Let the run try, and act at a request at random; return whether it came that far."""
        reached: list[bool] = []
        number, phase = self.moment(), self.phase()
        rule = self.case.rule(nth=number, phase=phase, hold=True)

        def once(run: Run, held: dict[str, Any]) -> None:
            reached.append(True)
            act(run, held)

        self.told.append(f"at request {number}, {phase}")
        if self.run.state in ("success", "failed"):
            self.run.clear()
        self.run.one_try(at(once, told=told))
        self.case.world.emulator.faults.remove(rule)
        self.case.world.emulator.holds.release("drop")
        return bool(reached)


Step = Callable[[Chain], None]


def wire(rule: dict[str, Any]) -> Step:
    def step(chain: Chain) -> None:
        number = chain.moment()
        chain.told.append(f"at request {number}")
        added = chain.case.rule(nth=number, **rule)
        if chain.run.state in ("success", "failed"):
            chain.run.clear()
        chain.run.one_try()
        chain.case.world.emulator.faults.remove(added)

    return step


def killed(chain: Chain) -> None:
    def kill(run: Run, held: dict[str, Any]) -> None:
        run.kill()
        release(chain.case, held, "drop")

    chain.tried_at(kill)


def told_to_end(chain: Chain) -> None:
    """Cleared, or marked, while it runs: the next step begins with a new try, as clearing does."""
    goes_on = chain.chance.random() < 0.5
    holds = chain.case.world.emulator.holds

    def told(run: Run) -> None:
        if goes_on:
            holds.release("continue")
        else:
            run.kill()
            holds.release("drop")

    if chain.tried_at(lambda run, held: run.terminate(), told) and chain.run.state == "up_for_retry":
        chain.run.state = "failed"
    if chain.chance.random() < 0.3:
        chain.told.append("marked success")
        chain.run.state = "success"


def cleared(chain: Chain) -> None:
    chain.run.to_the_end()
    chain.run.clear()


def an_hour_passes(chain: Chain) -> None:
    chain.case.world.jump(chain.chance.choice((HOUR, -HOUR, 0)))


def zombie(chain: Chain) -> None:
    """The next try works while this one is held; then this one is told to end, or not."""
    told = chain.chance.random() < 0.5
    second = chain.case.run(copy=True)

    def meanwhile(first: Run, held: dict[str, Any]) -> None:
        second.try_number, second.max_tries = first.try_number + 1, first.max_tries + 1
        second.facts = first.facts
        second.to_the_end(at(lambda *_: None, others=(held["id"],)))
        if told:
            first.terminate()
            first.wait_until_told()
            first.kill()
        release(chain.case, held, "drop" if told else "continue")

    if chain.tried_at(meanwhile):
        chain.told.append("told to end" if told else "not told")
        chain.run = second


def source_changes(chain: Chain) -> None:
    source = SOURCES[chain.case.row.name]
    how = chain.chance.choice(("same size", "smaller", "larger"))
    chain.told.append(how)

    def change(run: Run, held: dict[str, Any]) -> None:
        run.facts = source.change(how, chain.case.facts)
        release(chain.case, held)

    chain.tried_at(change)


def backfilled(chain: Chain) -> None:
    if chain.case.row.for_run is not None:
        chain.told.append("finds nothing to plan")  # Airflow skips the task then
        return
    other = chain.case.run(
        run_id=f"backfill__{len(chain.case.runs)}", logical_date="2026-01-01T00:00:00+00:00"
    )
    other.facts = chain.run.facts

    def meanwhile(_: Run, held: dict[str, Any]) -> None:
        other.to_the_end(at(lambda *_: None, others=(held["id"],)))
        release(chain.case, held)

    chain.tried_at(meanwhile)


STEPS: dict[str, Step] = {
    **{name: wire(rule) for name, rule in WIRE.items()},
    "SIGKILL": killed,
    "cleared or marked while it runs": told_to_end,
    "cleared when it has ended": cleared,
    "the clock jumps": an_hour_passes,
    "zombie": zombie,
    CHANGE: source_changes,
    "a backfill meanwhile": backfilled,
}


def play(world: World, row_name: str, requests: list[Request], seed: int) -> list[str]:
    """Play the chain of a seed, and hold what came of it to its invariant.

    :returns: what happened.
    """
    chance = random.Random(seed)
    chance.choice(rows())  # the row, which the caller has drawn already
    case = Case(world, find(row_name), "chain", requests[0], requests)
    chain = Chain(case, chance, case.run(), [row_name])
    possible = [name for name in STEPS if name != CHANGE or row_name in SOURCES]
    people = [name for name in possible if name not in WIRE]
    try:
        for number in range(chance.randint(SHORTEST, LONGEST)):
            # Acts of people first: the faults of wires alone have a matrix of their own.
            name = chance.choice(people if number % 2 == 0 else possible)
            chain.told.append(f"{name}:")
            STEPS[name](chain)
        _end(chain)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {'; '.join(chain.told)}: {error!r}") from error
    return chain.told


def _end(chain: Chain) -> None:
    """Nothing disturbs any more. A person clears the task, and follows what it says."""
    case = chain.case
    case.lift()

    def ends() -> Run:
        run = chain.run
        if run.state in ("success", "failed"):
            run.clear()
        run.to_the_end()
        for _ in range(FOLLOWED):
            if run.state == "failed":
                run = follow(case, run)
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        free_of_secrets(case)
        source = SOURCES.get(case.row.name)
        if source is None:
            (RIGHT.get(case.row.name) or _check_of(case))(case.world, [run])
        else:
            found, now = source.found(case.world, run), source.content(run.facts)
            assert found == now, f"{(found - now).total()} rows too many, {(now - found).total()} missing"
        return run

    or_says_so_in_the_next_run(case, ends)


def _check_of(case: Case) -> Any:
    def check(world: World, runs: list[Run]) -> None:
        others = [run for run in case.runs if run.state == "success" and run.run_id != runs[0].run_id]
        case.row.check(world, [*others, *runs] if case.row.operator == "AdobeCreateBatchOperator" else runs)

    return check


def rows() -> list[str]:
    """Return the rows that chains are made of: not those with a fault that is known."""
    return [name for name in ROWS if name not in UNTOLD and not any(row == name for row, _ in KNOWN)]


def row_of(seed: int) -> str:
    return random.Random(seed).choice(rows())


def main(arguments: list[str] | None = None) -> int:
    from airflow_provider_adobe_audiences.emulator.server import running_emulator

    parser = argparse.ArgumentParser(prog="python -m tests.faults.chains", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first (default: the time)")
    parser.add_argument("--count", type=int, default=0, help="so many chains (default: no end)")
    asked = parser.parse_args(arguments)
    processes, seen = forkserver(), dict[str, list[Request]]()
    seed = asked.seed
    with running_emulator() as emulator:
        while not asked.count or seed < asked.seed + asked.count:
            row = row_of(seed)
            if row not in seen:
                world = World(emulator, processes)
                emulator.switches.update(find(row).switches)
                seen[row] = undisturbed(world, find(row))
                world.close()
            world = World(emulator, processes)
            try:
                print(f"seed {seed}: {'; '.join(play(world, row, seen[row], seed))}", flush=True)
            except AssertionError as error:
                print(f"{error}\n{world.log()}\npython -m tests.faults.chains --seed {seed} --count 1")
                return 1
            finally:
                world.close()
            seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
