# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

ASKED = {
    "grant_type": "client_credentials",
    "client_id": "emulator-client",
    "client_secret": "emulator-client-secret",
    "scope": "openid,AdobeID",
}


@pytest.mark.parametrize("version", ("v2", "v3"))
@pytest.mark.parametrize("place", ("data", "params"))
def test_credentials_in_form_or_query_give_a_token(
    emulator: RunningEmulator, version: str, place: str
) -> None:
    answer = httpx.post(f"{emulator.url}/ims/token/{version}", **{place: ASKED})  # type: ignore[arg-type]
    assert answer.status_code == 200
    token = answer.json()
    assert token["expires_in"] == 86_399
    assert token["token_type"] == "bearer"
    assert emulator.ims.credential_of(token["access_token"]).client_id == "emulator-client"  # type: ignore[union-attr]
    assert emulator.snapshot()["ims"]["token_requests"] == 1


@pytest.mark.parametrize(
    ("change", "error", "description"),
    (
        ({"client_secret": "wrong"}, "invalid_client", "invalid client_secret parameter"),
        ({"client_id": "nobody"}, "invalid_client", "invalid client_id parameter"),
        ({"grant_type": "password"}, "unsupported_grant_type", "client_credentials"),
    ),
)
def test_refusals(emulator: RunningEmulator, change: dict[str, str], error: str, description: str) -> None:
    answer = httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED | change)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert description in answer.json()["error_description"]
    assert answer.headers["x-debug-id"]


def test_the_status_of_a_wrong_secret_is_a_switch(emulator: RunningEmulator) -> None:
    emulator.switches["bad_credential_status"] = 401
    assert httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED | {"client_secret": "x"}).status_code == 401


def test_throttling(emulator: RunningEmulator) -> None:
    emulator.switches.update({"token_requests_allowed": 1, "token_retry_after": 7})
    assert httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED).status_code == 200
    answer = httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    emulator.clock.advance(61)
    assert httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED).status_code == 200


def test_milliseconds_are_a_switch(emulator: RunningEmulator) -> None:
    emulator.switches["expires_in_unit"] = "milliseconds"
    assert httpx.post(f"{emulator.url}/ims/token/v3", data=ASKED).json()["expires_in"] == 86_399_000


def test_more_credentials_can_be_registered(emulator: RunningEmulator) -> None:
    other = {
        "client_id": "other",
        "client_secret": "other-secret",
        "org_id": "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg",
    }
    assert httpx.post(f"{emulator.url}/_emulator/credentials", json=other).status_code == 201
    answer = httpx.post(
        f"{emulator.url}/ims/token/v3", data=ASKED | {"client_id": "other", "client_secret": "other-secret"}
    )
    assert answer.status_code == 200
