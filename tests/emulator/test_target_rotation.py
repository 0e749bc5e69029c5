# SPDX-License-Identifier: Apache-2.0
"""The rotation over real sockets: every row of its crash table, and everything that others can do
meanwhile.
"""

from __future__ import annotations

import logging
import statistics
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.target import probe_profile_token
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConflictError,
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeRateLimitError,
    AdobeServerError,
    AdobeUnknownOutcomeError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.decision import Intent, fingerprint, key_id
from airflow_provider_adobe_audiences.rotation.outcome import Rotation
from airflow_provider_adobe_audiences.rotation.rotate import Rotator
from airflow_provider_adobe_audiences.rotation.stores import SecretStore
from scripts.local_airflow import connection_to

KEY = "emulator-client-secret"
TOKEN_PATH = "authentication/token"


class Crash(BaseException):
    """Stands for a process that is killed: nothing after it runs, no except clause of the code catches it."""


class MemoryStore(SecretStore):
    """A store whose every operation can fail or kill. ``faults`` maps an operation to what happens at its
    n-th call.
    """

    def __init__(self, value: str | None = None) -> None:
        self.value = value
        self.calls: dict[str, int] = {"read": 0, "write": 0, "prove_writable": 0}
        self.faults: dict[tuple[str, int], Exception | Crash] = {}
        self.after: dict[tuple[str, int], Callable[[], Any]] = {}

    def __str__(self) -> str:
        return "the memory store"

    def _at(self, what: str) -> None:
        self.calls[what] += 1
        fault = self.faults.get((what, self.calls[what]))
        if fault is not None:
            raise fault

    def _then(self, what: str) -> None:
        if action := self.after.get((what, self.calls[what])):
            action()

    def _read(self) -> str | None:
        self._at("read")
        value = self.value
        self._then("read")
        return value

    def _write(self, secret: str) -> None:
        self._at("write")
        self.value = secret
        self._then("write")

    def _prove_writable(self) -> None:
        self._at("prove_writable")


class Intents:
    """An intent log that outlives an attempt, as Airflow's task state store does."""

    def __init__(self) -> None:
        self.intent: Intent | None = None
        self.on_save: Callable[[], Any] = lambda: None
        self.on_clear: Callable[[], Any] = lambda: None

    def load(self) -> Intent | None:
        return self.intent

    def save(self, intent: Intent) -> None:
        self.intent = intent
        self.on_save()

    def clear(self) -> None:
        self.on_clear()
        self.intent = None


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


Rotate = Callable[..., Rotation]


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


def posts(emulator: Any) -> int:
    return len(emulator.journal.find("POST", TOKEN_PATH))


@pytest.fixture
def in_step(emulator: Any) -> MemoryStore:
    """A store that holds Target's token, which has plenty of time left."""
    return MemoryStore(emulator.target.issue().value)


# ------------------------------------------------------------------------------------------------------------
# what is decided


