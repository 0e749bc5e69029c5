# SPDX-License-Identifier: Apache-2.0
"""A source that changes while a task works on it. One entry for each way, tried at every request of every
operator that reads a source, while the process goes on and while it is killed so that a retry sees it.

What is right: the version that the source has in the end, whole. The version before is right only where it
was handed over to Adobe before the change and nobody has asked since. Never a mixture.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.acts import act, at, at_every_moment, phase_of, release
from tests.faults.cases import Case, Play
from tests.faults.harness import Run, World
from tests.faults.people import FOLLOWED, follow, free_of_secrets
from tests.faults.rows import Facts
from tests.faults.rows_experience_platform import DATASET, batches, json_lines, rows_of
from tests.faults.rows_from_files import (
    groups_declared,
    groups_found,
    groups_in,
    profiles_declared,
    profiles_found,
    profiles_in,
)

#: What a source holds, in a form that can be compared.
Content = Any


@dataclass(frozen=True)
class Source:
    """The source of a row.

    :param argument: the fact that names its files.
    :param read: what a text of the source means.
    :param write: the text of a version: "same size", "smaller" or "larger" than the first.
    :param found: what Adobe holds of it, as seen from this finished run.
    :param hands_over: a pattern for path and query of the request with which Adobe takes it in.
    """

    argument: str
    read: Callable[[list[str]], Content]
    write: Callable[[str], str]
    found: Callable[[World, Run], Content]
    hands_over: str
    ways: tuple[str, ...] = ("same size", "smaller", "larger", "other list", "gone")

    def content(self, facts: Facts) -> Content:
        return self.read([Path(file).read_text() for file in self.files(facts)])

    def files(self, facts: Facts) -> list[str]:
        named = facts[self.argument]
        return [named] if isinstance(named, str) else list(named)

    def change(self, how: str, facts: Facts) -> Facts:
        """Bring a change about; return the facts for whoever starts from now on."""
        files = self.files(facts)
        first = Path(files[0])
        if how == "other list":
            another = first.with_name(f"another{first.suffix}")
            another.write_text(self.write("same size"))
            named = facts[self.argument]
            return facts | {
                self.argument: str(another) if isinstance(named, str) else [*files[1:], str(another)]
            }
        if how == "gone":
            first.rename(first.with_suffix(".gone"))
            return facts
        first.write_text(self.write(how))
        return facts

    def put_back(self, facts: Facts) -> None:
        for file in self.files(facts):
            gone = Path(file).with_suffix(".gone")
            if gone.exists():
                gone.rename(file)


# ------------------------------------------------------------------------------------------------------------
# batches


def rows_in(texts: list[str]) -> Content:
    return Counter(line for text in texts for line in text.splitlines())


def a_version(how: str) -> str:
    rows = rows_of(0)
    if how == "same size":
        return json_lines([{**row, "spent": len(rows) - 1 - row["spent"]} for row in rows])
    return json_lines(rows[:-5] if how == "smaller" else rows_of(0, 30))


def ingested(world: World, run: Run) -> Content:
    assert "loading" not in {batch["status"] for batch in batches(world)}, "a batch is left loading"
    found: Counter[str] = Counter()
    for batch_id, row in world.emulator.platform.rows(DATASET):
        if batch_id == run.result["batch_id"]:
            found[json.dumps(row)] += 1
    return found


def lying_in_the_batch(world: World, run: Run) -> Content:
    texts = []
    for _, path in world.emulator.platform.batches.batches[run.facts["batch_id"]].paths():
        texts.append(path.read_text())
    return rows_in(texts)


SOURCES: dict[str, Source] = {
    **dict.fromkeys(
        (
            "AdobeIngestBatchOperator",
            "AdobeIngestBatchOperator (deferrable)",
            "AdobeIngestBatchOperator (in parts)",
        ),
        Source("source", rows_in, a_version, ingested, r"/batches/[^/?]+\?action=COMPLETE"),
    ),
    # Another list is for the task that completes the batch to notice: tests/faults/flows.py.
    "AdobeUploadBatchFilesOperator": Source(
        "source",
        rows_in,
        a_version,
        lying_in_the_batch,
        "(?!)",  # what sends one file cannot know whether those of an earlier try are all there
        ways=("same size", "smaller", "larger", "gone"),
    ),
    # These read all of it when a try begins, so that whatever a try then does is one version.
    "AdobeSyncGroupsOperator (from a file)": Source(
        "desired",
        groups_declared,
        groups_in,
        groups_found,
        "",
        ways=("same size", "smaller", "larger", "other list"),
    ),
    "AdobeBulkProfileUpdateOperator (from a file)": Source(
        "source",
        profiles_declared,
        profiles_in,
        profiles_found,
        "",
        ways=("same size", "larger", "other list"),
    ),
}

#: Operators that read a source, and why a change of it is not tried with them alone.
NO_SOURCE_CHANGES: dict[str, str] = {
    "AdobeCreateBatchOperator": "sends nothing: the mapped Dag is tried as a whole",
    "AdobePlanGroupsOperator": "reads: the plan is of what was declared when it looked",
}

# ------------------------------------------------------------------------------------------------------------
# the acts


def _handed_over(case: Case, source: Source, held: dict[str, Any], *, killed: bool) -> bool:
    """Whether Adobe has taken the source in, or will do so with the request that is on its way."""
    return (not killed and re.search(source.hands_over, held["target"]) is not None) or any(
        entry.committed and re.search(source.hands_over, f"{entry.path}?{entry.query}")
        for entry in case.world.emulator.journal.entries
    )


def source_changes(how: str, *, killed: bool) -> Play:
    def play(case: Case) -> None:
        source = SOURCES[case.row.name]
        before = source.content(case.facts)
        case.rule(phase=phase_of(case), hold=True)
        run = case.run()
        handed_over: list[bool] = []
        retried: list[bool] = []

        def change(run: Run, held: dict[str, Any]) -> None:
            handed_over.append(_handed_over(case, source, held, killed=killed))
            retried.append(killed and run.phase != "trigger")  # a triggerer takes its triggers up again
            run.facts = source.change(how, case.facts)
            if killed:
                run.kill()
            release(case, held, "drop" if killed else "continue")

        run.to_the_end(at(change))
        free_of_secrets(case)
        if run.state == "failed":
            assert not killed or how != "gone" or not handed_over[0], (
                f"Adobe has all of the source, and the task wants it again: {run.history[-1]}"
            )
            case.row.check_ended(case.world, [run])
        source.put_back(case.facts)
        run = _followed(case, run)
        now = source.content(run.facts)
        old_is_right = how == "gone" or (handed_over[0] and not retried[0])
        found = source.found(case.world, run)
        assert found == now or (old_is_right and found == before), _difference(found, now, before)
        run.clear()
        run.to_the_end()
        run = _followed(case, run)
        found = source.found(case.world, run)
        assert found == now, f"cleared, and still: {_difference(found, now, before)}"

    return play


def there_and_back(case: Case) -> None:
    """The source changes, a try sees that, and the third finds it as it was."""
    source = SOURCES[case.row.name]
    before = source.content(case.facts)
    first = Path(source.files(case.facts)[0])
    text = first.read_text()
    chance = random.Random(case.detail)
    case.rule(phase=phase_of(case), hold=True)
    run = case.run()
    deferred: list[Content] = []

    def change(run: Run, held: dict[str, Any]) -> None:
        if run.phase == "trigger":  # no try looks again
            deferred.append(source.content(run.facts))
        if any(ended.state == "killed" for ended in run.history):
            first.write_text(text)
        else:
            run.facts = source.change("same size", case.facts)
            case.rule(nth=chance.randint(1, len(case.requests)), phase="after", hold=True)
        run.kill()
        release(case, held, "drop")

    run.to_the_end(at(change))
    run = _followed(case, run)
    now = source.content(run.facts)
    found = source.found(case.world, run)
    assert found == now or found in deferred, _difference(found, now, before)


def _followed(case: Case, run: Run) -> Run:
    for _ in range(FOLLOWED):
        if run.state == "failed":
            run = follow(case, run)
    assert run.state == "success", f"{run.state}: {run.history[-1]}"
    return run


def _difference(found: Content, now: Content, before: Content) -> str:
    if found == before:
        return "green, and Adobe has the old content"
    if not isinstance(found, Counter):
        return f"green, and Adobe has {found}, not {now}"
    more, missing = (found - now).total(), (now - found).total()
    return f"green, and of what Adobe has {more} are too many and {missing} missing"


for _how in ("same size", "smaller", "larger", "other list", "gone"):
    for _killed in (False, True):
        _rows = frozenset(name for name, source in SOURCES.items() if _how in source.ways)
        if not (
            _how == "other list" and not _killed
        ):  # a process that goes on has the list that it was given
            act(
                f"source: {_how}{', and a retry' if _killed else ''}",
                "source",
                source_changes(_how, killed=_killed),
                at_every_moment,
                _rows,
            )
act("source: another, and back again", "source", there_and_back, at_every_moment, frozenset(SOURCES))
