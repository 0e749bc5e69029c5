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
    before = emulator.platform.external_audiences.audiences[audience].expires
    assert adobe.post(f"{BASE}/extend-ttl/{audience}").json() == {
        "audienceId": audience,
        "name": ASKED["name"],
    }
    assert emulator.platform.external_audiences.audiences[audience].expires == before + 5 * 86_400
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
