# SPDX-License-Identifier: Apache-2.0
"""The example Dags on the scheduler and the triggerer of whichever Airflow is installed, 2.11 too.

What happened is read from the database, which all versions have alike.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.local_airflow import FINISHED, REPO, any_airflow, connection_to, rows_of_database

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

# Nobody starts these: the first has a schedule, the second waits for the asset of the first.
EXAMPLES = ("adobe_target_rotate_profile_token", "adobe_target_bulk_profile_update")


def test_the_examples_run_from_their_schedule_and_from_their_asset(emulator: Any, tmp_path: Path) -> None:
    emulator.switches["batch_polls"] = 1
    dags = tmp_path / "dags"
    dags.mkdir()
    for name in EXAMPLES:
        shutil.copy(REPO / "example_dags" / f"{name}.py", dags)
    shutil.copytree(REPO / "example_dags" / "data", dags / "data")
    states: dict[str, str] = {}
    deadline = time.monotonic() + 240

    with any_airflow(dags, connections={"adobe_default": connection_to(emulator.url)}) as home:
        while set(states) < set(EXAMPLES) or not set(states.values()) <= set(FINISHED):
            assert time.monotonic() < deadline, (states, rows_of_database(home, "SELECT * FROM import_error"))
            time.sleep(0.5)
            states = dict(rows_of_database(home, "SELECT dag_id, state FROM dag_run ORDER BY id"))
        failed = [
            file.read_text(errors="replace")[-4000:]
            for file in sorted(home.glob("logs/**/attempt=1.log"))
            if set(states.values()) != {"success"}
        ]

    assert set(states.values()) == {"success"}, "\n".join(failed)
    assert len(emulator.target.issued["profile_api"]) == 1, "one new token, not two"
    assert len(emulator.target.profiles) == 2357
