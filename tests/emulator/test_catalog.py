# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

BATCHES = "/data/foundation/catalog/batches"


@pytest.fixture
def three(emulator: RunningEmulator, create_batch: Any, act: Any) -> list[str]:
    """Three batches, a second apart; the last one is aborted."""
    ids = []
    for number in range(3):
        ids.append(
            create_batch(
                externalId=f"run-{number}", datasetId="other" if number == 1 else "ds", tags={"mine": ["x"]}
            )
        )
        emulator.clock.advance(1)
    act(ids[2], "ABORT")
    return ids


def test_one_batch_is_keyed_by_its_id(
    emulator: RunningEmulator, adobe: httpx.Client, three: list[str]
) -> None:
    answer = adobe.get(f"{BATCHES}/{three[0]}")
    assert list(answer.json()) == [three[0]]
    batch = answer.json()[three[0]]
    assert (batch["externalId"], batch["status"], batch["tags"]) == ("run-0", "loading", {"mine": ["x"]})
    assert abs(batch["created"] / 1000 - emulator.clock.now()) < 60
    assert adobe.get(f"{BATCHES}/nothing").json()["title"] == "NotFoundError"


def test_filters(adobe: httpx.Client, three: list[str]) -> None:
    def find(**params: Any) -> list[str]:
        answer = adobe.get(BATCHES, params=params)
        assert answer.status_code == 200
        return list(answer.json())

    created = adobe.get(f"{BATCHES}/{three[1]}").json()[three[1]]["created"]
    assert find() == three[::-1]
    assert find(orderBy="asc:created") == three
    assert find(externalId="run-1") == [three[1]]
    assert find(externalId="run") == []
    assert find(dataSet="other") == [three[1]]
    assert find(status="aborted") == [three[2]]
    assert find(status="loading,aborted", limit=2) == three[:0:-1]
    assert find(limit=2, start=2) == [three[0]]
    assert find(createdAfter=created) == [three[2]]
    assert find(createdBefore=created) == [three[0]]
    assert find(tags="mine", property="externalId~^run-[01]") == three[1::-1]
    assert find(batch=three[0]) == [three[0]]


def test_projection_and_bad_limits(adobe: httpx.Client, three: list[str]) -> None:
    found = adobe.get(BATCHES, params={"properties": "status,externalId"}).json()
    assert {frozenset(batch) for batch in found.values()} == {frozenset({"status", "externalId"})}
    for params in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"start": "-1"}):
        assert adobe.get(BATCHES, params=params).status_code == 400


def test_other_sandboxes_do_not_see_them(
    emulator: RunningEmulator, adobe: httpx.Client, three: list[str]
) -> None:
    emulator.switches["sandboxes"] = []
    dev = {"x-sandbox-name": "dev"}
    assert adobe.get(BATCHES, headers=dev).json() == {}
    assert adobe.get(f"{BATCHES}/{three[0]}", headers=dev).status_code == 404
