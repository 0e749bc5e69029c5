# SPDX-License-Identifier: Apache-2.0
"""One session serves a loop, and is closed when the last one leaves it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

READ = platform.list_batches(external_id="nothing")
Point = Callable[..., dict[str, Any]]


def tokens(emulator: Any) -> int:
    return len(emulator.journal.find("POST", "/ims/token"))


def test_calls_within_a_session_use_it(adobe_connection: Point, emulator: Any) -> None:
    hook = AdobeHook()
    with hook.session() as session:
        for _ in range(5):
            assert hook.send(READ) == []
            with hook.session() as inner:
                assert inner is session
    assert tokens(emulator) == 1
    assert session._http is None
    with hook.session() as another:
        assert another is not session


def test_a_session_with_limits_of_its_own_is_another(adobe_connection: Point, emulator: Any) -> None:
    hook = AdobeHook()
    with hook.session() as session, hook.session(max_attempts=1) as other:
        assert other is not session
        assert (session.settings.max_attempts, other.settings.max_attempts) == (6, 1)


def test_the_session_stays_open_until_the_last_thread_has_left(
    adobe_connection: Point, emulator: Any
) -> None:
    hook = AdobeHook()
    entered, leave = threading.Event(), threading.Event()
    seen: list[Any] = []

    def other() -> None:
        with hook.session() as session:
            seen.append(session)
            entered.set()
            leave.wait(10)
            seen.append(session.send(READ))

    thread = threading.Thread(target=other)
    with hook.session() as session:
        session.send(READ)
        thread.start()
        assert entered.wait(10)
    assert session._http is not None
    leave.set()
    thread.join()
    assert seen == [session, []]
    assert session._http is None


def test_an_error_leaves_no_session_behind(adobe_connection: Point, emulator: Any) -> None:
    hook = AdobeHook()
    with pytest.raises(ZeroDivisionError), hook.session():
        raise ZeroDivisionError
    assert hook._session is None


def test_the_blanks_around_a_rendered_sandbox_are_no_part_of_it(adobe_connection: Point) -> None:
    assert AdobeHook(sandbox=" dev\n").settings.sandbox == "dev"
