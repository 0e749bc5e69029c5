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
    assert find(batch=f"{three[0]},{three[2]},nothing") == [three[2], three[0]]


@pytest.mark.parametrize(("meaning", "places"), [("any_of", [2, 0]), ("one", []), ("ignored", [2, 1, 0])])
def test_several_ids_in_the_filter_of_batches(
    emulator: RunningEmulator, adobe: httpx.Client, three: list[str], meaning: str, places: list[int]
) -> None:
    emulator.switches["catalog_batch_filter"] = meaning
    found = adobe.get(BATCHES, params={"batch": f"{three[0]},{three[2]}"}).json()
    assert list(found) == [three[place] for place in places]


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


@pytest.mark.parametrize("order", ("desc:tags", "asc:errors", "asc:relatedObjects,desc:created", "created"))
def test_order_by_anything(adobe: httpx.Client, three: list[str], order: str) -> None:
    answer = adobe.get(BATCHES, params={"orderBy": order})
    assert (answer.status_code, set(answer.json())) == (200, set(three))


def test_more_filters(adobe: httpx.Client, three: list[str]) -> None:
    def find(**params: Any) -> list[str]:
        return list(adobe.get(BATCHES, params=params).json())

    created = adobe.get(f"{BATCHES}/{three[1]}").json()[three[1]]["created"]
    assert find(status="!aborted") == three[1::-1]
    assert find(property=f"created>={created}") == three[:0:-1]
    assert find(property="externalId==run-1") == [three[1]]
    assert find(property="!nothing") == three[::-1]
    assert find(orderBy="created") == three
    assert adobe.get(BATCHES, params={"property": "externalId~(a+)+$"}).status_code == 400


def test_batches_carry_their_sandbox(adobe: httpx.Client, three: list[str]) -> None:
    batch = adobe.get(f"{BATCHES}/{three[0]}").json()[three[0]]
    assert len(batch["sandboxId"]) == 36


def test_the_singular_path(emulator: RunningEmulator, adobe: httpx.Client, three: list[str]) -> None:
    singular = f"/data/foundation/catalog/batch/{three[0]}"
    assert adobe.get(singular).status_code == 404
    emulator.switches["catalog_singular_path"] = True
    assert list(adobe.get(singular).json()) == [three[0]]


def test_batches_as_some_samples_have_them(
    emulator: RunningEmulator, adobe: httpx.Client, three: list[str]
) -> None:
    emulator.switches["catalog_batch_id"] = True
    batch = adobe.get(f"{BATCHES}/{three[0]}").json()[three[0]]
    assert (batch["id"], batch["tags"]) == (three[0], {"mine": "x"})


def test_metrics_are_documented_for_success_only_and_not_for_csv(
    emulator: RunningEmulator, ingest: Any
) -> None:
    assert ingest('{"a": 1}')["metrics"]["outputRecordCount"] == 1
    assert "metrics" not in ingest("broken")
    csv = ingest("a\n1\n", "csv")
    assert (csv["status"], csv["recordCount"], "metrics" in csv) == ("success", 1, False)
    emulator.switches["batch_metrics"] = "all"
    assert ingest("a\n1\n", "csv")["metrics"]["outputRecordCount"] == 1


def test_bytes_are_a_guardrail_too(emulator: RunningEmulator, ingest: Any) -> None:
    emulator.switches["max_batch_bytes"] = 5
    assert "8 bytes (over the 5 threshold)" in ingest('{"a": 1}')["errors"][0]["description"]


def test_the_response_to_an_action_says_what_became_of_the_batch(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any, act: Any, ingest: Any
) -> None:
    emulator.switches["action_response"] = "batch"
    good = ingest('{"a": 1}')["id"]
    said = {
        "COMPLETE": act(good, "COMPLETE").json()["status"],
        "REVERT": act(good, "REVERT").json()["status"],
    }
    for action in ("ABORT", "FAIL"):
        said[action] = act(create_batch(), action).json()["status"]
    assert said == {"COMPLETE": "processing", "REVERT": "inactive", "ABORT": "aborted", "FAIL": "failed"}


