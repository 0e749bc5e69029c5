# SPDX-License-Identifier: Apache-2.0
"""What no handler takes is refused as the service of the path refuses, after the gateway's checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

PLATFORM = "/data/foundation/catalog/nothing"
AAM = "/api/v1/nothing/"
TARGET = "/emulator/target/nothing"


@pytest.mark.parametrize(
    ("path", "keys"),
    (
        (PLATFORM, {"type", "status", "title", "detail"}),
        (AAM, {"code", "message"}),
        (TARGET, {"httpStatus", "requestId", "requestTime", "errors"}),
        ("/ims/nothing", {"error", "error_description"}),
        ("/m2/emulator/nothing", {"status", "message"}),
        ("/_emulator/nothing", {"message"}),
    ),
)
def test_an_unknown_path(adobe: httpx.Client, path: str, keys: set[str]) -> None:
    answer = adobe.get(path)
    assert (answer.status_code, set(answer.json())) == (404, keys)


@pytest.mark.parametrize("path", (PLATFORM, AAM, TARGET))
def test_the_gateway_looks_first(emulator: RunningEmulator, path: str) -> None:
    assert httpx.get(emulator.url + path).json()["error_code"] == "403010"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    (
        ("PUT", "/data/foundation/catalog/batches", "GET, POST"),
        ("DELETE", "/data/core/ups/audiences", "GET, POST"),
        ("POST", "/data/core/ups/audiences/x", "DELETE, GET, PATCH, PUT"),
        ("PATCH", "/api/v1/groups/1", "DELETE, GET, PUT"),
        ("DELETE", "/emulator/target/clients/settings", "GET, PATCH, PUT"),
    ),
)
def test_allow_names_every_method(adobe: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = adobe.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("method", "path"),
    (
        ("GET", "/data/core/ups/segment/jobs"),
        ("POST", "/data/core/ups/export/jobs"),
        ("GET", "/data/foundation/schemaregistry/tenant/schemas"),
        ("POST", "/data/foundation/catalog/batches"),
        ("GET", "/emulator/target/mboxes"),
        ("PUT", "/emulator/target/audiences/1"),
    ),
)
def test_what_is_left_out_says_so(adobe: httpx.Client, method: str, path: str) -> None:
    answer = adobe.request(method, path)
    assert answer.status_code == 501
    assert "does not implement this operation" in answer.text


def test_ims_takes_a_slash_at_the_end(emulator: RunningEmulator) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "emulator-client",
        "client_secret": "emulator-client-secret",
    }
    for version in ("v2", "v3"):
        answer = httpx.post(f"{emulator.url}/ims/token/{version}/", data=form)
        assert answer.json()["expires_in"] == 86_399


def test_json_has_to_be_declared(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    batches, body = (
        "/data/foundation/import/batches",
        b'{"datasetId": "ds", "inputFormat": {"format": "csv"}}',
    )
    for headers in ({}, {"content-type": "text/plain"}):
        answer = adobe.post(batches, content=body, headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (400, "BadRequestError")
        assert "valid content-type" in answer.json()["detail"]
    number = adobe.post(batches, content=body, headers={"content-type": "application/json"}).json()["id"]
    action = f"{batches}/{number}?action=ABORT"
    emulator.switches["content_type_required"] = "always"
    assert adobe.post(action).status_code == 400
    emulator.switches["content_type_required"] = "with_body"
    assert adobe.post(action).status_code == 200
    emulator.switches["content_type_required"] = "never"
    assert adobe.post(batches, content=body).status_code == 201


def test_nan_is_no_json(adobe: httpx.Client) -> None:
    for text in ("NaN", "Infinity", "1e999"):
        body = f'{{"name": "n", "totals": {text}}}'.encode()
        answer = adobe.post(
            "/data/core/ups/audiences", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400
