# SPDX-License-Identifier: Apache-2.0
"""A client that talks to the emulator over a real socket, with nothing of this package in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import by_hand

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

OCTETS = {"content-type": "application/octet-stream"}
IMPORT = "/data/foundation/import"


@pytest.fixture
def headers(emulator: RunningEmulator) -> dict[str, str]:
    return by_hand.headers(emulator)


@pytest.fixture
def adobe(emulator: RunningEmulator, headers: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=emulator.url, headers=headers, timeout=10) as client:
        yield client


@pytest.fixture
def create_batch(adobe: httpx.Client) -> Callable[..., str]:
    """``create_batch(format="json", **body)`` returns the id of a new batch of dataset ``ds``."""

    def create(written: str = "json", **body: Any) -> str:
        body = {"datasetId": "ds", "inputFormat": {"format": written}} | body
        answer = adobe.post(f"{IMPORT}/batches", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return create


@pytest.fixture
def upload(adobe: httpx.Client) -> Callable[..., httpx.Response]:
    """``upload(batch, content, name="a.json")`` sends a file with PUT."""

    def put(batch: str, content: bytes | str, name: str = "a.json") -> httpx.Response:
        data = content if isinstance(content, bytes) else content.encode()
        return adobe.put(f"{IMPORT}/batches/{batch}/datasets/ds/files/{name}", content=data, headers=OCTETS)

    return put


@pytest.fixture
def act(adobe: httpx.Client) -> Callable[[str, str], httpx.Response]:
    """``act(batch, "COMPLETE")``."""
    return lambda batch, action: adobe.post(f"{IMPORT}/batches/{batch}", params={"action": action})


@pytest.fixture
def look_up(adobe: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """``look_up(batch)`` returns what Catalog says of it."""

    def get(batch: str) -> dict[str, Any]:
        answer = adobe.get(f"/data/foundation/catalog/batches/{batch}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()[batch])

    return get


@pytest.fixture
def ingest(
    emulator: RunningEmulator,
    create_batch: Callable[..., str],
    upload: Callable[..., httpx.Response],
    act: Callable[[str, str], httpx.Response],
    look_up: Callable[[str], dict[str, Any]],
) -> Callable[..., dict[str, Any]]:
    """``ingest(content, format="json", **body)`` ingests one file and returns the batch in its final
    state.
    """

    def run(content: bytes | str, written: str = "json", **body: Any) -> dict[str, Any]:
        emulator.platform.switches.batch_polls = 0
        batch = create_batch(written, **body)
        assert upload(batch, content).status_code == 200
        assert act(batch, "COMPLETE").status_code == 200
        return {"id": batch} | look_up(batch)

    return run
