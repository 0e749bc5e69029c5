# SPDX-License-Identifier: Apache-2.0
"""Test connection tells in one message which services answer and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

Point = Callable[..., dict[str, Any]]


def test_everything_answers(adobe_connection: Point, emulator: Any) -> None:
    works, message = AdobeHook().test_connection()
    assert works, message
    assert "Access token: issued." in message
    assert "Experience Platform: answers for sandbox 'prod'." in message
    assert "Audience Manager: answers at prefix /api/v1 and /v1." in message
    assert "Target: answers for tenant 'emulator'; profile authentication is" in message
    assert [entry for entry in emulator.journal.entries if entry.write] == []


@pytest.mark.parametrize("extra", ["hello", '{"org_id": "x", "sandbox": "prod",}', "{'org_id': 'x'}"])
def test_an_extra_that_is_no_json_is_called_so(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    plain = {"conn_type": "adobe", "login": "id", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ADOBE_BROKEN", json.dumps(plain))
    works, message = AdobeHook("adobe_broken").test_connection()
    assert not works
    assert "connection 'adobe_broken' has an extra that is no JSON: " in message
    assert "org_id is missing" not in message
    assert emulator.journal.entries == []
    with pytest.raises(AdobeConfigurationError) as error:
        _ = AdobeHook("adobe_broken").settings
    assert error.value.__context__ is None  # it would hold the whole extra


def test_the_prefix_that_answers_is_named(adobe_connection: Point, emulator: Any) -> None:
    emulator.faults.add(path="^/api/v1/", status=404)
    works, message = AdobeHook().test_connection()
    assert not works
    assert "Audience Manager: FAILED at prefix /api/v1, but answers at /v1: use that one." in message


def test_a_service_that_is_not_set_up_is_no_failure(adobe_connection: Point, emulator: Any) -> None:
    adobe_connection(target_tenant=None)
    works, message = AdobeHook().test_connection()
    assert works, message
    assert "Target: not set up" in message


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/data/core/ups", "Experience Platform"),
        ("/emulator/target", "Target"),
        ("permissionable", "Audience Manager"),
    ],
)
def test_a_service_that_refuses_is_named(
    adobe_connection: Point, emulator: Any, path: str, service: str
) -> None:
    emulator.faults.add(
        path=path, status=403, body={"error_code": "403025", "message": "Profile is not valid"}
    )
    works, message = AdobeHook().test_connection()
    assert not works
    assert f"{service}: FAILED." in message
    assert "add it to a product profile in the Admin Console" in message


def as_by_default(monkeypatch: pytest.MonkeyPatch, emulator: Any, *names: str) -> None:
    """Let these fields of the connection be what a new connection has: otherwise Adobe itself would be
    asked.
    """
    for name in names:
        monkeypatch.setattr(AdobeSettings.model_fields[name], "default", emulator.url)


@pytest.mark.parametrize("refusal", [{"status": 403}, {"status": 404}, {"status": 503}, {"drop": True}])
def test_a_customer_of_target_alone_is_not_failed_for_the_other_services(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch, refusal: dict[str, Any]
) -> None:
    as_by_default(monkeypatch, emulator, "platform_url", "audience_manager_url")
    for path in ("/data/core/ups", "permissionable"):
        emulator.faults.add(path=path, **refusal)
    works, message = AdobeHook().test_connection()
    assert works, message
    assert "Experience Platform: not available, and nothing asks for it (sandbox, platform_url" in message
    assert "Audience Manager: not available, and nothing asks for it" in message
    assert "Target: answers for tenant 'emulator'" in message
    assert len(message.splitlines()) == 4


def test_a_customer_of_audience_manager_alone_is_not_failed_either(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adobe_connection(target_tenant=None)
    as_by_default(monkeypatch, emulator, "platform_url")
    emulator.faults.add(path="/data/core/ups", status=403)
    works, message = AdobeHook().test_connection()
    assert works, message
    assert "Audience Manager: answers" in message


def test_a_sandbox_asks_for_experience_platform(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adobe_connection(sandbox="dev")
    as_by_default(monkeypatch, emulator, "platform_url")
    emulator.faults.add(path="/data/core/ups", status=403)
    works, message = AdobeHook().test_connection()
    assert not works
    assert "Experience Platform: FAILED." in message


def test_a_credential_that_opens_nothing_fails(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adobe_connection(target_tenant=None)
    as_by_default(monkeypatch, emulator, "platform_url", "audience_manager_url")
    emulator.faults.add(path="/data/core/ups", status=403)
    emulator.faults.add(path="permissionable", status=403)
    works, message = AdobeHook().test_connection()
    assert not works
    assert "No service answers" in message


def test_a_wrong_secret_is_told_once_and_not_shown(
    adobe_connection: Point, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**adobe_connection(), "password": "not-the-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_ADOBE_DEFAULT", json.dumps(connection))
    works, message = AdobeHook().test_connection()
    assert not works
    assert message.startswith("No access token: ")
    assert "Client id or client secret is wrong" in message
    assert "not-the-secret" not in message


def test_a_connection_that_cannot_work_is_explained(adobe_connection: Point, emulator: Any) -> None:
    adobe_connection(sandbox="Prod", org_id=None)
    works, message = AdobeHook().test_connection()
    assert not works
    assert "did you mean 'prod'?" in message
    assert emulator.journal.entries == []
