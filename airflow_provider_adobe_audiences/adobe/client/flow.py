# SPDX-License-Identifier: Apache-2.0
"""The whole life of a call, without I/O: token, request, the limiter's pause, attempt, decision, retry,
giving up.

:meth:`Flow.steps` is a generator (the way of httpx's ``auth_flow``): it yields what has to be done, and is
    sent
what came of it. Two drivers do it, one blocking (:mod:`.session`) and one in an event loop
(:mod:`.async_session`); neither decides anything.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import SecretStr
from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service
from airflow_provider_adobe_audiences.adobe.client.limiter import MAX_LOOK_AGAIN, Limiter, limiter_for
from airflow_provider_adobe_audiences.adobe.client.policy import (
    Decision,
    NoResponse,
    Raise,
    RenewToken,
    Retry,
    Return,
    decide,
    throttled,
)
from airflow_provider_adobe_audiences.adobe.client.problems import read_problem
from airflow_provider_adobe_audiences.adobe.client.redaction import Redactor
from airflow_provider_adobe_audiences.adobe.client.request import Request, RequestBuilder, needs_token
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
    error_at,
)
from airflow_provider_adobe_audiences.text import counted, one_line

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_PAUSE = 120.0
_backoff = wait_random_exponential(multiplier=0.5, max=30)


@dataclass(frozen=True, slots=True)
class GetToken:
    """Send back an access token, other than the one that was refused.

    :param refused: the token that the service just refused, if it did.
    """

    refused: SecretStr | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds; send back anything.

    :param seconds: how many.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request once; send back the response, or why there is none.

    :param request: what to send.
    """

    request: Request


Step = GetToken | Sleep | Send


@dataclass(slots=True)
class _Progress:
    """What is remembered between the attempts of one call."""

    call: Call[Any]
    begun: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempts: int = 0
    refused: SecretStr | None = None


