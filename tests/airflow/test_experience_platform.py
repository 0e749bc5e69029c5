# SPDX-License-Identifier: Apache-2.0
"""Experience Platform's operators in DAG runs, over real sockets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pyarrow
import pyarrow.parquet
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeSourceError
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateAudienceMetadataOperator,
    AdobeCreateBatchOperator,
    AdobeDownloadFailedRowsOperator,
    AdobeIngestBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor

pytestmark = pytest.mark.usefixtures("adobe_connection")

Run = Callable[..., Any]

ROWS = [{"customerId": f"c{number}", "spent": number} for number in range(1000)]


@pytest.fixture
def dag(request: pytest.FixtureRequest) -> DAG:
    return DAG(
        f"dag_{abs(hash(request.node.nodeid))}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
    )


@pytest.fixture
def hook_run(emulator: Any) -> Run:
    """``hook_run(operator)`` executes an operator in this process, as one try of one run."""
    emulator.switches.update({"batch_seconds": 0.0})
    pushed: dict[str, Any] = {}

    def execute(operator: Any, *, run_id: str = "run", try_number: int = 1) -> Any:
        ti = SimpleNamespace(
            dag_id="d",
            run_id=run_id,
            task_id=operator.task_id,
            map_index=-1,
            try_number=try_number,
            max_tries=2,
            start_date=pendulum.now("UTC"),
            xcom_push=lambda key, value: pushed.__setitem__(key, value),
        )
        return operator.execute({"ti": ti, "dag_run": SimpleNamespace(start_date=pendulum.now("UTC"))})

    return execute


@pytest.fixture
def json_lines(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_batch_is_ingested_and_its_audience_registered(
    dag: DAG,
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
    emulator: Any,
    json_lines: Path,
    deferrable: bool,
) -> None:
    emulator.switches.update({"batch_seconds": 0.3})
    with dag:
        ingest = AdobeIngestBatchOperator(
            task_id="ingest",
            dataset_id="ds",
            source=str(json_lines),
            deferrable=deferrable,
            poll_interval=0.1,
        )
        audience = AdobeCreateAudienceMetadataOperator(
            task_id="audience", name="Buyers", namespace="shop", origin_name="Shop", audience_id="buyers"
        )
        ingest >> audience
    run = run_dag(dag)
    assert run.state == "success"
    result = xcom(run, "ingest")
    assert result.pop("batch_id")
    assert result.pop("external_id").startswith(dag.dag_id)
    assert result == {
        "dataset_id": "ds",
        "status": "success",
        "records_in": 1000,
        "records_ingested": 1000,
        "records_failed": 0,
        "files": 1,
        "bytes": json_lines.stat().st_size,
    }
    assert xcom(run, "audience")["created"] is True
    assert ingested(emulator, "ds") == ROWS


def ingested(emulator: Any, dataset_id: str) -> list[dict[str, Any]]:
    return sorted((row for _, row in emulator.platform.rows(dataset_id)), key=lambda row: row["spent"])


def failure_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(str(record.exc_info[1]) for record in caplog.records if record.exc_info) + caplog.text


def write(folder: Path, file_format: str, rows: list[dict[str, Any]]) -> Path:
    file = folder / f"rows.{file_format}"
    match file_format:
        case "json":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case "array":
            file.write_text(json.dumps(rows))
        case "csv":
            with file.open("w", newline="") as target:
                writer = csv.DictWriter(target, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


@pytest.mark.parametrize("file_format", ["json", "array", "csv", "parquet"])
def test_every_format_arrives(hook_run: Run, emulator: Any, tmp_path: Path, file_format: str) -> None:
    file = write(tmp_path, file_format, ROWS)
    result = hook_run(
        AdobeIngestBatchOperator(
            task_id="t",
            dataset_id="ds",
            source=file,
            file_format="json" if file_format == "array" else file_format,
            is_multi_line_json=file_format == "array",
            poll_interval=0.1,
        )
    )
    assert result["status"] == "success"
    assert result["records_in"] in (1000, None if file_format == "csv" else 1000)
    assert [
        str(row["spent"]) for row in sorted(ingested_any(emulator), key=lambda row: int(row["spent"]))
    ] == [str(n) for n in range(1000)]


def ingested_any(emulator: Any) -> list[dict[str, Any]]:
    return [row for _, row in emulator.platform.rows("ds")]


def test_a_list_and_a_glob_are_one_batch(hook_run: Run, emulator: Any, tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / f"day={number}"
        folder.mkdir()
        write(folder, "json", ROWS[number * 200 : (number + 1) * 200])
    result = hook_run(
        AdobeIngestBatchOperator(
            task_id="t",
            dataset_id="ds",
            source=[
                f"file://{tmp_path}/day=[0-2]/*.json",
                str(tmp_path / "day=3" / "rows.json"),
                str(tmp_path / "day=4" / "rows.json"),
            ],
            poll_interval=0.1,
        )
    )
    assert (result["files"], result["records_in"]) == (5, 1000)
    assert ingested(emulator, "ds") == ROWS
    assert len(emulator.platform.snapshot()["batches"]) == 1


def test_the_task_that_is_run_again_finds_its_batch(hook_run: Run, emulator: Any, json_lines: Path) -> None:
    operator = AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=json_lines, poll_interval=0.1)
    first, second = hook_run(operator), hook_run(operator, try_number=2)
    assert first == second
    assert len(emulator.platform.snapshot()["batches"]) == 1
    other_run = hook_run(operator, run_id="another")
    assert other_run["batch_id"] != first["batch_id"]


def test_a_source_that_changed_after_its_batch_was_ingested_is_said(hook_run: Run, json_lines: Path) -> None:
    operator = AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=json_lines, poll_interval=0.1)
    hook_run(operator)
    with json_lines.open("a") as file:
        file.write('{"customerId": "late", "spent": 5000}\n')
    with pytest.raises(
        AirflowFailException,
        match=r"(?s)other files or sizes now.*start a new Dag run, or pass another external_id",
    ):
        hook_run(operator, try_number=2)


def test_broken_rows_are_judged_and_fetched(hook_run: Run, emulator: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"customerId": \n')

    def ingest(run_id: str, **limits: Any) -> Any:
        operator = AdobeIngestBatchOperator(
            task_id="t",
            dataset_id="ds",
            source=file,
            poll_interval=0.1,
            partial_ingestion_percent=5,
            **limits,
        )
        return hook_run(operator, run_id=run_id)

    with pytest.raises(AirflowFailException, match="rejected 1 of 1001 rows and max_failed_rows is 0"):
        ingest("strict")
    result = ingest("lenient", max_failed_rows=1)
    assert (result["status"], result["records_in"], result["records_ingested"], result["records_failed"]) == (
        "success",
        1001,
        1000,
        1,
    )
    assert ingest("careless", max_failed_rows=None)["records_failed"] == 1
    target = tmp_path / "failed"
    paths = hook_run(
        AdobeDownloadFailedRowsOperator(task_id="d", batch_id=result["batch_id"], target=f"file://{target}")
    )
    assert paths
    written = Path(paths[0].removeprefix("file://"))
    assert '{\\"customerId\\":' in written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    written.chmod(0o644)
    again = AdobeDownloadFailedRowsOperator(
        task_id="again", batch_id=result["batch_id"], target=f"file://{target}"
    )
    assert hook_run(again) == paths
    assert written.stat().st_mode & 0o777 == 0o644
    with pytest.raises(
        AdobeSourceError,
        match=r"(?s)rows.jsonl.* cannot be written: .*What to do: Check that target is a folder",
    ):
        hook_run(
            AdobeDownloadFailedRowsOperator(task_id="d", batch_id=result["batch_id"], target=f"file://{file}")
        )


def test_a_batch_that_adobe_fails_is_followed_by_a_new_one(
    hook_run: Run, emulator: Any, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"customerId": \n')
    operator = AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=file, poll_interval=0.1)
    with pytest.raises(AirflowFailException, match="ended as 'failed'"):
        hook_run(operator)
    write(tmp_path, "json", ROWS).replace(file)
    assert hook_run(operator)["status"] == "success"
    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["failed", "success"]
    assert ingested(emulator, "ds") == ROWS


BAD_INGESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "empty glob": ({"source": "{tmp}/*.nothing"}, "matches no file"),
    "missing file": ({"source": "{tmp}/missing.json"}, "does not exist"),
    "unknown format": ({"file_format": "xlsx"}, "'file_format' is 'xlsx'.*'json', 'csv' or 'parquet'"),
    "empty file": ({"source": "{tmp}/empty.json"}, "is empty"),
    "a directory": ({"source": "{tmp}"}, "is a directory.*Name its files with a glob"),
    "no path at all": ({"source": []}, "names no file"),
    "an empty path": ({"source": " "}, "empty path"),
    "not a path": ({"source": [7]}, "7, which is not a path"),
    "JSON said to be Parquet": ({"file_format": "parquet"}, "not a complete Parquet file"),
    "id with a slash": ({"dataset_id": "a/b"}, "'dataset_id' is 'a/b'"),
    "id with dots": ({"dataset_id": ".."}, "'dataset_id' is '..'"),
    "id with a line break": ({"dataset_id": "a\nb"}, "'dataset_id'"),
    "id with an encoded slash": ({"dataset_id": "a%2fb"}, "'dataset_id'"),
    "empty id": ({"dataset_id": ""}, "'dataset_id' is ''"),
    "negative limit": ({"max_failed_rows": -1}, "'max_failed_rows' is -1"),
    "negative interval": ({"poll_interval": -5}, "'poll_interval' is -5"),
    "negative timeout": ({"timeout": timedelta(-1)}, "'timeout'"),
    "negative part": ({"part_size": -1}, "'part_size' is -1"),
    "part above Adobe's limit": ({"part_size": 512_000_001}, "'part_size' is 512000001"),
    "percent above 100": ({"partial_ingestion_percent": 101}, "'partial_ingestion_percent' is 101"),
    "JSON array that is CSV": (
        {"file_format": "csv", "is_multi_line_json": True},
        "only goes with file_format 'json'",
    ),
    "blank external id": ({"external_id": " "}, "'external_id' is ' '"),
}


@pytest.mark.parametrize("name", list(BAD_INGESTIONS))
def test_a_bad_ingestion_is_refused_before_any_request(
    hook_run: Run, emulator: Any, tmp_path: Path, json_lines: Path, name: str
) -> None:
    arguments, message = BAD_INGESTIONS[name]
    (tmp_path / "empty.json").touch()
    if isinstance(arguments.get("source"), str):
        arguments = {**arguments, "source": arguments["source"].replace("{tmp}", str(tmp_path))}
    # What no template can change is refused when the Dag is parsed already.
    with pytest.raises((AirflowFailException, AdobeConfigurationError), match=f"(?s){message}"):
        hook_run(
            AdobeIngestBatchOperator(
                task_id="t", **{"dataset_id": "ds", "source": str(json_lines), **arguments}
            )
        )
    assert emulator.journal.entries == []


def test_more_files_than_a_batch_takes_are_refused(hook_run: Run, emulator: Any) -> None:
    paths = [f"/nowhere/{number}.json" for number in range(25_001)]
    with pytest.raises(AirflowFailException, match="names 25001 files; a batch takes at most 25000"):
        hook_run(AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=paths))
    assert emulator.journal.entries == []


BAD_AUDIENCES: dict[str, tuple[dict[str, Any], str]] = {
    "blank name": ({"name": "  "}, "'name' is '  '"),
    "name too long": ({"name": "x" * 256}, "'name' is 'xxx.*at most 255"),
    "name with a line break": ({"name": "a\nb"}, "'name'"),
    "unknown if_exists": ({"if_exists": "replace"}, "'if_exists' is 'replace'.*'skip', 'fail' or 'update'"),
    "id with a slash": ({"audience_id": "a/b"}, "'audience_id' is 'a/b'"),
    "id with dots": ({"audience_id": ".."}, "'audience_id'"),
    "id with an encoded slash": ({"audience_id": "a%2fb"}, "'audience_id'"),
    "no namespace": ({"namespace": ""}, "'namespace' is ''"),
    "a number": ({"origin_name": 5}, "'origin_name' is 5"),
}


@pytest.mark.parametrize("name", list(BAD_AUDIENCES))
def test_a_bad_audience_is_refused_before_any_request(hook_run: Run, emulator: Any, name: str) -> None:
    arguments, message = BAD_AUDIENCES[name]
    with pytest.raises((AirflowFailException, AdobeConfigurationError), match=f"(?s){message}"):
        hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **{**AUDIENCE, **arguments}))
    assert emulator.journal.entries == []


AUDIENCE = {"name": "Buyers", "namespace": "shop", "origin_name": "Shop", "audience_id": "buyers"}


@pytest.mark.parametrize("operator", [AdobeCompleteBatchOperator, AdobeAbortBatchOperator, AdobeBatchSensor])
@pytest.mark.parametrize("batch_id", ["a/b", "..", "a\nb", "a%2fb", ""])
def test_a_batch_id_that_breaks_out_is_refused_before_any_request(
    hook_run: Run, emulator: Any, operator: Any, batch_id: str
) -> None:
    more = {"uploads": []} if operator is AdobeCompleteBatchOperator else {}
    with pytest.raises(AirflowFailException, match="batch"):
        hook_run(operator(task_id="t", batch_id=batch_id, **more))
    assert emulator.journal.entries == []


def test_a_connection_of_another_type_is_said(
    hook_run: Run, emulator: Any, monkeypatch: pytest.MonkeyPatch, json_lines: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ADOBE_DEFAULT", json.dumps({"conn_type": "http", "host": emulator.url}))
    with pytest.raises(AirflowFailException, match="has the type 'http', not 'adobe'"):
        hook_run(AdobeIngestBatchOperator(task_id="t", dataset_id="ds", source=json_lines))
    assert emulator.journal.entries == []


def test_an_audience_is_created_once_and_found_afterwards(hook_run: Run, emulator: Any) -> None:
    first = hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **AUDIENCE))
    assert first == {"id": first["id"], "audience_id": "buyers", "name": "Buyers", "created": True}
    assert hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **AUDIENCE), run_id="2") == {
        **first,
        "created": False,
    }
    with pytest.raises(AirflowFailException, match=r"exists already.*if_exists is 'fail'"):
        hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **AUDIENCE, if_exists="fail"))
    changed = {**AUDIENCE, "name": "Best buyers", "description": "d"}
    assert hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **changed))["name"] == "Buyers"
    assert (
        hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **changed, if_exists="update"))["name"]
        == "Best buyers"
    )
    with pytest.raises(AirflowFailException, match="originName is 'Shop', not 'Other'"):
        hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **{**changed, "origin_name": "Other"}))
    assert len(emulator.platform.snapshot()["audiences"]) == 1


def test_the_older_request_lets_adobe_make_up_the_id(hook_run: Run, emulator: Any) -> None:
    older = {name: value for name, value in AUDIENCE.items() if name != "audience_id"}
    first = hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **older))
    assert first["created"]
    assert first["audience_id"]
    again = hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **older), run_id="2")
    assert again == {**first, "created": False}
    created = next(
        entry for entry in emulator.journal.entries if entry.method == "POST" and "/audiences" in entry.path
    )
    assert "audienceId" not in str(created.request_body)


@pytest.mark.parametrize("base_path", ["/data/core/ais", "/core/ais"])
def test_the_base_path_of_audience_metadata_is_a_setting(
    hook_run: Run, emulator: Any, adobe_connection: Any, base_path: str
) -> None:
    adobe_connection(ais_base_path=base_path)
    assert hook_run(AdobeCreateAudienceMetadataOperator(task_id="t", **AUDIENCE))["created"]
    assert f"{base_path}/audiences" in {entry.path for entry in emulator.journal.entries}


def test_a_batch_is_filled_by_mapped_tasks(
    dag: DAG, run_dag: Callable[..., Any], xcom: Callable[..., Any], emulator: Any, tmp_path: Path
) -> None:
    files = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        files.append(str(write(tmp_path / str(number), "parquet", ROWS[number * 250 : (number + 1) * 250])))
    with dag:
        create = AdobeCreateBatchOperator(
            task_id="create", dataset_id="ds", source=files, file_format="parquet"
        )
        upload = AdobeUploadBatchFilesOperator.partial(
            task_id="upload", batch_id=create.output, dataset_id="ds", file_format="parquet"
        ).expand(source=files)
        complete = AdobeCompleteBatchOperator(
            task_id="complete", batch_id=create.output, uploads=upload.output
        )
        wait = AdobeBatchSensor(task_id="wait", batch_id=create.output, deferrable=True, poke_interval=0.1)
        abort = AdobeAbortBatchOperator(task_id="abort", batch_id=create.output)
        create >> upload >> complete >> wait >> abort.as_teardown(setups=create)
    run = run_dag(dag)
    assert run.state == "success"
    assert xcom(run, "wait")["records_ingested"] == 1000
    assert xcom(run, "abort") == "success"
    assert ingested(emulator, "ds") == ROWS


def test_the_teardown_aborts_a_batch_whose_upload_failed(
    dag: DAG, run_dag: Callable[..., Any], emulator: Any, tmp_path: Path
) -> None:
    with dag:
        create = AdobeCreateBatchOperator(
            task_id="create", dataset_id="ds", source=str(write(tmp_path, "json", ROWS))
        )
        upload = AdobeUploadBatchFilesOperator(
            task_id="upload", batch_id=create.output, dataset_id="ds", source=str(tmp_path / "missing")
        )
        abort = AdobeAbortBatchOperator(task_id="abort", batch_id=create.output)
        create >> upload >> abort.as_teardown(setups=create)
    assert run_dag(dag).state == "failed"
    assert [batch["status"] for batch in emulator.platform.snapshot()["batches"]] == ["aborted"]
