# SPDX-License-Identifier: Apache-2.0
"""What is done with each outcome, without a socket."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.policy import (
    NoResponse,
    Raise,
    RenewToken,
    Retry,
    Return,
    Throttled,
    decide,
    retry_after,
    throttled,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeError,
    AdobePermissionError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeServerError,
    AdobeTransportError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
)

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def call(
    idempotency: Idempotency = Idempotency.READ,
    service: Service = Service.EXPERIENCE_PLATFORM,
    **details: object,
) -> Call[None]:
    return Call(
        name="do it",
        service=service,
        method="POST",
        path="/x",
        idempotency=idempotency,
        parse=no_content,
        **details,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
def test_every_2xx_is_good(status: int) -> None:
    assert decide(call(), Response(status), renewable=True) == Return()


def test_a_status_that_the_call_understands_is_good() -> None:
    assert decide(call(treat_as_success=(404,)), Response(404), renewable=True) == Return()


@pytest.mark.parametrize("idempotency", [Idempotency.READ, Idempotency.IDEMPOTENT])
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_repeatable_call_is_repeated_when_adobe_fails(idempotency: Idempotency, status: int) -> None:
    decision = decide(call(idempotency), Response(status, {"retry-after": "7"}), renewable=True)
    assert isinstance(decision, Retry)
    assert isinstance(decision.error, AdobeServerError)
    assert decision.after == 7


# 520 and its neighbours come from the networks in front of a service, which may have passed the request on.
@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 520, 524, 599])
def test_a_creating_call_is_never_repeated_when_it_may_have_been_processed(status: int) -> None:
    decision = decide(call(Idempotency.CREATE), Response(status), renewable=True)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, AdobeUnknownOutcomeError)
    assert decision.error.transient


def test_no_answer_after_sending_leaves_a_creating_call_unknown() -> None:
    decision = decide(
        call(Idempotency.CREATE), NoResponse("broke", sent=True, request_id="r1"), renewable=True
    )
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, AdobeUnknownOutcomeError)
    assert decision.error.request_id == "r1"


@pytest.mark.parametrize("idempotency", list(Idempotency))
def test_what_was_not_sent_is_sent_again_whatever_it_is(idempotency: Idempotency) -> None:
    decision = decide(call(idempotency), NoResponse("refused", sent=False, hint="look there"), renewable=True)
    assert isinstance(decision, Retry)
    assert isinstance(decision.error, AdobeTransportError)
    assert decision.error.hint == "look there"


@pytest.mark.parametrize("idempotency", list(Idempotency))
def test_429_is_repeated_whatever_it_is_and_pauses_everybody(idempotency: Idempotency) -> None:
    refusal = Response(429, {"retry-after": "38"})
    decision = decide(call(idempotency), refusal, renewable=True)
    assert isinstance(decision, Retry)
    assert isinstance(decision.error, AdobeRateLimitError)
    assert (decision.after, throttled(refusal), decision.error.retry_after) == (38, Throttled(38), 38)


@pytest.mark.parametrize("outcome", [Response(200), Response(503, {"retry-after": "9"}), None])
def test_nothing_but_429_pauses_everybody(outcome: Response | None) -> None:
    assert throttled(outcome) is None


@pytest.mark.parametrize(
    ("status", "body"), [(401, b""), (401, b'{"error_code":"401013"}'), (403, b'{"error_code":"401013"}')]
)
def test_a_refused_token_is_renewed_once(status: int, body: bytes) -> None:
    assert isinstance(
        decide(call(Idempotency.CREATE), Response(status, {}, body), renewable=True), RenewToken
    )
    again = decide(call(Idempotency.CREATE), Response(status, {}, body), renewable=False)
    assert isinstance(again, Raise)
    assert isinstance(again.error, AdobeAuthenticationError)


@pytest.mark.parametrize("service", [Service.IMS, Service.TARGET_EDGE])
def test_where_no_access_token_was_sent_none_is_renewed(service: Service) -> None:
    decision = decide(call(service=service), Response(401), renewable=True)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, AdobeAuthenticationError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AdobeValidationError),
        (403, AdobePermissionError),
        (301, AdobeResponseError),
        (307, AdobeResponseError),
    ],
)
def test_what_a_repetition_cannot_mend_is_raised(status: int, kind: type[AdobeError]) -> None:
    decision = decide(call(), Response(status), renewable=True)
    assert isinstance(decision, Raise)
    assert type(decision.error) is kind


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("38", 38),
        (" 0 ", 0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 1830 - 1800),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5e9", None),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
        ("9" * 400, 999999999999),
        ("²", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOON) == seconds
