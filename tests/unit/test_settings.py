# SPDX-License-Identifier: Apache-2.0
"""A connection that cannot work says so before anything is sent, names each field, and keeps secrets to
itself.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.get_provider_info import CONNECTION_FIELDS

GOOD: dict[str, Any] = {
    "client_id": "id",
    "client_secret": "the-client-secret",
    "org_id": "0123456789ABCDEF01234567@AdobeOrg",
}


def settings(**fields: Any) -> AdobeSettings:
    return AdobeSettings.of({**GOOD, **fields}, "connection 'x'")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"client_id": ""}, "the client id (Login of the connection) is empty"),
        ({"client_secret": None}, "the client secret (Password of the connection) is empty"),
        ({"org_id": None}, "org_id is missing"),
        ({"org_id": "acme"}, "24 hexadecimal digits followed by @AdobeOrg"),
        ({"sandbox": "Prod"}, "did you mean 'prod'?"),
        ({"sandbox": "My Sandbox"}, "did you mean 'my-sandbox'?"),
        ({"sandbox": "a/b"}, "sandbox"),
        ({"platform_url": "http://platform.adobe.io"}, "must begin with https://"),
        ({"platform_url": "http://127.0.0.1.evil.example"}, "must begin with https://"),
        ({"platform_url": "platform.adobe.io"}, "must be a URL such as"),
        ({"platform_url": "ftp://platform.adobe.io"}, "must be a URL such as"),
        ({"ims_url": "https://user:pass@ims.example"}, "must not contain a user name"),
        ({"ims_url": "https://ims.example/?a=b"}, "must not contain a user name, a password, a query"),
        ({"ais_base_path": "data/core/ais"}, "ais_base_path"),
        ({"ais_base_path": "/data/../x?"}, "ais_base_path"),
        ({"authentication": "jwt"}, "authentication"),
        ({"authentication": "access_token"}, "the access_token is empty"),
        ({"access_token": "abc"}, "access_token is given but authentication is 'oauth_server_to_server'"),
        ({"authentication": "audience_manager_password"}, "needs username and user_password"),
        ({"username": "u"}, "only used with authentication 'audience_manager_password'"),
        ({"read_timeout": -1}, "read_timeout"),
        ({"read_timeout": "soon"}, "read_timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"verify_tls": False}, "verify_tls = false is only allowed when every URL is on this machine"),
        ({"verify_tls": False, "ca_bundle": "/x"}, "ca_bundle contradicts verify_tls"),
        ({"orgid": "x"}, "field 'orgid' is unknown (did you mean org_id?)"),
        ({"organisation": "x"}, "field 'organisation' is unknown (known fields: access_token,"),
        ({"target_tenant": "a/b"}, "target_tenant"),
        ({"scopes": " , "}, "at least one scope"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(AdobeConfigurationError) as raised:
        settings(**fields)
    assert said in str(raised.value)
    assert "connection 'x'" in str(raised.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(AdobeConfigurationError) as raised:
        settings(sandbox="Prod", read_timeout=-1, nonsense=1)
    assert all(name in str(raised.value) for name in ("sandbox", "read_timeout", "nonsense"))


@pytest.mark.parametrize(
    "wrong",
    [{"sandbox": "Prod"}, {"client_id": None}, {"username": "u", "user_password": "the-user-password"}],
)
def test_secrets_stay_out_of_messages(wrong: dict[str, Any]) -> None:
    with pytest.raises(AdobeConfigurationError) as raised:
        settings(access_token="the-access-token", **wrong)
    for text in (str(raised.value), repr(raised.value)):
        assert "the-client-secret" not in text
        assert "the-access-token" not in text
        assert "the-user-password" not in text


def test_secrets_stay_out_of_repr() -> None:
    checked = settings(authentication="access_token", access_token="the-access-token")
    assert "the-client-secret" not in repr(checked)
    assert "the-access-token" not in repr(checked)
    basic = base64.b64encode(b"id:the-client-secret").decode()
    assert set(checked.secrets()) == {"the-client-secret", "the-access-token", basic}


def test_empty_fields_of_a_form_mean_the_default() -> None:
    assert settings(sandbox="", platform_url=None, total_timeout="").sandbox == "prod"


def test_numbers_and_booleans_may_be_texts_as_older_forms_store_them() -> None:
    checked = settings(read_timeout="2.5", max_attempts="3", session_cache="false")
    assert (checked.read_timeout, checked.max_attempts, checked.session_cache) == (2.5, 3, False)


def test_the_form_has_exactly_the_fields_that_are_checked() -> None:
    assert set(CONNECTION_FIELDS) == set(AdobeSettings.model_fields) - {"client_id", "client_secret"}


def test_no_field_that_is_not_secret_has_a_name_that_airflow_masks() -> None:
    # Airflow would mask the field's value, such as "True", wherever it stands in a log.
    from airflow.providers.common.compat.sdk import conf  # noqa: F401  the mask reads Airflow's configuration

    sensitive = pytest.importorskip("airflow.sdk._shared.secrets_masker").DEFAULT_SENSITIVE_FIELDS

    masked = {name for name in CONNECTION_FIELDS if any(part in name for part in sensitive)}
    assert masked == {
        name for name, field in CONNECTION_FIELDS.items() if field["schema"].get("format") == "password"
    }


@pytest.mark.parametrize(
    "name", [name for name, field in CONNECTION_FIELDS.items() if field["schema"].get("default") is not None]
)
def test_the_form_shows_the_default_that_is_used(name: str) -> None:
    assert getattr(settings(), name) == CONNECTION_FIELDS[name]["schema"]["default"]


@pytest.mark.parametrize(
    ("service", "fields", "url", "allowed"),
    [
        (
            Service.TARGET_EDGE,
            {"target_client_code": "demo"},
            "http://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=1",
            "https://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=1",
        ),
        (
            Service.EXPERIENCE_PLATFORM,
            {},
            "https://platform.adobe.io:443/data/foundation/export/batches/x/failed?path=y",
            "https://platform.adobe.io/data/foundation/export/batches/x/failed?path=y",
        ),
        (
            Service.TARGET_EDGE,
            {"target_edge_url": "http://127.0.0.1:81"},
            "http://127.0.0.1:81/m2/x?b=1",
            "http://127.0.0.1:81/m2/x?b=1",
        ),
        (Service.TARGET_EDGE, {"target_client_code": "demo"}, "https://evil.example/x", None),
        (Service.TARGET_EDGE, {"target_client_code": "demo"}, "https://tt.omtrdc.net.evil.example/x", None),
        (Service.TARGET_EDGE, {"target_client_code": "demo"}, "https://eviltt.omtrdc.net/x", None),
        (Service.TARGET_EDGE, {"target_client_code": "demo"}, "https://a@mboxedge45.tt.omtrdc.net/x", None),
        (
            Service.TARGET_EDGE,
            {"target_client_code": "demo"},
            "https://mboxedge45.tt.omtrdc.net:8443/x",
            None,
        ),
        (Service.TARGET_EDGE, {"target_client_code": "demo"}, "http://127.0.0.1/x", None),
        (
            Service.TARGET_EDGE,
            {"target_edge_url": "http://127.0.0.1:81"},
            "https://mboxedge45.tt.omtrdc.net/x",
            None,
        ),
        (Service.EXPERIENCE_PLATFORM, {}, "https://platform.adobe.io.evil.example/x", None),
        (Service.EXPERIENCE_PLATFORM, {}, "https://platform.adobe.io:99999/x", None),
        (Service.EXPERIENCE_PLATFORM, {}, "//platform.adobe.io\\@evil.example/x", None),
    ],
)
def test_a_url_from_an_answer_is_only_called_where_it_belongs(
    service: Service, fields: dict[str, Any], url: str, allowed: str | None
) -> None:
    checked = settings(**fields)
    if allowed is None:
        with pytest.raises(AdobeConfigurationError, match="the credential is not sent there"):
            checked.allowed_url(service, url)
    else:
        assert checked.allowed_url(service, url) == allowed
