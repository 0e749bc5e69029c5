# SPDX-License-Identifier: Apache-2.0
"""Audience Manager: groups one by one, and the sync of declared groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobeBulkDeleteGroupsOperator,
    AdobeCreateGroupOperator,
    AdobeDeleteGroupOperator,
    AdobeGetGroupOperator,
    AdobeListGroupPermissionsOperator,
    AdobeListGroupsOperator,
    AdobePlanGroupsOperator,
    AdobeSetGroupPermissionsOperator,
    AdobeSyncGroupsOperator,
    AdobeUpdateGroupOperator,
)
from tests.faults.rows import ROWS, Facts, row

if TYPE_CHECKING:
    from tests.faults.harness import Run, World

READ = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}
WRITE = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ", "WRITE"]}
OTHER = {"objectType": "SEGMENT", "objectId": 2, "permissions": ["READ"]}

NAMES_ARE_NOT_UNIQUE = (
    "Audience Manager takes a name twice, so a create that it processes after the next look-up makes a "
    "second group; the next sync or create says so"
)
late_creates = dict.fromkeys(
    (
        "SIGKILL, and the write arrives later",
        "read timeout, processed later",
        "two runs at once, interleaved before the request",
        "two runs at once, interleaved after it is committed",
        "the lost process comes back, before the request",
        "the lost process comes back, after it is committed",
    ),
    NAMES_ARE_NOT_UNIQUE,
)


def live(world: World) -> dict[int, dict[str, Any]]:
    return {group["groupId"]: group for group in world.emulator.audience_manager.snapshot()["groups"]}


def some_groups(world: World) -> Facts:
    aam = world.emulator.audience_manager
    user = aam.add_user("ann")
    ids = {
        "research": aam.add_group(
            "Research", "old", permissions=[OTHER], users=[user.user_id], wildcards=["VIEW_TAGS"]
        ).group_id,
        "old": aam.add_group("EMEA Old").group_id,
        "older": aam.add_group("EMEA Older").group_id,
        "admins": aam.add_group("Admins", "do not touch", permissions=[WRITE], users=[user.user_id]).group_id,
    }
    return {"ids": ids, "before": {str(group_id): group for group_id, group in live(world).items()}}


def untouched(world: World, facts: Facts, *except_for: str) -> dict[int, dict[str, Any]]:
    """Hold every group that was there, but for these, to what it was; return the groups that are new."""
    now = live(world)
    spared = {facts["ids"][name] for name in except_for}
    for group_id, before in facts["before"].items():
        if int(group_id) not in spared:
            assert now[int(group_id)] == before
    return {group_id: group for group_id, group in now.items() if str(group_id) not in facts["before"]}


def created(world: World, runs: list[Run]) -> None:
    ((group_id, group),) = untouched(world, runs[0].facts).items()
    assert (group["name"], group["description"]) == ("Analysts", "new")
    assert all(run.result["group_id"] == group_id for run in runs)


row(
    name="AdobeCreateGroupOperator",
    invariant="exactly one group of this name; no other group changed",
    prepare=some_groups,
    build=lambda facts: AdobeCreateGroupOperator(task_id="create", name="Analysts", description="new"),
    check=created,
    not_with=late_creates,
)


def updated(world: World, runs: list[Run]) -> None:
    facts = runs[0].facts
    assert untouched(world, facts, "research") == {}
    research = facts["ids"]["research"]
    assert live(world)[research] == {**facts["before"][str(research)], "name": "Labs", "description": "new"}


row(
    name="AdobeUpdateGroupOperator",
    invariant="name and description are set; members, permissions and other groups are as before",
    prepare=some_groups,
    build=lambda facts: AdobeUpdateGroupOperator(
        task_id="update", group_id=facts["ids"]["research"], name="Labs", description="new"
    ),
    check=updated,
)


def reads(expected: Any) -> Any:
    def check(world: World, runs: list[Run]) -> None:
        facts = runs[0].facts
        assert untouched(world, facts) == {}
        assert all(run.result == expected(facts) for run in runs), [run.result for run in runs]

    return check


def brief(group: dict[str, Any]) -> dict[str, Any]:
    """Return a live group, or one in XCom, as both have it."""
    return {
        "group_id": group.get("group_id", group.get("groupId")),
        "name": group["name"],
        "description": group["description"],
    }


def listed(world: World, runs: list[Run]) -> None:
    before = runs[0].facts["before"]
    assert untouched(world, runs[0].facts) == {}
    for run in runs:
        assert run.result["count"] == 4
        assert [brief(group) for group in run.result["groups"]] == [brief(group) for group in before.values()]


row(
    name="AdobeListGroupsOperator",
    invariant="reads: the result is the live groups",
    prepare=some_groups,
    build=lambda facts: AdobeListGroupsOperator(task_id="list"),
    check=listed,
)


def got(world: World, runs: list[Run]) -> None:
    facts = runs[0].facts
    assert untouched(world, facts) == {}
    assert all(brief(run.result) == brief(facts["before"][str(facts["ids"]["research"])]) for run in runs)


row(
    name="AdobeGetGroupOperator",
    invariant="reads: the result is the live group",
    prepare=some_groups,
    build=lambda facts: AdobeGetGroupOperator(task_id="get", group_id=facts["ids"]["research"]),
    check=got,
)


def gone(*names: str) -> Any:
    def check(world: World, runs: list[Run]) -> None:
        facts = runs[0].facts
        assert untouched(world, facts, *names) == {}
        assert not {facts["ids"][name] for name in names} & live(world).keys()

    return check


row(
    name="AdobeDeleteGroupOperator",
    invariant="the group is gone; no other group changed",
    prepare=some_groups,
    build=lambda facts: AdobeDeleteGroupOperator(task_id="delete", group_id=facts["ids"]["old"]),
    check=gone("old"),
    not_with={
        "404": "Audience Manager answers so when the group is gone already, which is what was asked for"
    },
)
row(
    name="AdobeBulkDeleteGroupsOperator",
    invariant="the groups are gone; no other group changed",
    prepare=some_groups,
    build=lambda facts: AdobeBulkDeleteGroupsOperator(
        task_id="delete", group_ids=[facts["ids"]["old"], facts["ids"]["older"]]
    ),
    check=gone("old", "older"),
)
row(
    name="AdobeListGroupPermissionsOperator",
    invariant="reads: the result is the live permissions",
    prepare=some_groups,
    build=lambda facts: AdobeListGroupPermissionsOperator(task_id="list", group_id=facts["ids"]["research"]),
    check=reads(lambda facts: [OTHER]),
)


def permitted(world: World, runs: list[Run]) -> None:
    facts = runs[0].facts
    assert untouched(world, facts, "research") == {}
    research = facts["ids"]["research"]
    assert live(world)[research] == {**facts["before"][str(research)], "permissions": [READ]}
    assert all(run.result == [READ] for run in runs)


row(
    name="AdobeSetGroupPermissionsOperator",
    invariant="the group has exactly these permissions; no other group changed",
    prepare=some_groups,
    build=lambda facts: AdobeSetGroupPermissionsOperator(
        task_id="set", group_id=facts["ids"]["research"], permissions=[READ]
    ),
    check=permitted,
)

# ------------------------------------------------------------------------------------------------------------
# sync

DESIRED = {
    "groups": [
        {"name": "EMEA Analysts", "description": "read only", "permissions": [READ]},
        {"name": "EMEA Two"},
        {
            "name": "R&D",
            "previously": ["Research"],
            "permissions": [{**OTHER, "permissions": ["READ", "WRITE"]}],
        },
    ]
}
OPTIONS: dict[str, Any] = {"prune": True, "managed_groups": "EMEA.*", "max_delete_ratio": 0.7}


def options(facts: Facts) -> dict[str, Any]:
    """Return the guards, and what a person has allowed since."""
    return OPTIONS | facts.get("options", {})


def synced(world: World, runs: list[Run]) -> None:
    facts = runs[0].facts
    new = untouched(world, facts, "research", "old", "older")
    assert sorted(group["name"] for group in live(world).values()) == [
        "Admins",
        "EMEA Analysts",
        "EMEA Two",
        "R&D",
    ]
    research = facts["ids"]["research"]
    assert live(world)[research] == {
        **facts["before"][str(research)],
        "name": "R&D",
        "permissions": [{**OTHER, "permissions": ["READ", "WRITE"]}],
    }
    by_name = {group["name"]: group for group in new.values()}
    assert (by_name["EMEA Analysts"]["description"], by_name["EMEA Analysts"]["permissions"]) == (
        "read only",
        [READ],
    )


EQUAL = "live groups equal the declared ones; no duplicates, no lost permission, nothing else changed"

row(
    name="AdobeSyncGroupsOperator",
    invariant=EQUAL,
    prepare=some_groups,
    build=lambda facts: AdobeSyncGroupsOperator(
        task_id="sync", desired=DESIRED, mode="apply", concurrency=1, **options(facts)
    ),
    check=synced,
    not_with=late_creates,
)


def drift(world: World, runs: list[Run]) -> None:
    facts = runs[0].facts
    assert untouched(world, facts) == {}
    assert all(run.result["mode"] == "check" and run.result["drift"] for run in runs)


row(
    name="AdobeSyncGroupsOperator (check)",
    invariant="reads: the drift is told, nothing is written",
    prepare=some_groups,
    build=lambda facts: AdobeSyncGroupsOperator(
        task_id="sync", desired=DESIRED, mode="check", on_drift="succeed", concurrency=1, **OPTIONS
    ),
    check=drift,
)


def planned(world: World, runs: list[Run]) -> None:
    assert untouched(world, runs[0].facts) == {}
    assert {run.result["changes"] for run in runs} == {runs[0].result["changes"]}
    assert runs[0].result["changes"] > 4


row(
    name="AdobePlanGroupsOperator",
    invariant="reads: the plan is complete, nothing is written",
    prepare=some_groups,
    build=lambda facts: AdobePlanGroupsOperator(
        task_id="plan", desired=DESIRED, concurrency=1, **options(facts)
    ),
    check=planned,
)


def without_plan(facts: Facts) -> Facts:
    return {name: value for name, value in facts.items() if name != "plan"}


class NoPlan(AssertionError):
    """The task that plans for a run has failed, so that there is nothing to apply."""

    def __init__(self, planning: Run) -> None:
        super().__init__(planning.history)
        self.planning = planning


def with_the_plan_of_its_run(world: World, facts: Facts, run_id: str) -> Facts:
    """A plan is applied in the Dag run that has made it."""
    from tests.faults.harness import Run

    if run_id not in world.plans:
        planning = Run(world, ROWS["AdobePlanGroupsOperator"], facts, run_id=run_id, again=".planning")
        if planning.to_the_end() != "success":
            raise NoPlan(planning)
        world.plans[run_id] = planning.result
    return {"plan": world.plans[run_id], **facts}


row(
    name="AdobeApplyGroupsPlanOperator",
    invariant=EQUAL,
    prepare=lambda world: with_the_plan_of_its_run(world, some_groups(world), "run_1"),
    for_run=lambda world, facts, run_id: (
        with_the_plan_of_its_run(world, without_plan(facts), run_id) if run_id != "run_1" else facts
    ),
    build=lambda facts: AdobeApplyGroupsPlanOperator(task_id="apply", plan=facts["plan"], concurrency=1),
    check=synced,
    not_with=late_creates
    | dict.fromkeys(
        (
            "refused for a whole try",
            "connect timeout",
            "DNS failure",
            "TLS: certificate of a stranger",
            "TLS: plain text instead",
            "a proxy that refuses",
            "a proxy, reset before the request is processed",
            "a proxy, reset after it is committed",
        ),
        "a plan names the host that it was made for, and these have another; it is refused there, before "
        "anything is sent",
    ),
)
