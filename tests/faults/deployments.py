# SPDX-License-Identifier: Apache-2.0
"""Two Airflow deployments with equal Dags, run ids and task ids in one sandbox of Adobe's, each with a source
or a secret store of its own. The other does all its work while this one waits for a request.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.faults.acts import UNTOLD, act, at, at_every_moment, phase_of, release
from tests.faults.cases import Case, Play
from tests.faults.harness import Run, World
from tests.faults.people import ends_right, or_says_so_in_the_next_run
from tests.faults.rows import Facts
from tests.faults.rows_target import store_has_the_live_token
from tests.faults.sources import SOURCES

ELSEWHERE = ".elsewhere"
#: Scheduled runs: both have the same run id, and nothing that tells the runs apart.
DATE = "2026-01-01T00:00:00+00:00"
RUN_ID = f"scheduled__{DATE}"
ROTATIONS = frozenset({"AdobeRotateProfileTokenOperator", "AdobeRotateProfileTokenOperator (adopt)"})
#: In a sandbox of Adobe's; groups and profiles there are one set for both.
OWN_SOURCES = frozenset(name for name in SOURCES if name.startswith("AdobeIngestBatch"))


def facts_elsewhere(case: Case) -> Facts:
    """What the other deployment works on: files of the same names and sizes, with another content."""
    facts = case.facts
    if case.row.name in OWN_SOURCES:
        source = SOURCES[case.row.name]
        folder = case.world.folder / "elsewhere"
        folder.mkdir()
        files = [shutil.copy(file, folder) for file in source.files(facts)]
        facts = facts | {source.argument: files if isinstance(facts[source.argument], list) else files[0]}
        source.change("same size", facts)
    if case.row.name in ROTATIONS:
        store = case.world.folder / "token-elsewhere"
        shutil.copy(facts["store"], store)
        facts = facts | {"store": str(store)}
    return facts


def right(world: World, runs: list[Run]) -> None:
    for run in runs:
        source = SOURCES[run.row.name]
        assert source.found(world, run) == source.content(run.facts), "one has the rows of the other"


def another_deployment(*, named: bool) -> Play:
    """
    :param named: the connection of each says which deployment it belongs to.
    """

    def play(case: Case) -> None:
        names: list[dict[str, Any]] = (
            [{"deployment": "north"}, {"deployment": "south"}] if named else [{}, {}]
        )
        common = {"run_id": RUN_ID, "logical_date": DATE}
        run = case.run(**common, connection=names[0])
        other = case.run(**common, connection=names[1], again=ELSEWHERE)
        if case.row.name in OWN_SOURCES | ROTATIONS:
            other.facts = facts_elsewhere(case)
        case.rule(phase=phase_of(case), hold=True)

        def meanwhile(_: Run, held: dict[str, Any]) -> None:
            other.to_the_end(at(lambda *_: None, others=(held["id"],)))
            release(case, held)

        run.to_the_end(at(meanwhile))
        if case.row.name in ROTATIONS:
            _rotations(case, run, other)
        elif case.row.name in OWN_SOURCES:
            ends_right(case, other, run, follow_advice=not named, right=right)
        else:
            or_says_so_in_the_next_run(case, lambda: ends_right(case, other, run, follow_advice=not named))

    return play


def _rotations(case: Case, run: Run, other: Run) -> None:
    """Target has one token for both. Who ends last has it; the other has it after its next run."""
    ends_right(case, run, right=store_has_the_live_token)
    other.clear()
    ends_right(case, other, right=lambda *_: None)
    tokens = {Path(one.facts["store"]).read_text() for one in (run, other)}
    assert tokens == {case.world.emulator.target.token()}, "a store has a dead token for good"


act(
    "another deployment meanwhile",
    "two deployments",
    another_deployment(named=False),
    at_every_moment,
    not_with=UNTOLD,
)
act(
    "another deployment meanwhile, both named",
    "two deployments",
    another_deployment(named=True),
    at_every_moment,
    OWN_SOURCES,
)
