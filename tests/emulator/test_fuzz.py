# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, Experience Platform's part of the emulator and the control API answer it; they never
break (500).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

BATCH = {
    "datasetId": "ds",
    "inputFormat": {
        "format": "csv",
        "delimiter": ",",
        "charset": "UTF-8",
        "isMultiLineJson": True,
        "header": "false",
    },
    "externalId": "x",
    "tags": {"a": ["b"]},
    "enableErrorDiagnostics": True,
    "partialIngestionPercent": 5,
    "replay": {"predecessors": ["$a"], "predecessorsByExternalId": ["$b"], "reason": "replace"},
}
AUDIENCE = {"name": "n", "description": "d", "audienceId": "a", "namespace": "agora", "originName": "o"}
EXTERNAL = {
    "name": "n",
    "customAudienceId": "c",
    "fields": [{"name": "e", "type": "string", "identityNs": "email", "labels": ["core/C1"]}],
    "sourceSpec": {"params": {"path": "p", "type": "file", "cloudType": "S3", "baseConnectionId": "b"}},
    "ttlInDays": 3,
    "originName": "CUSTOM_UPLOAD",
    "namespace": "n",
    "labels": ["x"],
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
    st.just([{}]),
    st.just([[]]),
    st.just({"params": []}),
)
PLACES = (
    ("POST", "/data/foundation/import/batches", BATCH),
    ("POST", "/data/core/ais/audiences?createAudienceMetaOnly=true", AUDIENCE),
    ("POST", "/data/core/ais/external-audience/", EXTERNAL),
    (
        "PATCH",
        "/data/core/ais/external-audience/c",
        {"description": "d", "fields": EXTERNAL["fields"], "ttlInDays": 3, "labels": []},
    ),
    ("POST", "/data/core/ais/external-audience/c/runs", {"dataFilterStartTime": 1, "dataFilterEndTime": 2}),
    ("POST", "/data/core/ups/audiences", {**AUDIENCE, "lifecycleState": "draft", "labels": []}),
    ("PUT", "/data/core/ups/audiences/{id}", {**AUDIENCE, "lifecycleState": "published"}),
    ("PATCH", "/data/core/ups/audiences/{id}", [{"op": "add", "path": "/name", "value": "x"}]),
    ("POST", "/data/core/ups/audiences/bulk-get", {"ids": [{"id": "x"}]}),
    (
        "POST",
        "/_emulator/faults",
        {
            "method": "GET",
            "path": "nowhere",
            "nth": [1],
            "times": 1,
            "status": 500,
            "delay": 0,
            "headers": {"a": "b"},
        },
    ),
    ("PATCH", "/_emulator/switches", {"batch_polls": 1, "sandboxes": ["prod"], "ais_duplicate": "new"}),
    ("POST", "/_emulator/holds/release", {"then": "drop", "id": 1}),
    ("POST", "/_emulator/credentials", {"client_id": "a", "client_secret": "bbbbbbb", "org_id": "c"}),
    ("POST", "/_emulator/datasets", {"id": "d", "name": "n", "required": ["a"]}),
    ("POST", "/_emulator/clock", {"advance": 0}),
)
QUERIES = (
    "/data/foundation/catalog/batches",
    "/data/foundation/catalog/batches/{batch}",
    "/data/foundation/export/batches/{batch}/failed",
    "/data/foundation/export/batches/{batch}/meta",
    "/data/foundation/export/batches/{batch}/files",
    "/data/foundation/import/batches/{batch}/datasets/ds/preview",
    "/data/core/ups/audiences",
)
NAMES = (
    "start",
    "limit",
    "sort",
    "orderBy",
    "property",
    "properties",
    "name",
    "path",
    "format",
    "nrow",
    "delimiter",
    "createdAfter",
    "recordCount",
)


def paths(node: Any) -> list[list[Any]]:
    """Return the way to each value inside of a body, and to the body itself."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [[], *([key, *rest] for key, value in inner for rest in paths(value))]


def spoiled(body: Any, way: list[Any], junk: Any) -> Any:
    if not way:
        return junk
    body = copy.deepcopy(body)
    node = body
    for step in way[:-1]:
        node = node[step]
    node[way[-1]] = junk
    return body


@pytest.fixture
def place(emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any) -> dict[str, str]:
    emulator.switches["external_polls"] = 0
    accept = {"accept": "application/vnd.adobe.external.audiences+json; version=2"}
    adobe.headers.update(accept)
    audience = adobe.post(PLACES[1][1], json=AUDIENCE).json()["id"]
    operation = adobe.post(PLACES[2][1], json=EXTERNAL).json()["operationId"]
    assert adobe.get(f"/data/core/ais/external-audience/operations/{operation}").json()["status"] == "SUCCESS"
    return {"id": audience, "batch": create_batch("csv")}


FUZZ = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@pytest.mark.parametrize(
    ("method", "path", "body"), PLACES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_spoiled_bodies(
    emulator: RunningEmulator, adobe: httpx.Client, place: dict[str, str], method: str, path: str, body: Any
) -> None:
    @FUZZ
    @given(st.sampled_from(paths(body)), JUNK)
    def send(way: list[Any], junk: Any) -> None:
        answer = adobe.request(method, path.format(**place), json=spoiled(body, way, junk))
        assert answer.status_code < 500, answer.text
        emulator.faults.clear()
        emulator.switches.reset()

    send()
    for raw in (b"", b"{", b"\xff", b"[" * 100_000, b'"' + b"x" * 100_000):
        assert adobe.request(method, path.format(**place), content=raw).status_code < 500
    # The clock may be days ahead by now, and the token over.
    adobe.headers["Authorization"] = f"Bearer {emulator.ims.issue()}"
    assert adobe.get("/data/core/ups/audiences").status_code == 200
    assert adobe.get("/data/foundation/catalog/batches").status_code == 200
    assert adobe.get("/_emulator/state").status_code == 200


@pytest.mark.parametrize("path", QUERIES)
def test_spoiled_queries(adobe: httpx.Client, place: dict[str, str], upload: Any, path: str) -> None:
    upload(place["batch"], "a,b\n1,2\n")

    @FUZZ
    @given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=8) | st.integers().map(str), max_size=3))
    def send(query: dict[str, str]) -> None:
        answer = adobe.get(path.format(**place), params=query)
        assert answer.status_code < 500, answer.text

    send()
