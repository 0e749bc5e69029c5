# SPDX-License-Identifier: Apache-2.0
"""The emulator describes itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute

from airflow_provider_adobe_audiences.emulator.app import create_routes

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator


@pytest.fixture
def described(emulator: RunningEmulator) -> dict[str, Any]:
    answer = httpx.get(f"{emulator.url}/_emulator/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


def test_every_route_is_in_it(emulator: RunningEmulator, described: dict[str, Any]) -> None:
    routes = [route for route in create_routes(emulator).routes if isinstance(route, APIRoute)]
    assert len(routes) > 120
    for route in routes:
        for method in route.methods:
            assert method.lower() in described["paths"][route.path_format], (method, route.path)


def test_it_is_sound(emulator: RunningEmulator, described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": emulator.url}]
    text = json.dumps(described)
    assert "$defs" not in text
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in described["components"]["schemas"]
    operations = [
        (path, method, operation)
        for path, item in described["paths"].items()
        for method, operation in item.items()
    ]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids)) > 200
    for path, method, operation in operations:
        names = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert names == set(re.findall(r"\{([^}:]*)", path)), path
        assert operation["responses"], path
        if method in ("put", "patch") and "501" not in operation["responses"]:
            assert operation["requestBody"]["content"], path


def test_what_is_left_out_is_in_it(described: dict[str, Any]) -> None:
    assert "501" in described["paths"]["/data/core/ups/segment/jobs"]["get"]["responses"]


def test_it_can_be_asked_for_again(emulator: RunningEmulator, described: dict[str, Any]) -> None:
    assert httpx.get(f"{emulator.url}/_emulator/openapi.json").json() == described
