# SPDX-License-Identifier: Apache-2.0
"""The driver of a call's :mod:`.flow` for an event loop, such as the triggerer's, on httpx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.bodies import (
    BadResponse,
    Unpacker,
    Upload,
    check_size,
    pieces,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.adobe.client.failures import bad_response, httpx_failure, too_slow
from airflow_provider_adobe_audiences.adobe.client.flow import Flow, GetToken, Send, Sleep
from airflow_provider_adobe_audiences.adobe.client.ims import (
    acquire_token_source,
    release_token_source,
)
from airflow_provider_adobe_audiences.adobe.client.policy import NoResponse
from airflow_provider_adobe_audiences.adobe.client.request import Request, user_agent
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, WithoutFrames

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

# What stays on this machine may be plain http, and must not be carried to a proxy then.
_NO_PROXY_FOR = ("http://", "https://127.0.0.1", "https://localhost", "https://[::1]")


class AsyncAdobeSession:
    """Sends calls in an event loop. An async context manager.

    The rare request for an access token runs in a thread, so that its cache and lock are shared with blocking
    tasks.

    :param settings: hosts, credential and limits.
    :param on_token: is told all forms of each token before it is used, to mask them in logs.
    """

    def __init__(
        self, settings: AdobeSettings, *, on_token: Callable[[list[str]], None] | None = None
    ) -> None:
        self.settings = settings
        self.flow = Flow(settings, on_token)
        self._on_token = on_token
        self._tokens = acquire_token_source(settings, self)
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. A further call opens new ones."""
        release_token_source(self._tokens, self)
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send ``call`` and return its parsed result.

        :param call: what to send.
        :returns: what ``call.parse`` made of the response.
        :raises AdobeError: a subclass that says what happened, where, and what to do. With
            :class:`AdobeConfigurationError` nothing was sent.
        """
        with WithoutFrames():
            return self.flow.parsed(call, await self._drive(call))

    async def _drive(self, call: Call[Any]) -> Response:
        await self._client()  # before a place of the limiter is taken: it may load certificates in a thread
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
                        came = self._tokens.known(refused) or await asyncio.to_thread(
                            self._get_token, refused
                        )
                    case Sleep(seconds):
                        await asyncio.sleep(seconds)
                    case Send(request):
                        came = await self._exchange(request)
        finally:
            steps.close()

    def _get_token(self, refused: SecretStr | None) -> SecretStr:
        from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

        with AdobeSession(self.settings, on_token=self._on_token) as session:
            return session.get_token(refused)

    async def _exchange(self, request: Request) -> Response | NoResponse:
        import httpx

        seconds = self.settings.total_timeout
        try:
            # A large body may take long to send, and is followed by no large response.
            async with asyncio.timeout(None if request.content else seconds), AsyncExitStack() as stack:
                headers, body = request.headers, request.body
                content: Any = body
                if request.content is not None:
                    headers = {**headers, "Content-Length": str(request.content.length)}
                    content = pieces(stack.enter_context(Upload(request.content)))
                client = await self._client()
                raw = await stack.enter_async_context(
                    client.stream(
                        request.method,
                        request.url,
                        # httpx drops the query of the URL itself when it is given an empty list.
                        params=list(request.params) or None,
                        headers=headers,
                        content=content,
                        data=request.form,
                    )
                )
                return await self._received(raw)
        except BadResponse as error:
            return bad_response(error)
        except TimeoutError:
            return too_slow(seconds)
        except httpx.TransportError as error:
            return httpx_failure(error, request.url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise AdobeConfigurationError(f"the request cannot be made ({type(error).__name__})") from None

    async def _received(self, raw: httpx.Response) -> Response:
        seconds = self.settings.total_timeout
        deadline = time.monotonic() + seconds
        body = bytearray()
        unpacker = Unpacker(raw.headers.get("content-encoding"))
        async for packed in raw.aiter_raw():
            for piece in unpacker.feed(packed):
                body += piece
                check_size(len(body), deadline, seconds)
        unpacker.finish()
        headers = {name.lower(): value for name, value in raw.headers.items()}
        return Response(raw.status_code, headers, bytes(body))

    async def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            from airflow_provider_adobe_audiences.adobe.client.tls import tls_context

            settings = self.settings
            # Loading certificates reads files: not in the event loop.
            verify = await asyncio.to_thread(tls_context, settings)
            if self._http is None:  # nobody else was quicker
                self._http = httpx.AsyncClient(
                    verify=verify,
                    mounts=dict.fromkeys(_NO_PROXY_FOR),
                    timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
                    follow_redirects=False,
                    cookies=CookieJar(
                        DefaultCookiePolicy(allowed_domains=())
                    ),  # the blocking session has none
                    headers={"User-Agent": user_agent()},
                )
        return self._http
