# SPDX-License-Identifier: Apache-2.0
"""Both sessions, over real sockets, with everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client import async_session, bodies, flow, ims, limiter
from airflow_provider_adobe_audiences.adobe.client import session as session_module
from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Content,
    Idempotency,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeServerError,
    AdobeSourceError,
    AdobeTransportError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
)
from scripts.local_airflow import connection_to

Send = Callable[..., Any]

READ = platform.list_batches(external_id="nothing")
CREATE = platform.create_batch("ds", input_format="json", external_id="one")


def settings_for(url: str, **fields: Any) -> AdobeSettings:
    connection = connection_to(url)
    limits = {"read_timeout": 2, "connect_timeout": 2, "total_timeout": 20, "max_attempts": 3}
    return AdobeSettings.of(
        {
            **connection["extra"],
            **limits,
            **fields,
            "client_id": connection["login"],
            "client_secret": connection["password"],
        }
    )


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Growing random waits are tenacity's; here only what is decided counts. A ``Retry-After`` is still
    obeyed.
    """
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(limiter, "_limiters", {})


@pytest.fixture(params=["blocking", "async"])
def send(request: pytest.FixtureRequest, emulator: Any) -> Send:
    """``send(call, **fields)`` sends a call with either session, with these fields of the connection."""

    def blocking(call: Call[Any], **fields: Any) -> Any:
        with AdobeSession(settings_for(emulator.url, **fields)) as session:
            return session.send(call)

    def in_a_loop(call: Call[Any], **fields: Any) -> Any:
        async def run() -> Any:
            async with AsyncAdobeSession(settings_for(emulator.url, **fields)) as session:
                return await session.send(call)

        return asyncio.run(run())

    return blocking if request.param == "blocking" else in_a_loop


def requests_to(emulator: Any, part: str) -> list[Any]:
    return [entry for entry in emulator.journal.entries if part in entry.path]


def test_a_call_arrives_with_its_headers_and_comes_back_parsed(send: Send, emulator: Any) -> None:
    assert send(READ) == []
    (entry,) = requests_to(emulator, "/catalog/batches")
    headers = {name.lower(): value for name, value in dict(entry.headers).items()}
    assert headers["x-api-key"] == "emulator-client"
    assert headers["x-gw-ims-org-id"] == "0123456789ABCDEF01234567@AdobeOrg"
    assert headers["x-sandbox-name"] == "prod"
    assert headers["user-agent"].startswith("airflow-provider-adobe-audiences/")
    assert len(headers["x-request-id"]) == 36


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_read_survives_failures_of_adobe(send: Send, emulator: Any, status: int) -> None:
    emulator.faults.add(path="/catalog/", status=status, body="<html>busy</html>", times=2)
    assert send(READ) == []
    assert len(requests_to(emulator, "/catalog/")) == 3


def test_when_no_attempt_is_left_the_last_failure_is_told(send: Send, emulator: Any) -> None:
    emulator.faults.add(
        path="/catalog/", status=503, headers={"x-request-id": "req-7"}, body={"message": "try later"}
    )
    with pytest.raises(
        AdobeServerError,
        match=r"answered 503: try later \(given up after 3 attempts in \d+ s\)\.\nRequest id: req-7\n",
    ) as raised:
        send(READ)
    assert raised.value.transient
    assert len(requests_to(emulator, "/catalog/")) == 3


@pytest.mark.parametrize(
    "fault",
    [{"drop": True}, {"drop": "close"}, {"drop": True, "phase": "after"}, {"truncate": 0}, {"delay": 3}],
)
def test_a_read_survives_broken_connections(send: Send, emulator: Any, fault: dict[str, Any]) -> None:
    emulator.faults.add(path="/catalog/", times=1, **fault)
    assert send(READ) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True, "phase": "after"},
        {"drop": True},
        {"status": 500},
        {"status": 504},
        {"truncate": 3},
        {"delay": 3},
    ],
)
def test_a_creating_call_whose_outcome_is_unknown_is_not_sent_twice(
    send: Send, emulator: Any, fault: dict[str, Any]
) -> None:
    emulator.faults.add(method="POST", path="/import/batches", **fault)
    with pytest.raises(AdobeUnknownOutcomeError, match="not known whether Adobe processed"):
        send(CREATE)
    assert len(requests_to(emulator, "/import/batches")) == 1


