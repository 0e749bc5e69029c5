# SPDX-License-Identifier: Apache-2.0
"""The rotation over real sockets: what it costs, and what a log and an error reporter see of it."""

from __future__ import annotations

import logging
import statistics
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.outcome import told
from tests import leaks
from tests.emulator.rotation.parts import KEY, TOKEN_PATH, MemoryStore, Rotate

# ------------------------------------------------------------------------------------------------------------
# what it costs


def test_the_outage_is_the_two_calls_and_little_more(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, phase="after", delay=0.05)
    outages = [rotate(in_step, force=True, verify=False).outage_seconds or 9.0 for _ in range(11)]
    print(
        f"outage beyond the calls' own latency: median {1000 * (statistics.median(outages) - 0.05):.1f} ms "
        f"of {len(outages)} rotations"
    )
    assert statistics.median(outages) - 0.05 < 0.1


def test_no_log_line_carries_a_token(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first = in_step.value
    emulator.faults.add(method="POST", path=TOKEN_PATH, phase="after", drop=True)
    rotate(in_step, force=True)
    for token in (first, in_step.value):
        assert token not in caplog.text
        assert token not in str([entry.as_dict() for entry in emulator.journal.entries])
        assert token not in str(emulator.snapshot())


# ------------------------------------------------------------------------------------------------------------
# what the log tells


def test_a_token_that_somebody_created_by_hand_is_a_warning(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.target.issue()
    rotate(in_step)
    (record,) = [record for record in caplog.records if "Adopting Target's token" in record.getMessage()]
    assert record.levelname == "WARNING"
    assert "drift: somebody else has created a token" in record.getMessage()


def test_a_check_says_that_the_token_is_good_only_when_the_store_has_it(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    def line(store: MemoryStore, **more: Any) -> str:
        return told(rotate(store, mode="check", **more), store)

    good = line(in_step)
    assert good.startswith("The token is still good: ")
    assert " in the memory store, valid until 2" in good

    other = MemoryStore("Q" * 36)
    for store, more, words in (
        (other, {}, "the memory store does not hold Target's token: a rotation would adopt it"),
        (MemoryStore(), {}, "the memory store does not hold Target's token: a rotation would adopt it"),
        (other, {"on_drift": "fail"}, "a rotation into the memory store would be refused"),
        (in_step, {"min_remaining": timedelta(days=900)}, "a rotation is due: it would create a token"),
    ):
        found = line(store, **more)
        assert found.startswith(f"Nothing was done, and {words}")
        assert "Target's token: " in found
        assert ", valid until 2" in found
    emulator.target.reset()
    found = line(other)
    assert found.startswith("Nothing was done, and a rotation is due: it would create a token")
    assert found.endswith("Reason: Target has no token. Target's token: none.")


def test_failures_of_the_store_count_their_attempts(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    in_step.faults |= {("write", number): OSError("down") for number in (1, 2)}
    rotate(in_step, force=True)
    assert "(attempt 1 of 6)" in caplog.text
    assert "(attempt 2 of 6)" in caplog.text


# ------------------------------------------------------------------------------------------------------------
# what an error reporter would see


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(("method", "path"), [("GET", TOKEN_PATH), ("POST", TOKEN_PATH), ("GET", "settings")])
@pytest.mark.parametrize("nth", [1, 2])
def test_no_frame_of_an_error_holds_a_token(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, status: int, method: str, path: str, nth: int
) -> None:
    before = in_step.value
    for number in range(nth, nth + 6):
        emulator.faults.add(
            method=method, path=path, nth=number, status=status, headers={"Retry-After": "3600"}
        )
    try:
        rotate(in_step, force=True)
    except AdobeError as error:
        text = leaks.locals_of(error)
        assert text, "what is searched is really there"
        for secret in (before, emulator.target.token(), KEY):
            assert str(secret) not in text


def test_no_frame_of_a_store_that_fails_holds_a_token(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    before = in_step.value
    for operation in ("read", "write", "prove_writable"):
        in_step.faults |= {(operation, number): OSError("down") for number in range(1, 30)}
        with pytest.raises(SecretStoreError) as error:
            rotate(in_step, force=True)
        for secret in (before, emulator.target.token(), KEY):
            assert str(secret) not in leaks.locals_of(error.value)
        in_step.faults.clear()
        in_step.calls = dict.fromkeys(in_step.calls, 0)
