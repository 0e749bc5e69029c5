# SPDX-License-Identifier: Apache-2.0
"""Users of the profile token over real sockets: what they do when it changes under them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.errors import AdobeAuthenticationError
from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
from airflow_provider_adobe_audiences.rotation.stores import CallableStore

pytestmark = pytest.mark.usefixtures("adobe_connection")

BODY = b"batch=thirdPartyId,tier\nu1,gold"


class Readings:
    """A store that is rotated while it is being used: each reading gives the next value, the last one for
    ever.
    """

    def __init__(self, *values: str | None) -> None:
        self.values, self.count = values, 0

    def __call__(self) -> str | None:
        value = self.values[min(self.count, len(self.values) - 1)]
        self.count += 1
        return value


def hook_reading(*values: str | None) -> tuple[AdobeTargetHook, Readings]:
    readings = Readings(*values)
    return AdobeTargetHook(store=CallableStore(readings)), readings


def submit(hook: AdobeTargetHook) -> Any:
    with hook.session() as session:
        return hook.submit_profile_batch(session, Content(lambda: io.BytesIO(BODY), len(BODY)))


USES: dict[str, tuple[Callable[[AdobeTargetHook], Any], str]] = {
    "batchUpdate": (submit, "/v2/profile/batchUpdate"),
    "update": (lambda hook: hook.update_profile({"tier": "gold"}, third_party_id="u1"), "/profile/update"),
    "fetch": (lambda hook: hook.fetch_profile("u1"), "/rest/v1/profiles"),
}


@pytest.mark.parametrize("answer", ["403", "401", "200"])
@pytest.mark.parametrize("use", USES)
def test_a_token_that_was_rotated_meanwhile_is_read_once_more(emulator: Any, use: str, answer: str) -> None:
    emulator.switches["bad_token_status"] = answer
    old = emulator.target.issue().value
    new = emulator.target.issue().value
    hook, readings = hook_reading(old, new)
    call, path = USES[use]
    call(hook)
    assert readings.count == 2
    assert len(emulator.journal.find(path=path)) == 2


@pytest.mark.parametrize("values", [("stale",), ("stale", "stale too"), (None, None), ("stale", None)])
@pytest.mark.parametrize("use", USES)
def test_a_token_that_stays_refused_is_never_looped_over(
    emulator: Any, use: str, values: tuple[str | None, ...]
) -> None:
    emulator.target.issue()
    hook, readings = hook_reading(*values)
    call, path = USES[use]
    with pytest.raises(AdobeAuthenticationError) as error:
        call(hook)
    assert readings.count == 2
    assert len(emulator.journal.find(path=path)) == (2 if values == ("stale", "stale too") else 1)
    assert "rotate" in error.value.hint.lower()
    assert emulator.target.batches == {}


async def test_waiting_in_an_event_loop_reads_the_token_once_more(emulator: Any) -> None:
    old = emulator.target.issue().value
    batch = submit(AdobeTargetHook(store=CallableStore(lambda: old)))
    hook, readings = hook_reading(old, emulator.target.issue().value)
    async with hook.async_session() as session:
        status = await hook.get_profile_batch_status_async(session, batch.status_url)
    assert (status.batch_id, readings.count) == (batch.batch_id, 2)
    hook, readings = hook_reading(old)
    async with hook.async_session() as session:
        with pytest.raises(AdobeAuthenticationError, match="Forbidden"):
            await hook.get_profile_batch_status_async(session, batch.status_url)
    assert readings.count == 2


def test_without_a_store_the_error_names_it(emulator: Any) -> None:
    emulator.target.issue()
    with pytest.raises(AdobeAuthenticationError) as error:
        AdobeTargetHook().fetch_profile("u1")
    assert "pass the store" in error.value.hint


@pytest.mark.parametrize("path_name", [None, "client"])
def test_a_single_profile_is_updated_and_read(emulator: Any, path_name: str | None) -> None:
    token = emulator.target.issue().value
    hook = AdobeTargetHook(store=CallableStore(lambda: token))
    submit(hook)
    assert (
        hook.update_profile({"city": "São Paulo"}, third_party_id="u1", path_name=path_name)
        == "Request successfully submitted"
    )
    assert emulator.journal.find("POST", f"/m2/{path_name or 'emulator'}/profile/update")
    profile = hook.fetch_profile("u1")
    assert profile is not None
    assert {name: value["value"] for name, value in profile["profileAttributes"].items()} == {
        "tier": "gold",
        "city": "São Paulo",
    }
    assert hook.fetch_profile("nobody") is None
