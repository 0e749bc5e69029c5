# SPDX-License-Identifier: Apache-2.0
"""A web page that somebody has open cannot use the control API, and no rule can stop the emulator."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

CONTROL = "/_emulator"
RULE = json.dumps({"path": "x", "status": 500})


def send(emulator: RunningEmulator, method: str, path: str, body: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, emulator.url + CONTROL + path, content=body or None, headers=named)


@pytest.mark.parametrize(
    "host",
    (
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "127.999.0.1",
        "localhost.evil.example",
        "192.168.0.10:8080",
        "0.0.0.0",
        "[::1]evil.example",
        "[::1",
        "evil.example@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1?x",
        "",
    ),
)
def test_the_host_is_this_machine(emulator: RunningEmulator, host: str) -> None:
    for method, path in (("GET", "/state"), ("GET", "/audience_manager"), ("POST", "/reset")):
        answer = send(emulator, method, path, host=host)
        assert (answer.status_code, "Host" in answer.json()["message"]) == (403, True)
    assert emulator.journal.entries == []


@pytest.mark.parametrize(
    "host", ("127.0.0.1", "127.0.0.1:99", "localhost", "localhost:99", "[::1]:99", "127.9.9.9")
)
def test_every_name_of_this_machine_does(emulator: RunningEmulator, host: str) -> None:
    assert send(emulator, "GET", "/health", host=host).status_code == 200


@pytest.mark.parametrize(
    "origin", ("http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "")
)
def test_pages_of_other_sites_are_refused(emulator: RunningEmulator, origin: str) -> None:
    answer = send(emulator, "POST", "/faults", RULE, origin=origin, content_type="application/json")
    assert (answer.status_code, "Origin" in answer.json()["message"]) == (403, True)
    assert send(emulator, "POST", "/reset", origin=origin).status_code == 403
    assert emulator.faults.as_list() == []


def test_a_page_of_its_own_is_not(emulator: RunningEmulator) -> None:
    assert send(emulator, "GET", "/health", origin=emulator.url).status_code == 200


@pytest.mark.parametrize(
    "media", ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")
)
def test_what_a_page_can_send_without_asking_is_refused(emulator: RunningEmulator, media: str) -> None:
    answer = send(emulator, "POST", "/faults", RULE, content_type=media)
    assert (answer.status_code, "Content-Type" in answer.json()["message"]) == (415, True)
    assert emulator.faults.as_list() == []
    assert send(emulator, "POST", "/faults", RULE, content_type="application/json; charset=utf-8").is_success


def test_the_services_are_not_guarded(emulator: RunningEmulator) -> None:
    answer = httpx.get(emulator.url + "/data/core/ups/audiences", headers={"host": "platform.adobe.io"})
    assert answer.json()["error_code"] == "403010", "Adobe's own refusal: no token"


def test_an_expression_that_would_take_years_takes_none(emulator: RunningEmulator) -> None:
    slow, good = {"path": "(a|aa)+$", "status": 500}, {"path": "aaa", "status": 418}
    for rule in (slow, good):
        assert httpx.post(emulator.url + CONTROL + "/faults", json=rule).is_success
    began = time.monotonic()
    assert httpx.get(f"{emulator.url}/{'a' * 60}!").status_code == 418, "the next rule has its turn"
    assert time.monotonic() - began < 10, "2 to the power of 60 steps would not end"
    listed = httpx.get(emulator.url + CONTROL + "/faults").json()
    assert [(rule["matched"], rule.get("timed_out")) for rule in listed] == [(0, 1), (1, None)]
    answer = httpx.post(emulator.url + CONTROL + "/faults", json={"path": "a" * 501, "status": 500})
    assert answer.status_code == 400


@pytest.mark.parametrize("wait", ("nan", "inf", "-1", "1e9"))
def test_nobody_waits_for_ever(emulator: RunningEmulator, wait: str) -> None:
    assert send(emulator, "GET", f"/holds?count=1&wait={wait}").status_code == 400


def test_switches_that_are_not_valid_change_nothing(emulator: RunningEmulator) -> None:
    emulator.switches["batch_seconds"] = 7.0
    body = json.dumps({"batch_seconds": "soon"})
    answer = send(emulator, "PUT", "/switches", body, content_type="application/json")
    assert (answer.status_code, emulator.platform.switches.batch_seconds) == (400, 7.0)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("clock", {}, "advance is missing"),
        ("datasets", {}, "id is missing"),
        ("credentials", {"client_id": 5, "client_secret": "s"}, "texts"),
        ("credentials", {"client_id": "", "client_secret": "s"}, "not empty"),
    ],
)
def test_the_control_api_says_what_is_wrong_with_a_body(
    emulator: RunningEmulator, path: str, body: dict[str, object], message: str
) -> None:
    response = httpx.post(f"{emulator.url}{CONTROL}/{path}", json=body)

    assert response.status_code == 400
    assert message in response.json()["message"]
