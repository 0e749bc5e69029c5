# SPDX-License-Identifier: Apache-2.0
"""The rotation over real sockets: what is decided, and what keeps it from beginning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConflictError,
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeServerError,
    AdobeUnknownOutcomeError,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.decision import fingerprint
from tests.emulator.rotation.parts import KEY, TOKEN_PATH, MemoryStore, Rotate, posts

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


# ------------------------------------------------------------------------------------------------------------
# nothing is created before it can be kept


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
