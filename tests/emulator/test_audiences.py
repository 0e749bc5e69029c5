# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

CREATE = "/data/core/ais/audiences"
UPS = "/data/core/ups/audiences"
FLAG = {"createAudienceMetaOnly": "true"}
ACCEPT = {"accept": "application/vnd.adobe.external.audiences+json; version=2"}
AUDIENCE = {
    "name": "Frequent buyers",
    "audienceId": "cdnow-1",
    "namespace": "agora",
    "originName": "Agora_Collaboration",
}


def create(adobe: httpx.Client, **change: Any) -> httpx.Response:
    body = {name: value for name, value in (AUDIENCE | change).items() if value is not None}
    return adobe.post(CREATE, params=FLAG, headers=ACCEPT, json=body)


@pytest.mark.parametrize("base", ("/data/core/ais", "/core/ais"))
def test_metadata_is_created_and_read_back(adobe: httpx.Client, base: str) -> None:
    answer = adobe.post(f"{base}/audiences", params=FLAG, headers=ACCEPT, json=AUDIENCE)
    assert answer.status_code == 200
    made = answer.json()
    assert made.keys() == {"id", "name", "audienceId"}
    assert made["audienceId"] == "cdnow-1"
    found = adobe.get(UPS, params={"property": "audienceId==cdnow-1"}).json()["children"]
    assert [audience["id"] for audience in found] == [made["id"]]
    assert found[0]["type"] == "ExternalSegment"
    assert adobe.get(f"{UPS}/{made['id']}").json() == found[0]


