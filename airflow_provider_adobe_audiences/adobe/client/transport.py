# SPDX-License-Identifier: Apache-2.0
"""Two ways to send a :class:`~.call.Call`, one policy: :class:`AdobeSession` blocks,
:class:`AsyncAdobeSession` does not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_before_delay
from tenacity.wait import wait_random_exponential

from airflow_provider_adobe_audiences.adobe.client.bodies import (
    ACCEPTED_ENCODING,
    UPLOAD_PIECE,
    BadResponse,
    Download,
    Unpacker,
    Upload,
    bounded_steps,
    check_size,
    pieces,
    unpacked,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Content, Idempotency, Response, Service
from airflow_provider_adobe_audiences.adobe.client.ims import (
    AccessToken,
    TokenSource,
    request_password_token,
    request_token,
)
from airflow_provider_adobe_audiences.adobe.client.limiter import LOOK_AGAIN, Limiter, limiter_for
from airflow_provider_adobe_audiences.adobe.client.policy import (
    NoResponse,
    Raise,
    RenewToken,
    Retry,
    Return,
    decide,
)
from airflow_provider_adobe_audiences.adobe.client.problems import read_problem
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings, is_loopback
from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
    error_at,
)
from airflow_provider_adobe_audiences.text import one_line

if TYPE_CHECKING:
    import httpx
    import requests

T = TypeVar("T")
log = logging.getLogger(__name__)

_MAX_PAUSE = 120.0
_MIN_SECRET_LENGTH = 8  # one of a few characters may be part of anything
_backoff = wait_random_exponential(multiplier=0.5, max=30)


class _Again(Exception):
    """Asks tenacity for another attempt."""

    def __init__(self, error: AdobeError, after: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


def _wait(state: RetryCallState) -> float:
    again = state.outcome.exception() if state.outcome else None
    after = again.after if isinstance(again, _Again) else None
    # A little more than Adobe asked for, so that waiting tasks do not all return in the same instant.
    return _backoff(state) if after is None else after + min(1.0, _backoff(state) / 10) if after else 0.0


@dataclass(slots=True)
class _Progress:
    """What is remembered between the attempts of one call."""

    call: Call[Any]
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempts: int = 0
    token: str | None = None
    refused: str | None = None
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes | None
    form: dict[str, str] | None
    content: Content | None


class _Policy:
    """All that both sessions share: it never touches the network itself."""

    def __init__(self, settings: AdobeSettings, on_token: Callable[[str], None] | None) -> None:
        self.settings = settings
        self._on_token = on_token
        self._secrets: set[str] = set(settings.secrets())

    def _learn(self, token: str) -> None:
        self._secrets.add(token)
        if self._on_token:
            self._on_token(token)

    def _limiter(self, call: Call[Any]) -> Limiter:
        own = (
            call.service is Service.IMS and call.url
        )  # Audience Manager issues tokens itself, with its legacy grant
        service = self.settings.audience_manager_url if own else self.settings.base_url(call.service)
        return limiter_for(service, self.settings.client_id, self.settings.requests_per_minute)

    def _check_pause(self, progress: _Progress, pause: float) -> None:
        """Raise when a pause would last beyond the deadline. Waiting until fewer are under way is not
        bounded: uploads take long.
        """
        left = self.settings.total_timeout - (time.monotonic() - progress.started)
        if pause > max(left, LOOK_AGAIN):
            raise error_at(
                AdobeRateLimitError,
                progress.call,
                f"all requests of this worker pause for {pause:.0f} seconds",
            )

    def _needs_token(self, call: Call[Any]) -> bool:
        return call.service not in (Service.IMS, Service.TARGET_EDGE)

    def _check(self, call: Call[Any]) -> None:
        legacy = self.settings.authentication == "audience_manager_password"
        if legacy and call.service not in (Service.AUDIENCE_MANAGER, Service.IMS, Service.TARGET_EDGE):
            raise error_at(
                AdobeConfigurationError,
                call,
                "the connection authenticates with Audience Manager's password grant, which no other service "
                "accepts",
                hint="Use a connection with an OAuth Server-to-Server credential for this service.",
            )
        if call.url is None and not call.path.startswith("/"):
            # Appended to a base URL, it would be part of the host's name.
            raise error_at(AdobeConfigurationError, call, "the path does not begin with '/'")

    def _request(self, progress: _Progress) -> _Request:
        call, settings = progress.call, self.settings
        headers = {"Accept": call.accept, "Accept-Encoding": ACCEPTED_ENCODING, **call.headers}
        if progress.token is not None:
            headers["Authorization"] = f"Bearer {progress.token}"
            if settings.authentication != "audience_manager_password":
                headers["x-api-key"] = settings.client_id
                if settings.org_id:
                    headers["x-gw-ims-org-id"] = settings.org_id
        elif call.bearer is not None:
            headers["Authorization"] = f"Bearer {call.bearer}"
        if call.service is Service.EXPERIENCE_PLATFORM:
            headers["x-sandbox-name"] = settings.sandbox
            headers["x-request-id"] = progress.request_id
        body = self._body(call)
        self._check_values(call, body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if call.content is not None:
            headers.setdefault("Content-Type", call.content.media_type)
        if call.url is None:
            url = settings.base_url(call.service) + call.path
        elif call.service is Service.IMS:
            url = call.url
        else:
            url = settings.allowed_url(call.service, call.url)
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                # Never the value: most of them are secrets.
                raise error_at(
                    AdobeConfigurationError,
                    call,
                    f"the value of the header {name!r} is incomplete, or holds a line break or another "
                    "character that fits into no header",
                    hint=(
                        "Copy the credential (or the token in the secret store) once more, without blanks "
                        "and line breaks."
                    ),
                )
        if call.bearer is not None:
            self._secrets.add(call.bearer)
        form = dict(call.form) if call.form is not None else None
        return _Request(call.method, url, list(call.params), headers, body, form, call.content)

    def _check_values(self, call: Call[Any], body: bytes | None) -> None:
        """Raise when a value is a secret of the connection: a template such as ``{{
        conn.adobe_default.password }}`` makes it one.
        """
        if call.service is Service.IMS:
            return
        written = [
            unquote(call.path),
            unquote(call.url or ""),
            (body or b"").decode(),
            *(call.form or {}).values(),
        ]
        written += [value for _, value in call.params]
        for secret in self.settings.secrets():
            if len(secret) >= _MIN_SECRET_LENGTH and any(secret in text for text in written):
                error = error_at(
                    AdobeConfigurationError,
                    call,
                    "a value of the request holds a secret of the connection; it is not sent",
                    hint="Look for a template that renders the connection, and take it out of the arguments.",
                )
                raise self._scrubbed(error)

    def _body(self, call: Call[Any]) -> bytes | None:
        """Return the JSON body, once it is sure that all of the call can be written down."""
        try:
            urlencode([*call.params, *(call.form or {}).items()])
            if call.json is None:
                return None
            return json.dumps(call.json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            reason = one_line(self.scrub(f"{type(error).__name__}: {error}"))
        raise error_at(AdobeConfigurationError, call, f"a value cannot be sent ({reason})")

    def _decide(self, progress: _Progress, outcome: Response | NoResponse, renewable: bool) -> None:
        """Return if the answer is good, raise :class:`_Again` to send again, or the error that ends the
        call.
        """
        call = progress.call
        if isinstance(outcome, NoResponse) and call.service is Service.EXPERIENCE_PLATFORM:
            outcome = NoResponse(outcome.reason, outcome.sent, outcome.hint, progress.request_id)
        if isinstance(outcome, Response):
            # Before anything is shortened: half a token would not be recognised any more.
            outcome = Response(
                outcome.status,
                {k: self.scrub(v) for k, v in outcome.headers.items()},
                self._scrubbed_body(outcome.body),
            )
        match decide(call, outcome, renewable=renewable and progress.refused is None):
            case Return():
                return
            case RenewToken(error):
                progress.refused = progress.token
                log.info("%s: the access token was refused; asking for another.", call)
                raise _Again(self._scrubbed(error), 0.0)
            case Retry(error, after, _):
                error = self._scrubbed(error)
                if after is not None and after > min(_MAX_PAUSE, self.settings.total_timeout):
                    error.hint = (
                        f"Adobe asks to wait {after:.0f} seconds, longer than this call may take. "
                        f"{error.hint}"
                    )
                    raise error
                log.warning(
                    "%s: attempt %d failed (%s); trying again.",
                    call,
                    progress.attempts,
                    self.scrub(error.message),
                )
                raise _Again(error, after)
            case Raise(error):
                raise self._scrubbed(error)

    def _parsed(self, call: Call[T], response: Response) -> T:
        try:
            return call.parse(response)
        except AdobeError as error:
            if error.service is None:  # a parser knows the answer only
                error.service, error.call, error.method, error.path = (
                    call.service,
                    call.name,
                    call.method,
                    call.path,
                )
                error.status = response.status
            error.request_id = error.request_id or read_problem(response).request_id
            raise self._scrubbed(error) from None
        except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
            # A creating call was answered with success, but what was created cannot be read: the caller has
            # to look.
            kind = AdobeUnknownOutcomeError if call.idempotency is Idempotency.CREATE else AdobeResponseError
            reason = one_line(self.scrub(f"{type(error).__name__}: {error}"))
            message = f"Adobe answered {response.status} with a body that cannot be read: {reason}"
            headers = {name: self.scrub(value) for name, value in response.headers.items()}
            request_id = read_problem(Response(response.status, headers)).request_id
            raise error_at(kind, call, message, status=response.status, request_id=request_id) from None

    def _given_up(self, progress: _Progress, error: AdobeError) -> AdobeError:
        if progress.attempts > 1:
            seconds = time.monotonic() - progress.started
            error.message = (
                f"{error.message} (given up after {progress.attempts} attempts in {seconds:.0f} s)"
            )
        return error

    def scrub(self, text: str) -> str:
        """Return ``text`` without any secret that this session knows."""
        for secret in self._secrets:
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return text

    def _scrubbed_body(self, body: bytes) -> bytes:
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        return body

    def _scrubbed(self, error: AdobeError) -> AdobeError:
        error.message = self.scrub(error.message)
        error.args = (error.message,)
        error.code = self.scrub(error.code) if error.code else None
        error.request_id = self.scrub(error.request_id) if error.request_id else None
        error.path = self.scrub(error.path) if error.path else None
        return error

    def _tenacity(self, progress: _Progress) -> dict[str, Any]:
        settings = self.settings

        def no_attempt_left(_: RetryCallState) -> bool:
            # The attempt that only showed that the token had to be renewed does not count.
            return progress.attempts - (progress.refused is not None) >= settings.max_attempts

        return {
            "retry": retry_if_exception_type(_Again),
            "wait": _wait,
            "stop": lambda state: no_attempt_left(state) or stop_before_delay(settings.total_timeout)(state),
            "reraise": True,
        }


class AdobeSession(_Policy):
    """Sends calls and waits for their answers. Thread-safe. A context manager.

    :param settings: hosts, credential and limits.
    :param on_token: is told every token before it is used, to mask it in logs.
    :raises AdobeConfigurationError: from :meth:`send`, when the call cannot be sent with these settings;
        nothing was sent.
    """

    def __init__(self, settings: AdobeSettings, *, on_token: Callable[[str], None] | None = None) -> None:
        super().__init__(settings, on_token)
        self._stack = ExitStack()
        self._http: requests.Session | None = None
        self._looked_up: dict[str, Any] = {}
        self.tokens = TokenSource(settings, self._fetch_token, self._learn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        self._http = None

    def send(self, call: Call[T]) -> T:
        """Send ``call`` and return its parsed result.

        :raises AdobeError: a subclass that says what happened, where, and what to do.
        """
        return self._parsed(call, self._send(call, None))

    def download(self, call: Call[Any], target: IO[bytes], length: int | None = None) -> int:
        """Write the body of the answer to ``target``, from its current position, and return the number of
        bytes.

        :param length: how many bytes there must be; ``None`` when that is not known.
        :raises AdobeError: as :meth:`send`.
        """
        download = Download(target, target.tell(), length)
        self._send(call, download)
        return target.tell() - download.begin

    def _send(self, call: Call[Any], target: Download | None) -> Response:
        self._check(call)
        progress = _Progress(call)
        try:
            return Retrying(**self._tenacity(progress))(self._attempt, progress, target)
        except _Again as again:
            raise self._given_up(progress, again.error) from None

    def _fetch_token(self, refresh_token: str | None) -> AccessToken:
        if self.settings.authentication != "audience_manager_password":
            return self.send(request_token(self.settings))
        if refresh_token:
            try:
                self._learn(refresh_token)
                return self.send(request_password_token(self.settings, refresh_token))
            except AdobeError as error:
                log.info(
                    "The refresh token was not accepted (%s); asking with the password.",
                    error.code or error.status,
                )
        return self.send(request_password_token(self.settings))

    def _attempt(self, progress: _Progress, target: Download | None) -> Response:
        call = progress.call
        if self._needs_token(call):
            progress.token = self.tokens.get(progress.refused)
        request = self._request(progress)
        limiter = self._limiter(call)
        while pause := limiter.try_enter():
            self._check_pause(progress, pause)
            time.sleep(pause)
        outcome: Response | NoResponse | None = None
        try:
            progress.attempts += 1
            outcome = self._exchange(request, target)
        finally:
            limiter.leave(**_throttling(outcome))
        self._decide(progress, outcome, self.tokens.renewable)
        assert isinstance(outcome, Response)
        return outcome

    def _exchange(self, request: _Request, target: Download | None) -> Response | NoResponse:
        import requests
        import urllib3

        timeout = (self.settings.connect_timeout, self.settings.read_timeout)
        try:
            with ExitStack() as stack:
                data: Any = (
                    request.body if request.content is None else stack.enter_context(Upload(request.content))
                )
                http = self._client()
                prepared = http.prepare_request(
                    requests.Request(
                        request.method,
                        request.url,
                        params=request.params,
                        headers=request.headers,
                        data=data if request.form is None else request.form,
                    )
                )
                answer = stack.enter_context(
                    http.send(
                        prepared,
                        timeout=timeout,
                        allow_redirects=False,
                        **self._surroundings(http, request.url),
                    )
                )
                headers = {name.lower(): value for name, value in answer.headers.items()}
                body = unpacked(answer.raw, headers.get("content-encoding"))
                if (
                    target is not None
                    and answer.ok
                    and not headers.get("content-type", "").startswith("text/html")
                ):
                    target.receive(body, self.settings.total_timeout)
                    return Response(answer.status_code, headers)
                return Response(answer.status_code, headers, self._read(body))
        except BadResponse as error:
            return NoResponse(str(error), sent=True, hint=AdobeResponseError.default_hint)
        except requests.exceptions.RequestException as error:
            return _requests_failure(error)
        except urllib3.exceptions.HTTPError as error:
            return NoResponse(f"the answer broke off ({type(error).__name__})", sent=True)

    def _surroundings(self, http: requests.Session, url: str) -> Any:
        """Return the proxies and certificates for a host. To look them up for each request would take a sixth
        of its time.
        """
        parts = urlsplit(url)
        if parts.netloc not in self._looked_up:
            proxies = _DIRECT if is_loopback(parts.hostname) else {}
            # Verification is said for each request: otherwise REQUESTS_CA_BUNDLE of the worker has the last
            # word.
            self._looked_up[parts.netloc] = http.merge_environment_settings(
                url, proxies, True, self._trusted(), None
            )
        return self._looked_up[parts.netloc]

    def _read(self, unpacked_body: Iterator[bytes]) -> bytes:
        deadline = time.monotonic() + self.settings.total_timeout
        body = bytearray()
        for piece in unpacked_body:
            body += piece
            check_size(len(body), deadline, self.settings.total_timeout)
        return bytes(body)

    def _trusted(self) -> str | bool:
        return self.settings.ca_bundle or self.settings.verify_tls

    def _client(self) -> requests.Session:
        if self._http is None:
            import requests
            from requests.adapters import HTTPAdapter

            answers = bounded_steps(self.settings.total_timeout)

            class Adapter(HTTPAdapter):
                def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
                    # Large pieces: sending a file is bound by the network then, not by Python.
                    super().init_poolmanager(*args, **kwargs, blocksize=UPLOAD_PIECE)

                def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
                    pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
                    if pool.ConnectionCls.response_class is not answers:
                        pool.ConnectionCls = type(
                            "Connection", (pool.ConnectionCls,), {"response_class": answers}
                        )
                    return pool

            if self.settings.ca_bundle or not self.settings.verify_tls:
                _tls_context(self.settings)
            session = requests.Session()
            session.auth = _no_netrc
            session.headers["User-Agent"] = user_agent()
            for scheme in ("https://", "http://"):
                session.mount(scheme, Adapter(pool_connections=8, pool_maxsize=32))
            self._http = self._stack.enter_context(session)
        return self._http


class AsyncAdobeSession(_Policy):
    """The same for an event loop, such as the triggerer's. An async context manager.

    The rare request for an access token runs in a thread, so that its cache and lock are shared with blocking
    tasks.
    """

    def __init__(self, settings: AdobeSettings, *, on_token: Callable[[str], None] | None = None) -> None:
        super().__init__(settings, on_token)
        self._http: httpx.AsyncClient | None = None
        self._tokens = AdobeSession(settings, on_token=self._learn)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None
        self._tokens.close()

    async def send(self, call: Call[T]) -> T:
        """Send ``call`` and return its parsed result.

        :raises AdobeError: a subclass that says what happened, where, and what to do.
        """
        self._check(call)
        progress = _Progress(call)
        try:
            response: Response = await AsyncRetrying(**self._tenacity(progress))(self._attempt, progress)
        except _Again as again:
            raise self._given_up(progress, again.error) from None
        return self._parsed(call, response)

    async def _attempt(self, progress: _Progress) -> Response:
        call = progress.call
        if self._needs_token(call):
            progress.token = await asyncio.to_thread(self._tokens.tokens.get, progress.refused)
        request = self._request(progress)
        limiter = self._limiter(call)
        while pause := limiter.try_enter():
            self._check_pause(progress, pause)
            await asyncio.sleep(pause)
        outcome: Response | NoResponse | None = None
        try:
            progress.attempts += 1
            outcome = await self._exchange(request)
        finally:
            limiter.leave(**_throttling(outcome))
        self._decide(progress, outcome, self._tokens.tokens.renewable)
        assert isinstance(outcome, Response)
        return outcome

    async def _exchange(self, request: _Request) -> Response | NoResponse:
        import httpx

        client = await self._client()
        headers = dict(request.headers)
        seconds = self.settings.total_timeout
        try:
            # A large body may take long to send, and is followed by no large answer.
            async with asyncio.timeout(None if request.content else seconds), AsyncExitStack() as stack:
                body: Any = request.body
                if request.content is not None:
                    headers["Content-Length"] = str(request.content.length)
                    body = pieces(stack.enter_context(Upload(request.content)))
                # httpx drops the query of the URL itself when it is given an empty list.
                parameters: Any = request.params or None
                answer = await stack.enter_async_context(
                    client.stream(
                        request.method,
                        request.url,
                        params=parameters,
                        headers=headers,
                        content=body,
                        data=request.form,
                    )
                )
                deadline = time.monotonic() + seconds
                received = bytearray()
                unpacker = Unpacker(answer.headers.get("content-encoding"))
                async for packed in answer.aiter_raw():
                    for piece in unpacker.feed(packed):
                        received += piece
                        check_size(len(received), deadline, seconds)
                unpacker.finish()
                return Response(
                    answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, bytes(received)
                )
        except BadResponse as error:
            return NoResponse(str(error), sent=True, hint=AdobeResponseError.default_hint)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return NoResponse(*_connection_reason(error, request.url))
        except httpx.InvalidURL as error:
            raise AdobeConfigurationError(f"the request cannot be made ({error})") from None
        except TimeoutError:
            return NoResponse(
                f"the answer was not complete after {seconds:.0f} seconds",
                sent=True,
                hint=AdobeResponseError.default_hint,
            )
        except httpx.TransportError as error:
            return NoResponse(
                _after_sending(type(error).__name__, isinstance(error, httpx.TimeoutException)), sent=True
            )

    async def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            settings = self.settings
            # Loading certificates reads files: not in the event loop.
            verify = await asyncio.to_thread(_tls_context, settings)
            self._http = httpx.AsyncClient(
                verify=verify,
                mounts=dict.fromkeys(_NO_PROXY_FOR),
                timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
                follow_redirects=False,
                headers={"User-Agent": user_agent()},
            )
        return self._http


# What stays on this machine may be plain http, and must not be carried to a proxy then.
_DIRECT: Any = {"http": None, "https": None, "all": None}
_NO_PROXY_FOR = ("http://", "https://127.0.0.1", "https://localhost", "https://[::1]")


def _tls_context(settings: AdobeSettings) -> Any:
    """Return what TLS connections are verified with; ``False`` for nothing, which is told in the log."""
    import ssl

    if not settings.verify_tls:
        log.warning(
            "TLS certificates are NOT verified (verify_tls = false): anybody on this machine can answer in "
            "Adobe's place."
        )
        return False
    try:
        return ssl.create_default_context(cafile=settings.ca_bundle)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise AdobeConfigurationError(
        f"the CA bundle {settings.ca_bundle!r} cannot be used: {reason}",
        hint=(
            "Set 'CA bundle' of the connection to a file of PEM certificates that exists on every worker and "
            "triggerer."
        ),
    )


def user_agent() -> str:
    """Return the ``User-Agent`` of every request."""
    from airflow_provider_adobe_audiences import __version__

    return f"airflow-provider-adobe-audiences/{__version__}"


def _no_netrc(request: Any) -> Any:
    """Keep requests from replacing the Authorization header by what a .netrc file holds for the host."""
    return request


def _throttling(outcome: Response | NoResponse | None) -> dict[str, Any]:
    from airflow_provider_adobe_audiences.adobe.client.policy import retry_after

    if not isinstance(outcome, Response) or outcome.status != 429:
        return {"throttled": False}
    pause = retry_after(outcome.headers)
    return {"throttled": True, "pause": None if pause is None else min(pause, _MAX_PAUSE)}


def _after_sending(kind: str, timeout: bool) -> str:
    return (
        f"no complete answer in time ({kind})"
        if timeout
        else f"the connection broke before the answer was complete ({kind})"
    )


def _connection_reason(error: BaseException, url: str) -> tuple[str, bool, str | None]:
    """Return reason, whether it was sent (it was not), and a hint, from a failure to connect."""
    host = urlsplit(url).hostname
    text = " ".join(str(part) for part in (error, error.__cause__, error.__context__) if part)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return (
            f"the TLS certificate of {host} cannot be verified",
            False,
            "Set 'CA bundle' in the connection to the file with your company's certificates.",
        )
    if any(
        character in text
        for character in (
            "Name or service not known",
            "getaddrinfo",
            "NameResolution",
            "name resolution",
            "nodename",
        )
    ):
        return (
            f"the host name {host} cannot be resolved",
            False,
            "Check the URL in the connection and the worker's DNS.",
        )
    if "SSL" in text:
        return (
            f"no TLS connection to {host} ({type(error).__name__})",
            False,
            "Check that the URL's port speaks TLS.",
        )
    if "roxy" in text or "roxy" in type(error).__name__:
        return f"the proxy did not connect to {host}", False, "Check HTTPS_PROXY and NO_PROXY of the worker."
    what = "timed out" if "imeout" in type(error).__name__ or "timed out" in text else "was refused"
    return f"the connection to {host} {what} ({type(error).__name__})", False, None


# What OpenSSL says before anything of a request is sent.
_NO_HANDSHAKE = (
    "CERTIFICATE",
    "certificate",
    "WRONG_VERSION_NUMBER",
    "HANDSHAKE",
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
)


def _requests_failure(error: requests.exceptions.RequestException) -> NoResponse:
    import requests
    import urllib3

    url = error.request.url if error.request is not None and error.request.url else ""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    not_sent = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.NameResolutionError,
    )
    if isinstance(
        error,
        (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError),
    ) or isinstance(reason, not_sent):
        what, _, hint = _connection_reason(reason if isinstance(reason, BaseException) else error, url)
        # urllib3 also blames the proxy, or TLS, when the connection through it breaks after the request was
        # sent.
        original = getattr(reason, "original_error", reason)
        sent = not isinstance(error, requests.exceptions.ConnectTimeout) and not isinstance(
            original, not_sent
        )
        if sent and not any(
            character in str(original) for character in ("Tunnel connection failed", *_NO_HANDSHAKE)
        ):
            kind = type(original if isinstance(original, BaseException) else error).__name__
            return NoResponse(_after_sending(kind, False), sent=True)
        return NoResponse(what, False, hint)
    if isinstance(
        error,
        (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidHeader,
        ),
    ):
        raise AdobeConfigurationError(f"the request cannot be made ({type(error).__name__})") from None
    timeout = isinstance(error, requests.exceptions.Timeout)
    return NoResponse(_after_sending(type(error).__name__, timeout), sent=True)
