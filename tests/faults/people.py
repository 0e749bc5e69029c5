# SPDX-License-Identifier: Apache-2.0
"""The two ways in which a case may end: right data at Adobe, or a failed task that says what is wrong and
what to do, and doing that leads to right data.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.by_hand import adobe
from tests.faults.cases import Case, clear
from tests.faults.harness import Run, World
from tests.faults.rows import Row, find
from tests.faults.rows_audience_manager import NAMES_ARE_NOT_UNIQUE, NoPlan, live
from tests.faults.rows_experience_platform import DATASET, batches, one_audience
from tests.faults.rows_target import store_has_the_live_token

Right = Callable[[World, list[Run]], None]

#: What must be true for a row after acts of people, where that is less than after faults on the wire: a run
#: of the same id does not know that its predecessor did the work.
RIGHT: dict[str, Right] = {
    "AdobeCreateAudienceMetadataOperator": one_audience,
    "AdobeCreateAudienceMetadataOperator (Adobe makes the id)": one_audience,
    "AdobeRotateProfileTokenOperator": store_has_the_live_token,
}


def its_own_rows(world: World, runs: list[Run]) -> None:
    """Each run has a batch of its own with its rows, whatever else there is."""
    for run in runs:
        found = Counter(
            json.dumps(row)
            for batch, row in world.emulator.platform.rows(DATASET)
            if batch == run.result["batch_id"]
        )
        wanted = Counter(line for file in run.facts["source"] for line in Path(file).read_text().splitlines())
        assert found == wanted, (
            f"{(found - wanted).total()} rows too many, {(wanted - found).total()} missing"
        )


def its_own_batch(world: World, runs: list[Run]) -> None:
    held = {batch["id"]: batch["status"] for batch in batches(world)}
    assert {held[run.result] for run in runs} == {"loading"}, held


#: The same where a deleted run has left something of its own.
RIGHT_AGAIN: dict[str, Right] = {
    "AdobeIngestBatchOperator": its_own_rows,
    "AdobeIngestBatchOperator (deferrable)": its_own_rows,
    "AdobeIngestBatchOperator (in parts)": its_own_rows,
    "AdobeCreateBatchOperator": its_own_batch,
}
#: So often a person does what an error says before giving up.
FOLLOWED = 3
#: How often each advice was followed, for the figures of a run.
advice_followed: dict[str, int] = {}


def names_are_not_unique(row: Row) -> bool:
    return NAMES_ARE_NOT_UNIQUE in row.not_with.values()


def ends_right(case: Case, *runs: Run, follow_advice: bool = False, right: Right | None = None) -> Run:
    """Let the runs come to their end, and hold them together to their invariant.

    :param follow_advice: the task may fail, with a clear error, and a person does then what it says;
        otherwise Airflow's retries are all the help that is needed.
    """
    finished = []
    for each in runs:
        run = each
        run.to_the_end()
        for _ in range(FOLLOWED if follow_advice or _may_fail(case, runs) else 0):
            if run.state != "failed":
                break
            run = follow(case, run)
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        finished.append(run)
    for run in finished:
        for ended in run.errors:
            assert clear(ended.details), f"not a clear error: {ended.details}"
    free_of_secrets(case)
    (right or RIGHT.get(case.row.name) or case.row.check)(case.world, finished)
    return finished[-1]


def _may_fail(case: Case, runs: tuple[Run, ...]) -> bool:
    """Runs at once that change the same groups may get in each other's way, if they say so."""
    return len(case.runs) > 1 and case.row.operator in (
        "AdobeSyncGroupsOperator",
        "AdobeApplyGroupsPlanOperator",
        "AdobeCreateGroupOperator",
    )


def free_of_secrets(case: Case) -> None:
    assert not case.world.secrets_in_log(), "a secret is in the task's log"


def follow(case: Case, run: Run) -> Run:
    """Do what the error of a failed run says; return the run that comes of it."""
    details = run.history[-1].details
    assert "error" in details, f"failed without an error: {run.history[-1]}"
    assert clear(details), f"failed without a clear error: {run.history[-1]}"
    advice = details["error"].rpartition("What to do: ")[2]
    for pattern, do in FOLLOWING:
        if re.search(pattern, advice, re.IGNORECASE):
            advice_followed[pattern] = advice_followed.get(pattern, 0) + 1
            return do(case, run)
    raise AssertionError(f"nobody knows how to follow this: {advice}")


