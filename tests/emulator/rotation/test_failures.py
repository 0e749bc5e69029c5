# SPDX-License-Identifier: Apache-2.0
"""The rotation over real sockets: lost answers, every row of its crash table, and a store that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeConflictError,
    AdobeRateLimitError,
    AdobeUnknownOutcomeError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.decision import Intent, fingerprint, key_id
from tests.emulator.rotation.parts import TOKEN_PATH, Crash, Intents, MemoryStore, Rotate, posts

# ------------------------------------------------------------------------------------------------------------
# the answer to POST


@pytest.mark.parametrize(
    "fault",
    [
        {"phase": "after", "drop": True},
        {"phase": "after", "status": 500},
        {"phase": "after", "status": 502, "body": "<html>bad gateway</html>"},
        {"phase": "after", "status": 201, "body": "{}"},
        {"phase": "after", "status": 201, "body": "not json"},
        {"phase": "after", "truncate": 20},
    ],
    ids=["dropped", "500", "502", "empty", "garbage", "truncated"],
)
def test_an_answer_lost_after_commit_is_adopted_by_reading(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, fault: dict[str, Any]
) -> None:
    before = in_step.value
    emulator.faults.add(method="POST", path=TOKEN_PATH, **fault)
    result = rotate(in_step, force=True)
    assert (result.rotated, result.adopted) == (True, True)
    assert posts(emulator) == 1
    assert in_step.value == emulator.target.token() != before


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 503}])
def test_a_post_that_was_not_processed_is_sent_once_more(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, fault: dict[str, Any]
) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, nth=1, **fault)
    result = rotate(in_step, force=True)
    assert (result.rotated, result.adopted) == (True, False)
    assert len(emulator.target.issued["profile_api"]) == 2
    assert in_step.value == emulator.target.token()
    between = [e.method for e in emulator.journal.entries if TOKEN_PATH in e.path]
    assert (
        between.index("POST")
        < between.index("GET", between.index("POST"))
        < len(between) - 1 - between[::-1].index("POST")
    )


def test_a_post_that_is_never_processed_ends_after_two(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, drop=True)
    with pytest.raises(AdobeUnknownOutcomeError):
        rotate(in_step, force=True)
    assert posts(emulator) == 2
    assert in_step.value == emulator.target.token()


def test_a_throttled_post_is_repeated_because_it_was_not_processed(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, nth=1, status=429, headers={"Retry-After": "0"})
    assert rotate(in_step, force=True).rotated
    assert len(emulator.target.issued["profile_api"]) == 2


def test_throttled_for_too_long_leaves_everything_as_it_was(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(AdobeRateLimitError):
        rotate(in_step, force=True)
    assert in_step.value == emulator.target.token()


def test_the_access_token_expires_in_the_middle(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    emulator.faults.add(method="POST", path=TOKEN_PATH, nth=1, expire_token=True)
    assert rotate(in_step, force=True).rotated
    assert len(emulator.target.issued["profile_api"]) == 2
    assert in_step.value == emulator.target.token()


# ------------------------------------------------------------------------------------------------------------
# the crash table


def kill() -> None:
    raise Crash


CRASHES: dict[str, Callable[[Any, MemoryStore, Intents], Any]] = {
    "reading the token": lambda e, s, i: s.faults.update({("read", 1): Crash()}),
    "proving the store writable": lambda e, s, i: s.faults.update({("prove_writable", 1): Crash()}),
    "intent written, POST not sent": lambda e, s, i: setattr(i, "on_save", kill),
    "answer got, store not written": lambda e, s, i: s.faults.update({("write", 1): Crash()}),
    "stored, not read back": lambda e, s, i: s.after.update({("write", 1): kill}),
    "read back, not compared": lambda e, s, i: s.after.update({("read", 2): kill}),
    "verified, intent not cleared": lambda e, s, i: setattr(i, "on_clear", kill),
}


@pytest.mark.parametrize(
    ("crash", "with_intents"),
    [(crash, kept) for crash in CRASHES for kept in (True, False) if kept or "intent" not in crash],
)
def test_a_crash_is_survived(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, crash: str, with_intents: bool
) -> None:
    emulator.clock.advance(80 * 86_400)  # due, so the retry needs no force
    intents = Intents()
    CRASHES[crash](emulator, in_step, intents)
    kept = {"intents": intents} if with_intents else {}
    with pytest.raises(Crash):
        rotate(in_step, **kept)
    in_step.faults.clear()
    in_step.after.clear()
    intents.on_save = intents.on_clear = lambda: None

    result = rotate(in_step, **kept)

    assert in_step.value == emulator.target.token()
    assert posts(emulator) == 1, "one rotation needs one POST, wherever it was interrupted"
    assert intents.intent is None
    if with_intents:
        assert result.rotated, "the task rotated, whichever attempt it was"


@pytest.mark.parametrize(
    "crash",
    [
        crash
        for crash in CRASHES
        if crash.split(",")[0] not in ("reading the token", "proving the store writable")
    ],
)
def test_a_forced_rotation_that_crashed_is_not_done_twice(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, crash: str
) -> None:
    intents = Intents()
    CRASHES[crash](emulator, in_step, intents)
    with pytest.raises(Crash):
        rotate(in_step, intents=intents, force=True)
    in_step.faults.clear()
    in_step.after.clear()
    intents.on_save = intents.on_clear = lambda: None
    result = rotate(in_step, intents=intents, force=True)
    assert result.rotated
    assert in_step.value == emulator.target.token()
    assert posts(emulator) == 1
    assert rotate(in_step, intents=intents, force=True).rotated, "once that is over, force means force again"
    assert posts(emulator) == 2


def test_an_intent_of_another_credential_says_nothing(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    """With another key every fingerprint differs: that must not pass for a rotation of one's own."""
    emulator.clock.advance(80 * 86_400)
    intents = Intents()
    intents.intent = Intent(
        "id",
        fingerprint(in_step.value, "the key before"),
        "2026-01-01T00:00:00+00:00",
        key_id("the key before"),
    )
    assert rotate(in_step, intents=intents).rotated
    assert posts(emulator) == 1
    intents.intent = Intent(
        "id",
        fingerprint(in_step.value, "the key before"),
        "2026-01-01T00:00:00+00:00",
        key_id("the key before"),
    )
    emulator.target.issue()
    with pytest.raises(AdobeConflictError, match="drift"):
        rotate(in_step, intents=intents, on_drift="fail")


