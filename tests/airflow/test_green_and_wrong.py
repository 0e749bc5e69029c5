# SPDX-License-Identifier: Apache-2.0
"""What ended green with less, or other, data than was asked for, when strangers used the operators."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeSourceError
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeDownloadFailedRowsOperator,
    AdobeIngestBatchOperator,
)
from airflow_provider_adobe_audiences.profiles.encode import RowRejected, text_of
from airflow_provider_adobe_audiences.tasks.files import resolve
from airflow_provider_adobe_audiences.tasks.paths import check_allowed
from tests.airflow.tries import Mapped, Store, Tasks, numbers, update, while_held
from tests.by_hand import adobe

pytestmark = pytest.mark.usefixtures("adobe_connection")


def ingest(source: Any, **more: Any) -> AdobeIngestBatchOperator:
    return AdobeIngestBatchOperator(
        task_id="ingest", dataset_id="ds", source=source, poll_interval=0.01, **more
    )


def complete_by_hand(emulator: Any) -> None:
    batch = next(iter(emulator.platform.batches.batches.values()))
    with adobe(emulator) as client:
        client.post(f"/data/foundation/import/batches/{batch.id}?action=COMPLETE").raise_for_status()


# ------------------------------------------------------------------------------------------------------------
# files


@pytest.mark.parametrize("spelling", ("{}", "file://{}", "{}/../people.csv"))
def test_the_rows_left_out_are_not_written_over_the_source(
    tasks: Tasks, tmp_path: Path, spelling: str
) -> None:
    source = tmp_path / "people.csv"
    source.write_text("thirdPartyId,tier\na,1\n")
    path = spelling.format(tmp_path / "people.csv" if spelling != "{}/../people.csv" else tmp_path / "sub")
    (tmp_path / "sub").mkdir()
    skip = {"on_bad_row": "skip", "max_bad_rows": 5, "bad_rows_path": path}
    with pytest.raises(AirflowFailException, match="is a source, and would be overwritten"):
        tasks.run(update(source=str(source), file_format="csv", **skip))
    assert source.read_text() == "thirdPartyId,tier\na,1\n"


@pytest.mark.parametrize("text", ("['{d}/a.json', '{d}/b.json']", "('{d}/a.json',)", "[]"))
@pytest.mark.parametrize("if_empty", ("fail", "skip", "succeed"))
def test_the_text_of_a_list_is_no_path(tmp_path: Path, text: str, if_empty: str) -> None:
    for name in "ab":
        (tmp_path / f"{name}.json").write_text("{}\n")
    with pytest.raises(AdobeConfigurationError, match="where a list of paths is meant"):
        resolve(text.format(d=tmp_path), "json", if_empty=if_empty)


def test_a_bracket_is_still_a_wildcard(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}\n")
    assert len(resolve(f"{tmp_path}/[ab].json", "json")) == 1


@pytest.mark.parametrize("name", ("a\tb.json", "a\nb.json", "a\rb.json"))
def test_a_name_with_a_tab_is_not_another_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"n": 1}\n')
    (tmp_path / "ab.json").write_text('{"n": 2}\n')
    for source in (f"{tmp_path}/{name}", f"{tmp_path}/*.json", [f"{tmp_path}/ab.json", f"{tmp_path}/{name}"]):
        with pytest.raises(AdobeConfigurationError, match="holds a control character"):
            resolve(source, "json")


def test_a_storage_that_nothing_reads_says_so(tasks: Tasks) -> None:
    with pytest.raises(AirflowFailException, match=r"(?s)nothing.*What to do: (Install|Correct)"):
        tasks.run(ingest("nothing://x/a.json"))


def test_dots_do_not_lead_out_of_the_allowed_folders() -> None:
    path: Any = SimpleNamespace(protocol="sftp")
    with pytest.raises(AdobeConfigurationError, match="give the path itself"):
        check_allowed(path, "host/in/../out/s.json", ["sftp://host/in"])


# ------------------------------------------------------------------------------------------------------------
# batches


def test_an_upload_into_a_batch_that_somebody_else_completed_fails(tasks: Tasks) -> None:
    files = [tasks.file(f"{number}.jsonl", numbers(10 * number, 10 * number + 10)) for number in range(3)]
    mapped = Mapped(tasks, files)
    mapped.create()
    mapped.upload(0)
    complete_by_hand(tasks.emulator)
    with pytest.raises(AirflowFailException, match=r"(?s)somebody else completed it.*action=REVERT"):
        mapped.upload(1)


@pytest.mark.parametrize("remembers", [True, False], ids=["remembers", "forgets"])
def test_a_first_upload_into_whose_middle_somebody_else_completes_says_so(
    tasks: Tasks, remembers: bool
) -> None:
    tasks.store = Store() if remembers else None
    mapped = Mapped(tasks, [tasks.file(f"{n}.jsonl", numbers(n, n + 1)) for n in range(2)])
    mapped.create()
    mapped.upload(0)
    with (
        while_held(tasks.emulator, lambda: complete_by_hand(tasks.emulator), path="/files/", method="PUT"),
        pytest.raises(
            AirflowFailException, match=r"(?s)not all files of this task: somebody else.*action=REVERT"
        ),
    ):
        mapped.upload(1)
    assert len(tasks.states()) == 1


def test_a_first_upload_that_is_refused_for_another_reason_keeps_adobes_words(tasks: Tasks) -> None:
    mapped = Mapped(tasks, [tasks.file("a.jsonl", numbers(0, 10))])
    mapped.create()
    tasks.emulator.faults.add(status=400, times=1, path="/files/", method="PUT")
    with pytest.raises(AirflowFailException, match=r"upload file: PUT .* answered 400"):
        mapped.upload(0)


def test_rejected_rows_are_judged_whether_or_not_the_task_waits(tasks: Tasks, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"n": 1}\nnot json\n')
    more = {"partial_ingestion_percent": 90}
    with pytest.raises(AirflowFailException, match="rejected 1 of"):
        tasks.run(ingest(str(source), **more))
    with pytest.raises(AirflowFailException, match="rejected 1 of"):
        tasks.run(ingest(str(source), wait_for_completion=False, **more))


def test_a_source_that_is_gone_does_not_hide_that_files_are_missing(tasks: Tasks) -> None:
    tasks.store = Store()
    files = [tasks.file(f"{number}.jsonl", numbers(number, number + 1)) for number in range(3)]
    tasks.emulator.faults.add(method="PUT", path="/files/", nth=[2, 3, 4], status=403)
    with pytest.raises(AirflowFailException):
        tasks.run(ingest(files, concurrency=1, abort_on_kill=False), max_tries=0)
    complete_by_hand(tasks.emulator)
    tasks.emulator.faults.clear()
    for file in files:
        Path(file).unlink()
    with pytest.raises(AirflowFailException, match="somebody else completed it"):
        tasks.run(ingest(f"{tasks.folder}/*.jsonl", if_empty="succeed"))


def test_failed_rows_of_a_batch_that_is_not_there_are_no_empty_list(tasks: Tasks, tmp_path: Path) -> None:
    def download(batch_id: str) -> Any:
        return tasks.run(
            AdobeDownloadFailedRowsOperator(task_id="get", batch_id=batch_id, target=str(tmp_path))
        )

    with pytest.raises(AirflowFailException, match="answered 404"):
        download("01NOSUCHBATCH")


# ------------------------------------------------------------------------------------------------------------
# profiles


@pytest.mark.parametrize("kind", ("rows", "json"))
def test_a_name_in_parameters_that_no_row_has_is_refused(tasks: Tasks, tmp_path: Path, kind: str) -> None:
    rows = [{"thirdPartyId": "a", "tier": "gold"}, {"thirdPartyId": "b", "tier": "silver", "late": 1}]
    (tmp_path / "a.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source: Any = (
        {"rows": rows} if kind == "rows" else {"source": str(tmp_path / "a.json"), "file_format": "json"}
    )
    with pytest.raises(AirflowFailException, match="no row has 'tierr'"):
        tasks.run(update(parameters=["tier", "tierr"], **source))
    assert tasks.emulator.target.profiles == {}
    assert tasks.run(update(parameters=["tier", "late"], **source))["successful"] == 2


def test_a_source_that_is_written_while_it_is_read_is_not_sent(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,x\n" + "".join(f"p{n},1\n" for n in range(1000)))
    from airflow_provider_adobe_audiences.profiles.parts import Parts

    write = Parts.write

    def written_meanwhile(self: Any, *arguments: Any) -> Any:
        parts = write(self, *arguments)
        source.write_text("thirdPartyId,y\n")
        return parts

    monkeypatch.setattr(Parts, "write", written_meanwhile)
    with pytest.raises(AdobeSourceError, match="changed while it was being"):
        tasks.run(update(source=str(source), file_format="csv"))
    assert tasks.emulator.target.profiles == {}


def test_a_ready_made_file_that_is_not_utf_8_is_refused(tasks: Tasks, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("batch=thirdPartyId,x\nb,%ff\n")
    with pytest.raises(AirflowFailException, match="is not UTF-8"):
        tasks.run(update(source=str(tmp_path / "a.csv"), file_format="csv"))


@pytest.mark.parametrize("value", (2**63 - 1, -(2**63) + 1))
@pytest.mark.parametrize("zone", (None, "UTC"))
def test_an_infinite_time_is_no_time(tasks: Tasks, tmp_path: Path, value: int, zone: str | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = pa.array([value], pa.int64()).cast(pa.timestamp("ms", zone), safe=False)
    pq.write_table(pa.table({"thirdPartyId": ["a"], "until": times}), tmp_path / "a.parquet")
    with pytest.raises(AirflowFailException, match="outside the years 1 to 9999"):
        tasks.run(update(source=str(tmp_path / "a.parquet"), file_format="parquet"))


def test_a_damaged_parquet_file_is_named(tasks: Tasks, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"thirdPartyId": [f"p{n}" for n in range(5000)], "x": list(range(5000))}), file)
    data = bytearray(file.read_bytes())
    data[100:2000] = b"\xff" * 1900
    file.write_bytes(data)
    with pytest.raises(AirflowFailException, match=r"a\.parquet is no (complete )?Parquet file"):
        tasks.run(update(source=str(file), file_format="parquet"))


def test_a_time_that_is_none_is_refused() -> None:
    class NaT(datetime):
        def __eq__(self, other: object) -> bool:
            return False

        def __ne__(self, other: object) -> bool:
            return True

        __hash__ = datetime.__hash__

    with pytest.raises(RowRejected, match="no time"):
        text_of(NaT(2026, 1, 1))
    with pytest.raises(RowRejected, match="digits"):
        text_of(10**5000)


@pytest.mark.parametrize("value", ("[{'thirdPartyId': 'jane.doe'}]", {"thirdPartyId": "jane.doe"}))
def test_rows_that_were_rendered_to_something_else_are_not_shown(tasks: Tasks, value: Any) -> None:
    operator = update(rows="{{ ti.xcom_pull(task_ids='rows') }}")
    operator.rows = value
    assert "jane" not in str(operator.rows)
    with pytest.raises(AirflowFailException, match="should be a list of mappings") as raised:
        tasks.run(operator)
    assert "jane" not in str(raised.value)


def test_a_storage_whose_package_is_missing_names_it(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(AirflowFailException, match=r"(?si)s3.*What to do: Install") as raised:
        tasks.run(ingest("s3://bucket/a.json"))
    assert "report this line" not in str(raised.value)
