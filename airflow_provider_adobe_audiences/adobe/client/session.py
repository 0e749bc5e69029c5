# SPDX-License-Identifier: Apache-2.0
"""The blocking driver of a call's :mod:`.flow`, on requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.cookiejar import DefaultCookiePolicy
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.bodies import (
    UPLOAD_PIECE,
    BadResponse,
    Download,
    Upload,
    bounded_steps,
    check_size,
    unpacked,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.adobe.client.failures import bad_response, requests_failure
from airflow_provider_adobe_audiences.adobe.client.flow import Flow, GetToken, Send, Sleep
from airflow_provider_adobe_audiences.adobe.client.ims import (
    acquire_token_source,
    release_token_source,
    request_password_token,
    request_token,
)
from airflow_provider_adobe_audiences.adobe.client.limiter import MAX_AT_ONCE
from airflow_provider_adobe_audiences.adobe.client.policy import NoResponse
from airflow_provider_adobe_audiences.adobe.client.request import Request, user_agent
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.token_cache import AccessToken
from airflow_provider_adobe_audiences.adobe.client.urls import is_loopback
from airflow_provider_adobe_audiences.errors import AdobeError, WithoutFrames

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
log = logging.getLogger(__name__)

# What stays on this machine may be plain http, and must not be carried to a proxy then.
_DIRECT: Any = {"http": None, "https": None, "all": None}


class AdobeSession:
    """Sends calls and waits for their responses. Thread-safe. A context manager.

    :param settings: hosts, credential and limits.
    :param on_token: is told all forms of each token before it is used, to mask them in logs.
    """

    def __init__(
        self, settings: AdobeSettings, *, on_token: Callable[[list[str]], None] | None = None
    ) -> None:
        self.settings = settings
        self.flow = Flow(settings, on_token)
        self._tokens = acquire_token_source(settings, self)
        self._http: requests.Session | None = None
        self._http_lock = threading.Lock()
        self._looked_up: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. A further call opens new ones."""
        release_token_source(self._tokens, self)
        if self._http is not None:
            self._http.close()
            self._http = None

    def send(self, call: Call[T]) -> T:
        """Send ``call`` and return its parsed result.

        :param call: what to send.
        :returns: what ``call.parse`` made of the response.
        :raises AdobeError: a subclass that says what happened, where, and what to do. With
            :class:`AdobeConfigurationError` nothing was sent.
        """
        with WithoutFrames():
            return self.flow.parsed(call, self._drive(call, None))

    def download(self, call: Call[Any], target: IO[bytes], length: int | None = None) -> int:
        """Write the body of the response to ``target``, from its current position.

        :param call: what to send.
        :param target: a file that can be written, and cut off to begin again.
        :param length: how many bytes there must be; ``None`` when that is not known.
        :returns: the number of bytes that were written.
        :raises AdobeError: as :meth:`send`.
        """
        download = Download(target, target.tell(), length)
        with WithoutFrames():
            self._drive(call, download)
        return target.tell() - download.begin

    def get_token(self, refused: SecretStr | None = None) -> SecretStr:
        """Return an access token that is not about to expire.

        :param refused: a token that the service just refused; anything but this one is returned.
        :raises AdobeError: when no token can be had.
        """
        token = self._tokens.get(self._fetch_token, refused)
        self.flow.redactor.learn(token)
        return token

    def _fetch_token(self, refresh_token: SecretStr | None) -> AccessToken:
        if self.settings.authentication != "audience_manager_password":
            return self.send(request_token(self.settings))
        if refresh_token is not None:
            self.flow.redactor.learn(refresh_token)
            try:
                return self._learned(self.send(request_password_token(self.settings, refresh_token)))
            except AdobeError as error:
                log.info(
                    "The refresh token was not accepted (%s); asking with the password.",
                    error.code or error.status,
                )
        return self._learned(self.send(request_password_token(self.settings)))

    def _learned(self, token: AccessToken) -> AccessToken:
        if token.refresh_token is not None:
            self.flow.redactor.learn(token.refresh_token)
        return token

    def _drive(self, call: Call[Any], target: Download | None) -> Response:
        self._client()  # before a place of the limiter is taken: it may load certificates
        steps = self.flow.steps(call)
        try:
            came: Any = None
            while True:
                try:
                    step = steps.send(came)
                except StopIteration as end:
                    response: Response = end.value
                    return response
                match step:
                    case GetToken(refused):
                        came = self.get_token(refused)
                    case Sleep(seconds):
                        time.sleep(seconds)
                    case Send(request):
                        came = self._exchange(request, target)
        finally:
            steps.close()

    def _exchange(self, request: Request, target: Download | None) -> Response | NoResponse:
        import requests
        import urllib3

        http = self._client()
        try:
            with ExitStack() as stack:
                data: Any = request.form if request.form is not None else request.body
                if request.content is not None:
                    data = stack.enter_context(Upload(request.content))
                prepared = requests.PreparedRequest()
                # Not by the session: its cookies and .netrc are not wanted, and take a tenth of the time.
                prepared.prepare(
                    method=request.method,
                    url=request.url,
                    params=request.params or None,
                    headers={"User-Agent": user_agent(), **request.headers},
                    data=data,
                )
                raw = stack.enter_context(
                    http.send(
                        prepared,
                        timeout=(self.settings.connect_timeout, self.settings.read_timeout),
                        allow_redirects=False,
                        **self._surroundings(http, request.url),
                    )
                )
                return self._received(raw, target)
        except BadResponse as error:
            return bad_response(error)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            return requests_failure(error, request.url)

    def _received(self, raw: requests.Response, target: Download | None) -> Response:
        headers = {name.lower(): value for name, value in raw.headers.items()}
        pieces = unpacked(raw.raw, headers.get("content-encoding"))
        if target is None or not raw.ok or headers.get("content-type", "").startswith("text/html"):
            return Response(raw.status_code, headers, self._read(pieces))
        target.receive(pieces, self.settings.total_timeout)
        return Response(raw.status_code, headers)

    def _read(self, pieces: Iterator[bytes]) -> bytes:
        seconds = self.settings.total_timeout
        deadline = time.monotonic() + seconds
        body = bytearray()
        for piece in pieces:
            body += piece
            check_size(len(body), deadline, seconds)
        return bytes(body)

    def _surroundings(self, http: requests.Session, url: str) -> Any:
        """Return the proxies and certificates for a host. To look them up for each request would take a sixth
        of its time.
        """
        parts = urlsplit(url)
        if parts.netloc not in self._looked_up:
            proxies = _DIRECT if is_loopback(parts.hostname) else {}
            # Verification is said for each request: otherwise REQUESTS_CA_BUNDLE of the worker has the last
            # word.
            verify = self.settings.ca_bundle or self.settings.verify_tls
            self._looked_up[parts.netloc] = http.merge_environment_settings(url, proxies, True, verify, None)
        return self._looked_up[parts.netloc]

    def _client(self) -> requests.Session:
        if self._http is not None:
            return self._http
        with self._http_lock:
            if self._http is None:
                if self.settings.ca_bundle or not self.settings.verify_tls:
                    from airflow_provider_adobe_audiences.adobe.client.tls import tls_context

                    # Tells what is wrong with the bundle, or that nothing is verified.
                    tls_context(self.settings)
                self._http = _new_client(self.settings.total_timeout)
            return self._http


def _new_client(total_timeout: float) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    responses = bounded_steps(total_timeout)

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            # Large pieces: sending a file is bound by the network then, not by Python.
            super().init_poolmanager(*args, **kwargs, blocksize=UPLOAD_PIECE)

        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
            if pool.ConnectionCls.response_class is not responses:
                pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), {"response_class": responses})
            return pool

    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # none is kept
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(pool_connections=8, pool_maxsize=MAX_AT_ONCE))
    return session
