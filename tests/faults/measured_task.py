# SPDX-License-Identifier: Apache-2.0
"""A request in a process of its own, measured. Without pytest, which every process would load anew."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeError


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(order: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Ask, in a process of its own; return the error, the seconds it took and the bytes that memory grew by
    at most.
    """
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
    return {
        "error": str(error),
        "kind": type(error).__name__,
        "seconds": seconds,
        "grown": highest[0] - before,
    }


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
