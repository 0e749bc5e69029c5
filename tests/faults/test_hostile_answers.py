# SPDX-License-Identifier: Apache-2.0
"""Answers that never end, unpack to far more than they weigh, or drip: refused in bounded memory, within the configured deadline."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.errors import AdobeError
from airflow_provider_adobe_audiences.adobe.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.transport import AdobeSession, AsyncAdobeSession
from scripts.local_airflow import connection_to

MEGABYTE = 1 << 20
MOST_MEMORY = 64 * MEGABYTE
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


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(order: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Ask, in a process of its own; return the error, the seconds it took and the bytes that memory grew by at most."""
    way, fields = order
    settings = AdobeSettings.of(fields)
    threading.Thread(target=lambda: None).start()
    highest, done = [resident()], threading.Event()
    before = highest[0]

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    try:
        _ask(way, settings)
        error = None
    except AdobeError as refused:
        error = refused
    seconds = time.monotonic() - begun
    done.set()
    watcher.join()
    return {"error": str(error), "kind": type(error).__name__, "seconds": seconds, "grown": highest[0] - before}


def _ask(way: str, settings: AdobeSettings) -> None:
    call = platform.get_batch("b1")
    if way == "async":

        async def ask() -> None:
            async with AsyncAdobeSession(settings) as session:
                await session.send(call)

        asyncio.run(ask())
        return
    with AdobeSession(settings) as session:
        if way == "blocking":
            session.send(call)
        else:
            with tempfile.TemporaryFile() as target:
                session.download(platform.get_failed_file("b1", "rows.json"), target, 1000)


@pytest.fixture
def ask(emulator: Any, processes: Any) -> Callable[..., dict[str, Any]]:
    def ask(way: str, **more: Any) -> dict[str, Any]:
        connection = connection_to(emulator.url, total_timeout=DEADLINE, read_timeout=1, max_attempts=1, **more)
        fields = {"client_id": connection["login"], "client_secret": connection["password"], **connection["extra"]}
        with processes.Pool(1) as pool:
            pool.apply(measured, ((way, {**fields, "platform_url": "http://127.0.0.1:9"}),))  # load everything, once
            return dict(pool.apply(measured, ((way, fields),)))

    return ask


@pytest.mark.faults
@pytest.mark.parametrize("way", ["blocking", "async", "download"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_answers_are_refused_in_bounded_memory_and_time(
    emulator: Any, ask: Callable[..., dict[str, Any]], hostile: str, way: str, request: pytest.FixtureRequest
) -> None:
    emulator.faults.add(path="/data/foundation/", **HOSTILE[hostile])

    found = ask(way)
    request.node.user_properties.append(("megabytes", found["grown"] / MEGABYTE))
    request.node.user_properties.append(("seconds", found["seconds"]))

    assert found["kind"].startswith("Adobe"), found
    assert "What to do: " in found["error"]
    assert len(found["error"]) < 2000
    assert found["grown"] < MOST_MEMORY, f"{found['grown'] / MEGABYTE:.0f} MB: {found['error']}"
    assert found["seconds"] < DEADLINE + 2, found


@pytest.mark.faults
@pytest.mark.parametrize("hostile", ["endless", "gzip bomb of 4 GB", "drip"])
def test_the_answer_to_a_token_request_is_bounded_too(emulator: Any, ask: Callable[..., dict[str, Any]], hostile: str) -> None:
    emulator.faults.add(path="/ims/token", **HOSTILE[hostile])

    found = ask("blocking")

    assert found["kind"].startswith("Adobe"), found
    assert found["grown"] < MOST_MEMORY
    assert found["seconds"] < DEADLINE + 2
