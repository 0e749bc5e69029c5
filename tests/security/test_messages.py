# SPDX-License-Identifier: Apache-2.0
"""What Adobe (or who answers in its place) writes can neither steer a terminal, nor forge a line of the log,
nor bring out a secret.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import audience_manager, experience_platform, target
from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.batches.wait import check_outcome
from airflow_provider_adobe_audiences.errors import AdobeError
from tests.security.calls import settings_at
from tests.security.servers import Seen, running

NASTY = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\n2026-01-01 INFO - all is "
    "well\n\u202egnp\u2028x\x9b1m\ud800\u200b\x00end"
)
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u2028\u202e\ud800-\udfff]")
READ = experience_platform.list_batches(external_id="x")


def answer(status: int, body: Any, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


SHAPES: dict[str, Any] = {
    "gateway": {"error_code": NASTY, "message": NASTY},
    "problem document": {
        "type": NASTY,
        "title": NASTY,
        "detail": NASTY,
        "report": {"registryRequestId": NASTY, "detailed-message": NASTY},
    },
    "audiences": {"requestId": NASTY, "errors": {"404": [{"code": NASTY, "message": NASTY}]}},
    "target": {"httpStatus": 400, "requestId": NASTY, "errors": [{"errorCode": NASTY, "message": NASTY}]},
    "oauth": {"error": NASTY, "error_description": NASTY},
    "audience manager": {"code": NASTY, "message": NASTY, "childMessages": [NASTY]},
    "text": NASTY,
    "list": [NASTY],
    "page": f"<title>{NASTY}</title>".encode("utf-8", "surrogatepass"),
    "entities": b"<title>&#27;[31m&#x202e;&#10;x</title>",
    "bytes": NASTY.encode("utf-8", "surrogatepass"),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(flow, "limiter_for", lambda *_: limiter.Limiter())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_error_becomes_one_clean_line(
    shape: str, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with running() as server:
        send = opened(settings_at(server.url))
        for status in (400, 401, 403, 404, 409, 418, 429, 500):
            prepared = answer(
                status, SHAPES[shape], **{"x-request-id": "a\x1b[31mb\x9bc", "retry-after": "1\x1b[31m"}
            )
            server.answer = functools.partial(lambda content, _: content, prepared)
            for call in (
                READ,
                experience_platform.create_batch("d", input_format="json"),
                audience_manager.get_self(),
            ):
                error = send(call)
                assert isinstance(error, AdobeError)
                clean(error)
    for record in caplog.records:
        assert not UNSEEN.search(record.getMessage())


def clean(error: AdobeError) -> None:
    # What happened, the request id and the remedy have lines of their own; nobody else can begin one.
    lines = str(error).split("\n")
    assert len(lines) == 2 + (error.request_id is not None)
    for text in (error.summary, *lines, error.message, error.code or "", error.request_id or "", error.hint):
        assert not UNSEEN.search(text), text
        text.encode()
    assert len(str(error)) < 3000


BODIES: list[tuple[Call[Any], bytes]] = [
    (audience_manager.list_groups(), json.dumps({"list": [{"groupId": NASTY}]}).encode()),
    (audience_manager.list_groups(), json.dumps([{"groupId": NASTY * 10_000, "name": "x"}]).encode()),
    (experience_platform.get_batch("b"), json.dumps({NASTY: {}}).encode()),
    (
        experience_platform.create_batch("d", input_format="json"),
        json.dumps({"id": NASTY, "status": NASTY}).encode(),
    ),
    (
        experience_platform.list_failed_files("b"),
        json.dumps({"data": [{"name": "x", "length": NASTY}]}).encode(),
    ),
    (
        target.update_profile("acme", {"a": "b"}, third_party_id="x"),
        (
            "<response><success>false</success>"
            "<message>\x9b31m\u202ea\nb&#10;2026 INFO forged</message></response>"
        ).encode(),
    ),
]


@pytest.mark.parametrize(("call", "body"), BODIES, ids=lambda value: getattr(value, "name", ""))
def test_an_answer_that_cannot_be_used_is_told_in_one_clean_line(
    call: Call[Any], body: bytes, opened: Any
) -> None:
    with running(answer(200, body, **{"x-request-id": "the-request"})) as server:
        error = opened(settings_at(server.url))(call)
        assert isinstance(error, AdobeError)
        clean(error)


def test_a_batchs_status_and_errors_are_clean() -> None:
    body = {
        "b": {"status": NASTY, "errors": [{"code": NASTY, "description": NASTY * 1000, "rows": [NASTY]}] * 3}
    }
    batch = experience_platform.get_batch("b").parse(Response(200, {}, json.dumps(body).encode()))
    assert not UNSEEN.search(batch.status + "".join(batch.errors))
    failed = experience_platform.Batch("b", "failed", errors=batch.errors)
    with pytest.raises(AdobeError) as raised:
        check_outcome(failed, 0)
    clean(raised.value)


def test_an_id_that_is_no_id_is_not_passed_on(opened: Any) -> None:
    with running(answer(200, {"id": "b1\n2026-01-01 INFO forged", "status": "loading"})) as server:
        error = opened(settings_at(server.url))(experience_platform.create_batch("d", input_format="json"))
    assert "the batch's id" in str(error)
    assert "\n" not in error.summary
    assert len(str(error).splitlines()) == 2


SECRETS = {
    "the access token": "A" * 700 + "-access-" + "B" * 700,
    "the client secret": "C" * 500 + "-secret-" + "D" * 500,
}


@pytest.mark.parametrize("before", [0, 480, 499])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("kind", ["json", "page"])
def test_not_even_a_half_of_a_secret_comes_back(
    kind: str, status: int, before: int, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    token, secret = SECRETS.values()

    def echo(seen: Seen) -> bytes:
        if seen.target.startswith("/ims/"):
            return answer(200, {"access_token": token, "expires_in": 1000})
        text = "." * before + f"Bearer {token} {secret}"
        body: Any = (
            {"message": text, "error_code": token, "requestId": secret}
            if kind == "json"
            else f"<html><title>{text}</title>".encode()
        )
        return answer(status, body, **{"x-request-id": secret})

    caplog.set_level(logging.DEBUG)
    with running(echo) as server:
        fields = {"authentication": "oauth_server_to_server", "access_token": None, "client_secret": secret}
        error = opened(settings_at(server.url, max_attempts=2, **fields))(experience_platform.get_batch("b"))
    assert isinstance(error, AdobeError)
    # httpcore writes the headers of answers into its own log at DEBUG; there, Airflow's masking applies.
    log = [
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_adobe")
    ]
    for text in (str(error), repr(error.__dict__), *log):
        for piece in ("AAAA", "BBBB", "CCCC", "DDDD"):
            assert piece not in text


@pytest.mark.parametrize("status", [200, 400])
def test_the_profile_token_does_not_come_back_either(status: int, opened: Any) -> None:
    token = "E" * 300 + "F" * 300
    message = f"<message>{'.' * 400}no such token {token}</message>"
    body = f"<response><success>false</success>{message}</response>".encode()
    with running(answer(status, body)) as server:
        error = opened(settings_at(server.url))(
            target.update_profile("acme", {"a": "b"}, third_party_id="x", bearer=token)
        )
    assert isinstance(error, AdobeError)
    assert "EEEE" not in str(error)
    assert "FFFF" not in str(error)
