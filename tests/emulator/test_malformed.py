# SPDX-License-Identifier: Apache-2.0
"""Malformed requests over every route: the emulator answers each, never with 5xx, and keeps nothing of them.
``make foreign`` sends ten thousand, ``make test`` fewer.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from airflow_provider_adobe_audiences.emulator.app import create_routes
from airflow_provider_adobe_audiences.emulator.routing import CONTROL
from airflow_provider_adobe_audiences.emulator.server import RunningEmulator, running_emulator
from tests import by_hand

CONNECTIONS = 8
SEED = 20261125
#: A request is answered in less than this, whatever it is.
PATIENCE = 20.0
#: They stop the server, wait, or end the tokens of the others, as they are asked to.
LEFT_ALONE = {f"{CONTROL}/{name}" for name in ("restart", "holds", "reset", "tokens/expire")}

DEEP = 10_000
BODIES = (
    b"",
    b"{",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b"NaN",
    b"-Infinity",
    b"1e999999",
    b"9" * 5000,
    b'{"name": ' + b"9" * 5000 + b"}",
    b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"\xff\xfe\x00\x01",
    b'{"name": "\\ud800", "description": "\\udfff"}',
    b'{"name": "\x00"}',
    b'{"name": {"name": {}}, "fields": {}, "ids": [[]], "inputFormat": [], "tags": 1}',
    b'{"datasetId": 7, "inputFormat": {"format": {}}, "externalId": [], "replay": "x"}',
    b'{"name": "n", "namespace": [], "originName": {}, "audienceId": 1e308}',
    b'[{"op": "add", "path": "/a/b/c/d", "value": null}]',
    b'[{"op": "add", "path": [], "value": {}}, 7, null]',
    b'[{"objectType": [], "objectId": {}, "permissions": [[]]}]',
    b'[{"objectType": "TRAIT", "objectId": 99999999999999999999999, "permissions": ["READ"]}]',
    b'{"flickerManagerSettings": {"enabled": 1, "timeout": -1}, "locale": null}',
    b'{"advance": "for ever", "then": [], "id": {}, "count": -1}',
    b'{"advance": 1e300}',
    b'{"path": "((((", "nth": {}, "times": -1}',
    b'{"TRAIT": ["x"], "SEGMENT": 7}',
    b'{"username": 7, "groups": {"a": 1}, "isAdmin": []}',
    b"batch=pcId,a\nu1,%ZZ\nu2,\xc3\n",
    b"batch=\n\n\n,,,,",
    b"grant_type=client_credentials&client_id=%00&client_secret=%F0%90",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n",
    b"\x1f\x8b\x08\x00",
    b"x" * 200_000,
)
TYPES = (
    "application/json",
    "application/json; charset=utf-7",
    "application/json-patch+json",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 300,
    "application/vnd.adobe.target.v99999999999999999999+json",
    "text/plain",
    "/",
    "",
)
HEADERS = (
    ("authorization", "Basic \xff\xfe"),
    ("authorization", "Basic ////"),
    ("authorization", "Bearer " + "." * 3000),
    ("authorization", "Bearer"),
    ("x-api-key", "\xe9"),
    ("x-gw-ims-org-id", "\xff@AdobeOrg"),
    ("x-sandbox-name", "\xff"),
    ("x-sandbox-name", ""),
    ("accept", "*" * 2000),
    ("content-range", "bytes 0-" + "9" * 18),
    ("content-range", "bytes 9-1/0"),
    ("range", "bytes=" + "1-2," * 300),
    ("range", "bytes=-99999999999999999999999"),
    ("x-request-id", "\xff"),
    ("expect", "nothing"),
    ("content-encoding", "gzip"),
    ("cookie", "a=" + "b" * 2000),
    ("if-match", '"'),
)
SEGMENTS = (
    "x",
    "%00",
    "%FF%FE",
    "..%2f..%2fetc",
    "9" * 4500,
    "-1",
    "%F0%9F%98%80",
    "a%20b",
    "{id}",
    "0",
    "[]",
)
QUERIES = (
    "",
    "?",
    "?limit=-1&start=99999999999999999999999",
    "?limit=" + "9" * 4500,
    "?orderBy=desc:tags,asc:,:&properties=,,,",
    "?property=a~((((&property=~&property=!&sort=:::",
    "?property=externalId~(a%2B)%2B%24",
    "?createdAfter=NaN&tags=:::&status=!",
    "?action=COMPLETE&action=%00&path=%FF",
    "?format=csv&delimiter=%0A&nrow=9999999999",
    "?authorizationScope[]=x&scope=&client=%00",
    "?page=x&pageSize=0&groupId=%FF",
    "?after=x&wait=-1&count=x",
    "?" + "a=b&" * 400,
    "?%",
)


def routes(emulator: RunningEmulator) -> list[tuple[str, str]]:
    """Return method and path of every route."""
    found = [route for route in create_routes(emulator).routes if isinstance(route, APIRoute)]
    return [
        (method, route.path_format)
        for route in found
        for method in sorted(route.methods)
        if route.path_format not in LEFT_ALONE
    ]


def request(chance: random.Random, method: str, path: str, headers: dict[str, str]) -> bytes:
    """Return a malformed request, as bytes on the wire: no client library would send it."""
    target = re.sub(r"\{[^}]*\}", lambda _: chance.choice(SEGMENTS), path) + chance.choice(QUERIES)
    sent = dict(headers)
    sent |= dict(chance.sample(HEADERS, chance.randrange(3)))
    body = chance.choice(BODIES) if method not in ("GET", "HEAD") or chance.random() < 0.1 else b""
    kind = chance.choice(TYPES)
    if kind:
        sent["content-type"] = kind
    sent["content-length"] = str(len(body))
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: localhost",
        *(f"{name}: {text}" for name, text in sent.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def kept(emulator: RunningEmulator) -> tuple[int, int]:
    """Return how many objects and bytes there are once everything was forgotten."""
    emulator.reset()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(gc.get_objects()), pages * resource.getpagesize()


async def send(port: int, message: bytes) -> int:
    """Send one request on a connection of its own; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(message)
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), PATIENCE)
    finally:
        writer.close()
    return int(line.split()[1])


