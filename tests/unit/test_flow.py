# SPDX-License-Identifier: Apache-2.0
"""The life of a call, step by step: no socket, no thread, no waiting."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.flow import Flow, GetToken, Send, Sleep
from airflow_provider_adobe_audiences.adobe.client.policy import NoResponse
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeError,
    AdobePermissionError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeServerError,
    AdobeTransportError,
    AdobeUnknownOutcomeError,
)

TOKEN = SecretStr("the-first-token")
SECOND = SecretStr("the-second-token")


CLOCK = [1000.0]


@pytest.fixture(autouse=True)
def _own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time, moved by what sleeps only; the first wait is of one second, the second of two."""
    monkeypatch.setattr(flow.time, "monotonic", lambda: CLOCK[0])
    monkeypatch.setattr(flow, "_backoff", lambda state: float(state.attempt_number))
    monkeypatch.setattr(limiter, "_limiters", {})


def settings(**fields: Any) -> AdobeSettings:
    given = {
        "client_id": "client",
        "client_secret": "the-client-secret",
        "org_id": "0123456789ABCDEF01234567@AdobeOrg",
        "max_attempts": 3,
        "total_timeout": 60,
    }
    return AdobeSettings.of({**given, **fields})


def call(
    idempotency: Idempotency = Idempotency.READ,
    service: Service = Service.EXPERIENCE_PLATFORM,
    **details: Any,
) -> Call[Any]:
    given = {"method": "GET", "path": "/x", "parse": no_content, "name": "do it"}
    return Call(idempotency=idempotency, service=service, **{**given, **details})


def lived(
    life: Any, *outcomes: Any, tokens: tuple[SecretStr, ...] = (TOKEN, SECOND)
) -> tuple[Response, list[Any]]:
    """Do what each step asks for: tokens and outcomes in order. Return the response, and all steps."""
    steps: list[Any] = []
    given, came = list(outcomes), list(tokens)
    answer: Any = None
    try:
        while True:
            step = life.send(answer)
            steps.append(step)
            match step:
                case GetToken():
                    answer = came.pop(0)
                case Send():
                    answer = given.pop(0)
                case Sleep(seconds):
                    answer = None
                    CLOCK[0] += seconds
    except StopIteration as end:
        assert not given
        return end.value, steps


def kinds(steps: list[Any]) -> list[str]:
    return [type(step).__name__ for step in steps]


def test_a_call_is_a_token_and_a_request() -> None:
    response, steps = lived(Flow(settings()).steps(call()), Response(200))
    assert response == Response(200)
    assert kinds(steps) == ["GetToken", "Send"]
    request = steps[1].request
    assert request.url == "https://platform.adobe.io/x"
    assert request.headers["Authorization"] == "Bearer the-first-token"
    assert "the-first-token" not in repr(steps)


def test_a_service_without_access_tokens_is_asked_for_none() -> None:
    there = call(service=Service.TARGET_EDGE, bearer="profile-token")
    _, steps = lived(Flow(settings(target_client_code="acme")).steps(there), Response(200))
    assert kinds(steps) == ["Send"]
    assert steps[0].request.headers["Authorization"] == "Bearer profile-token"
    assert "profile-token" not in repr(steps)


def test_a_failure_is_followed_by_a_wait_and_another_attempt_with_the_same_id() -> None:
    _, steps = lived(Flow(settings()).steps(call()), Response(503), Response(200), tokens=(TOKEN, TOKEN))
    assert kinds(steps) == ["GetToken", "Send", "Sleep", "GetToken", "Send"]
    assert steps[2] == Sleep(1.0)
    sent = [step.request.headers["x-request-id"] for step in steps if isinstance(step, Send)]
    assert sent[0] == sent[1]


def test_a_refused_token_is_renewed_once_without_a_wait_and_without_counting() -> None:
    refused = Response(401, {}, b'{"error_code": "401013"}')
    _, steps = lived(Flow(settings(max_attempts=1)).steps(call()), refused, Response(200))
    assert kinds(steps) == ["GetToken", "Send", "GetToken", "Send"]
    assert (steps[0].refused, steps[2].refused) == (None, TOKEN)
    with pytest.raises(AdobeAuthenticationError):
        lived(Flow(settings()).steps(call()), refused, refused)


