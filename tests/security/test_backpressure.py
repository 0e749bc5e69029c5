# SPDX-License-Identifier: Apache-2.0
"""A 429 holds back everybody who uses the credential at the service, and nobody for longer than the
configured deadline.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform, target
from airflow_provider_adobe_audiences.adobe.client import limiter
from airflow_provider_adobe_audiences.adobe.client.limiter import Limiter
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.errors import AdobeRateLimitError
from tests.security.calls import settings_at
from tests.security.servers import JSON_ANSWER, Seen, running

READ = experience_platform.get_failed_file("b", "f")
THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %d\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The limiter's time, set by the test."""
    now = [1000.0]
    monkeypatch.setattr(limiter.time, "monotonic", lambda: now[0])
    return now


def test_a_burst_of_refusals_halves_once(clock: list[float]) -> None:
    gate = Limiter()
    for _ in range(8):
        assert gate.try_enter() == 0
    for _ in range(8):
        gate.leave(throttled=True, pause=5)
    assert gate.at_once == 16
    assert gate.try_enter() == 5

    clock[0] += 5
    assert gate.try_enter() == 0
    gate.leave(throttled=True, pause=5)
    assert gate.at_once == 8


def test_it_shrinks_to_one_and_recovers(clock: list[float]) -> None:
    gate = Limiter()
    for _ in range(10):
        assert gate.try_enter() == 0
        gate.leave(throttled=True, pause=1)
        clock[0] += 1
    assert gate.at_once == 1
    assert gate.try_enter() == 0
    assert 0 < gate.try_enter() < 0.1, "one is under way, the next waits for it"
    gate.leave(throttled=False)
    for _ in range(8 * 40):
        assert gate.try_enter() == 0
        gate.leave(throttled=False)
    assert gate.at_once == 32, "and not beyond what it began with"


def test_requests_per_minute(clock: list[float]) -> None:
    gate = Limiter(requests_per_minute=3)
    for _ in range(3):
        assert gate.try_enter() == 0
        gate.leave(throttled=False)
        clock[0] += 10
    assert gate.try_enter() == 30
    clock[0] += 30
    assert gate.try_enter() == 0


def test_one_refusal_pauses_all_threads() -> None:
    began: list[float] = []

    def answer(_: Seen) -> bytes:
        began.append(time.monotonic())
        return THROTTLED % 1 if len(began) == 1 else JSON_ANSWER

    with running(answer) as server, AdobeSession(settings_at(server.url, max_attempts=3)) as session:
        first = threading.Thread(target=session.send, args=(READ,))
        first.start()
        while not began:
            time.sleep(0.001)
        gate = session.flow.limiter(READ)
        while not gate.try_enter():
            gate.leave(throttled=False)
        others = [threading.Thread(target=session.send, args=(READ,)) for _ in range(8)]
        for thread in others:
            thread.start()
        for thread in (first, *others):
            thread.join(10)
    assert len(began) == 10
    assert min(began[1:]) - began[0] >= 0.95


def test_nobody_waits_beyond_the_deadline_for_others_that_are_refused(opened: Any) -> None:
    with running(THROTTLED % 100) as server:
        send = opened(settings_at(server.url, total_timeout=3))
        assert isinstance(send(READ), AdobeRateLimitError)
        begun = time.monotonic()
        error = send(READ)
        assert isinstance(error, AdobeRateLimitError)
        assert "all requests of this worker pause for" in str(error)
        assert time.monotonic() - begun < 1
        assert len(server.seen) == 1


def test_targets_edge_and_audience_manager_do_not_hold_each_other_back(opened: Any) -> None:
    with running(THROTTLED % 100) as edge, running() as other:
        settings = settings_at(other.url, total_timeout=3).model_copy(update={"target_edge_url": edge.url})
        status_url = f"{edge.url}/m2/acme/profile/batchStatus?batchId=b1"
        with AdobeSession(settings) as session:
            with pytest.raises(AdobeRateLimitError):
                session.send(target.get_profile_batch_status(status_url, None))
            assert session.flow.limiter(READ).try_enter() == 0
            assert session.flow.limiter(target.get_profile_batch_status(status_url, None)).try_enter() > 90
