# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

BASE = "/data/core/ais/external-audience"
ASKED: dict[str, Any] = {
    "name": "Sample external audience",
    "customAudienceId": "custom-1",
    "fields": [
        {"name": "email", "type": "string", "identityNs": "email"},
        {"name": "age", "type": "integer"},
    ],
    "sourceSpec": {
        "params": {
            "path": "activation/sample.csv",
            "type": "file",
            "cloudType": "S3",
            "baseConnectionId": "c1",
        }
    },
    "ttlInDays": "40",
    "originName": "CUSTOM_UPLOAD",
}


@pytest.fixture
def audience(emulator: RunningEmulator, adobe: httpx.Client) -> str:
    emulator.switches["external_polls"] = 0
    operation = adobe.post(f"{BASE}/", json=ASKED).json()["operationId"]
    return str(adobe.get(f"{BASE}/operations/{operation}").json()["audienceId"])


def test_creation_takes_time(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["external_polls"] = 1
    answer = adobe.post(f"{BASE}/", json=ASKED)
    assert answer.status_code == 202
    details = answer.json()["operationDetails"]
    assert (details["ttlInDays"], details["fields"][0]["identityNs"]) == (40, "Email")
    url = f"{BASE}/operations/{answer.json()['operationId']}"
    first, second = adobe.get(url).json(), adobe.get(url).json()
    assert (first["status"], "audienceId" in first) == ("PROCESSING", False)
    assert (second["status"], second["audienceId"]) == ("SUCCESS", "custom-1")
    listed = adobe.get("/data/core/ups/audiences", params={"property": "audienceId==custom-1"}).json()[
        "children"
    ]
    assert listed[0]["namespace"] == "CustomerAudienceUpload"
    assert adobe.post(f"{BASE}/", json=ASKED).status_code == 409


def test_a_creation_may_fail(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches.update({"external_polls": 0, "external_outcome": "FAILED"})
    operation = adobe.post(BASE, json=ASKED).json()["operationId"]
    assert adobe.get(f"{BASE}/operations/{operation}").json()["status"] == "FAILED"
    assert not emulator.platform.external_audiences.audiences


def test_runs(emulator: RunningEmulator, adobe: httpx.Client, audience: str) -> None:
    emulator.switches["external_polls"] = 1
    runs = f"{BASE}/{audience}/runs"
    run = adobe.post(runs, json={"dataFilterStartTime": 1764245635}).json()["runId"]
    assert adobe.post(runs, json={"dataFilterStartTime": 1764245635}).status_code == 422
    first, second = adobe.get(f"{runs}/{run}").json(), adobe.get(f"{runs}/{run}").json()
    assert (first["status"], second["status"]) == ("PROCESSING", "SUCCESS")
    assert {stage["stage"] for stage in second["details"]} == {"DATASET_INGEST", "PROFILE_STORE_INGEST"}
    assert [entry["runId"] for entry in adobe.get(runs).json()["runs"]] == [run]
    assert adobe.post(runs, json={}).status_code == 400


def test_at_most_ten_runs(emulator: RunningEmulator, adobe: httpx.Client, audience: str) -> None:
    emulator.switches.update({"external_polls": None, "external_seconds": 0})
    runs = f"{BASE}/{audience}/runs"
    assert [adobe.post(runs, json={"dataFilterStartTime": 1}).status_code for _ in range(11)] == [
        200
    ] * 10 + [422]


def test_update_extend_delete(emulator: RunningEmulator, adobe: httpx.Client, audience: str) -> None:
    url = f"{BASE}/{audience}"
    changed = adobe.patch(
        url, json={"description": "d", "ttlInDays": 5, "fields": [{"name": "age", "labels": ["core/C1"]}]}
    ).json()
    assert (changed["ttlInDays"], changed["fields"][1]["labels"]) == (5, ["core/C1"])
    assert changed["sourceSpec"]["path"] == "activation/sample.csv"
    assert adobe.patch(url, json={"ttlInDays": 91}).status_code == 400
    assert adobe.patch(url, json={"name": "no"}).status_code == 400
    (kept,) = emulator.platform.external_audiences.audiences.values()
    before = kept.expires
    assert adobe.post(f"{BASE}/extend-ttl/{audience}").json() == {
        "audienceId": audience,
        "name": ASKED["name"],
    }
    assert kept.expires == before + 5 * 86_400
    assert adobe.delete(f"{url}/").status_code == 204
    assert adobe.delete(url).status_code == 404
    assert adobe.get("/data/core/ups/audiences").json()["children"] == []


@pytest.mark.parametrize(
    "change",
    (
        {"name": ""},
        {"originName": "X"},
        {"fields": []},
        {"fields": [{"name": "a", "type": "string"}]},
        {"fields": [{"name": "a", "type": "text", "identityNs": "email"}]},
        {"ttlInDays": 0},
        {"sourceSpec": {"params": {"path": "a b", "type": "file", "cloudType": "DLZ"}}},
        {
            "sourceSpec": {
                "params": {"path": "a", "type": "file", "cloudType": "DLZ", "baseConnectionId": "c"}
            }
        },
        {"sourceSpec": {"params": {"path": "a", "type": "file", "cloudType": "S3"}}},
    ),
)
def test_bad_requests(adobe: httpx.Client, change: dict[str, Any]) -> None:
    answer = adobe.post(BASE, json=ASKED | change)
    assert (answer.status_code, answer.json()["title"]) == (400, "BAD_REQUEST")


def test_an_audience_exists_although_nobody_has_asked_for_its_operation(
    emulator: RunningEmulator, adobe: httpx.Client
) -> None:
    emulator.switches.update({"external_polls": None, "external_seconds": 60})
    assert adobe.post(BASE, json=ASKED).status_code == 202
    found = {"property": "audienceId==custom-1"}
    assert adobe.get("/data/core/ups/audiences", params=found).json()["children"] == []
    assert adobe.post(BASE, json=ASKED).status_code == 409
    emulator.clock.advance(61)
    (listed,) = adobe.get("/data/core/ups/audiences", params=found).json()["children"]
    assert listed["name"] == ASKED["name"]
    assert adobe.post(BASE, json=ASKED).status_code == 409
    assert adobe.patch(f"{BASE}/custom-1", json={"description": "d"}).status_code == 200


def test_a_creation_that_failed_is_in_nobodys_way(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches.update({"external_polls": 0, "external_outcome": "FAILED"})
    adobe.post(BASE, json=ASKED)
    assert adobe.post(BASE, json=ASKED).status_code == 202


def test_sandboxes_are_apart(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches.update({"external_polls": 0, "sandboxes": ["prod", "dev"]})
    dev = {"x-sandbox-name": "dev"}
    operation = adobe.post(BASE, json=ASKED).json()["operationId"]
    assert adobe.get(f"{BASE}/operations/{operation}", headers=dev).status_code == 404
    assert adobe.post(BASE, json=ASKED, headers=dev).status_code == 202
    assert adobe.patch(f"{BASE}/custom-1", json={"description": "dev"}, headers=dev).status_code == 200
    assert "description" not in adobe.patch(f"{BASE}/custom-1", json={}).json()
    # 100 runs a day are a limit of each sandbox
    emulator.switches.update({"external_polls": None, "external_seconds": 0})
    run = {"dataFilterStartTime": 1}
    for number in range(10):
        body = ASKED | {"customAudienceId": f"many-{number}", "name": f"n{number}"}
        adobe.post(BASE, json=body)
        for _ in range(10):
            assert adobe.post(f"{BASE}/many-{number}/runs", json=run).status_code == 200
    assert adobe.post(f"{BASE}/custom-1/runs", json=run).status_code == 422
    assert adobe.post(f"{BASE}/custom-1/runs", json=run, headers=dev).status_code == 200


def test_namespaces_are_spelt_in_one_way(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["external_polls"] = 0
    for given, shown in (("ecid", "ECID"), ("ECID", "ECID"), ("email", "Email"), ("loyaltyId", "loyaltyId")):
        fields = [{"name": "i", "type": "string", "identityNs": given}]
        body = ASKED | {"fields": fields, "customAudienceId": f"c-{given}"}
        created = adobe.post(BASE, json=body).json()
        operation = adobe.get(f"{BASE}/operations/{created['operationId']}").json()
        changed = adobe.patch(f"{BASE}/c-{given}", json={"description": "d"}).json()
        for answer in (created["operationDetails"], operation["operationDetails"], changed):
            assert answer["fields"][0]["identityNs"] == shown


def test_an_operation_names_who_began_it(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["external_polls"] = 0
    operation = adobe.post(BASE, json=ASKED).json()["operationId"]
    emulator.ims.add_credential("other", "other-secret")
    reader = {"authorization": f"Bearer {emulator.ims.issue('other')}", "x-api-key": "other"}
    body = adobe.get(f"{BASE}/operations/{operation}", headers=reader).json()
    assert body["createdBy"] == body["updatedBy"] == "emulator-client@techacct.adobe.com"
    assert body["updatedAt"] >= body["createdAt"]


def test_the_cloud_type_is_required_or_not(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    body = ASKED | {"sourceSpec": {"params": {"path": "a", "type": "file", "baseConnectionId": "c"}}}
    assert adobe.post(BASE, json=body).status_code == 400
    emulator.switches["external_cloud_type_required"] = False
    assert adobe.post(BASE, json=body).status_code == 202


def test_the_key_of_a_run_comes_back_by_another_name(adobe: httpx.Client, audience: str) -> None:
    run = {"dataFilterStartTime": 1, "signVerificationKeyId": "k"}
    assert adobe.post(f"{BASE}/{audience}/runs", json=run).json()["publicKeyId"] == "k"
