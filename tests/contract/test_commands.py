# SPDX-License-Identifier: Apache-2.0
"""Airflow's own commands, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.get_provider_info import get_provider_info

NAME = "airflow-provider-adobe-audiences"


def airflow(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "airflow", *arguments]
    process = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout


def test_providers_get_shows_all_of_it():
    said = airflow("providers", "get", NAME, "--full", "--output", "json")

    (shown,) = json.loads(said[said.index("[{") :])
    for value in (NAME, get_provider_info()["name"], "hooks.adobe.AdobeHook"):
        assert value in json.dumps(shown)


@pytest.mark.usefixtures("airflow_db", "adobe_connection")
def test_dags_test_runs_an_example(repo: Path, emulator: Any):
    airflow(
        "dags", "test", "adobe_audience_manager_sync_on_merge", "2026-01-01",
        AIRFLOW__CORE__DAGS_FOLDER=str(repo / "example_dags"),
    )  # fmt: skip

    assert {group.name for group in emulator.audience_manager.groups.values()} == {
        "EMEA Activation",
        "EMEA Analysts",
        "EMEA Auditors",
    }
