# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_adobe_audiences.emulator.redact import Redactor

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

SECRET = "emulator-client-secret"
ASKED = {"grant_type": "client_credentials", "client_id": "emulator-client", "client_secret": SECRET}


def test_entries(emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any) -> None:
    create_batch()
    adobe.get("/data/core/ups/audiences", params={"name": "x"})
    first, second = httpx.get(f"{emulator.url}/_emulator/journal").json()
    assert (first["sequence"], first["method"], first["path"], first["status"]) == (
        1,
        "POST",
        "/data/foundation/import/batches",
        201,
    )
    assert (first["write"], first["committed"]) == (True, True)
    assert (second["method"], second["query"], second["write"], second["committed"]) == (
        "GET",
        "name=x",
        False,
        False,
    )
    assert '"datasetId"' in first["request_body"]
    assert '"loading"' in first["response_body"]
    assert first["request_bytes"] == len(first["request_body"])
    assert [
        entry["sequence"]
        for entry in httpx.get(f"{emulator.url}/_emulator/journal", params={"after": 1}).json()
    ] == [2]
    assert httpx.delete(f"{emulator.url}/_emulator/journal").status_code == 204
    assert emulator.journal.entries == []


def test_a_refused_write_is_not_committed(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    adobe.post("/data/foundation/import/batches", json={})
    (entry,) = emulator.journal.writes()
    assert (entry.status, entry.committed) == (400, False)


def test_bodies_are_cut_and_uploads_left_out(
    emulator: RunningEmulator, create_batch: Any, upload: Any
) -> None:
    emulator.switches["journal_bodies"] = 10
    upload(create_batch(), b"x" * 1000)
    create, put = emulator.journal.entries
    assert (create.request_body, len(create.response_body or "")) == ('{"datasetI', 10)
    assert (put.request_body, put.request_bytes) == (None, 1000)


def test_no_secret_gets_into_it(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    url = f"{emulator.url}/ims/token/v3"
    tokens = [
        answer.json()["access_token"]
        for answer in (httpx.post(url, data=ASKED), httpx.post(url, params=ASKED))
    ]
    httpx.post(url, json=ASKED)
    httpx.post(url, data=ASKED | {"client_secret": "another-s3cret"})
    httpx.get(f"{emulator.url}/data/core/ups/audiences", headers={"authorization": f"Bearer {tokens[0]}"})
    adobe.get("/data/core/ups/audiences", params={"name": tokens[1]})
    adobe.get(f"/data/core/ups/audiences/{tokens[1]}", headers={"cookie": "session=s3cret"})
    adobe.post(
        "/data/foundation/import/batches",
        content=b'{"access_token": "unknown-t0ken", "password":"unknown-passw0rd',
    )
    shown = (
        httpx.get(f"{emulator.url}/_emulator/journal").text
        + httpx.get(f"{emulator.url}/_emulator/state").text
    )
    assert len(emulator.journal.entries) == 8
    for secret in (SECRET, *tokens, "another-s3cret", "s3cret", "unknown-t0ken", "unknown-passw0rd"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    (
        '{"client_secret" : "hush-hush"}',
        "client_secret=hush-hush&x=1",
        "?access_token=hush-hush",
        '{"refresh_token":"hush\\"-hush"',
        "Authorization: Bearer hush-hush-hush",
        '{"password": "hush-hu',
        '{"accessToken": "hush-hush"}',
    ),
)
def test_redaction_by_name(text: str) -> None:
    assert "hush" not in Redactor().text(text)


def test_redaction_leaves_the_rest_alone() -> None:
    text = '{"name": "secret shoppers", "token_type": "bearer", "total": 3}'
    assert Redactor().text(text) == text