class Flow:
    """What happens to each call of a session.

    :param settings: hosts, credential and limits.
    :param on_token: is told all forms of each further secret before it is used, to mask it in logs.
    """

    def __init__(self, settings: AdobeSettings, on_token: Callable[[list[str]], None] | None = None) -> None:
        self.settings = settings
        self.redactor = Redactor(settings.secrets(), on_token)
        self._requests = RequestBuilder(settings, self.redactor)

    def steps(self, call: Call[Any]) -> Generator[Step, Any, Response]:
        """Yield each :data:`Step` of the life of ``call``, and return the response that it ends with.

        To be closed when it is left early: the limiter counts what is under way.

        :param call: what to send.
        :returns: a response that ``call`` understands.
        :raises AdobeError: when the call cannot be sent, was refused, or no attempt or time is left.
        """
        self._requests.check(call)
        if call.bearer is not None:
            self.redactor.learn(call.bearer)
        progress = _Progress(call, time.monotonic())
        while True:
            token = None
            if needs_token(call):
                token = yield GetToken(progress.refused)
                self.redactor.learn(token)
            request = self._requests.build(call, token, progress.request_id)
            progress.attempts += 1
            outcome = yield from self._attempt(progress, request)
            match self._decide(progress, outcome):
                case Return():
                    assert isinstance(outcome, Response)
                    return outcome
                case RenewToken(error):
                    self._check_time(progress, error, 0.0)
                    progress.refused = token
                    progress.attempts -= 1  # it only showed that the token had to be renewed
                    log.info("%s: the access token was refused; asking for another.", call)
                case Retry(error, after):
                    yield Sleep(self._pause_before_next(progress, error, after))
                case Raise(error):
                    raise error

    def _attempt(self, progress: _Progress, request: Request) -> Generator[Step, Any, Response | NoResponse]:
        limiter = self.limiter(progress.call)
        refusals = 0
        while pause := limiter.try_enter(refusals):
            self._check_pause(progress, pause)
            yield Sleep(pause)
            refusals += 1
        outcome: Response | NoResponse | None = None
        try:
            outcome = yield Send(request)
        finally:
            refusal = throttled(outcome)
            after = refusal.after if refusal else None
            limiter.leave(
                throttled=refusal is not None, pause=None if after is None else min(after, MAX_PAUSE)
            )
        assert outcome is not None
        return outcome

    def limiter(self, call: Call[Any]) -> Limiter:
        """Return the gate that ``call`` passes.

        IMS has one of its own: otherwise those who wait for a token could be held up by those who hold all
        places of a service while they wait for one.

        :param call: what is to be sent.
        """
        settings = self.settings
        if call.service is not Service.IMS:
            kind, where = "service", settings.base_url(call.service)
        else:  # Audience Manager issues tokens itself, with its legacy grant
            kind, where = "tokens", settings.audience_manager_url if call.url else settings.ims_url
        return limiter_for(kind, where, settings.client_id, settings.requests_per_minute)

    def _check_pause(self, progress: _Progress, pause: float) -> None:
        """Raise when a pause would last beyond the deadline. Waiting until fewer are under way is not
        bounded: uploads take long.
        """
        left = self.settings.total_timeout - (time.monotonic() - progress.begun)
        if pause > max(left, MAX_LOOK_AGAIN):
            raise error_at(
                AdobeRateLimitError,
                progress.call,
                f"all requests of this worker pause for {counted(pause, 'second')}",
            )

    def _decide(self, progress: _Progress, outcome: Response | NoResponse) -> Decision:
        call = progress.call
        if isinstance(outcome, NoResponse) and call.service is Service.EXPERIENCE_PLATFORM:
            outcome = NoResponse(outcome.reason, outcome.sent, outcome.hint, progress.request_id)
        renewable = self.settings.access_token is None and progress.refused is None
        decision = decide(call, outcome, renewable=renewable)
        if isinstance(decision, Return):
            return decision
        if isinstance(outcome, Response):
            # Once more, without secrets: what is said is shortened, and half a token would not be recognised.
            decision = decide(call, self.redactor.response(outcome), renewable=renewable)
        assert not isinstance(decision, Return)
        self.redactor.error(decision.error)
        return decision

    def _pause_before_next(self, progress: _Progress, error: AdobeError, after: float | None) -> float:
        """Return the seconds until the next attempt, and tell of it; raise ``error`` when there is none."""
        if after is not None and after > min(MAX_PAUSE, self.settings.total_timeout):
            error.hint = (
                f"Adobe asks to wait {counted(after, 'second')}, longer than this call may take. {error.hint}"
            )
            raise error
        if progress.attempts >= self.settings.max_attempts:
            raise _given_up(progress, error)
        pause = _seconds(progress.attempts, after)
        self._check_time(progress, error, pause)
        reason = error.message if error.status is None else f"{error.status}: {error.message}"
        next_at = datetime.now(UTC) + timedelta(seconds=pause)
        log.warning(
            "%s: %s. %s; attempt %d of %d at %s UTC.",
            progress.call,
            reason.rstrip("."),
            f"Waiting {pause:.1f} s" if after is None else f"Adobe asks to wait {after:.0f} s",
            progress.attempts + 1,
            self.settings.max_attempts,
            next_at.strftime("%H:%M:%S"),
        )
        return pause

    def _check_time(self, progress: _Progress, error: AdobeError, pause: float) -> None:
        if time.monotonic() - progress.begun + pause >= self.settings.total_timeout:
            raise _given_up(progress, error)

    def parsed(self, call: Call[T], response: Response) -> T:
        """Return what ``response`` means to ``call``.

        :param call: what was sent.
        :param response: what :meth:`steps` returned.
        :raises AdobeError: when the response says that it failed, or cannot be read.
        """
        try:
            return call.parse(response)
        except _UNREADABLE:
            pass
        # Once more, without secrets: a parser may shorten what it says, and half a token is not recognised.
        clean = self.redactor.response(response)
        try:
            call.parse(clean)
            reason = "it cannot be read"
        except AdobeError as error:
            if error.service is None:  # a parser knows the response only
                error.service, error.call = call.service, call.name
                error.method, error.path, error.status = call.method, one_line(call.path), response.status
            error.request_id = error.request_id or read_problem(clean).request_id
            raise self.redactor.error(error) from None
        except _UNREADABLE as error:
            reason = one_line(self.redactor.text(f"{type(error).__name__}: {error}"))
        # What was created by a call that was answered with success cannot be read: the caller has to look.
        kind = AdobeUnknownOutcomeError if call.idempotency is Idempotency.CREATE else AdobeResponseError
        raise error_at(
            kind,
            call,
            f"Adobe answered {response.status} with a body that cannot be read: {reason}",
            status=response.status,
            request_id=read_problem(Response(clean.status, clean.headers)).request_id,
        )


_UNREADABLE = (
    AdobeError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RecursionError,
)


def _seconds(attempts: int, after: float | None) -> float:
    if after == 0:
        return 0.0
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # the strategy reads the number only
    state.attempt_number = attempts
    random = _backoff(state)
    # A little more than Adobe asked for, so that waiting tasks do not all return in the same instant.
    return random if after is None else after + min(1.0, random / 10)


def _given_up(progress: _Progress, error: AdobeError) -> AdobeError:
    if progress.attempts > 1:
        seconds = time.monotonic() - progress.begun
        error.message = (
            f"{error.message.rstrip('.')} (given up after {progress.attempts} attempts in {seconds:.0f} s)"
        )
        error.args = (error.message,)
    return error
