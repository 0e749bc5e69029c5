# SPDX-License-Identifier: Apache-2.0
"""What somebody else does to batches and audiences meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tests.by_hand import adobe
from tests.faults.edits import Edit, Edited, look_with
from tests.faults.harness import Run, World
from tests.faults.rows import Facts
from tests.faults.rows_experience_platform import IMPORT, audiences, batches, exactly_the_source


def acts_on_batches(action: str) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        for batch in batches(world):
            if batch["status"] == "loading":
                with adobe(world.emulator) as client:  # Adobe may refuse: a batch without files, say
                    client.post(f"{IMPORT}/{batch['id']}", params={"action": action})

    return do


def all_of_the_source(note: Edited, run: Run) -> None:
    """As without the edit; a batch that somebody else has ended holds nothing, or is not in the dataset."""
    try:
        exactly_the_source(note.world, [run])
    except AssertionError:
        held = {batch["id"]: batch["status"] for batch in batches(note.world)}
        mine = run.result["batch_id"]
        others = {status for batch_id, status in held.items() if batch_id != mine}
        assert held[mine] == "success", held
        assert others <= {"aborted", "failed", "inactive"}, held
        number = sum(1 for batch_id, _ in note.world.emulator.platform.rows("dataset-1") if batch_id == mine)
        assert number == 20 * run.facts.get("count", 2), f"green with {number} rows"


def create_audience(world: World, facts: Facts) -> None:
    with adobe(world.emulator) as client:
        client.post(
            "/data/core/ais/audiences?createAudienceMetaOnly=true",
            json={"name": "By hand", "namespace": "shop", "originName": "Shop", "audienceId": "buyers"},
            headers={"Accept": "application/vnd.adobe.external.audiences+json; version=2"},
        )


def rename_audience(world: World, facts: Facts) -> None:
    for audience in world.emulator.platform.audiences.snapshot():
        with adobe(world.emulator) as client:
            client.patch(
                f"/data/core/ups/audiences/{audience['id']}",
                json=[{"op": "add", "path": "/name", "value": "By hand"}],
            ).raise_for_status()


def one_buyers(note: Edited, run: Run) -> None:
    (audience,) = audiences(note.world)
    assert audience["audienceId"] == "buyers"
    assert run.result["id"] == audience["id"]
    if run.facts.get("if_exists") == "update":
        assert audience["name"] == "Frequent buyers" or note.after_the_last_look(look_with("/audiences")), (
            audience
        )


BATCH_EDITS = [
    Edit("aborts the batch", acts_on_batches("ABORT"), all_of_the_source),
    Edit("fails the batch", acts_on_batches("FAIL"), all_of_the_source),
    Edit("completes the batch", acts_on_batches("COMPLETE"), all_of_the_source),
]