def test_plenty_left_changes_nothing(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    before = in_step.value
    result = rotate(in_step)
    assert (result.rotated, result.adopted, result.needed, result.verified) == (
        False,
        False,
        "nothing",
        "accepted",
    )
    assert result.reason == "89 days left, which is more than 14 days"
    assert result.outage_seconds is None
    assert in_step.value == before
    assert emulator.journal.writes() == []


def test_little_left_rotates(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    before = in_step.value
    emulator.clock.advance(77 * 86_400)
    result = rotate(in_step)
    assert (result.rotated, result.adopted, result.needed, result.verified) == (
        True,
        False,
        "rotate",
        "accepted",
    )
    assert in_step.value == emulator.target.token() != before
    assert result.fingerprint == fingerprint(in_step.value, KEY)
    assert result.outage_seconds is not None
    assert posts(emulator) == 1


def test_force_rotates_though_plenty_is_left(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    before = in_step.value
    assert rotate(in_step, force=True).rotated
    assert in_step.value == emulator.target.token() != before


def test_no_token_anywhere_creates_the_first(emulator: Any, rotate: Rotate) -> None:
    store = MemoryStore()
    result = rotate(store)
    assert result.rotated
    assert result.reason == "Target has no token"
    assert store.value == emulator.target.token()


def test_an_empty_store_adopts_and_creates_nothing(emulator: Any, rotate: Rotate) -> None:
    emulator.target.issue()
    store = MemoryStore()
    result = rotate(store)
    assert (result.rotated, result.adopted) == (False, True)
    assert store.value == emulator.target.token()
    assert posts(emulator) == 0


def test_an_expired_token_is_replaced(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    emulator.clock.advance(91 * 86_400)
    assert rotate(in_step).rotated
    assert in_step.value == emulator.target.token()


def test_an_expired_token_that_is_still_shown_is_replaced(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.switches["expired_token_shown"] = True
    emulator.clock.advance(91 * 86_400)
    assert rotate(in_step).reason == "Target's token has expired"
    assert in_step.value == emulator.target.token()


@pytest.mark.parametrize(("on_drift", "mode"), [("adopt", "rotate"), ("adopt", "adopt"), ("fail", "adopt")])
def test_somebody_pressed_the_button_and_it_is_adopted(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, on_drift: str, mode: str
) -> None:
    emulator.target.issue()
    result = rotate(in_step, on_drift=on_drift, mode=mode)
    assert (result.rotated, result.adopted) == (False, True)
    assert "drift" in result.reason
    assert in_step.value == emulator.target.token()
    assert posts(emulator) == 0


def test_somebody_pressed_the_button_and_it_is_reported(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    before = in_step.value
    emulator.target.issue()
    with pytest.raises(
        AdobeConflictError, match="drift: Target's token is not the one in the store"
    ) as error:
        rotate(in_step, on_drift="fail")
    assert "mode='adopt'" in error.value.hint
    assert in_step.value == before
    assert posts(emulator) == 0


def test_drift_with_little_left_adopts_and_then_rotates(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.target.issue()
    emulator.clock.advance(80 * 86_400)
    result = rotate(in_step)
    assert (result.rotated, result.adopted) == (True, True)
    assert in_step.value == emulator.target.token()


def test_check_only_looks(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    emulator.target.issue()
    result = rotate(in_step, mode="check")
    assert (result.needed, result.rotated, result.adopted, result.verified) == (
        "adopt",
        False,
        False,
        "not asked",
    )
    assert in_step.calls == {"read": 1, "write": 0, "prove_writable": 0}
    assert emulator.journal.writes() == []


def test_nothing_to_adopt(rotate: Rotate) -> None:
    with pytest.raises(AdobeNotFoundError, match="nothing to adopt"):
        rotate(MemoryStore("old"), mode="adopt")


def test_min_remaining_beyond_the_life_of_a_token_is_told(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    rotate(in_step, min_remaining=timedelta(days=100))
    assert "every run will rotate" in caplog.text


# -------------------------------------------------------------------------------------------------- nothing
# before it can be kept


def test_a_store_that_cannot_be_written_means_no_post(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    in_step.faults["prove_writable", 1] = PermissionError("read-only")
    with pytest.raises(
        SecretStoreError,
        match=r"the memory store could not be proven writable \(PermissionError: read-only\)",
    ):
        rotate(in_step, force=True)
    assert posts(emulator) == 0
    assert in_step.value == emulator.target.token()


def test_a_store_that_cannot_be_read_means_no_post(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    in_step.faults["read", 1] = OSError("down")
    with pytest.raises(SecretStoreError, match="could not be read"):
        rotate(in_step, force=True)
    assert emulator.journal.writes() == []


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AdobePermissionError), (403, AdobePermissionError), (500, AdobeServerError)]
)
def test_a_missing_permission_in_each_of_its_disguises(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, status: int, kind: type[AdobeError]
) -> None:
    emulator.switches["missing_permission_status"] = status
    with pytest.raises(kind, match="not allowed to perform the operation") as error:
        rotate(in_step, force=True)
    assert "Approver or Admin" in error.value.hint
    assert error.value.status == status
    assert posts(emulator) == 0


@pytest.mark.parametrize(("status", "kind"), [(403, AdobePermissionError), (500, AdobeUnknownOutcomeError)])
def test_a_right_to_read_but_not_to_create(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, status: int, kind: type[AdobeError]
) -> None:
    body = {"httpStatus": status, "requestId": "r-1", "errors": [{"errorCode": "X", "message": "no"}]}
    emulator.faults.add(method="POST", path=TOKEN_PATH, status=status, body=body)
    before = emulator.target.token()
    with pytest.raises(kind) as error:
        rotate(in_step, force=True)
    assert "Approver or Admin" in error.value.hint
    assert posts(emulator) == (1 if status == 403 else 2)
    assert in_step.value == emulator.target.token() == before


def test_a_wrong_credential_is_not_taken_for_a_missing_permission(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.faults.add(
        path=TOKEN_PATH, status=401, body={"error_code": "401013", "message": "Oauth token is not valid"}
    )
    with pytest.raises(AdobeAuthenticationError) as error:
        rotate(in_step)
    assert "Approver" not in error.value.hint


# -----------------------------------------------------------------------------------------------------------
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


# ------------------------------------------------------------------------------------------------------------
# in parallel


def test_somebody_rotates_between_post_and_write(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    in_step.after["write", 1] = emulator.target.issue
    rotate(in_step, force=True)
    assert in_step.value == emulator.target.token()


def test_somebody_rotates_while_the_edge_is_asked(
    emulator: Any,
    rotate: Rotate,
    session: AdobeSession,
    in_step: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send, probes = session.send, []

    def watched(call: Any) -> Any:
        if call.name == "fetch profile" and call.bearer:
            probes.append(call)
            if len(probes) == 2:
                in_step.value = emulator.target.issue().value
        return send(call)

    monkeypatch.setattr(session, "send", watched)
    result = rotate(in_step, force=True)
    assert result.verified == "accepted"
    assert result.fingerprint == fingerprint(in_step.value, KEY)
    assert in_step.value == emulator.target.token()


def test_rotators_at_once_all_end_with_targets_token(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.clock.advance(80 * 86_400)
    problems: list[BaseException] = []
    start = threading.Barrier(4)

    def one() -> None:
        try:
            start.wait()
            rotate(in_step, force=True)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert in_step.value == emulator.target.token()


# ------------------------------------------------------------------------------------------------------------
# verify


@pytest.mark.parametrize("answer", ["401", "403"])
def test_the_edge_learns_of_the_token_later(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, answer: str
) -> None:
    emulator.switches.update({"propagation_delay": 0.6, "bad_token_status": answer})
    emulator.target.issued["profile_api"][0].issued -= 60
    result = rotate(in_step, force=True, verify_timeout=10.0)
    assert result.verified == "accepted"
    assert result.outage_seconds is not None
    assert result.outage_seconds < 0.6, "the store does not wait for the edge"


def test_edge_nodes_that_disagree_are_waited_for(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    emulator.switches.update({"edge_nodes": 3, "edge_node_skew": 0.3})
    emulator.target.issued["profile_api"][0].issued -= 60
    assert rotate(in_step, force=True, verify_timeout=10.0).verified == "accepted"
    probes = [e.status for e in emulator.journal.find("GET", "/rest/v1/profiles")]
    assert probes[-3:] == [404, 404, 404]
    assert 403 in probes[1:-3]


def test_an_edge_that_never_accepts_the_token_fails_but_the_store_is_right(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.switches["propagation_delay"] = 3600
    with pytest.raises(AdobeAuthenticationError, match="the edge still refuses the token") as error:
        rotate(in_step, force=True, verify_timeout=0.3)
    assert error.value.transient
    assert in_step.value == emulator.target.token()
    emulator.switches["propagation_delay"] = 0
    assert rotate(in_step).verified == "accepted"
    assert posts(emulator) == 1


def test_a_toggle_that_is_off_proves_nothing(emulator: Any, rotate: Rotate, in_step: MemoryStore) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    assert rotate(in_step, force=True).verified.startswith("inconclusive: Target does not require a token")


@pytest.mark.parametrize("checked", [False, True])
def test_without_the_toggle_a_wrong_token_is_refused_only_on_demand(
    emulator: Any, session: AdobeSession, checked: bool
) -> None:
    emulator.target.settings["enableProfileApiAuthentication"] = False
    emulator.switches["token_checked_when_optional"] = checked
    right = emulator.target.issue().value
    answers = [session.send(probe_profile_token("emulator", token)) for token in (None, right, "wrong")]
    assert answers == [True, True, not checked]


def test_an_edge_that_lets_everybody_in_proves_nothing(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    emulator.switches["authentication_enforced_on"] = ["batchUpdate"]
    assert rotate(in_step).verified == "inconclusive: the edge also answers without a token"


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
# rotations into different stores


@pytest.mark.parametrize("number", range(1, 7))
def test_a_rotation_that_was_overtaken_creates_no_second_token(
    emulator: Any, rotate: Rotate, session: AdobeSession, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The slower one of two rotations into different stores stops at one of its requests, until the other one
    has done everything. Both end well, and so do the users of both stores.
    """
    old = emulator.target.issue().value
    emulator.clock.advance(80 * 86_400)
    fast, slow = MemoryStore(old), MemoryStore(old)
    send, sent, done = session.send, [], []

    def held(call: Any) -> Any:
        if call.service is not Service.IMS:
            sent.append(call.name)
        if len(sent) == number and call.name != "create profile token" and not done:
            done.append(True)
            monkeypatch.setattr(session, "send", send)
            rotate(fast)
            monkeypatch.setattr(session, "send", held)
        return send(call)

    monkeypatch.setattr(session, "send", held)
    rotate(slow)
    if done and "create profile token" not in sent[: number - 1]:
        assert fast.value == slow.value == emulator.target.token()
        assert posts(emulator) == 1
    assert slow.value == emulator.target.token()


def test_a_token_that_is_created_right_after_ours_is_followed(
    emulator: Any,
    rotate: Rotate,
    in_step: MemoryStore,
    session: AdobeSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody had decided to create a token before ours was to be seen."""
    send, probes = session.send, []

    def watched(call: Any) -> Any:
        result = send(call)
        if call.name == "fetch profile" and call.bearer:
            probes.append(call)
            if len(probes) == 3:
                emulator.target.issue()
        return result

    monkeypatch.setattr(session, "send", watched)
    result = rotate(in_step, force=True)
    assert in_step.value == emulator.target.token()
    assert result.fingerprint == fingerprint(in_step.value, KEY)
    assert result.verified == "accepted"


# ------------------------------------------------------------------------------------------------------------
# check with a limit


def test_check_fails_when_less_is_left_than_the_limit(
    emulator: Any, rotate: Rotate, in_step: MemoryStore
) -> None:
    check = {"mode": "check", "fail_below": timedelta(days=14)}
    assert rotate(in_step, **check).needed == "nothing"
    emulator.clock.advance(80 * 86_400)
    with pytest.raises(AdobeJobFailedError, match="9 days of the profile token are left"):
        rotate(in_step, **check)
    with pytest.raises(AdobeJobFailedError, match="does not hold the token that Target accepts"):
        rotate(MemoryStore("0f8fad5b-d9cb-469f-a165-70867728950e"), **check)
    assert emulator.journal.writes() == []


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


def test_failures_of_the_store_count_their_attempts(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    in_step.faults |= {("write", number): OSError("down") for number in (1, 2)}
    rotate(in_step, force=True)
    assert "(attempt 1 of 6)" in caplog.text
    assert "(attempt 2 of 6)" in caplog.text


# ------------------------------------------------------------------------------------------------------------
# what an error reporter would see


def locals_of(error: BaseException) -> str:
    """Return the local variables of every frame of the package, of causes as well, as text."""
    told, seen = [], set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "airflow_provider_adobe_audiences" in frame.f_code.co_filename:
                told += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
    return "\n".join(told)


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
        text = locals_of(error)
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
            assert str(secret) not in locals_of(error.value)
        in_step.faults.clear()
        in_step.calls = dict.fromkeys(in_step.calls, 0)
