# SPDX-License-Identifier: Apache-2.0
"""Answers that never end, unpack to far more than they weigh, or drip: refused in bounded memory, within the
configured deadline.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.local_airflow import connection_to
from tests.faults.measured_task import measured
from tests.security.servers import running

MEGABYTE = 1 << 20
MAX_MEMORY = 64 * MEGABYTE
DEADLINE = 2.0

HOSTILE: dict[str, dict[str, Any]] = {
    "endless": {"endless": True},
    "endless whitespace": {"endless": True, "body": " " * 65_536},
    "gzip bomb of 4 GB": {"bomb": 4 << 30},
    "gzip bomb of 200 MB": {"bomb": 200 * MEGABYTE},
    "drip": {"status": 200, "body": "x" * 10_000, "drip": 0.05},
    "drip of an error": {"status": 400, "body": "x" * 10_000, "drip": 0.05},
    "endless error": {"status": 500, "endless": True},
    "bomb as an error": {"status": 403, "bomb": 1 << 30},
    "100 MB in one piece": {"status": 200, "body": '"' + "x" * 100 * MEGABYTE + '"'},
    "deep JSON": {"status": 200, "body": "[" * 5_000_000},
    "a number of a million digits": {"status": 200, "body": '{"b1": {"status": ' + "9" * 1_000_000 + "}}"},
    "a header of 60 KB": {"status": 200, "headers": {"x-request-id": "i" * 60_000}, "body": "{}"},
}


@functools.cache
def packed_twice() -> bytes:
    """512 MB of blanks in a few kilobytes: gzip within gzip."""
    inner, outer = (zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(2))
    blanks = b" " * (16 * MEGABYTE)
    pieces = [outer.compress(inner.compress(blanks)) for _ in range(32)]
    return b"".join([*pieces, outer.compress(inner.flush()), outer.flush()])


def answered(body: bytes, status: int = 200, encoding: str = "identity") -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        encoding.encode(),
        len(body),
        body,
    )


def slowly(begin: bytes, then: bytes, seconds: float) -> Iterator[bytes]:
    yield begin
    while True:
        yield then
        time.sleep(seconds)  # how slow this server is


def keyed(count: int) -> bytes:
    return b"[" + b",".join(b'{"%07d":{}}' % number for number in range(count)) + b"]"


# What no well-behaved server sends, byte by byte.
RAW: dict[str, Callable[[], bytes | Iterator[bytes]]] = {
    "gzip within gzip": lambda: answered(packed_twice(), encoding="gzip, gzip"),
    "gzip within gzip, as an error": lambda: answered(packed_twice(), 500, encoding="gzip, gzip"),
    "an encoding that nobody asked for": lambda: answered(b"x" * 1000, encoding="br"),
    "gzip that is none": lambda: answered(b"{}" * 1000, encoding="gzip"),
    "half of a gzip": lambda: answered(gzip.compress(b'{"b1": {}}' * 1000)[:-9], encoding="gzip"),
    "gzip after gzip": lambda: answered(gzip.compress(b"[" + b"{}," * 2_000_000) * 3, encoding="gzip"),
    "five million objects": lambda: answered(b"[" + b"{}," * 5_000_000 + b"{}]"),
    "five million objects, as an error": lambda: answered(b"[" + b"{}," * 5_000_000 + b"{}]", 400),
    "objects, as many as are read": lambda: answered(b"[" + b"{}," * 180_000 + b"{}]"),
    "keys, as many as are read": lambda: answered(keyed(105_000)),
    "seven million numbers": lambda: answered(b"[" + b"0," * 7_000_000 + b"0]"),
    "numbers, as many as are read": lambda: answered(b"[" + b"1e9," * 750_000 + b"0]"),
    "15 MB of text": lambda: answered(b'"' + b"x" * 15 * MEGABYTE + b'"'),
    "15 MB of text with an emoji": lambda: answered(b'"\xf0\x9f\x98\x80' + b"x" * 15 * MEGABYTE + b'"'),
    "6 MB of text with an emoji": lambda: answered(b'"\xf0\x9f\x98\x80' + b"x" * 6 * MEGABYTE + b'"'),
    "15 MB of bytes that are no text": lambda: answered(b"\xff" * 15 * MEGABYTE, 400),
    "a list of numbers, as an error": lambda: answered(b"[" + b"0," * 700_000 + b"0]", 400),
    "100 Continue for ever": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "100 Continue, slowly": lambda: slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    "a head that drips": lambda: slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.1),
    "headers that drip": lambda: slowly(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.1),
    "a trailer that drips": lambda: slowly(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n", 0.1
    ),
    "a trailer for ever": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"], itertools.repeat(b"X: x\r\n" * 1000)
    ),
    "chunks of one byte": lambda: slowly(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.1
    ),
    "the length of a chunk for ever": lambda: slowly(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", 0.01
    ),
}


@pytest.fixture
def ask(emulator: Any, processes: Any) -> Callable[..., dict[str, Any]]:
    def ask(way: str, **more: Any) -> dict[str, Any]:
        connection = connection_to(
            emulator.url, total_timeout=DEADLINE, read_timeout=1, max_attempts=1, **more
        )
        fields = {
            "client_id": connection["login"],
            "client_secret": connection["password"],
            **connection["extra"],
        }
        with processes.Pool(1) as pool:
            pool.apply(
                measured, ((way, {**fields, "platform_url": "http://127.0.0.1:9"}),)
            )  # load everything, once
            return dict(pool.apply(measured, ((way, fields),)))

    return ask


@pytest.mark.faults
@pytest.mark.parametrize("way", ["blocking", "async", "download"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_answers_are_refused_in_bounded_memory_and_time(
    emulator: Any, ask: Callable[..., dict[str, Any]], hostile: str, way: str, request: pytest.FixtureRequest
) -> None:
    emulator.faults.add(path="/data/foundation/", **HOSTILE[hostile])

    refused_within_bounds(ask(way), request)


@pytest.mark.faults
@pytest.mark.parametrize("way", ["blocking", "async", "download"])
@pytest.mark.parametrize("hostile", RAW)
def test_what_no_server_sends_is_refused_likewise(
    ask: Callable[..., dict[str, Any]], hostile: str, way: str, request: Any
) -> None:
    made = RAW[hostile]()
    with running(lambda _: made) as server:
        found = ask(way, platform_url=server.url)

    refused_within_bounds(found, request)


def refused_within_bounds(found: dict[str, Any], request: Any) -> None:
    request.node.user_properties.append(("megabytes", found["grown"] / MEGABYTE))
    request.node.user_properties.append(("seconds", found["seconds"]))

    assert found["kind"].startswith("Adobe"), found
    assert "What to do: " in found["error"]
    assert len(found["error"]) < 2000
    assert found["grown"] < MAX_MEMORY, f"{found['grown'] / MEGABYTE:.0f} MB: {found['error']}"
    assert found["seconds"] < DEADLINE + 2, found


@pytest.mark.faults
@pytest.mark.parametrize("hostile", ["endless", "gzip bomb of 4 GB", "drip"])
def test_the_answer_to_a_token_request_is_bounded_too(
    emulator: Any, ask: Callable[..., dict[str, Any]], hostile: str
) -> None:
    emulator.faults.add(path="/ims/token", **HOSTILE[hostile])

    found = ask("blocking")

    assert found["kind"].startswith("Adobe"), found
    assert found["grown"] < MAX_MEMORY
    assert found["seconds"] < DEADLINE + 2
