# SPDX-License-Identifier: Apache-2.0
"""A template that renders the connection neither brings its secret to Adobe nor into anything that Airflow
keeps.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_adobe_audiences.adobe import audience_manager, experience_platform, target
from airflow_provider_adobe_audiences.adobe.client.call import Call
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.operators.experience_platform import AdobeCreateAudienceMetadataOperator
from tests.security.calls import settings_at
from tests.security.servers import running

SECRET = "p8e-Qz/7+secret value"
CALLS: list[Call[Any]] = [
    experience_platform.list_batches(external_id=f"x {SECRET}"),
    experience_platform.get_batch(SECRET.replace("/", "-")),
    audience_manager.create_group("name", f"about {SECRET}"),
    target.patch_settings("acme", {"a": [{"b": SECRET}]}),
    target.update_profile("acme", {"a": SECRET}, third_party_id="x"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_value_that_is_a_secret_is_not_sent(call: Call[Any], opened: Any) -> None:
    secret = SECRET.replace("/", "-") if call.name == CALLS[1].name else SECRET
    fields = {
        "authentication": "audience_manager_password",
        "username": "u",
        "user_password": secret,
        "access_token": None,
    }
    if call.service != "Audience Manager":
        fields = {"authentication": "oauth_server_to_server", "client_secret": secret, "access_token": None}
    token = b'HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{"access_token": "issued-token"}'
    with running(token) as server:
        error = opened(settings_at(server.url, **{"client_secret": "another-secret", **fields}))(call)
        assert isinstance(error, AdobeConfigurationError)
        assert "holds a secret of the connection" in str(error)
        assert "template" in error.hint
        for text in (str(error), repr(error.__dict__)):
            assert secret not in text
            assert quote(secret, safe="") not in text
        assert {seen.target.partition("?")[0] for seen in server.seen} <= {"/ims/token/v3", "/oauth/token"}


@pytest.mark.parametrize("field", ["name", "description"])
def test_a_template_of_the_connection_fails_and_leaves_nothing(
    field: str,
    emulator: Any,
    adobe_connection: Callable[..., dict[str, Any]],
    run_dag: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = adobe_connection()["password"]
    arguments = {"name": "An audience", "description": "about it", field: "{{ conn.adobe_default.password }}"}
    with DAG(f"renders_{field}", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")) as dag:
        AdobeCreateAudienceMetadataOperator(
            task_id="create", namespace="n", origin_name="CUSTOM", audience_id="a1", **arguments
        )
    caplog.set_level("DEBUG", logger="airflow_provider_adobe_audiences")

    assert run_dag(dag).state == "failed"

    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_adobe")
    ]
    assert secret not in "".join(ours)
    assert emulator.journal.find("POST", "/ais") == []
    database = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix("sqlite:///")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as tables:
        for table in ("rendered_task_instance_fields", "xcom", "log"):
            rows = tables.execute(f"select * from {table}").fetchall()
            assert [row for row in rows if secret in repr(row)] == []
