# SPDX-License-Identifier: Apache-2.0
"""Target: the profile token and the bulk profile update."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor
from tests.faults.file_store import FileStore
from tests.faults.rows import Facts, row

if TYPE_CHECKING:
    from tests.faults.harness import Run, World

REQUIRED = "enableProfileApiAuthentication"
DAY = 86_400


def store(facts: Facts) -> FileStore:
    return FileStore(facts["store"], facts["url"])


def a_store(world: World, holds: str | None) -> Facts:
    file = world.folder / "token"
    if holds is not None:
        file.write_text(holds)
    return {"store": str(file), "url": world.emulator.url}


def require_token(world: World) -> None:
    world.emulator.target.settings[REQUIRED] = True


# ------------------------------------------------------------------------------------------------------------
# rotation


def an_old_token(world: World) -> Facts:
    require_token(world)
    old = world.emulator.target.issue()
    old.expires = time.time() + 2 * DAY
    return a_store(world, old.value)


def store_has_the_live_token(world: World, runs: list[Run]) -> None:
    target = world.emulator.target
    assert (world.folder / "token").read_text() == target.token(), "who reads the store is locked out"
    created = 0
    looked = True
    for entry in world.emulator.journal.find(path="/authentication/token"):
        if entry.method == "GET":
            looked = True
        elif entry.method == "POST" and entry.committed:
            assert looked, "two tokens were created without a look in between"
            looked, created = False, created + 1
    assert created <= len(runs) + 1, f"{created} tokens were created"


def rotated(world: World, runs: list[Run]) -> None:
    store_has_the_live_token(world, runs)
    assert len(world.emulator.target.issued["profile_api"]) >= 2
    if not world.fault.startswith("cleared"):
        assert any(run.xcom.get("events") for run in runs), "consumers of the token were not told"


row(
    name="AdobeRotateProfileTokenOperator",
    invariant=(
        "the store holds the token that Target accepts; at most one token more than needed; consumers are "
        "told"
    ),
    prepare=an_old_token,
    build=lambda facts: AdobeRotateProfileTokenOperator(
        task_id="rotate", store=store(facts), verify_timeout=timedelta(seconds=5)
    ),
    check=rotated,
    needs_next_run=(
        "a token that Target creates when the task is over kills the one in the store; the next run sees it "
        "and adopts it"
    ),
)


def another_token_in_the_store(world: World) -> Facts:
    require_token(world)
    facts = a_store(world, world.emulator.target.issue().value)
    world.emulator.target.issue()
    return facts


row(
    name="AdobeRotateProfileTokenOperator (adopt)",
    invariant="the store holds the token that Target accepts; none was created",
    prepare=another_token_in_the_store,
    build=lambda facts: AdobeRotateProfileTokenOperator(
        task_id="adopt", store=store(facts), mode="adopt", verify_timeout=timedelta(seconds=5)
    ),
    check=store_has_the_live_token,
)


def only_the_setting(world: World, runs: list[Run]) -> None:
    assert world.emulator.target.settings == {**runs[0].facts["before"], REQUIRED: True}
    assert all(run.result["enabled"] is True for run in runs)


row(
    name="AdobeSetProfileAuthenticationOperator",
    invariant="the setting is on, and no other setting has changed",
    prepare=lambda world: (
        world.emulator.target.settings.update({REQUIRED: False})
        or {"before": dict(world.emulator.target.settings)}
    ),
    build=lambda facts: AdobeSetProfileAuthenticationOperator(task_id="require", enabled=True),
    check=only_the_setting,
)

# ------------------------------------------------------------------------------------------------------------
# bulk update

ROWS = [
    {"thirdPartyId": f"person-{number}", "tier": f"tier {number % 3}", "note": "São, 100%"}
    for number in range(12)
]


def profiles(world: World) -> Facts:
    require_token(world)
    return {"rows": ROWS, **a_store(world, world.emulator.target.issue().value)}


def profiles_are_set(world: World, runs: list[Run]) -> None:
    assert world.emulator.target.profiles == {
        ("thirdPartyId", one["thirdPartyId"]): {"tier": one["tier"], "note": one["note"]} for one in ROWS
    }
    for run in runs:
        assert {key: run.result[key] for key in ("rows", "successful", "failed")} == {
            "rows": 12,
            "successful": 12,
            "failed": 0,
        }
        assert {batch["batch_id"] for batch in run.result["batches"]} <= set(world.emulator.target.batches)


def update(facts: Facts) -> Any:
    return AdobeBulkProfileUpdateOperator(
        task_id="update",
        rows=facts["rows"],
        store=store(facts),
        poll_interval=1,
        deferrable=facts.get("deferrable", False),
    )


row(
    name="AdobeBulkProfileUpdateOperator",
    invariant="each profile has the row's values; the result tells of a batch that Target has",
    prepare=profiles,
    build=update,
    check=profiles_are_set,
    switches={"profile_batch_polls": 2},
)
row(
    name="AdobeBulkProfileUpdateOperator (deferrable)",
    invariant="each profile has the row's values; the result tells of a batch that Target has",
    prepare=lambda world: profiles(world) | {"deferrable": True},
    build=update,
    check=profiles_are_set,
    switches={"profile_batch_polls": 2},
)


def a_submitted_batch(world: World) -> Facts:
    facts = profiles(world)
    lines = "".join(f"{one['thirdPartyId']},gold\n" for one in ROWS)
    answer = httpx.post(
        f"{world.emulator.url}/m2/emulator/v2/profile/batchUpdate",
        content=f"batch=thirdPartyId,tier\n{lines}",
        headers={"Authorization": f"Bearer {(world.folder / 'token').read_text()}"},
        trust_env=False,
    ).raise_for_status()
    (batch,) = world.emulator.target.batches.values()
    assert batch.batch_id in answer.text
    return facts | {"batches": [world.emulator.target.status_url(batch, "emulator")]}


def told(world: World, runs: list[Run]) -> None:
    (batch,) = world.emulator.target.batches.values()
    for run in runs:
        assert (run.result["successful"], run.result["failed"]) == (12, 0)
        assert [one["batch_id"] for one in run.result["batches"]] == [batch.batch_id]


def sensor(facts: Facts) -> Any:
    return AdobeBulkProfileUpdateSensor(
        task_id="wait",
        batches=facts["batches"],
        store=store(facts),
        poke_interval=1,
        deferrable=facts.get("deferrable", False),
    )


row(
    name="AdobeBulkProfileUpdateSensor",
    invariant="reads: the result is the batch's outcome",
    prepare=a_submitted_batch,
    build=sensor,
    check=told,
    switches={"profile_batch_polls": 2},
)
row(
    name="AdobeBulkProfileUpdateSensor (deferrable)",
    invariant="reads: the result is the batch's outcome",
    prepare=lambda world: a_submitted_batch(world) | {"deferrable": True},
    build=sensor,
    check=told,
    switches={"profile_batch_polls": 2},
)
