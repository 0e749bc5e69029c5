# SPDX-License-Identifier: Apache-2.0
"""Every operation in Adobe's OpenAPI files is one that the emulator plays, or says that it leaves out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests import by_hand

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

FILES = {
    "batch-ingestion.yaml": "/data/foundation/import",
    "catalog.yaml": "/data/foundation/catalog",
    "data-access.yaml": "/data/foundation/export",
    "segmentation.yaml": "/data/core/ups",
    "target-admin-api.json": "",
}
METHODS = {"get", "put", "post", "patch", "delete", "head"}


def operations(file: Path) -> list[tuple[str, str]]:
    text = file.read_text()
    document: dict[str, Any] = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "1", path))
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS
    ]


@pytest.mark.parametrize("name", FILES)
def test_no_operation_is_unknown(
    emulator: RunningEmulator, shared: Path, headers: dict[str, str], name: str
) -> None:
    found = operations(shared / "specs" / name)
    assert len(found) >= 6
    with httpx.Client(base_url=emulator.url, headers=headers) as client:
        for method, path in found:
            answer = client.request(method, FILES[name] + path)
            text = answer.text
            assert answer.status_code != 405, (method, path)
            assert "no such resource" not in text, (method, path)
            if answer.status_code == 501:
                assert "does not implement this operation" in text
                assert {"title", "errors"} & answer.json().keys()


@pytest.fixture
def headers(emulator: RunningEmulator) -> dict[str, str]:
    return by_hand.headers(emulator)