@pytest.mark.parametrize("headers", [{"retry-after": "1"}, {}])
def test_a_creating_call_is_sent_again_after_429(send: Send, emulator: Any, headers: dict[str, str]) -> None:
    emulator.faults.add(
        method="POST",
        path="/import/batches",
        status=429,
        headers=headers,
        body={"error_code": "429050", "message": "Too many requests"},
        times=1,
    )
    assert send(CREATE).status == "loading"
    assert len(emulator.platform.snapshot()["batches"]) == 1


@pytest.mark.parametrize("after", ["3600", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_an_absurd_retry_after_is_told_instead_of_waited_for(send: Send, emulator: Any, after: str) -> None:
    emulator.faults.add(path="/catalog/", status=429, headers={"retry-after": after})
    with pytest.raises(AdobeRateLimitError, match="longer than this call may take") as raised:
        send(READ)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after >= 3599


def test_a_token_that_expired_on_the_way_is_renewed_once(send: Send, emulator: Any) -> None:
    emulator.faults.add(method="POST", path="/import/batches", expire_token=True, times=1)
    assert send(CREATE, max_attempts=1).status == "loading"
    assert len(requests_to(emulator, "/ims/token")) == 2


def test_a_token_that_is_refused_for_ever_ends_the_call(send: Send, emulator: Any) -> None:
    emulator.faults.add(
        path="/catalog/", status=401, body={"error_code": "401013", "message": "Oauth token is not valid"}
    )
    with pytest.raises(AdobeAuthenticationError, match="although it was just renewed"):
        send(READ)
    assert (len(requests_to(emulator, "/ims/token")), len(requests_to(emulator, "/catalog/"))) == (2, 2)


@pytest.mark.parametrize("fields", [{"client_secret": "wrong-secret-value"}, {"client_id": "nobody"}])
def test_a_wrong_credential_is_told_without_showing_it(emulator: Any, fields: dict[str, str]) -> None:
    connection = connection_to(emulator.url)
    values = {
        **connection["extra"],
        "client_id": connection["login"],
        "client_secret": connection["password"],
        **fields,
    }
    with (
        AdobeSession(AdobeSettings.of(values)) as session,
        pytest.raises(AdobeAuthenticationError, match="Client id or client secret is wrong") as raised,
    ):
        session.send(READ)
    assert "wrong-secret-value" not in str(raised.value)
    assert requests_to(emulator, "/catalog/") == []


def test_a_ready_made_token_is_used_and_never_renewed(send: Send, emulator: Any) -> None:
    fields = {"authentication": "access_token", "access_token": emulator.ims.issue(), "client_secret": None}
    assert send(READ, **fields) == []
    assert requests_to(emulator, "/ims/token") == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AdobeValidationError),
        (403, AdobePermissionError),
        (404, AdobeNotFoundError),
        (418, AdobeValidationError),
    ],
)
def test_what_cannot_be_mended_is_raised_at_once(
    send: Send, emulator: Any, status: int, kind: type[AdobeError]
) -> None:
    emulator.faults.add(path="/catalog/", status=status, body={"title": "no"})
    with pytest.raises(kind):
        send(READ)
    assert len(requests_to(emulator, "/catalog/")) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_never_followed_with_a_credential(send: Send, emulator: Any, status: int) -> None:
    emulator.faults.add(path="/catalog/", status=status, headers={"location": f"{emulator.url}/elsewhere"})
    with pytest.raises(AdobeResponseError, match="redirect, which is never followed"):
        send(READ)
    assert requests_to(emulator, "/elsewhere") == []


@pytest.mark.parametrize("body", ["<html>Sign in to the proxy</html>", "", "[]", '{"x": 5}', "[[[["])
def test_a_good_status_with_a_body_of_another_kind_is_told(send: Send, emulator: Any, body: str) -> None:
    emulator.faults.add(path="/catalog/", status=200, headers={"content-type": "text/html"}, body=body)
    with pytest.raises(AdobeResponseError, match="with a body that cannot be read"):
        send(platform.get_batch("b1"))