def _another_run(case: Case, run: Run) -> Run:
    other = case.run(run_id=f"{run.run_id}.followed-{len(case.runs)}")
    other.facts = run.facts
    other.to_the_end()
    return other


def _remove_the_empty_one(case: Case, run: Run) -> Run:
    aam = case.world.emulator.audience_manager
    for name in duplicates(case.world):
        same = [group for group in live(case.world).values() if group["name"] == name]
        # The emptiest and newest go; one stays.
        same.sort(key=lambda group: (len(group["users"]), len(group["permissions"]), -group["groupId"]))
        for group in same[:-1]:
            aam.drop_group(group["groupId"])
    return _clear(case, run)


def _allow(case: Case, run: Run) -> Run:
    """A guard has stopped it. A person looks, and sets the parameters that the guard names."""
    named = re.findall(r"\(allowed by (\w+)=([\w.]+)\)", run.history[-1].details["error"])
    assert named, f"the guard names no parameter: {run.history[-1]}"
    options = {name: value == "True" if value in ("True", "False") else float(value) for name, value in named}
    run.facts = run.facts | {"options": run.facts.get("options", {}) | options}
    return _plan_again(case, run) if "plan" in run.facts else _clear(case, run)


def _plan_again(case: Case, run: Run) -> Run:
    planning = Run(
        case.world,
        find("AdobePlanGroupsOperator"),
        run.facts,
        run_id=run.run_id,
        again=f".planning-{len(case.runs)}",
    )
    case.runs.append(planning)
    planning.to_the_end()
    for _ in range(FOLLOWED):
        if planning.state == "failed":
            planning = follow(case, planning)
    if planning.state == "skipped":  # nothing is left to do, and Airflow skips what follows
        run.state = "success"
        return run
    assert planning.state == "success", planning.history[-1]
    run.facts = planning.facts | {"plan": planning.result}
    return _clear(case, run)


def _clear(case: Case, run: Run) -> Run:
    case.lift()
    run.clear()
    run.to_the_end()
    return run


def _revert(case: Case, run: Run) -> Run:
    """Take the rows of a batch that has ended out of the dataset, with the request that the error names."""
    case.lift()
    (path,) = re.findall(r"POST (\S+\?action=REVERT)", run.history[-1].details["error"])
    batch_id = path.rpartition("/")[2].partition("?")[0]
    with adobe(case.world.emulator) as client:
        for _ in range(30):
            status = client.get(f"/data/foundation/catalog/batches/{batch_id}").json()[batch_id]["status"]
            if status in ("success", "failed"):
                break
            time.sleep(0.1)
        if status == "success":
            client.post(path).raise_for_status()
    return _clear(case, run)


#: How the advice of an error is followed, the first that matches.
FOLLOWING: list[tuple[str, Callable[[Case, Run], Run]]] = [
    (r"action=REVERT", _revert),
    (r"set the named parameters", _allow),
    (r"planning task again|plan again", _plan_again),
    (r"another run id|new (Dag )?run|another run of the Dag", _another_run),
    (r"duplicate|delete (all but )?one of|same name|rename or delete|tidy up", _remove_the_empty_one),
    (r"clear|again|retr(y|ies)|repeat|run the task", _clear),
    (r".", _clear),
]


def duplicates(world: World) -> Counter[str]:
    """Return the names that more than one group has."""
    count = Counter(group["name"] for group in live(world).values())
    return Counter({name: number for name, number in count.items() if number > 1})


def or_says_so_in_the_next_run(case: Case, ends: Callable[[], Run]) -> None:
    """No client can take back a create that is processed when everything else is over. Then the next run
    must not be green: it names the duplicates, and is right when a person has removed the empty one.
    """
    try:
        ends()
    except (AssertionError, ValueError):  # the checks of rows unpack what should be single
        if not (names_are_not_unique(case.row) and duplicates(case.world)):
            raise
        try:
            later = case.run(run_id="later")
            later.to_the_end()
        except NoPlan as refused:
            later = refused.planning
        assert later.state == "failed", f"{duplicates(case.world)}, and the next run is {later.state}"
        run = follow(case, later)
        # A plan that finds nothing left to do skips what follows.
        assert run.state in ("success", "skipped"), f"{run.state}: {run.history[-1]}"
        case.row.check(case.world, [run])