async def send_all(port: int, messages: list[bytes]) -> list[tuple[int, bytes]]:
    """Send all requests, some at a time; return status and request of those that broke something."""
    broken: list[tuple[int, bytes]] = []
    queue = list(enumerate(messages))

    async def work() -> None:
        while queue:
            _, message = queue.pop()
            try:
                status = await send(port, message)
            except TimeoutError:
                status = 599
            if status >= 500:
                broken.append((status, message[:400]))

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return broken


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", (1_500, pytest.param(10_000, marks=pytest.mark.foreign)))
def test_malformed_requests(caplog: pytest.LogCaptureFixture, count: int) -> None:
    chance = random.Random(SEED)
    with running_emulator(batch_seconds=0) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        headers = by_hand.headers(emulator)
        ways = routes(emulator)
        assert len(ways) > 120
        ways *= count // len(ways) + 1
        messages = [request(chance, method, path, headers) for method, path in ways[:count]]
        chance.shuffle(messages)

        def spend(some: list[bytes]) -> list[Any]:
            return asyncio.run(send_all(port, some))

        broken = spend(messages[: count // 10])  # whatever is loaded once is loaded now
        before = kept(emulator)
        broken += spend(messages[count // 10 :])
        after = kept(emulator)
        assert broken == []
        assert after[0] - before[0] < 5_000
        assert after[1] - before[1] < 50_000_000
        # and it still works
        assert asyncio.run(send(port, b"GET /_emulator/health HTTP/1.1\r\nhost: localhost\r\n\r\n")) == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