def test_an_endless_answer_is_cut(send: Send, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_RESPONSE_BYTES", 1 << 20)
    emulator.faults.add(path="/catalog/", endless=True)
    with pytest.raises(AdobeTransportError, match="the response is larger than 1 MB"):
        send(READ, max_attempts=1)


def test_an_answer_that_drips_ends_at_the_deadline(send: Send, emulator: Any) -> None:
    emulator.faults.add(path="/catalog/", status=200, body="x" * 1000, drip=0.1)
    with pytest.raises(AdobeTransportError, match="not complete after 1 second"):
        send(READ, max_attempts=1, total_timeout=1)


def test_a_host_that_refuses_is_told(send: Send, emulator: Any) -> None:
    with pytest.raises(AdobeTransportError, match=r"the connection to 127\.0\.0\.1 was refused"):
        send(READ, platform_url="http://127.0.0.1:9", max_attempts=2)


def test_a_host_without_tls_is_told(send: Send, emulator: Any) -> None:
    with pytest.raises(AdobeTransportError, match=r"TLS"):
        send(READ, platform_url=emulator.url.replace("http://", "https://"), max_attempts=1)


def test_a_name_that_does_not_exist_is_told(send: Send) -> None:
    with pytest.raises(AdobeTransportError, match=r"the host name nowhere\.invalid cannot be resolved"):
        send(READ, platform_url="https://nowhere.invalid", max_attempts=1)


def test_a_url_that_leads_elsewhere_is_not_called(send: Send, emulator: Any) -> None:
    call = Call(
        name="status",
        service=Service.TARGET_EDGE,
        method="GET",
        path="/x",
        url="https://evil.example/x",
        idempotency=Idempotency.READ,
        parse=no_content,
    )
    with pytest.raises(AdobeConfigurationError, match="the credential is not sent there"):
        send(call)
    assert emulator.journal.entries == []


def test_a_call_with_the_wrong_kind_of_authentication_is_not_sent(send: Send, emulator: Any) -> None:
    fields = {
        "authentication": "audience_manager_password",
        "username": "u",
        "user_password": "the-user-password",
    }
    with pytest.raises(AdobeConfigurationError, match="which no other service accepts"):
        send(READ, **fields)
    assert emulator.journal.entries == []


def test_bytes_arrive_as_they_are_and_again_after_a_failure(send: Send, emulator: Any) -> None:
    batch = send(CREATE)
    data = bytes(range(256)) * 20_000
    emulator.faults.add(method="PUT", path="/files/", phase="body", drop=True, times=1)
    emulator.faults.add(method="PUT", path="/files/", status=503, times=1)
    send(
        platform.upload_file(
            batch.id, "ds", "a.bin", Content(open=lambda: io.BytesIO(data), length=len(data))
        )
    )
    assert [file["size"] for file in emulator.platform.snapshot()["batches"][0]["files"]] == [len(data)]


def test_a_source_that_is_shorter_than_it_was_is_told(send: Send, emulator: Any) -> None:
    batch = send(CREATE)
    with pytest.raises(AdobeSourceError, match="the source ended 3 bytes before the expected 8"):
        send(platform.upload_file(batch.id, "ds", "a", Content(open=lambda: io.BytesIO(b"12345"), length=8)))
    assert emulator.platform.snapshot()["batches"][0]["files"] == []


def test_a_message_that_echoes_a_secret_is_redacted(send: Send, emulator: Any) -> None:
    emulator.faults.add(path="/catalog/", status=400, body={"message": "bad secret emulator-client-secret"})
    with pytest.raises(AdobeValidationError) as raised:
        send(READ)
    assert "emulator-client-secret" not in str(raised.value)
    assert "***" in str(raised.value)


def test_a_download_that_broke_off_begins_again_from_its_start(emulator: Any) -> None:
    emulator.faults.add(path="/failed", status=200, body="0123456789", truncate=4, times=1)
    emulator.faults.add(path="/failed", status=200, body="0123456789")
    target = io.BytesIO(b"head")
    target.seek(4)
    with AdobeSession(settings_for(emulator.url)) as session:
        assert session.download(platform.get_failed_file("b", "f"), target) == 10
    assert target.getvalue() == b"head0123456789"


def test_a_netrc_file_does_not_replace_the_token(
    emulator: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with AdobeSession(settings_for(emulator.url)) as session:
        assert session.send(READ) == []


def test_a_429_pauses_every_thread(emulator: Any) -> None:
    emulator.faults.add(path="/catalog/", status=429, headers={"retry-after": "1"}, times=1)
    with AdobeSession(settings_for(emulator.url)) as session:
        session.get_token()
        threads = [threading.Thread(target=session.send, args=(READ,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    entries = requests_to(emulator, "/catalog/")
    refused = next(entry for entry in entries if entry.status == 429)
    later = [entry for entry in entries if entry.sequence > refused.sequence and entry.status != 429]
    assert len(entries) == 7
    # Those that were under way already came through; all others waited for the second that Adobe asked for.
    assert max(entry.time for entry in later) - refused.time >= 0.95
    assert all(entry.time - refused.time < 0.25 or entry.time - refused.time >= 0.95 for entry in later)


AT_ONCE = 300


@pytest.mark.parametrize("shared", [True, False], ids=["one token for all", "a token for each"])
def test_hundreds_that_begin_at_once_with_one_host_for_everything_all_end(
    emulator: Any, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None may hold a place of the limiter while it waits for a thread, as long as those in the threads
    wait for a place.
    """
    if not shared:
        monkeypatch.setattr(ims, "_shared", {})
        monkeypatch.setattr(ims, "acquire_token_source", lambda settings, _: ims.TokenSource(settings))
        monkeypatch.setattr(async_session, "acquire_token_source", ims.acquire_token_source)
        monkeypatch.setattr(session_module, "acquire_token_source", ims.acquire_token_source)

    async def wait(settings: AdobeSettings) -> Any:
        async with AsyncAdobeSession(settings) as session:
            return await session.send(READ)

    async def all_of_them() -> list[Any]:
        settings = settings_for(emulator.url, total_timeout=100, read_timeout=60, connect_timeout=60)
        async with asyncio.timeout(100):
            return await asyncio.gather(*(wait(settings) for _ in range(AT_ONCE)))

    assert asyncio.run(all_of_them()) == [[]] * AT_ONCE
    assert len(requests_to(emulator, "/catalog/")) == AT_ONCE
    assert len(requests_to(emulator, "/ims/token")) == (1 if shared else AT_ONCE)


def test_requests_per_minute_hold_back_what_is_too_much(
    emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def no_sleep(seconds: float) -> None:
        slept.append(seconds)
        raise TimeoutError

    monkeypatch.setattr(session_module.time, "sleep", no_sleep)
    with AdobeSession(settings_for(emulator.url, requests_per_minute=3, total_timeout=100)) as session:
        session.send(READ)
        session.send(READ)
        session.send(READ)  # the token has a gate of its own
        with pytest.raises(TimeoutError):
            session.send(READ)
    assert 55 < slept[0] <= 60


def test_no_secret_is_in_the_log_at_any_level(
    send: Send, emulator: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    emulator.faults.add(method="POST", path="/import/batches", expire_token=True, times=1)
    emulator.faults.add(path="/import/batches", status=429, times=1)
    send(CREATE)
    tokens = list(emulator.ims.tokens)
    assert len(tokens) >= 2
    assert caplog.text
    for secret in ["emulator-client-secret", *tokens]:
        assert secret not in caplog.text


def test_no_secret_is_in_a_repr(emulator: Any) -> None:
    with AdobeSession(settings_for(emulator.url)) as session:
        token = session.get_token().get_secret_value()
        things = [
            session,
            session.settings,
            session._tokens,
            session._tokens._token,
            vars(session),
            vars(session._tokens),
            session.settings.model_dump(),
            session.get_token(),
        ]
        for text in map(repr, things):
            assert token not in text
            assert "emulator-client-secret" not in text


def test_a_parser_sees_lower_case_headers(send: Send, emulator: Any) -> None:
    emulator.faults.add(path="/probe", status=200, headers={"X-Mixed-Case": "v"}, body="{}")
    call = Call(
        name="probe",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path="/probe",
        idempotency=Idempotency.READ,
        parse=lambda response: response.headers["x-mixed-case"],
    )
    assert send(call) == "v"
