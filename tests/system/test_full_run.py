# SPDX-License-Identifier: Apache-2.0
"""The example DAGs on a real Airflow: scheduler, triggerer, API server. What they must never leave behind is
searched for everywhere.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from scripts.local_airflow import REPO, airflow_standalone, connection_to
from tests import leaks

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

INGESTION = "adobe_batch_ingestion_with_audience_metadata"
MAPPED = "adobe_batch_ingestion_mapped"


def test_the_examples_run_and_leave_no_secret_anywhere(emulator: Any, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    shutil.copytree(REPO / "example_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    broken = connection_to(emulator.url) | {"password": "another-client-secret"}
    connections = {"adobe_default": connection_to(emulator.url, session_cache=True), "adobe_broken": broken}
    (dags / "broken.py").write_text(
        "import pendulum\n"
        "from airflow.sdk import DAG\n"
        "from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor\n"
        "with DAG('broken', schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz='UTC')):\n"
        "    AdobeBatchSensor(task_id='wait', batch_id='b', adobe_conn_id='adobe_broken')\n"
    )
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    # One token expires in the middle of the work, so that the code for it is part of what is searched.
    emulator.faults.add(method="POST", path="/import/batches$", expire_token=True, times=1)
    env = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG", "XDG_RUNTIME_DIR": str(runtime)}
    conf = {"staging": f"file://{tmp_path}/staging"}
    with airflow_standalone(dags, connections=connections, env=env) as airflow:
        runs = {dag_id: airflow.trigger(dag_id, conf) for dag_id in (INGESTION, MAPPED)}
        runs["broken"] = airflow.trigger("broken")
        for dag_id, run_id in runs.items():
            expected = "failed" if dag_id == "broken" else "success"
            assert airflow.wait(dag_id, run_id) == expected, airflow.report(dag_id, run_id)
        ingested = airflow.xcom(INGESTION, runs[INGESTION], "ingest")
        assert ingested["records_ingested"] == emulator.platform.digest(ingested["dataset_id"])["count"] > 0
        assert emulator.platform.digest("cdnow-purchases")["count"] == 6919
        (audience,) = emulator.platform.snapshot()["audiences"]
        assert ingested["batch_id"] in json.dumps(audience)
        why = airflow.log("broken", runs["broken"], "wait")
        assert "Client id or client secret is wrong" in why

        listening = []
        for process in psutil.Process(airflow.server.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a task's, which has ended meanwhile
                listening += [
                    one.laddr.ip
                    for one in process.net_connections("inet")
                    if one.status == psutil.CONN_LISTEN
                ]
        assert set(listening) == {"127.0.0.1"}, "the demo's Airflow is for this machine only"

        tokens = list(emulator.ims.tokens)
        assert len(tokens) >= 2
        secrets = ["emulator-client-secret", "another-client-secret", *tokens]
        known = leaks.Hunt([ingested["batch_id"]])
        known.files(airflow.home)
        assert any(place.startswith("logs/") for place in known.found), "what is no secret is found"
        hunt = leaks.Hunt(secrets)
        hunt.files(airflow.home)
        hunt.database(airflow.home / "airflow.db")
        hunt.files(runtime)
        assert list(runtime.rglob("*.token")), "the shared tokens were searched"
    hunt.look("journals", "journal", json.dumps([entry.as_dict() for entry in emulator.journal.entries]))
    assert hunt.found == []
