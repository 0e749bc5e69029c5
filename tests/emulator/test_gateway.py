# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

AUDIENCES = "/data/core/ups/audiences"


@pytest.mark.parametrize(
    ("name", "value", "status", "code"),
    (
        ("authorization", None, 403, "403010"),
        ("authorization", "Bearer nonsense", 401, "401013"),
        ("x-api-key", None, 403, "403000"),
        ("x-api-key", "nonsense", 403, "403003"),
        ("x-gw-ims-org-id", None, 400, "400003"),
        ("x-gw-ims-org-id", "nonsense", 403, "403027"),
        ("x-gw-ims-org-id", "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg", 403, "403025"),
    ),
)
def test_headers_are_checked(
    emulator: RunningEmulator, headers: dict[str, str], name: str, value: str | None, status: int, code: str
) -> None:
    sent = {key: text for key, text in (headers | {name: value}).items() if text is not None}
    answer = httpx.get(emulator.url + AUDIENCES, headers=sent)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_a_request_without_sandbox_goes_to_the_default_one_and_is_marked(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any
) -> None:
    create_batch()
    assert not emulator.journal.entries[-1].default_sandbox
    del adobe.headers["x-sandbox-name"]
    batch = create_batch()
    assert emulator.journal.entries[-1].default_sandbox
    assert emulator.platform.batches.batches[batch].caller.sandbox == "prod"
    emulator.switches["sandbox_missing"] = "refuse"
    answer = adobe.get(AUDIENCES)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "400003")


def test_an_unknown_sandbox_is_refused(adobe: httpx.Client) -> None:
    assert adobe.get(AUDIENCES, headers={"x-sandbox-name": "nowhere"}).status_code == 403


def test_a_token_ends(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    assert adobe.get(AUDIENCES).status_code == 200
    emulator.clock.advance(86_400)
    answer = adobe.get(AUDIENCES)
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_all_tokens_can_be_ended_at_once(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    assert httpx.post(f"{emulator.url}/_emulator/tokens/expire").status_code == 204
    assert adobe.get(AUDIENCES).status_code == 401


def test_the_request_id_is_echoed_or_made(adobe: httpx.Client) -> None:
    assert adobe.get(AUDIENCES, headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert len(adobe.get(AUDIENCES).headers["x-request-id"]) == 32


def test_an_overlong_url_is_refused(adobe: httpx.Client) -> None:
    assert adobe.get(AUDIENCES, params={"name": "n" * 2000}).status_code == 414


@pytest.mark.parametrize("form", ("seconds", "date", "none"))
def test_rate_limit(emulator: RunningEmulator, adobe: httpx.Client, form: str) -> None:
    emulator.switches.update({"rate_limit": 2, "rate_limit_seconds": 30, "retry_after": form})
    assert [adobe.get(AUDIENCES).status_code for _ in range(3)] == [200, 200, 429]
    answer = adobe.get(AUDIENCES)
    assert answer.json() == {"error_code": "429050", "message": "Too many requests"}
    wait = answer.headers.get("retry-after")
    if form == "none":
        assert wait is None
    else:
        assert wait is not None
        assert wait.isdigit() == (form == "seconds")
    emulator.clock.advance(31)
    assert adobe.get(AUDIENCES).status_code == 200