def test_a_crash_while_post_is_on_its_way_is_adopted_even_if_drift_is_to_fail(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.clock.advance(80 * 86_400)
    intents = Intents()
    in_step.faults["write", 1] = Crash()
    with pytest.raises(Crash):
        rotate(in_step, intents=intents, on_drift="fail")
    result = rotate(in_step, intents=intents, on_drift="fail")
    assert result.reason == "an earlier attempt created the token, but did not store it"
    assert in_step.value == emulator.target.token()


# ------------------------------------------------------------------------------------------------------------
# a store that fails


def test_a_store_that_fails_for_a_while(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    in_step.faults |= {("write", number): OSError("down") for number in (1, 2, 3)}
    assert rotate(in_step, force=True).rotated
    assert in_step.value == emulator.target.token()
    assert caplog.text.count("The store failed while a new token waits to be written") == 3


def test_a_store_that_fails_for_good_says_what_to_do(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    in_step.faults |= {("write", number): OSError(f"cannot take {'it'}") for number in range(1, 20)}
    with pytest.raises(SecretStoreError, match="is live at Target but not in the memory store") as error:
        rotate(in_step, force=True)
    assert "mode='adopt'" in error.value.hint
    assert error.value.transient, "Airflow's retry is what mends it"
    assert posts(emulator) == 1
    in_step.faults.clear()
    assert rotate(in_step).adopted
    assert in_step.value == emulator.target.token()
    assert posts(emulator) == 1


def test_a_store_that_gives_back_something_else(emulator: Any, rotate: Rotate) -> None:
    class Shadowed(MemoryStore):
        def _write(self, secret: str) -> None:
            super()._write(secret)
            self.value = "shadow"

    with pytest.raises(SecretStoreError, match="does not give back what was written to it"):
        rotate(Shadowed(emulator.target.issue().value), force=True)


def test_the_text_of_a_stores_failure_never_carries_the_token(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    class Chatty(MemoryStore):
        def _write(self, secret: str) -> None:
            raise RuntimeError(f"could not store {secret}")

    with pytest.raises(SecretStoreError) as error:
        rotate(Chatty(in_step.value), force=True)
    chain: BaseException | None = error.value
    while chain is not None:
        assert str(emulator.target.token()) not in f"{chain!r} {chain}"
        chain = chain.__cause__ or chain.__context__


def test_compare_and_set_that_loses_follows_target(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    class Careful(MemoryStore):
        def _write(self, secret: str) -> None:
            if self.calls["write"] == 0:
                self.calls["write"] += 1
                self.value = emulator.target.issue().value
                raise SecretStoreConflict("changed by somebody else")
            super()._write(secret)

    store = Careful(in_step.value)
    assert rotate(store, force=True).rotated
    assert store.value == emulator.target.token()


def test_a_store_that_is_refused_after_the_rotation_says_whose_token_lives(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def hidden(secret: str) -> None:
        tries.append(secret)
        raise AdobeConfigurationError("the store is hidden by an environment variable")

    monkeypatch.setattr(in_step, "write", hidden)
    with pytest.raises(SecretStoreError, match=r"(?s)is live at Target.*hidden by an env.*mode='adopt'"):
        rotate(in_step, force=True)
    assert len(tries) == 1
