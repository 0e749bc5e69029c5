# SPDX-License-Identifier: Apache-2.0
"""The rotation over real sockets: what others, and the edge, do meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.target import probe_profile_token
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
)
from airflow_provider_adobe_audiences.rotation.decision import fingerprint
from tests.emulator.rotation.parts import KEY, TOKEN_PATH, MemoryStore, Rotate, posts

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


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("age", [0, 88])
@pytest.mark.parametrize("in_store", ["the same", "another"])
def test_a_first_look_that_finds_no_token_keeps_none_that_is_about_to_end(
    emulator: Any, rotate: Rotate, in_step: MemoryStore, age: int, in_store: str, force: bool
) -> None:
    """Nor is a healthy one replaced that nobody wants to be replaced."""
    before = len(emulator.target.issued["profile_api"])
    emulator.clock.advance(age * 86_400)
    if in_store == "another":
        in_step.value = "00000000-1111-2222-3333-444444444444"
    emulator.faults.add(method="GET", path=TOKEN_PATH, nth=1, status=404)

    result = rotate(in_step, force=force)

    assert in_step.value == emulator.target.token()
    assert result.rotated is (age == 88 or (force and in_store == "the same"))
    assert len(emulator.target.issued["profile_api"]) - before == int(result.rotated)
