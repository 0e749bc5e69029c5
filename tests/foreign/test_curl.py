# SPDX-License-Identifier: Apache-2.0
"""What Adobe's pages print is sent as they print it: with curl, placeholders filled in, another host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

pytestmark = pytest.mark.foreign

AUDIENCE_PAGE = "000_95ed89801781f716.txt"
GROUPS_PAGE = "002_de681ddf6e983ba1.txt"
#: Misprints of the pages, and what was meant.
MISPRINTS = {
    "the line before the body does not go on": (
        "version=2'\n -d",
        "version=2' \\\n -d",
    ),
    "a key without a colon": ('"description" "A', '"description": "A'),
}


@pytest.fixture
def seeds(shared: Path) -> Path:
    return shared / "seeds"


@pytest.fixture
def curl(emulator: RunningEmulator) -> Callable[[str], tuple[int, Any]]:
    """``curl("curl …")`` runs a command line of a page, and returns status and body."""
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    filled = {
        "https://platform.adobe.io": emulator.url,
        "{ACCESS_TOKEN}": emulator.ims.issue(),
        "{ORG_ID}": "0123456789ABCDEF01234567@AdobeOrg",
        "{API_KEY}": "emulator-client",
        "{SANDBOX_NAME}": "prod",
    }

    def run(line: str) -> tuple[int, Any]:
        for placeholder, value in filled.items():
            line = line.replace(placeholder, value)
        line = line.replace("curl ", "curl --silent --noproxy '*' --write-out '\\n%{http_code}' ", 1)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=False)
        body, _, status = done.stdout.strip().rpartition("\n")
        return int(status), json.loads(body) if body.startswith(("{", "[")) else body

    return run


def test_the_audience_page(seeds: Path, curl: Callable[[str], tuple[int, Any]]) -> None:
    (block,) = re.findall(r"```shell\n(curl .*?)```", (seeds / AUDIENCE_PAGE).read_text(), re.DOTALL)
    # As printed: the body is no part of the command, which therefore has no content.
    status, refused = curl(block.split("\n -d")[0])
    assert (status, refused["title"]) == (400, "BAD_REQUEST")
    first, second = MISPRINTS.values()
    status, refused = curl(block.replace(*first))
    assert status == 400
    assert "not JSON" in refused["detail"]
    status, made = curl(block.replace(*first).replace(*second))
    assert (status, made["name"]) == (200, "Sample audience name")
    assert len(made["audienceId"]) == 36


def test_the_groups_page(
    emulator: RunningEmulator, seeds: Path, curl: Callable[[str], tuple[int, Any]]
) -> None:
    text = (seeds / GROUPS_PAGE).read_text()
    printed = re.findall(r"^`([A-Z]+) (/api/v1/[^`]*)`(?:\*`<groupId>`\*)?", text, re.MULTILINE)
    assert len(printed) == 7
    group = emulator.audience_manager.add_group("Analysts").group_id
    body = {"name": "New", "description": None}
    permissions = re.search(r"permissions/`\n.*?```\n(\[.*?\])\n```", text, re.DOTALL)
    assert permissions is not None
    bodies: dict[tuple[str, str], Any] = {
        ("POST", "/api/v1/groups/"): body,
        ("PUT", "/api/v1/groups/"): body,
        ("DELETE", "/api/v1/groups/bulk-delete"): [emulator.audience_manager.add_group("Old").group_id],
        ("PUT", "/api/v1/groups/{groupId}/permissions/"): json.loads(permissions[1]),
    }
    headers = "-H 'Authorization: Bearer {ACCESS_TOKEN}' -H 'x-api-key: {API_KEY}'"
    statuses = {}
    # Deleting comes last, so that there is a group for the others.
    for method, path in sorted(printed, key=lambda one: one[0] == "DELETE"):
        one = method in ("PUT", "DELETE") and path == "/api/v1/groups/"
        url = path.replace("{groupId}", str(group)) + (str(group) if one else "")
        data = bodies.get((method, path))
        sent = f" -H 'Content-Type: application/json' -d '{json.dumps(data)}'" if data is not None else ""
        statuses[method, path], _ = curl(f"curl -X {method} 'https://platform.adobe.io{url}' {headers}{sent}")
    assert statuses == {
        ("POST", "/api/v1/groups/"): 201,
        ("PUT", "/api/v1/groups/"): 200,
        ("GET", "/api/v1/groups/"): 200,
        ("DELETE", "/api/v1/groups/"): 204,
        ("DELETE", "/api/v1/groups/bulk-delete"): 204,
        ("GET", "/api/v1/groups/{groupId}/permissions"): 200,
        ("PUT", "/api/v1/groups/{groupId}/permissions/"): 200,
    }


def test_the_profile_settings_page_prints_a_header(
    emulator: RunningEmulator, seeds: Path, curl: Callable[[str], tuple[int, Any]]
) -> None:
    text = (seeds / "001_0c510d9d63345d00.txt").read_text()
    assert "&quot;Authorization&quot; : &quot;Bearer&quot;" in text
    token = emulator.target.issue().value
    url = "https://platform.adobe.io/rest/v1/profiles/nobody?client=emulator"
    assert curl(f"curl '{url}' -H 'Authorization : Bearer {token}'")[0] == 400  # no name of a header
    assert curl(f"curl '{url}' -H 'Authorization: Bearer {token}'")[0] == 404