def test_a_ready_made_token_is_not_renewed() -> None:
    fixed = settings(authentication="access_token", access_token="ready", client_secret=None)
    with pytest.raises(AdobeAuthenticationError):
        lived(Flow(fixed).steps(call()), Response(401))


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Response(500), AdobeServerError),
        (Response(429), AdobeRateLimitError),
        (NoResponse("it broke", sent=True), AdobeTransportError),
        (Response(200, {}, b"<html>Sign in</html>"), AdobeResponseError),
    ],
)
def test_what_does_not_end_is_given_up_after_the_last_attempt(
    outcome: Any, kind: type[AdobeError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with pytest.raises(kind, match=r"\(given up after 3 attempts in \d+ s\)") as raised:
        lived(Flow(settings()).steps(call()), outcome, outcome, outcome, tokens=(TOKEN,) * 3)
    assert str(raised.value.args[0]) == raised.value.message
    promised = [re.search(r"attempt \d of \d", record.getMessage())[0] for record in caplog.records]
    assert promised == ["attempt 2 of 3", "attempt 3 of 3"], "the last one promises none"


def test_no_attempt_begins_after_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    busy = Response(429, {"retry-after": "40"})
    with pytest.raises(AdobeRateLimitError, match=r"given up after 2 attempts in 4\d s"):
        lived(Flow(settings()).steps(call()), busy, busy, tokens=(TOKEN,) * 2)
    assert len(caplog.records) == 1


def test_a_wait_says_status_reason_seconds_and_when(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    busy = Response(429, {"retry-after": "2"}, b'{"message": "Too many requests."}')
    down = NoResponse("the host name x cannot be resolved", sent=False)
    lived(Flow(settings()).steps(call()), busy, down, Response(200), tokens=(TOKEN,) * 3)
    first, second = (record.getMessage() for record in caplog.records)
    assert re.fullmatch(
        r"do it \(Experience Platform: GET /x\): 429: Too many requests\. "
        r"Adobe asks to wait 2 s; attempt 2 of 3 at \d\d:\d\d:\d\d UTC\.",
        first,
    ), first
    assert re.fullmatch(
        r"do it \(Experience Platform: GET /x\): the host name x cannot be resolved\. "
        r"Waiting 2\.0 s; attempt 3 of 3 at \d\d:\d\d:\d\d UTC\.",
        second,
    ), second


def test_what_adobe_asks_for_is_waited_for_and_a_little_more() -> None:
    busy = Response(429, {"retry-after": "2"})
    _, steps = lived(Flow(settings()).steps(call()), busy, Response(200), tokens=(TOKEN,) * 2)
    assert next(step for step in steps if isinstance(step, Sleep)) == Sleep(2.1)


@pytest.mark.parametrize("after", ["61", "121", "86400"])
def test_an_absurd_wait_is_told_instead(after: str) -> None:
    with pytest.raises(AdobeRateLimitError) as raised:
        lived(Flow(settings()).steps(call()), Response(429, {"retry-after": after}))
    assert raised.value.hint.startswith(f"Adobe asks to wait {after} seconds, longer than this call may take")


def test_a_creating_call_whose_outcome_is_unknown_ends() -> None:
    with pytest.raises(AdobeUnknownOutcomeError) as raised:
        lived(Flow(settings()).steps(call(Idempotency.CREATE)), Response(500, {}, b'{"message": "oh"}'))
    assert isinstance(raised.value.__cause__, AdobeServerError)


def test_an_error_says_the_id_that_was_sent_when_no_response_came() -> None:
    life = Flow(settings(max_attempts=1)).steps(call())
    life.send(None)
    request = life.send(TOKEN).request
    with pytest.raises(AdobeTransportError) as raised:
        life.send(NoResponse("it broke", sent=True))
    assert raised.value.request_id == request.headers["x-request-id"]


def places(gate: limiter.Limiter) -> int:
    return gate._under_way


@pytest.mark.parametrize("end", ["response", "refusal", "cancelled", "broken driver"])
def test_a_place_of_the_limiter_is_given_back_however_it_ends(end: str) -> None:
    made = Flow(settings())
    gate = made.limiter(call())
    life = made.steps(call())
    life.send(None)
    assert places(gate) == 0, "none is held while a token is awaited"
    assert isinstance(life.send(TOKEN), Send)
    assert places(gate) == 1
    match end:
        case "response":
            with pytest.raises(StopIteration):
                life.send(Response(200))
        case "refusal":
            with pytest.raises(AdobePermissionError):
                life.send(Response(403))
        case "cancelled":
            life.close()
        case "broken driver":
            with pytest.raises(ZeroDivisionError):
                life.throw(ZeroDivisionError())
    assert places(gate) == 0


def test_a_full_limiter_is_waited_for_ever_longer_but_not_for_ever() -> None:
    made = Flow(settings())
    gate = made.limiter(call())
    while not gate.try_enter():
        pass
    life = made.steps(call())
    life.send(None)
    waits = [life.send(TOKEN).seconds] + [life.send(None).seconds for _ in range(30)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.02, limiter.MAX_LOOK_AGAIN)
    gate.leave(throttled=False)
    assert isinstance(life.send(None), Send)


def test_a_token_has_a_gate_of_its_own_even_at_the_same_host() -> None:
    url = "http://127.0.0.1:9"
    made = Flow(settings(ims_url=url, platform_url=url))
    service, tokens = made.limiter(call()), made.limiter(call(service=Service.IMS))
    assert service is not tokens
    assert service is Flow(settings(ims_url=url, platform_url=url)).limiter(call())


def test_a_pause_beyond_the_deadline_is_an_error_at_once() -> None:
    made = Flow(settings())
    gate = made.limiter(call())
    assert gate.try_enter() == 0
    gate.leave(throttled=True, pause=100)
    life = made.steps(call())
    life.send(None)
    with pytest.raises(AdobeRateLimitError, match="all requests of this worker pause for"):
        life.send(TOKEN)


def test_what_cannot_be_sent_asks_for_no_token() -> None:
    with pytest.raises(AdobeConfigurationError, match="does not begin with '/'"):
        Flow(settings()).steps(call(path="x")).send(None)


def parsed(parse: Callable[[Response], Any], response: Response, **details: Any) -> AdobeError:
    made = Flow(settings())
    made.redactor.learn(TOKEN)
    with pytest.raises(AdobeError) as raised:
        made.parsed(call(parse=parse, **details), response)
    return raised.value


def test_a_response_that_cannot_be_read_is_told_with_its_request() -> None:
    error = parsed(lambda response: response.json()["id"], Response(200, {"x-request-id": "r-1"}, b"{}"))
    assert isinstance(error, AdobeResponseError)
    assert "Adobe answered 200 with a body that cannot be read: KeyError: 'id'" in str(error)
    assert (error.status, error.request_id, error.path) == (200, "r-1", "/x")


def test_what_was_created_but_cannot_be_read_is_unknown() -> None:
    error = parsed(lambda response: response.json(), Response(201, {}, b"["), idempotency=Idempotency.CREATE)
    assert isinstance(error, AdobeUnknownOutcomeError)


def test_a_secret_that_a_parser_would_have_cut_in_two_is_not_said() -> None:
    def parse(response: Response) -> None:
        raise ValueError(response.text[:10])

    error = parsed(parse, Response(200, {}, b"x" * 3 + TOKEN.get_secret_value().encode()))
    assert "the-fir" not in str(error)
    assert "xxx***" in str(error)


def test_a_parsers_error_is_told_where_it_happened() -> None:
    def parse(response: Response) -> None:
        raise AdobeServerError(f"Adobe says {response.text}")

    error = parsed(parse, Response(207, {"x-request-id": "r-2"}, b"no, the-first-token"))
    assert (error.status, error.call, error.request_id) == (207, "do it", "r-2")
    assert error.message == "Adobe says no, ***"
