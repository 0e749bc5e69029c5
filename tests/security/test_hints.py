# SPDX-License-Identifier: Apache-2.0
"""Every error says what to do, and which request it was when the answer told."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_adobe_audiences as package
from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client import flow, limiter
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.errors import AdobeError
from tests.security.calls import MAKERS, Maker, settings_at
from tests.security.servers import running

ROOT = Path(package.__path__[0])
MODULES = [
    module.name
    for module in pkgutil.walk_packages([str(ROOT)], f"{package.__name__}.")
    if ".emulator" not in module.name
]


def kinds(of: type[AdobeError] = AdobeError) -> set[type[AdobeError]]:
    return {of}.union(*(kinds(kind) for kind in of.__subclasses__()))


def test_every_kind_of_error_has_a_hint_of_its_own() -> None:
    for name in MODULES:
        importlib.import_module(name)
    found = {kind for kind in kinds() if kind.__module__.startswith(package.__name__)} - {AdobeError}
    assert len(found) >= 14
    assert [kind for kind in found if kind.default_hint == AdobeError.default_hint] == []


def test_nobody_raises_the_error_that_says_nothing() -> None:
    raised = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == "AdobeError"
    ]
    assert raised == []


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(flow, "limiter_for", lambda *_: limiter.Limiter())


ANSWERS = [(status, b"{}") for status in (302, 400, 401, 403, 404, 409, 418, 429, 500, 503)]
ANSWERS += [
    (400, b"no JSON"),
    (502, b"<html><title>Bad gateway</title></html>"),
    (200, b"<html>Sign in</html>"),
    (200, b"\xff"),
    (200, b"[" * 9),
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_the_request_id_is_told_when_there_was_one(maker: Maker, opened: Any) -> None:
    told = 0
    with running() as server:
        changed = {}
        if maker.function is target.get_profile_batch_status:
            changed["status_url"] = f"{server.url}/m2/acme/profile/batchStatus?batchId=b1"
        call = maker(**changed)
        if call.service is Service.IMS and call.url is not None:
            pytest.skip("goes to Audience Manager's host, whatever the settings of this test are")
        send = opened(settings_at(server.url))
        for status, body in ANSWERS:
            head = b"HTTP/1.1 %d Whatever\r\nX-Request-Id: the-id-%d\r\nContent-Length: %d\r\n\r\n" % (
                status,
                status,
                len(body),
            )
            server.answer = lambda _, answer=head + body: answer  # type: ignore[misc]
            error = send(call)
            if error is None:  # the call has no use for the body, or this status is one of its answers
                assert status in (200, *call.treat_as_success)
                continue
            assert error.hint
            assert error.request_id == f"the-id-{status}", error
            assert f"\nRequest id: the-id-{status}\nWhat to do: " in str(error)
            told += 1
    assert told >= 10
