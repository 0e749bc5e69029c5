# SPDX-License-Identifier: Apache-2.0
"""The profile token is nowhere but in its store: not in a log at any level, nor a table, nor a file, in no
form.
"""

from __future__ import annotations

import base64
import importlib.metadata
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor
from tests import leaks

pytestmark = pytest.mark.usefixtures("adobe_connection")

STORE = AirflowVariableStore("leak_test_token")


class ChattyStore(AirflowVariableStore):
    """Fails once in the worst way: with the secret in the text of the exception."""

    failed = False

    def _write(self, secret: str) -> None:
        if not ChattyStore.failed:
            ChattyStore.failed = True
            raise RuntimeError(f"cannot store {secret}")
        super()._write(secret)


@pytest.fixture
def debug(monkeypatch: pytest.MonkeyPatch) -> Any:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    secret = "0f8fad5b-d9cb-469f-a165-70867728950e"
    (tmp_path / "raw").write_text(f"x{secret}y")
    (tmp_path / "upper").write_text(secret.upper())
    (tmp_path / "url").write_text(secret.replace("-", "%2D"))
    for before in ("", "a", "ab"):
        (tmp_path / f"base64{len(before)}").write_bytes(base64.b64encode(f"{before}{secret}zz".encode()))
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (c text)")
        database.execute("insert into t values (?)", [base64.b64encode(secret.encode()).decode()])
    database.close()
    assert {found.partition(":")[0] for found in leaks.in_files(tmp_path, [secret])} == {
        file.name for file in tmp_path.iterdir()
    }
    assert leaks.in_database(tmp_path / "a.db", [secret]) == ["t.c: secret 0 base64 at 0"]


@pytest.mark.skipif(
    importlib.metadata.version("apache-airflow").startswith("3.0."),
    reason="under dag.test() of Airflow 3.0 no trigger can read a Variable; a real triggerer can",
)
@pytest.mark.usefixtures("debug")
def test_the_token_is_nowhere(
    run_dag: Callable[..., Any],
    emulator: Any,
    airflow_home: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    emulator.switches["batch_polls"] = 1
    rows = [{"thirdPartyId": f"u{number}", "tier": "gold"} for number in range(3)]
    once = {"retries": 1, "retry_delay": pendulum.duration(seconds=0)}
    with DAG(
        "leaks", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False
    ) as dag:
        first = AdobeRotateProfileTokenOperator(task_id="first", store=STORE)

        @task
        def disturb() -> None:
            emulator.faults.add(method="POST", path="authentication/token", nth=1, phase="after", drop=True)

        lost = AdobeRotateProfileTokenOperator(task_id="lost_answer", store=STORE, force=True)
        chatty = AdobeRotateProfileTokenOperator(
            task_id="chatty_store", store=ChattyStore("leak_test_token"), force=True, **once
        )
        update = AdobeBulkProfileUpdateOperator(
            task_id="update", rows=rows, store=STORE, deferrable=True, poll_interval=0.1
        )
        submit = AdobeBulkProfileUpdateOperator(
            task_id="submit", rows=rows, store=STORE, wait_for_completion=False
        )
        wait = AdobeBulkProfileUpdateSensor(
            task_id="wait", batches=submit.output, store=STORE, deferrable=True, poke_interval=0.1, timeout=30
        )

        @task
        def press_the_button() -> None:
            emulator.target.issue()

        refused = AdobeBulkProfileUpdateOperator(task_id="refused", rows=rows, store=STORE, **once)
        first >> disturb() >> lost >> chatty >> update >> submit >> wait >> press_the_button() >> refused
    run = run_dag(dag)
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    assert states == {name: "failed" if name == "refused" else "success" for name in states}
    assert len(states) == 9

    tokens = [token.value for token in emulator.target.issued["profile_api"]]
    assert len(tokens) == 4
    said = capfd.readouterr()
    text = f"{said.out}{said.err}{caplog.text}"
    assert "could not be written (RuntimeError: cannot store ***)" in text, (
        "what is searched is really the log"
    )
    assert "DEBUG" in caplog.text
    searched = {
        "output and log": leaks.in_bytes(text.encode(), tokens),
        "files": leaks.in_files(airflow_home, tokens),
        "database": leaks.in_database(airflow_home / "airflow.db", tokens),
        "processes": leaks.in_processes(tokens),
        "journal": leaks.in_bytes(
            str([entry.as_dict() for entry in emulator.journal.entries]).encode(), tokens
        ),
        "emulator": leaks.in_bytes(str(emulator.snapshot()).encode(), tokens),
    }
    assert searched == {name: [] for name in searched}
    with sqlite3.connect(airflow_home / "airflow.db") as database:
        (encrypted,) = database.execute(
            "select is_encrypted from variable where key = 'leak_test_token'"
        ).fetchone()
    database.close()
    assert encrypted, "the one place that has the token has it encrypted"
