# SPDX-License-Identifier: Apache-2.0
"""What to do with the outcome of one attempt. Pure: no clock, no network, no randomness."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.bodies import is_web_page
from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service
from airflow_provider_adobe_audiences.adobe.client.problems import error_of, read_problem
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeTransportError,
    AdobeUnknownOutcomeError,
    error_at,
)

TRANSIENT_STATUSES = frozenset({408, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class NoResponse:
    """An attempt that brought no response.

    :param reason: what happened, without secrets.
    :param sent: whether any byte of the request may have reached the other side.
    :param hint: what to check, when the reason tells.
    :param request_id: the id that was sent with the request, where the service takes one.
    """

    reason: str
    sent: bool
    hint: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Return:
    """The response is good."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send again.

    :param error: what to raise when no attempt or no time is left.
    :param after: the seconds that Adobe asks to wait; ``None`` for a growing random wait.
    """

    error: AdobeError
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """Adobe refused a request because there were too many: everybody who uses the credential waits.

    :param after: the seconds that Adobe asks to wait, if it does.
    """

    after: float | None


@dataclass(frozen=True, slots=True)
class RenewToken:
    """The access token was refused: get another and send again, once.

    :param error: what to raise when there is no other.
    """

    error: AdobeError


@dataclass(frozen=True, slots=True)
class Raise:
    """Neither a repetition nor another token can help.

    :param error: what to raise.
    """

    error: AdobeError


Decision = Return | Retry | RenewToken | Raise


def decide(
    call: Call[Any], outcome: Response | NoResponse, *, renewable: bool, now: datetime | None = None
) -> Decision:
    """Return what to do next.

    A call of the kind ``CREATE`` is only sent again when it surely was not processed: the connection was not
    made, or Adobe answered 429 or 401. Everything else leaves its outcome unknown, and the caller has to
    look.

    :param call: what was sent.
    :param outcome: the response, or why there is none.
    :param renewable: whether a refused access token can be renewed (it was not renewed in this call yet).
    :param now: the time that a ``Retry-After`` date is compared with.
    """
    if isinstance(outcome, Response) and 200 <= outcome.status < 300 and is_web_page(outcome.body):
        # A login page of the network, for one. Taken for success it would lose what was sent.
        problem = read_problem(outcome)
        reason = f"Adobe answered {outcome.status} with a body that cannot be read: {problem.message}"
        page = error_at(
            AdobeResponseError, call, reason, status=outcome.status, request_id=problem.request_id
        )
        return Raise(_unknown(call, page)) if call.idempotency is Idempotency.CREATE else Retry(page)
    if isinstance(outcome, NoResponse):
        silence = error_at(
            AdobeTransportError, call, outcome.reason, hint=outcome.hint, request_id=outcome.request_id
        )
        if outcome.sent and call.idempotency is Idempotency.CREATE:
            return Raise(_unknown(call, silence))
        return Retry(silence)
    if 200 <= outcome.status < 300 or outcome.status in call.treat_as_success:
        return Return()
    error = error_of(call, outcome)
    if _token_refused(call, outcome) and renewable:
        return RenewToken(error)
    if refusal := throttled(outcome, now):
        if isinstance(error, AdobeRateLimitError):
            error.retry_after = refusal.after
        return Retry(error, refusal.after)
    if call.idempotency is Idempotency.CREATE and (
        outcome.status in TRANSIENT_STATUSES or outcome.status >= 500
    ):
        return Raise(_unknown(call, error))
    if outcome.status in TRANSIENT_STATUSES:
        return Retry(error, retry_after(outcome.headers, now))
    return Raise(error)


def throttled(outcome: Response | NoResponse | None, now: datetime | None = None) -> Throttled | None:
    """Return what a 429 asks for; ``None`` for any other outcome.

    :param outcome: the response, or why there is none.
    :param now: the time that a ``Retry-After`` date is compared with.
    """
    if not isinstance(outcome, Response) or outcome.status != 429:
        return None
    return Throttled(retry_after(outcome.headers, now))


def _token_refused(call: Call[Any], response: Response) -> bool:
    if call.service in (Service.IMS, Service.TARGET_EDGE):
        return False
    return response.status == 401 or read_problem(response).code == "401013"


def _unknown(call: Call[Any], cause: AdobeError) -> AdobeUnknownOutcomeError:
    error = error_at(
        AdobeUnknownOutcomeError,
        call,
        f"it is not known whether Adobe processed the request ({cause.message})",
        status=cause.status,
        code=cause.code,
        request_id=cause.request_id,
    )
    error.__cause__ = cause
    return error


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait (RFC 9110, 10.2.3), whether it is a number or a
    date; ``None`` if it says nothing usable.

    :param headers: of the response, their names in lower case.
    :param now: the time that a date is compared with; by default the present.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
