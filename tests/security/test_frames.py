# SPDX-License-Identifier: Apache-2.0
"""What a crash reporter or a traceback with local variables shows of our errors: no secret, and no frame
in which one is at hand.
"""

from __future__ import annotations

import asyncio
import io
import re
import signal
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
from airflow_provider_adobe_audiences.adobe.client.call import Content, Service
from airflow_provider_adobe_audiences.adobe.client.redaction import all_forms
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeServerError,
    WithoutFrames,
    without_frames,
)
from tests.security.calls import MAKERS, Maker, settings_at
from tests.security.servers import Server, running

IMS = {
    "authentication": "oauth_server_to_server",
    "access_token": None,
    "client_secret": 'client\'s "secret"\t/1',
}
LEGACY = {
    **IMS,
    "authentication": "audience_manager_password",
    "username": "somebody",
    "user_password": "the user's password+",
}
PROFILE_TOKEN = "profile-token"
ISSUED = "an-issued-access-token"
SECRETS = [IMS["client_secret"], LEGACY["user_password"], PROFILE_TOKEN, ISSUED, "the-access-token"]
FORMS = {form for secret in SECRETS for form in all_forms(secret)}

ISSUE = b'{"access_token": "%s", "expires_in": 1000}' % ISSUED.encode()


def answer(status: int, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


REFUSALS: dict[str, Any] = {
    **{str(status): answer(status, b"{}") for status in (302, 400, 401, 403, 404, 409, 418, 429, 500, 503)},
    "an echo": lambda seen: answer(
        400, b'{"message": "%s"}' % b" ".join([*seen.headers, seen.body]).hex().encode()
    ),
    "a page": answer(200, b"<html>Sign in</html>"),
    "no JSON": answer(200, b"\xff"),
    "another shape": answer(200, b"[[["),
    "nothing": b"",
    "half": answer(200, b"12345")[:-3],
    "no HTTP": b"\x00\x01\r\n\r\n",
    "a false encoding": answer(200, b"12345", b"Content-Encoding: gzip\r\n"),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(flow, "limiter_for", lambda *_: limiter.Limiter())


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and whatever can be reached from it, suppressed or not."""
    left: list[BaseException | None] = [error]
    done: list[BaseException] = []
    while left:
        part = left.pop()
        if part is not None and not any(part is known for known in done):
            done.append(part)
            yield part
            left += [part.__cause__, part.__context__]


def frames(error: BaseException) -> Iterator[FrameType]:
    for part in chain(error):
        step = part.__traceback__
        while step is not None:
            # This test knows the secrets, of course; and an event loop calls whoever calls.
            if not re.search("/tests/|/asyncio/", step.tb_frame.f_code.co_filename):
                yield step.tb_frame
            step = step.tb_next


def written(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield what a crash reporter writes of a local variable: it goes into mappings and sequences, and
    takes the ``repr`` of all else.
    """
    if isinstance(value, Mapping) and depth < 6:
        for name, inner in value.items():
            yield from written(name, depth + 1)
            yield from written(inner, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset) and depth < 6:
        for inner in value:
            yield from written(inner, depth + 1)
    elif isinstance(value, bytes | bytearray):
        yield bytes(value).decode("latin-1")
    else:
        yield value if isinstance(value, str) else repr(value)


def reported(error: BaseException) -> str:
    """Return all that a crash reporter sends of an error: texts, notes, attributes, locals of frames."""
    texts = []
    for part in chain(error):
        texts += [str(part), repr(part), *getattr(part, "__notes__", ()), *written(vars(part))]
    for frame in frames(error):
        texts += written(dict(frame.f_locals))
    return "\n".join(texts)


def shown(error: BaseException) -> str:
    """Return all that may be written of an error: what is reported, and a rich traceback."""
    sink = io.StringIO()
    rich = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=None,
        suppress=[__file__],
    )  # fmt: skip
    Console(file=sink, width=1000).print(rich if list(frames(error)) else "")
    return f"{reported(error)}\n{sink.getvalue()}"


def check(error: BaseException) -> None:
    assert list(frames(error)) == []
    text = shown(error)
    assert [form for form in FORMS if form in text] == []


def send(kind: str, settings: Any, call: Any) -> BaseException | None:
    """Return what sending raises, as a caller gets it."""

    async def in_a_loop() -> None:
        async with AsyncAdobeSession(settings) as session:
            await session.send(call)

    def blocking() -> None:
        with AdobeSession(settings) as session:
            session.send(call)

    def download() -> None:
        with AdobeSession(settings) as session:
            session.download(call, io.BytesIO())

    try:
        {"blocking": blocking, "async": lambda: asyncio.run(in_a_loop()), "download": download}[kind]()
    except AdobeError as error:
        return error
    return None


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_no_refusal_brings_out_a_secret(maker: Maker, kind: str, server: Server) -> None:
    changed = {}
    if maker.function is target.get_profile_batch_status:
        changed["status_url"] = f"{server.url}/m2/acme/profile/batchStatus?batchId=b1"
    if "settings" in maker.arguments:
        legacy = maker.name == "ims.request_password_token"
        changed["settings"] = settings_at(server.url, **(LEGACY if legacy else IMS))
    call = maker(**changed)
    refused = 0
    for answered in REFUSALS.values():

        def respond(seen: Any, answered: Any = answered) -> bytes:
            if seen.target == "/ims/token/v3" and call.service is not Service.IMS:
                return answer(200, ISSUE)
            return answered(seen) if callable(answered) else answered

        server.answer = respond
        error = send(kind, settings_at(server.url, read_timeout=0.3, **IMS), call)
        if error is not None:
            refused += 1
            check(error)
    assert refused >= 12


@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_refused_download_brings_out_a_secret(refusal: str, server: Server) -> None:
    answered = REFUSALS[refusal]
    token = answer(200, ISSUE)
    server.answer = lambda seen: (
        token if "/ims/" in seen.target else answered(seen) if callable(answered) else answered
    )
    maker = next(maker for maker in MAKERS if maker.name.endswith(".get_failed_file"))
    error = send("download", settings_at(server.url, read_timeout=0.3, **IMS), maker())
    assert (error is None) == (refusal in ("no JSON", "another shape"))
    if error is not None:
        check(error)


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.parametrize("refusal", ["400", "401", "500", "an echo", "no JSON", "another shape", "nothing"])
@pytest.mark.parametrize("fields", [IMS, LEGACY], ids=["OAuth", "legacy"])
def test_no_refusal_of_a_token_brings_out_a_secret(
    fields: dict[str, Any], refusal: str, kind: str, server: Server
) -> None:
    answered = REFUSALS[refusal]
    server.answer = answered if callable(answered) else lambda _: answered
    maker = next(maker for maker in MAKERS if maker.name.endswith(".get_self"))
    error = send(kind, settings_at(server.url, read_timeout=0.3, **fields), maker())
    assert error is not None
    check(error)


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_a_source_that_fails_brings_out_no_row(kind: str, server: Server) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            row = b"a customer's row"
            if self.tell():
                raise OSError(5, "Input/output error")
            self.seek(len(row))
            return row

    content = Content(Broken, 1000)
    call = target.submit_profile_batch("acme", content, PROFILE_TOKEN)
    error = send(kind, settings_at(server.url, **IMS), call)
    assert "cannot be read" in str(error)
    assert "customer" not in shown(error)  # type: ignore[arg-type]
    check(error)  # type: ignore[arg-type]


class Killed(BaseException):
    """What Airflow raises in the middle of anything, such as when a task takes too long."""


def test_what_interrupts_a_call_brings_out_no_secret(server: Server) -> None:
    def respond(_: Any) -> bytes:
        signal.raise_signal(signal.SIGUSR1)
        return answer(200, b"{}")

    def interrupt(*_: Any) -> None:
        raise Killed

    before = signal.signal(signal.SIGUSR1, interrupt)
    server.answer = respond
    call = target.fetch_profile("acme", "x", bearer=PROFILE_TOKEN)
    try:
        with pytest.raises(Killed) as raised, AdobeSession(settings_at(server.url, **IMS)) as session:
            session.send(call)
    finally:
        signal.signal(signal.SIGUSR1, before)
    check(raised.value)


def test_what_is_a_fault_of_ours_is_told_where_it_came_from() -> None:
    def wrong(token: str) -> None:
        raise KeyError("no such thing")

    with pytest.raises(KeyError) as raised, WithoutFrames():
        wrong(ISSUED)
    assert ISSUED not in shown(raised.value)
    (note,) = raised.value.__notes__
    assert "in wrong" in note
    assert f"{__file__}:" in note


def test_causes_and_contexts_lose_their_frames_too() -> None:
    def inner(token: str) -> None:
        raise OSError("x")

    def outer() -> None:
        try:
            inner(ISSUED)
        except OSError as error:
            raise AdobeServerError("it failed") from error

    with pytest.raises(AdobeError) as raised:
        outer()
    assert ISSUED in shown(raised.value) or len(list(chain(raised.value))) == 2
    error = without_frames(raised.value)
    assert isinstance(error.__cause__, OSError)
    assert all(part.__traceback__ is None for part in chain(error))
