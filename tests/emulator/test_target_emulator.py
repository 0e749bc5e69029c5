# SPDX-License-Identifier: Apache-2.0
"""The emulator's Target, where Adobe's pages say what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

SETTINGS = "/emulator/target/clients/settings"
TOKEN = "/emulator/target/authentication/token?authorizationScope=profile_api"
AUDIENCES = "/emulator/target/audiences"
BULK = "/m2/emulator/v2/profile/batchUpdate"


def media(version: int) -> str:
    return f"application/vnd.adobe.target.v{version}+json"


@pytest.fixture
def adobe(emulator: RunningEmulator) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {emulator.ims.issue()}", "x-api-key": "emulator-client"}
    with httpx.Client(base_url=emulator.url, headers=headers, timeout=10) as client:
        yield client


@pytest.fixture
def bulk(emulator: RunningEmulator) -> Callable[[str], str]:
    """``bulk("pcId,a\\n1,x")`` sends a bulk update without authentication, and returns the response."""
    emulator.target.settings["enableProfileApiAuthentication"] = False

    def send(text: str) -> str:
        return httpx.post(emulator.url + BULK, content=f"batch={text}".encode()).text

    return send


@pytest.mark.parametrize(
    ("accept", "status"),
    (
        (media(1), 200),
        ("application/json", 200),
        ("*/*", 200),
        (f"{media(3)}, {media(1)}", 200),
        (media(2), 406),
        ("text/xml", 406),
    ),
)
def test_a_request_without_payload_names_its_version_by_accept(
    adobe: httpx.Client, accept: str, status: int
) -> None:
    answer = adobe.get(SETTINGS, headers={"accept": accept})
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["content-type"] == media(1)
    else:
        assert answer.json()["errors"][0]["errorCode"] == "Unsupported.Feature"


@pytest.mark.parametrize(
    ("kind", "status"), ((media(1), 200), ("application/json", 200), (media(2), 406), (media(3), 406))
)
def test_a_payload_names_its_version_by_content_type(adobe: httpx.Client, kind: str, status: int) -> None:
    # Accept has no say then
    headers = {"content-type": kind, "accept": media(3)}
    assert adobe.patch(SETTINGS, content=b"{}", headers=headers).status_code == status


@pytest.mark.parametrize("method", ("PATCH", "PUT"))
@pytest.mark.parametrize("body", (b"", b"{", b"[" * 100_000, b"\xff", b"[]", b'{"a4TEnabled": NaN}', b"1"))
def test_a_broken_body_of_settings_is_refused(
    emulator: RunningEmulator, adobe: httpx.Client, method: str, body: bytes
) -> None:
    before = dict(emulator.target.settings)
    answer = adobe.request(method, SETTINGS, content=body, headers={"content-type": media(1)})
    assert (answer.status_code, answer.json()["httpStatus"]) == (400, 400)
    assert emulator.target.settings == before


@pytest.mark.parametrize(
    "change",
    (
        {"ipObfuscation": "SOMETIMES"},
        {"locale": 7},
        {"a4TEnabled": "true"},
        {"flickerManagerSettings": {"enabled": True, "timeout": 99_999}},
        {"flickerManagerSettings": {"timeout": 5}},
        {"flickerManagerSettings": None},
        {"allowedRemoteOfferUrlPatterns": ["a", "a"]},
        {"allowedRemoteOfferUrlPatterns": "a"},
        {"nonsense": True},
    ),
)
def test_settings_are_checked(emulator: RunningEmulator, adobe: httpx.Client, change: dict[str, Any]) -> None:
    before = dict(emulator.target.settings)
    answer = adobe.patch(SETTINGS, json=change)
    assert (answer.status_code, answer.json()["errors"][0]["errorCode"]) == (400, "Invalid.Field")
    assert emulator.target.settings == before


def test_good_settings_are_kept_as_they_are(adobe: httpx.Client) -> None:
    change = {
        "ipObfuscation": "STRIP",
        "flickerManagerSettings": {"enabled": False, "timeout": 10_000},
        "allowedRemoteOfferUrlPatterns": ["b", "a"],
    }
    assert change.items() <= adobe.patch(SETTINGS, json=change).json().items()


def test_an_error_tells_the_time(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    first = datetime.fromisoformat(adobe.get(TOKEN).json()["requestTime"])
    emulator.clock.advance(3600)
    second = datetime.fromisoformat(adobe.get(TOKEN).json()["requestTime"])
    assert 3600 <= (second - first).total_seconds() < 3700


def test_a_profile_that_is_fetched(emulator: RunningEmulator, bulk: Callable[[str], str]) -> None:
    bulk("pcId,city\nu1,Oslo")
    body = httpx.get(f"{emulator.url}/rest/v1/profiles/u1", params={"client": "emulator"}).json()
    assert (body["client"], body["visitorId"]) == ("emulator", "u1")
    city = body["profileAttributes"]["city"]
    assert city["value"] == "Oslo"
    for time in (body["modifiedAt"], city["modifiedAt"]):
        assert datetime.fromisoformat(time).utcoffset() is not None


def test_a_later_bulk_update_replaces_what_nobody_has_read(
    emulator: RunningEmulator, bulk: Callable[[str], str]
) -> None:
    profiles = emulator.target.profiles
    bulk("pcId,a,b\nu1,1,1")
    bulk("pcId,b,c\nu1,2,2")
    assert profiles["pcId", "u1"] == {"b": "2", "c": "2"}
    httpx.get(f"{emulator.url}/rest/v1/profiles/u1")
    bulk("pcId,d\nu1,3")
    assert profiles["pcId", "u1"] == {"b": "2", "c": "2", "d": "3"}
    emulator.switches["bulk_v2_replaces"] = False
    bulk("pcId,e\nu1,4")
    assert profiles["pcId", "u1"] == {"b": "2", "c": "2", "d": "3", "e": "4"}


def test_a_bulk_update_without_values_is_skipped(
    emulator: RunningEmulator, bulk: Callable[[str], str]
) -> None:
    assert "<success>true</success>" in bulk("pcId,a\nu1,\nu2,")
    assert emulator.target.profiles == {}
    emulator.switches["empty_bulk_batch"] = "refuse"
    assert "<success>false</success>" in bulk("pcId,a\nu1,\nu2,")


def test_audiences_are_listed(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.target.add_audience("b", origin="cloud")
    made = adobe.post("/_emulator/target/audiences", json={"name": "a", "description": "d"})
    assert made.status_code == 201
    answer = adobe.get(AUDIENCES, headers={"accept": media(3)})
    assert answer.headers["content-type"] == media(3)
    assert (answer.json()["total"], [one["name"] for one in answer.json()["audiences"]]) == (2, ["b", "a"])

    def names(**params: Any) -> list[str]:
        return [one["name"] for one in adobe.get(AUDIENCES, params=params).json()["audiences"]]

    assert names(sortBy="name") == ["a", "b"]
    assert names(sortBy="-name", limit=1) == ["b"]
    assert names(offset=1) == ["a"]
    assert names(origin="cloud") == ["b"]
    assert adobe.get(AUDIENCES, params={"limit": "x"}).status_code == 400
    assert adobe.get(AUDIENCES, headers={"accept": media(1)}).status_code == 406
