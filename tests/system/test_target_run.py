# SPDX-License-Identifier: Apache-2.0
"""Rotation and bulk update on a real Airflow at DEBUG level, with Airflow's own stores; then the token is
searched for everywhere.
"""

from __future__ import annotations

import shutil
import sqlite3
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from scripts.local_airflow import REPO, airflow_standalone, connection_to
from tests import leaks

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

ROTATION = "adobe_target_rotate_profile_token"
UPDATE = "adobe_target_bulk_profile_update"

DAGS = """
import pendulum
from airflow.sdk import DAG
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowConnectionStore, AirflowVariableStore

start = pendulum.datetime(2026, 1, 1, tz="UTC")
rows = [{"thirdPartyId": f"u{number}", "tier": "gold"} for number in range(3)]

for name in ("airflow_api", "airflow_api_login"):
    with DAG(f"into_a_connection_by_{name}", schedule=None, start_date=start):
        store = AirflowConnectionStore("profile_token", api_conn_id=name)
        rotate = AdobeRotateProfileTokenOperator(task_id="rotate", store=store, force=True, announce=False)
        if name == "airflow_api":
            rotate >> AdobeBulkProfileUpdateOperator(
                task_id="update", rows=rows, store=store, deferrable=True, poll_interval=0.5
            )

with DAG("refused", schedule=None, start_date=start):
    AdobeBulkProfileUpdateOperator(task_id="update", rows=rows, store=AirflowVariableStore("stale_token"))
"""


def test_rotation_and_update_leave_the_token_nowhere_but_in_the_store(emulator: Any, tmp_path: Path) -> None:
    emulator.switches["batch_polls"] = 1
    dags = tmp_path / "dags"
    shutil.copytree(REPO / "example_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    (dags / "stores.py").write_text(textwrap.dedent(DAGS))
    # The first answer is lost after Target has created the token: adopting it is part of what is searched.
    emulator.faults.add(method="POST", path="authentication/token", nth=1, phase="after", drop=True)
    env = {
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        # Airflow itself would log the Variables that tasks set; the store refuses to be written without this.
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "supervisor=INFO",
    }
    stale = "5e884898-da28-4710-8c2b-ffffffffffff"
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            if tokens := [token.value for token in emulator.target.issued["profile_api"]]:
                hunt = leaks.Hunt(tokens)
                hunt.processes()
                seen.extend(hunt.found)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with airflow_standalone(
            dags, connections={"adobe_default": connection_to(emulator.url)}, env=env
        ) as airflow:

            def run(dag_id: str, expected: str = "success", **conf: Any) -> str:
                run_id = airflow.trigger(dag_id, conf)
                assert airflow.wait(dag_id, run_id) == expected, airflow.report(dag_id, run_id)
                return run_id

            host, _, port = airflow.url.rpartition(":")
            for name, secret in (
                ("airflow_api", {"password": airflow.api.headers["Authorization"].removeprefix("Bearer ")}),
                ("airflow_api_login", {"login": "admin", "password": airflow.password}),
            ):
                body = {"connection_id": name, "conn_type": "http", "host": host, "port": int(port), **secret}
                airflow.api.post("/connections", json=body).raise_for_status()
            kept = {"connection_id": "profile_token", "conn_type": "generic", "description": "ours"}
            airflow.api.post("/connections", json=kept).raise_for_status()
            airflow.api.post("/variables", json={"key": "stale_token", "value": stale}).raise_for_status()

            refused = airflow.trigger("refused")

            # Nobody starts these two: the schedule and the rotation's asset do.
            for dag_id in (UPDATE, ROTATION):
                airflow.wait_for_dag(dag_id)
                airflow.api.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
            started = wait_for_run(airflow, ROTATION, "scheduled")
            assert airflow.wait(ROTATION, started) == "success", airflow.report(ROTATION, started)
            rotation = airflow.xcom(ROTATION, started, "rotate")
            assert (rotation["needed"], rotation["rotated"], rotation["adopted"], rotation["verified"]) == (
                "rotate",
                True,
                True,
                "accepted",
            )
            assert (
                value_of(airflow.home, "variable", "key", "adobe_target_profile_token")
                == emulator.target.token()
            )
            started = wait_for_run(airflow, UPDATE, "asset_triggered")
            assert airflow.wait(UPDATE, started) == "success", airflow.report(UPDATE, started)
            assert airflow.xcom(UPDATE, started, "update_profiles")["successful"] == 2357

            for name in ("airflow_api", "airflow_api_login"):
                dag_id = f"into_a_connection_by_{name}"
                result = airflow.xcom(dag_id, run(dag_id), "rotate")
                assert result["rotated"]
                assert (
                    value_of(airflow.home, "connection", "conn_id", "profile_token")
                    == emulator.target.token()
                )
                print(f"{dag_id}: outage {result['outage_seconds']} s")
            assert airflow.api.get("/connections/profile_token").json()["description"] == "ours"
            assert airflow.wait("refused", refused) == "failed"

            tokens = [token.value for token in emulator.target.issued["profile_api"]]
            assert len(tokens) == 3
            assert any("DEBUG" in log or '"level":"debug"' in log for log in logs(airflow.home)), (
                "the search is at DEBUG level"
            )
            hunt = leaks.Hunt([*tokens, stale])
            hunt.files(airflow.home)
            hunt.database(airflow.home / "airflow.db")
            hunt.processes()
            hunt.look("journals", "journal", str([entry.as_dict() for entry in emulator.journal.entries]))
            assert [*seen, *hunt.found] == []
    finally:
        over.set()
        watcher.join()


def logs(home: Path) -> list[str]:
    return [file.read_text(errors="replace") for file in home.rglob("*.log")]


def wait_for_run(airflow: Any, dag_id: str, run_type: str) -> str:
    import time

    deadline = time.monotonic() + 60
    while not (runs := airflow.api.get(f"/dags/{dag_id}/dagRuns").raise_for_status().json()["dag_runs"]):
        assert time.monotonic() < deadline, f"nothing started {dag_id}"
        time.sleep(0.5)
    assert [run["run_type"] for run in runs] == [run_type]
    return str(runs[0]["dag_run_id"])


def value_of(home: Path, table: str, key: str, name: str) -> str:
    """Return a Variable or the password of a Connection from the database, decrypted."""
    import configparser

    from cryptography.fernet import Fernet

    config = configparser.RawConfigParser()
    config.read(home / "airflow.cfg")
    column = {"variable": "val", "connection": "password"}[table]
    with sqlite3.connect(home / "airflow.db") as database:
        (value,) = database.execute(f"select {column} from {table} where {key} = ?", [name]).fetchone()
    database.close()
    return Fernet(config["core"]["fernet_key"].encode()).decrypt(value.encode()).decode()
