# SPDX-License-Identifier: Apache-2.0
"""Every body in which Adobe reports a failure is read, and every error says what to do."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences import errors
from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.problems import Problem, error_of, read_problem
from airflow_provider_adobe_audiences.errors import AdobeError
from airflow_provider_adobe_audiences.text import visible

CALL = Call(
    name="create batch",
    service=Service.EXPERIENCE_PLATFORM,
    method="POST",
    path="/data/foundation/import/batches",
    idempotency=Idempotency.CREATE,
    parse=no_content,
)

DOCUMENTED: dict[str, tuple[int, Any, Problem]] = {
    "gateway": (
        403,
        {"error_code": "403003", "message": "Api Key is invalid"},
        Problem("403003", "Api Key is invalid", "header-id"),
    ),
    "problem document": (
        404,
        {
            "type": "/placeholder/type/uri",
            "status": 404,
            "title": "NotFoundError",
            "detail": "DataSet not found.",
        },
        Problem(None, "NotFoundError; DataSet not found.", "header-id"),
    ),
    "problem document with a chain": (
        400,
        {
            "type": "https://ns.adobe.com/aep/errors/HYGN-3102-400",
            "title": "Bad",
            "status": 400,
            "report": {"tenantInfo": {"sandboxName": "prod"}},
            "error-chain": [{"serviceId": "HYGN", "errorCode": "HYGN-3102-400", "unixTimeStampMs": 1}],
        },
        Problem("HYGN-3102-400", "Bad", "header-id"),
    ),
    "schema registry": (
        400,
        {
            "type": "http://ns.adobe.com/aep/errors/XDM-1006-400",
            "title": "Accept header invalid",
            "detail": "Use another",
            "report": {"registryRequestId": "reg-1", "detailed-message": "more"},
        },
        Problem("XDM-1006-400", "Accept header invalid; Use another; more", "reg-1"),
    ),
    "audiences envelope": (
        404,
        {
            "requestId": "YrgX",
            "errors": {"404": [{"code": "404", "message": "The audience entity is not found."}]},
            "type": "https://ns.adobe.com/aep/errors/UPAPI-113430-404",
            "title": "t",
            "status": 404,
        },
        Problem("UPAPI-113430-404", "The audience entity is not found.", "YrgX"),
    ),
    "too many requests": (
        429,
        {"message": "slow down", "retryAfterMs": 5, "statusCode": "429"},
        Problem(None, "slow down", "header-id"),
    ),
    "flow service": (
        409,
        {"errorMessage": "version does not match"},
        Problem(None, "version does not match", "header-id"),
    ),
    "unsupported media type": (
        415,
        {
            "status": 415,
            "title": "HTTP 415 Unsupported Media Type",
            "type": "http://ns.adobe.com/adobecloud/problem/unsupported-media-type",
        },
        Problem("unsupported-media-type", "HTTP 415 Unsupported Media Type", "header-id"),
    ),
    "IMS": (
        400,
        {"error": "invalid_client", "error_description": "invalid client_secret parameter"},
        Problem("invalid_client", "invalid client_secret parameter", "header-id"),
    ),
    "Audience Manager": (
        400,
        {"code": "cannot_delete_entity_mapped", "message": "no", "childMessages": ["first", "second"]},
        Problem("cannot_delete_entity_mapped", "first; second", "header-id"),
    ),
    "Audience Manager, nested": (
        400,
        {"data": {"code": "x", "message": "inside"}},
        Problem("x", "inside", "header-id"),
    ),
    "Target": (
        406,
        {
            "httpStatus": 406,
            "requestId": "t-1",
            "requestTime": "x",
            "errors": [{"errorCode": "Unsupported.Feature", "message": "v9", "meta": {}}],
        },
        Problem("Unsupported.Feature", "v9", "t-1"),
    ),
    "a bare array": (400, [111, 222], Problem(None, "[111, 222]", "header-id")),
    "a bare text": (400, "no", Problem(None, "no", "header-id")),
}


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_each_documented_body_is_read(name: str) -> None:
    status, body, problem = DOCUMENTED[name]
    assert read_problem(Response(status, {"x-request-id": "header-id"}, json.dumps(body).encode())) == problem


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "an empty body"),
        (
            b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>",
            "an HTML or XML page instead of JSON: 502 Bad Gateway",
        ),
        (
            b"<response><success>false</success><message>no &amp; no</message></response>",
            "an HTML or XML page instead of JSON: false no & no",
        ),
        (b"\xff\xfe{", None),
        (b'{"message":', None),
    ],
)
def test_what_is_not_json_is_read_too(body: bytes, message: str | None) -> None:
    problem = read_problem(Response(502, {}, body))
    assert problem.code is None
    assert problem.message
    if message is not None:
        assert problem.message == message


def test_a_message_is_one_line_of_bounded_length() -> None:
    body = json.dumps({"message": "a\r\nInjected: line\x1b[31m" + "x" * 100_000}).encode()
    message = read_problem(Response(400, {}, body)).message
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) <= 501


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "errors",
                    "error",
                    "message",
                    "code",
                    "data",
                    "report",
                    "error-chain",
                    "type",
                    "title",
                    "detail",
                    "childMessages",
                    "requestId",
                    "404",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    status=st.integers(300, 599),
    body=json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200),
)
def test_no_body_breaks_the_reader(status: int, body: bytes) -> None:
    error = error_of(CALL, Response(status, {}, body))
    assert error.status == status
    assert error.hint
    assert str(error).startswith(
        "Experience Platform, create batch: POST /data/foundation/import/batches answered"
    )


def test_deep_nesting_does_not_break_the_reader() -> None:
    assert read_problem(Response(500, {}, b"[" * 100_000 + b"]" * 100_000)).message


def every_error() -> list[type[AdobeError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AdobeError)]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_hint_and_survives_a_process_boundary(kind: type[AdobeError]) -> None:
    error = errors.error_at(kind, CALL, "it went wrong", status=418, code="c", request_id="r")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is kind
    assert str(restored) == str(error)
    assert error.hint
    assert str(error).splitlines() == [
        "Experience Platform, create batch: POST /data/foundation/import/batches answered 418 [c]: "
        "it went wrong.",
        "Request id: r",
        f"What to do: {error.hint}",
    ]
    assert error.summary == f"{str(error).splitlines()[0]} Request id: r."


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("it failed", "it failed."),
        ("it failed.", "it failed."),
        ("it failed. ", "it failed."),
        ("really?", "really?"),
        ('Adobe says "no."', 'Adobe says "no."'),
        ("it failed (so.)", "it failed (so.)"),
        ("two failed:\n  a\n  b", "two failed:\n  a\n  b."),
        ("cut…", "cut…"),
        ("these:", "these:"),
    ],
)
def test_a_message_ends_in_one_full_stop(message: str, sentence: str) -> None:
    error = errors.AdobeServerError(message, hint="Do that.")
    assert str(error) == f"{sentence}\nWhat to do: Do that."


@given(st.text(), st.text(), st.text())
def test_whatever_an_error_is_told_it_is_fit_for_a_log(message: str, code: str, hint: str) -> None:
    error = errors.error_at(errors.AdobeServerError, CALL, message, code=code, request_id=code, hint=hint)
    error.message += message  # also what is changed later
    assert visible(error.summary) == error.summary
    assert all(visible(line) == line for line in str(error).replace("\t", " ").split("\n"))
    str(error).encode()


@pytest.mark.parametrize("kind", every_error())
def test_every_error_keeps_class_attributes_and_text_as_json(kind: type[AdobeError]) -> None:
    error = errors.error_at(kind, CALL, "it went wrong", status=418, code="c", request_id="r", hint="do that")
    error.batch_id = "b-1"
    error.failed_rows = 3
    error.__cause__ = errors.error_at(errors.AdobeServerError, CALL, "the cause", status=503)
    restored = errors.from_json(json.loads(json.dumps(error.as_json())))
    assert type(restored) is kind
    assert str(restored) == str(error)
    assert restored.args == error.args
    assert vars(restored) == vars(error)
    assert restored.transient == error.transient
    assert type(restored.__cause__) is errors.AdobeServerError
    assert vars(restored.__cause__) == vars(error.__cause__)


def test_what_json_does_not_know_is_written_down_as_the_like_of_it() -> None:
    @dataclasses.dataclass
    class Change:
        group: int
        names: tuple[str, ...]
        secret: str = dataclasses.field(repr=False)

    error = errors.ApplyError("two changes failed")
    error.results = (Change(7, ("a", "b"), "the-secret"),)
    error.retry_after = 2.5
    error.when = {"x": {1, 2}, "path": Path("/x")}
    restored = errors.from_json(json.loads(json.dumps(error.as_json())))
    assert isinstance(restored, errors.ApplyError)
    assert restored.results == ({"group": 7, "names": ["a", "b"]},)
    assert restored.retry_after == 2.5
    assert restored.when == {"x": [1, 2], "path": "/x"}


@pytest.mark.parametrize(
    "stored",
    [None, "text", [], {}, {"error": "AdobeServerError"}, {"error": "AdobeServerError", "attributes": "x"}],
)
def test_what_is_no_error_becomes_one(stored: Any) -> None:
    restored = errors.from_json(stored)
    assert isinstance(restored, errors.AdobeTriggerError)
    assert "cannot be read" in str(restored)


def test_an_error_of_another_version_keeps_what_can_be_kept() -> None:
    stored = {
        "error": "AdobeNextYearsError",
        "transient": True,
        "attributes": {"message": "m", "hint": "h", "as_json": 1, "args": ["x"], "a b": 2, "batch_id": "b"},
    }
    restored = errors.from_json(stored)
    assert type(restored) is AdobeError
    assert restored.transient
    assert (restored.message, restored.hint, restored.args, restored.batch_id) == ("m", "h", ("m",), "b")
    assert restored.as_json()["attributes"]["batch_id"] == "b"


@pytest.mark.parametrize(
    ("known", "where"),
    [
        ({}, "Target Admin API: "),
        ({"status": 404, "code": "x"}, "Target Admin API answered 404 [x]: "),
        ({"call": "get profile token"}, "Target Admin API, get profile token: "),
        ({"call": "get it", "method": "GET", "path": "/p"}, "Target Admin API, get it: GET /p: "),
    ],
)
def test_an_error_tells_where_as_far_as_that_is_known(known: dict[str, Any], where: str) -> None:
    assert str(AdobeError("why", service=Service.TARGET, **known)).startswith(f"{where}why.\n")


def test_the_catalogue_of_errors_in_the_docs_is_the_one_in_the_code() -> None:
    from scripts.error_catalogue import FILE, catalogue

    assert FILE.read_text() == catalogue(), "run python -m scripts.error_catalogue"