def test_the_older_generation(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["ais_generation"] = "v3"
    made = create(adobe, audienceId=None).json()
    assert made.keys() == {"name", "audienceId"}
    assert len(made["audienceId"]) == 36


@pytest.mark.parametrize("mode", ("conflict", "new", "existing"))
def test_duplicates(emulator: RunningEmulator, adobe: httpx.Client, mode: str) -> None:
    emulator.switches["ais_duplicate"] = mode
    first, second = create(adobe), create(adobe)
    if mode == "conflict":
        assert second.status_code == 409
        assert second.json()["type"].endswith("/100950-409")
        assert second.json()["title"] == "DUPLICATE_RESOURCE"
    else:
        assert (second.json()["id"] == first.json()["id"]) == (mode == "existing")
    assert len(emulator.platform.audiences.audiences) == (2 if mode == "new" else 1)


def test_the_same_id_in_another_namespace_is_no_duplicate(adobe: httpx.Client) -> None:
    assert [create(adobe).status_code, create(adobe, namespace="other").status_code] == [200, 200]


@pytest.mark.parametrize(
    "change", ({"name": " "}, {"name": None}, {"namespace": None}, {"originName": 3}, {"audienceId": ""})
)
def test_bad_bodies(adobe: httpx.Client, change: dict[str, Any]) -> None:
    answer = create(adobe, **change)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/100910-400")


def test_flag_and_accept_are_mandatory(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    assert adobe.post(CREATE, headers=ACCEPT, json=AUDIENCE).status_code == 400
    assert adobe.post(CREATE, params=FLAG, json=AUDIENCE).status_code == 400
    emulator.switches["ais_accept_missing"] = "not_acceptable"
    assert adobe.post(CREATE, params=FLAG, json=AUDIENCE).status_code == 406
    assert not emulator.platform.audiences.audiences


@pytest.mark.parametrize("mode", ("page", "offset"))
def test_paging_by_next(emulator: RunningEmulator, adobe: httpx.Client, mode: str) -> None:
    emulator.switches.update({"audiences_start": mode, "audiences_limit": 2})
    for number in range(5):
        create(adobe, audienceId=f"a{number}")
    seen: list[str] = []
    start: int | None = 0
    steps = []
    while start is not None:
        body = adobe.get(UPS, params={"start": start, "sort": "audienceId:asc"}).json()
        seen += [audience["audienceId"] for audience in body["children"]]
        steps.append(start)
        start = body["_page"].get("next")
    assert seen == [f"a{number}" for number in range(5)]
    assert steps == ([0, 1, 2] if mode == "page" else [0, 2, 4])
    assert body["_page"]["totalCount"] == 5


def test_filters(adobe: httpx.Client) -> None:
    create(adobe, audienceId="one", name="Frequent buyers", description="Twelve orders")
    create(adobe, audienceId="two", name="Lapsed", description="None")

    def ids(**params: str) -> set[str]:
        return {audience["audienceId"] for audience in adobe.get(UPS, params=params).json()["children"]}

    assert ids(name="FREQ") == {"one"}
    assert ids(description="none") == {"two"}
    assert ids(property="originName==Agora_Collaboration") == {"one", "two"}
    assert ids(property="audienceId==on") == set()


def test_inactive_ones_show_by_audience_id_only(adobe: httpx.Client) -> None:
    number = create(adobe).json()["id"]
    assert (
        adobe.patch(
            f"{UPS}/{number}", json=[{"op": "add", "path": "/lifecycleState", "value": "inactive"}]
        ).status_code
        == 200
    )
    assert adobe.get(UPS).json()["children"] == []
    assert len(adobe.get(UPS, params={"property": "audienceId==cdnow-1"}).json()["children"]) == 1


def test_patch_put_and_delete(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    url = f"{UPS}/{create(adobe).json()['id']}"
    before = adobe.get(url).json()
    emulator.clock.advance(5)
    after = adobe.patch(url, json=[{"op": "add", "path": "/description", "value": "new"}]).json()
    assert (after["description"], after["_etag"] != before["_etag"]) == ("new", True)
    assert after["updateEpoch"] >= before["updateEpoch"] + 5
    assert adobe.patch(url, json=[{"op": "add", "path": "/namespace", "value": "x"}]).status_code == 400
    assert adobe.put(url, json={"name": "Renamed"}).json()["name"] == "Renamed"
    emulator.switches["ups_write_status"] = 201
    assert adobe.put(url, json={"name": "Again"}).status_code == 201
    assert adobe.delete(url).status_code == 204
    gone = adobe.get(url)
    assert gone.status_code == 404
    assert gone.json()["type"].endswith("UPAPI-113430-404")
    assert "404" in gone.json()["errors"]


def test_bulk_get(adobe: httpx.Client) -> None:
    number = create(adobe).json()["id"]
    some = adobe.post(f"{UPS}/bulk-get", json={"ids": [{"id": number}, {"id": "missing"}]})
    assert some.status_code == 207
    assert some.json()["results"][number]["name"] == AUDIENCE["name"]
    assert some.json()["results"]["missing"]["errors"]["404"][0]["message"] == "Not found."
    assert adobe.post(f"{UPS}/bulk-get", json={"ids": [{"id": "missing"}]}).status_code == 404
    assert adobe.post(f"{UPS}/bulk-get", json={"ids": []}).status_code == 400


def test_a_new_audience_may_show_later(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["audience_visible_seconds"] = 60
    create(adobe)
    assert adobe.get(UPS).json()["children"] == []
    assert create(adobe).status_code == 409
    emulator.clock.advance(61)
    assert len(adobe.get(UPS).json()["children"]) == 1


def test_sandboxes_are_apart(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["sandboxes"] = ["prod", "dev"]
    number = create(adobe).json()["id"]
    dev = {"x-sandbox-name": "dev"}
    assert adobe.get(UPS, headers=dev).json()["children"] == []
    assert adobe.get(f"{UPS}/{number}", headers=dev).status_code == 404


def test_an_external_audience_that_is_created_here_keeps_what_identifies_it(adobe: httpx.Client) -> None:
    body = {"name": "n", "type": "ExternalSegment", "audienceId": "mine", "namespace": "agora"}
    made = adobe.post(UPS, json=body).json()
    assert (made["audienceId"], made["namespace"]) == ("mine", "agora")
    own = adobe.post(UPS, json={"name": "n", "audienceId": "mine", "namespace": "agora"}).json()
    assert (own["audienceId"], own["namespace"]) == (own["id"], "AEPSegments")
