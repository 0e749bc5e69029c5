# SPDX-License-Identifier: Apache-2.0
"""Each request of a sync goes wrong once, in each way: the retries converge, without twins and without a lost permission. Counted and printed."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.errors import AdobeError
from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobePlanGroupsOperator,
    AdobeSyncGroupsOperator,
)

pytestmark = pytest.mark.faults

FAULTS: dict[str, dict[str, Any]] = {
    "500 before": {"status": 500},
    "500 after": {"status": 500, "phase": "after"},
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "reset before": {"drop": True},
    "reset after": {"drop": True, "phase": "after"},
    "closed after": {"drop": "close", "phase": "after"},
    "answer cut": {"truncate": 3},
    "timeout before": {"delay": 3, "status": 500},
    "timeout after": {"delay": 3, "phase": "after"},
    "garbage": {"status": 200, "body": "<html>oops</html>", "phase": "after"},
    "token ends": {"expire_token": True},
}
READ = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}
WRITE = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ", "WRITE"]}
OTHER = {"objectType": "SEGMENT", "objectId": 2, "permissions": ["READ"]}
DESIRED = {
    "groups": [
        {"name": "EMEA Analysts", "description": "read only", "permissions": [READ]},
        {"name": "EMEA Two"},
        {"name": "R&D", "previously": ["Research"], "permissions": [{**OTHER, "permissions": ["READ", "WRITE"]}]},
    ]
}
OPTIONS: dict[str, Any] = {"prune": True, "managed_groups": "EMEA.*", "max_delete_ratio": 0.5}


def sync() -> Any:
    return AdobeSyncGroupsOperator(task_id="sync", desired=DESIRED, mode="apply", **OPTIONS).execute({})


def apply(plan: Any) -> Any:
    return AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan).execute({})


def set_up(emulator: Any) -> dict[int, dict[str, Any]]:
    emulator.reset()
    aam = emulator.audience_manager
    user = aam.add_user("ann")
    aam.add_group("Research", "old", permissions=[OTHER], users=[user.user_id], wildcards=["VIEW_TAGS"])
    aam.add_group("EMEA Old")
    aam.add_group("Admins", "do not touch", permissions=[WRITE], users=[user.user_id])
    return {group["groupId"]: group for group in aam.snapshot()["groups"]}


def check(emulator: Any, before: dict[int, dict[str, Any]]) -> None:
    after = {group["groupId"]: group for group in emulator.audience_manager.snapshot()["groups"]}
    assert sorted(group["name"] for group in after.values()) == ["Admins", "EMEA Analysts", "EMEA Two", "R&D"]
    research, admins = before[1002], before[1004]
    assert after[1004] == admins
    assert after[1002] == {**research, "name": "R&D", "permissions": [{**OTHER, "permissions": ["READ", "WRITE"]}]}
    (analysts,) = [group for group in after.values() if group["name"] == "EMEA Analysts"]
    assert (analysts["description"], analysts["permissions"]) == ("read only", [READ])
    emulator.faults.clear()
    emulator.journal.clear()
    assert sync()["written"] == 0
    assert emulator.journal.writes() == []


def until_it_works(run: Any) -> int:
    """Run it as Airflow would, with retries; every error on the way must be one that allows a retry."""
    for number in range(1, 5):
        try:
            run()
            return number
        except AdobeError as error:
            if not error.transient:
                raise
    raise AssertionError("four tries were not enough")


# With one attempt per request the operator alone has to cope; with three, the transport repeats what may be repeated.
@pytest.mark.parametrize(("name", "attempts"), [(name, 1) for name in FAULTS] + [(name, 3) for name in ("500 after", "429", "reset after")])
@pytest.mark.parametrize("way", ("sync", "plan and apply"))
def test_every_request_goes_wrong_once(
    emulator: Any, adobe_connection: Any, way: str, name: str, attempts: int, record_property: Any
) -> None:
    tried = survived = most = 0
    while True:
        before = set_up(emulator)
        adobe_connection(max_attempts=attempts, read_timeout=0.5)
        run = sync
        if way == "plan and apply":
            run = partial(apply, AdobePlanGroupsOperator(task_id="plan", desired=DESIRED, **OPTIONS).execute({}))
        fault = emulator.faults.add(path="/api/v1/", nth=tried + 1, **FAULTS[name])

        most = max(most, until_it_works(run))

        if not emulator.faults.applied(fault):
            break
        tried += 1
        check(emulator, before)
        survived += 1
    record_property("cases", f"{survived} of {tried}")
    print(f"\nFAULTS {way}, {name}, {attempts} attempt(s) per request: {survived} of {tried} cases survived, at most {most} tries")
    assert tried >= 14
    assert survived == tried