def test_a_batch_is_changed_and_deleted(adobe: httpx.Client, three: list[str]) -> None:
    url = f"{BATCHES}/{three[0]}"
    assert adobe.patch(url, json={"tags": {"seen": ["yes"]}}).json() == [f"@/batches/{three[0]}"]
    assert adobe.get(url).json()[three[0]]["tags"] == {"mine": ["x"], "seen": ["yes"]}
    assert adobe.patch(url, json={"status": "failed"}).status_code == 200
    assert adobe.get(url).json()[three[0]]["status"] == "failed"
    assert adobe.patch(url, json={"status": "success"}).status_code == 400
    assert adobe.delete(url).json() == [f"@/batches/{three[0]}"]
    assert adobe.get(url).json()[three[0]]["status"] == "deleted"


def test_the_last_batches_of_datasets(adobe: httpx.Client, three: list[str], ingest: Any) -> None:
    good = ingest('{"a": 1}')["id"]
    bad = ingest("broken")["id"]
    last = adobe.get("/data/foundation/catalog/lastBatches", params={"dataSetId": "ds,none"}).json()
    assert set(last) == {"ds"}
    assert last["ds"]["lastBatchId"] == last["ds"]["lastFailedBatchId"] == bad
    assert (last["ds"]["lastBatchStatus"], last["ds"]["lastSuccessfulBatchId"]) == ("failed", good)
    assert set(adobe.get("/data/foundation/catalog/lastBatches").json()) == {"ds", "other"}


def test_datasets(emulator: RunningEmulator, adobe: httpx.Client, ingest: Any) -> None:
    url = "/data/foundation/catalog/dataSets"
    body = {
        "name": "People",
        "tags": {"unifiedProfile": ["enabled:true"]},
        "schemaRef": {"id": "https://x/1"},
    }
    made = adobe.post(url, json=body)
    assert made.status_code == 201
    number = made.json()[0].removeprefix("@/dataSets/")
    assert made.headers["location"].endswith(f"/dataSets/{number}")
    assert adobe.get(f"{url}/{number}").json()[number]["schemaRef"] == {"id": "https://x/1"}
    assert adobe.get(f"{url}/{number}", params={"properties": "name"}).json() == {number: {"name": "People"}}
    patch = [{"op": "add", "path": "/tags/unifiedIdentity", "value": ["enabled:true"]}]
    assert adobe.patch(f"{url}/{number}", json=patch).json() == [f"@/dataSets/{number}"]
    assert set(adobe.get(f"{url}/{number}").json()[number]["tags"]) == {"unifiedProfile", "unifiedIdentity"}
    assert adobe.patch(f"{url}/{number}", json={"name": "Persons"}).status_code == 200
    adobe.post(url, json={"name": "Others"})
    found = adobe.get(
        url, params={"tags": "unifiedProfile:enabled*", "name": "Persons", "properties": "name"}
    )
    assert found.json() == {number: {"name": "Persons"}}
    for wrong in ({}, {"name": 1}, {"name": "n", "tags": {"a": "b"}}, []):
        assert adobe.post(url, json=wrong).status_code == 400
    emulator.switches.update({"sandboxes": [], "any_dataset": False})
    dev = {"x-sandbox-name": "dev"}
    assert adobe.get(url, headers=dev).json() == {}
    assert adobe.get(f"{url}/{number}", headers=dev).status_code == 404


def test_a_dataset_is_replaced_kept_for_a_while_and_deleted(adobe: httpx.Client, create_batch: Any) -> None:
    url = "/data/foundation/catalog/dataSets"
    number = adobe.post(url, json={"name": "a", "description": "d"}).json()[0].rpartition("/")[2]
    batch = create_batch(datasetId=number)
    assert adobe.put(f"{url}/{number}", json={"name": "b"}).json() == [f"@/dataSets/{number}"]
    document = adobe.get(f"{url}/{number}").json()[number]
    assert (document["name"], "description" in document, document["lastBatchId"]) == ("b", False, batch)
    v2 = f"/data/foundation/catalog/v2/dataSets/{number}"
    for text, status in (("P3M", 200), ("for ever", 400)):
        extensions = {"adobe_lakeHouse": {"rowExpiration": {"ttlValue": text}}}
        assert adobe.patch(v2, json={"extensions": extensions}).status_code == status
    assert adobe.delete(f"{url}/{number}").json() == [f"@/dataSets/{number}"]
    assert adobe.get(url).json() == {}
    assert adobe.get(f"{BATCHES}/{batch}").json()[batch]["status"] == "deleted"
