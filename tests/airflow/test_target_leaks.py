# SPDX-License-Identifier: Apache-2.0
"""The profile token is nowhere but in its store: not in a log at any level, nor a table, nor a file, in no
form.
"""

from __future__ import annotations

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


@pytest.mark.parametrize("secret", ["0f8fad5b-d9cb-469f-a165-70867728950e", 'it\'s "a\\b" & <c>/é+ ~'])
def test_the_search_finds_what_is_there(tmp_path: Path, secret: str) -> None:
    hidden = leaks.spellings(secret)
    (tmp_path / "files").mkdir()
    for name, text in hidden.items():
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "files" / name).write_bytes(b"before" + data + b"after")
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (harmless text, c text)")
        database.executemany("insert into t values ('x', ?)", [(text,) for text in hidden.values()])
    database.close()
    hunt = leaks.Hunt(["something else", secret])

    hunt.files(tmp_path / "files")
    assert {found.partition(":")[0] for found in hunt.found} == set(hidden)
    hunt.found.clear()
    hunt.database(tmp_path / "a.db")
    assert {found.partition(":")[0] for found in hunt.found} == {"t.c"}
    assert len(hunt.found) >= len(hidden)
    assert hunt.places == {"files": len(hidden), "cells of the database": 2 * len(hidden)}


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
    hunt = leaks.Hunt(tokens)
    hunt.look("logs", "output and log", text)
    hunt.files(airflow_home)
    hunt.database(airflow_home / "airflow.db")
    hunt.processes()
    hunt.look("states of the emulator", "journal", str([one.as_dict() for one in emulator.journal.entries]))
    hunt.look("states of the emulator", "snapshot", str(emulator.snapshot()))
    assert hunt.found == []
    assert hunt.places["files"] >= 1  # dag.test() of Airflow 2.11 writes no files of its own
    assert hunt.places["cells of the database"] > 100
    with sqlite3.connect(airflow_home / "airflow.db") as database:
        (encrypted,) = database.execute(
            "select is_encrypted from variable where key = 'leak_test_token'"
        ).fetchone()
    database.close()
    assert encrypted, "the one place that has the token has it encrypted"
