# SPDX-License-Identifier: Apache-2.0
"""A rotation over real sockets, without pauses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.rotation.outcome import Rotation
from airflow_provider_adobe_audiences.rotation.rotate import Rotator
from airflow_provider_adobe_audiences.rotation.stores import SecretStore
from scripts.local_airflow import connection_to
from tests.emulator.rotation.parts import KEY, MemoryStore, Rotate


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(limiter, "_limiters", {})


@pytest.fixture
def session(emulator: Any) -> Iterator[AdobeSession]:
    connection = connection_to(emulator.url)
    limits = {"read_timeout": 2, "connect_timeout": 2, "total_timeout": 20, "max_attempts": 3}
    settings = AdobeSettings.of(
        {
            **connection["extra"],
            **limits,
            "client_id": connection["login"],
            "client_secret": connection["password"],
        }
    )
    with AdobeSession(settings) as adobe:
        yield adobe


@pytest.fixture
def rotate(session: AdobeSession) -> Rotate:
    """``rotate(store, **parameters)`` runs one attempt."""

    def run(store: SecretStore, **parameters: Any) -> Rotation:
        values: dict[str, Any] = {
            "session": session,
            "tenant": "emulator",
            "client_code": "emulator",
            "key": KEY,
            "mask": lambda token: None,
            "pauses": (0.0,) * 6,
            "last_look": 0.0,
            "verify_timeout": 2.0,
        }
        return Rotator(store=store, **values | parameters).run()

    return run


@pytest.fixture
def in_step(emulator: Any) -> MemoryStore:
    """A store that holds Target's token, which has plenty of time left."""
    return MemoryStore(emulator.target.issue().value)
