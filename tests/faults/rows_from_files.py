# SPDX-License-Identifier: Apache-2.0
"""Operators that read what they are to do from a file, which people may change meanwhile. Wires do the same
to them as to those that are given it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator
from airflow_provider_adobe_audiences.operators.target import AdobeBulkProfileUpdateOperator
from tests.faults.rows import Facts, row
from tests.faults.rows_audience_manager import (
    DESIRED,
    EQUAL,
    late_creates,
    live,
    options,
    some_groups,
    synced,
)
from tests.faults.rows_target import a_store, require_token, store

if TYPE_CHECKING:
    from tests.faults.harness import Run, World


def groups_in(how: str) -> str:
    """Return the declared groups as a file, in a version."""
    groups: list[dict[str, Any]] = [{**group} for group in DESIRED["groups"]]
    if how == "same size":
        groups[0]["description"] = "read more"
    elif how == "smaller":
        del groups[1]
    elif how == "larger":
        groups.append({"name": "EMEA Three", "description": "more"})
    return json.dumps({"groups": groups})


def a_file_of_groups(world: World) -> Facts:
    file = world.folder / "groups.json"
    file.write_text(groups_in("at first"))
    return some_groups(world) | {"desired": str(file)}


row(
    for_people_only=True,
    name="AdobeSyncGroupsOperator (from a file)",
    invariant=EQUAL,
    prepare=a_file_of_groups,
    build=lambda facts: AdobeSyncGroupsOperator(
        task_id="sync", desired=facts["desired"], mode="apply", concurrency=1, **options(facts)
    ),
    check=synced,
    not_with=late_creates,
)


def groups_declared(texts: list[str]) -> dict[str, str | None]:
    return {
        group["name"]: group.get("description") or None
        for text in texts
        for group in json.loads(text)["groups"]
        if group["name"] != "R&D"  # its description is not declared
    }


def groups_found(world: World, run: Run) -> dict[str, str | None]:
    return {
        group["name"]: group["description"] or None
        for group in live(world).values()
        if group["name"].startswith("EMEA")
    }


def profiles_in(how: str) -> str:
    count, step = (30 if how == "larger" else 12), (1 if how == "same size" else 0)
    lines = [f"person-{number},tier {(number + step) % 3}" for number in range(count)]
    return "thirdPartyId,tier\n" + "".join(f"{line}\n" for line in lines)


def a_file_of_profiles(world: World) -> Facts:
    require_token(world)
    file = world.folder / "profiles.csv"
    file.write_text(profiles_in("at first"))
    return {"source": str(file), **a_store(world, world.emulator.target.issue().value)}


def profiles_declared(texts: list[str]) -> dict[str, str]:
    return dict(line.split(",") for text in texts for line in text.splitlines()[1:])


def profiles_found(world: World, run: Run) -> dict[str, str]:
    return {name: values["tier"] for (_, name), values in world.emulator.target.profiles.items()}


def as_declared(world: World, runs: list[Run]) -> None:
    from pathlib import Path

    assert profiles_found(world, runs[0]) == profiles_declared([Path(runs[0].facts["source"]).read_text()])


row(
    for_people_only=True,
    name="AdobeBulkProfileUpdateOperator (from a file)",
    invariant="each profile has the row's values",
    prepare=a_file_of_profiles,
    build=lambda facts: AdobeBulkProfileUpdateOperator(
        task_id="update", source=facts["source"], store=store(facts), poll_interval=1
    ),
    check=as_declared,
    switches={"profile_batch_polls": 2},
)
