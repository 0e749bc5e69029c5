# SPDX-License-Identifier: Apache-2.0
"""The example Dags of Experience Platform, run as they stand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.tasks import staging

pytestmark = pytest.mark.usefixtures("adobe_connection")

INGESTION = "adobe_batch_ingestion_with_audience_metadata"
UPDATE = "adobe_target_bulk_profile_update"
MAPPED = "adobe_batch_ingestion_mapped"


@pytest.fixture
def example(repo: Path) -> Any:
    """``example(dag_id)`` loads a file of ``example_dags`` as a scheduler does."""

    def load(dag_id: str) -> Any:
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow before 3.2
            from airflow.models.dagbag import DagBag
        return DagBag(repo / "example_dags" / f"{dag_id}.py").dags[dag_id]

    return load


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are staged that nobody gave a folder for."""
    monkeypatch.setattr(staging.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"adobe-audiences-{os.geteuid()}"


@pytest.mark.parametrize(
    ("dag_id", "dataset_id"), [(INGESTION, "cdnow-frequent-buyers"), (MAPPED, "cdnow-purchases")]
)
def test_an_example_leaves_its_rows_at_adobe_and_no_file_here(
    example: Any, run_dag: Callable[..., Any], emulator: Any, staged: Path, dag_id: str, dataset_id: str
) -> None:
    emulator.switches.update({"batch_seconds": 0.1})

    assert run_dag(example(dag_id)).state == "success"

    (batch,) = emulator.platform.snapshot()["batches"]
    assert (batch["status"], batch["dataSetId"]) == ("success", dataset_id)
    assert batch["recordsOut"] == emulator.platform.digest(dataset_id)["count"] > 300
    if dag_id == MAPPED:
        assert batch["recordsOut"] == 6919
    assert staged.is_dir()
    assert list(staged.iterdir()) == []


def test_a_refused_upload_leaves_neither_rows_nor_files(
    example: Any, run_dag: Callable[..., Any], emulator: Any, staged: Path
) -> None:
    emulator.faults.add(method="PUT", nth=3, status=403, body={"message": "no"})

    assert run_dag(example(MAPPED)).state == "failed"

    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["aborted"]
    assert list(emulator.platform.rows("cdnow-purchases")) == []
    assert list(staged.iterdir()) == []


@pytest.mark.parametrize("dag_id", [INGESTION, MAPPED, UPDATE])
@pytest.mark.parametrize(
    "conf",
    [{"staging": "/etc"}, {"staging": "file:///tmp/*"}, {"dataset_id": "a/../b"}, {"staging": "ftp://x/y"}],
)
def test_params_are_restricted(example: Any, run_dag: Callable[..., Any], dag_id: str, conf: Any) -> None:
    if dag_id == UPDATE and "dataset_id" in conf:
        pytest.skip("it has no such Param")
    with pytest.raises(Exception, match=r"(?s)does not match|is not valid"):
        run_dag(example(dag_id), run_conf=conf)
