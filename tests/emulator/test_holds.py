# SPDX-License-Identifier: Apache-2.0
"""Requests that are parked, so that a client can be killed at that very moment."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

CREATE = "/data/foundation/import/batches"
BODY = {"datasetId": "ds", "inputFormat": {"format": "json"}}


@pytest.mark.parametrize("phase", ("before", "body", "after"))
@pytest.mark.parametrize("then", ("continue", "drop"))
def test_hold_and_release_over_http(
    emulator: RunningEmulator, adobe: httpx.Client, phase: str, then: str
) -> None:
    control = f"{emulator.url}/_emulator"
    httpx.post(f"{control}/faults", json={"method": "POST", "phase": phase, "hold": True})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(adobe.post, CREATE, json=BODY)
        (held,) = httpx.get(f"{control}/holds", params={"count": 1, "wait": 10}).json()
        assert (held["method"], held["target"], held["phase"]) == ("POST", CREATE, phase)
        assert len(emulator.platform.batches.batches) == (1 if phase == "after" else 0)
        assert not asked.done()
        assert httpx.post(f"{control}/holds/release", json={"then": then}).json() == {"released": 1}
        if then == "continue":
            assert asked.result(10).status_code == 201
        else:
            with pytest.raises(httpx.ReadError):
                asked.result(10)
    assert httpx.get(f"{control}/holds").json() == []
    assert len(emulator.platform.batches.batches) == (1 if then == "continue" or phase == "after" else 0)


@pytest.mark.parametrize(("phase", "made"), (("before", 0), ("body", 0), ("after", 1)))
def test_a_client_killed_while_it_is_held(
    emulator: RunningEmulator, headers: dict[str, str], phase: str, made: int
) -> None:
    emulator.faults.add(method="POST", phase=phase, hold=True)
    program = (
        f"import httpx; httpx.post({emulator.url + CREATE!r}, json={BODY!r}, headers={headers!r}, timeout=60)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as client:
        emulator.holds.wait()
        client.kill()
    emulator.holds.release()
    emulator.holds.wait(0)
    assert httpx.get(f"{emulator.url}/data/core/ups/audiences", headers=headers).status_code == 200
    assert len(emulator.platform.batches.batches) == made


def test_a_request_may_be_processed_after_its_client_was_killed(
    emulator: RunningEmulator, headers: dict[str, str]
) -> None:
    emulator.faults.add(method="POST", hold=True)
    program = (
        f"import httpx; httpx.post({emulator.url + CREATE!r}, json={BODY!r}, headers={headers!r}, timeout=60)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as client:
        emulator.holds.wait()
        client.kill()
    emulator.holds.release("process")
    emulator.holds.wait(0)
    assert httpx.get(f"{emulator.url}/data/core/ups/audiences", headers=headers).status_code == 200
    assert len(emulator.platform.batches.batches) == 1


def test_reset_drops_what_is_held(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(method="POST", hold=True)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(adobe.post, CREATE, json=BODY)
        emulator.holds.wait()
        emulator.reset()
        with pytest.raises(httpx.ReadError):
            asked.result(10)


def test_waiting_for_holds_in_vain(emulator: RunningEmulator) -> None:
    with pytest.raises(TimeoutError, match="0 requests"):
        emulator.holds.wait(timeout=0.05)
    assert httpx.get(f"{emulator.url}/_emulator/holds", params={"count": 1, "wait": 0.05}).json() == []


def test_other_requests_go_on_meanwhile(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.faults.add(method="POST", hold=True)
    thread = threading.Thread(target=adobe.post, args=(CREATE,), kwargs={"json": BODY})
    thread.start()
    emulator.holds.wait()
    assert adobe.get("/data/foundation/catalog/batches").json() == {}
    emulator.holds.release()
    thread.join(10)
    assert not thread.is_alive()
