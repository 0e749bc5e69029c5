# SPDX-License-Identifier: Apache-2.0
"""A source is all that it names: nothing is left out in silence, and what became of it since is noticed."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeError,
    AdobeSourceError,
    AdobeUnknownOutcomeError,
)
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeCreateBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor
from airflow_provider_adobe_audiences.tasks.files import check_first_bytes, resolve, what_is_left
from tests.airflow.tries import Mapped, Store, Tasks, ingest, numbers, update

pytestmark = pytest.mark.usefixtures("adobe_connection")
NOBODY = 65534


def names(source: Any, file_format: str = "json", **more: Any) -> list[str]:
    return [Path(file.where).name for file in resolve(source, file_format, **more)]


# ------------------------------------------------------------------------------------------------------------
# what a glob matches


@pytest.mark.parametrize("pattern", ["*/*.jsonl", "**/*.jsonl", "day=*/*.jsonl", "day=[12]/?.jsonl"])
def test_a_linked_folder_belongs_to_what_a_glob_matches(tmp_path: Path, pattern: str) -> None:
    for folder, name in (("p/day=1", "a"), ("elsewhere", "b")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.jsonl").write_text('{"n": 1}\n')
    (tmp_path / "p" / "day=2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "p" / "back").symlink_to(tmp_path / "p")
    assert names(f"{tmp_path}/p/{pattern}") == ["a.jsonl", "b.jsonl"]


@contextmanager
def somebody() -> Iterator[Path]:
    """A folder of one who is not root, to whom permissions mean nothing."""
    folder = Path(mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.exists():
                path.chmod(0o700)
        if is_root:
            os.seteuid(0)
            os.setegid(0)


@pytest.fixture
def private() -> Iterator[Path]:
    # What is imported later may not be readable for somebody else.
    resolve(__file__, "json")
    check_first_bytes([], "json")
    with somebody() as folder:
        for name in ("open", "shut", "_hidden", "other"):
            (folder / name).mkdir()
            (folder / name / f"{name}.json").write_text('{"n": 1}\n')
        for name in ("shut", "_hidden"):
            (folder / name).chmod(0)
        yield folder


@pytest.mark.parametrize("pattern", ["*/*.json", "**/*.json", "[os]*/*.json", "shut/*.json", "shut/*/*.json"])
def test_a_folder_that_may_not_be_listed_is_not_an_empty_one(private: Path, pattern: str) -> None:
    for if_empty in ("fail", "skip", "succeed"):
        with pytest.raises(AdobeConfigurationError, match=r"(?s)shut.*may not be read.*Give the worker"):
            resolve(f"{private}/{pattern}", "json", if_empty=if_empty)
    assert what_is_left(f"{private}/{pattern}", "json") is None


def test_a_folder_in_which_nothing_is_asked_for_does_not_matter(private: Path) -> None:
    assert names(f"{private}/o*/*.json") == ["open.json", "other.json"]
    (private / "shut").chmod(0o700)  # what the message says
    assert names(f"{private}/*/*.json") == ["open.json", "other.json", "shut.json"]


def test_a_folder_whose_files_may_not_be_looked_at_is_not_left_out(private: Path) -> None:
    (private / "shut").chmod(0o400)
    with pytest.raises(AdobeConfigurationError, match="may not be read"):
        resolve(f"{private}/*/*.json", "json")


def test_a_file_that_may_not_be_read_is_named(private: Path) -> None:
    (private / "open" / "open.json").chmod(0)
    for source in (f"{private}/open/open.json", f"{private}/open/*.json"):
        with pytest.raises(AdobeConfigurationError, match=r"open\.json' may not be read"):
            check_first_bytes(resolve(source, "json"), "json")


def test_a_folder_in_place_of_a_file_is_not_left_out(tasks: Tasks, tmp_path: Path) -> None:
    (tmp_path / "b.json").mkdir()
    tasks.file("a.json", numbers(0, 1))
    tasks.file("b.json/part-0.json", numbers(1, 2))
    for pattern in ("*.json", "*", "[ab].json"):
        for if_empty in ("fail", "succeed"):
            with pytest.raises(AdobeConfigurationError, match=r"also matches the directory '.*/b\.json'"):
                resolve(f"{tmp_path}/{pattern}", "json", if_empty=if_empty)
    with pytest.raises(AirflowFailException, match="have such names, too") as caught:
        tasks.run(ingest(f"{tmp_path}/*.json"))
    advised = f"{tmp_path}/**/*.json"
    assert repr(advised) in str(caught.value)
    assert names(advised) == ["a.json", "part-0.json"]


def test_other_folders_below_a_glob_are_nobodys_files(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "a.json").write_text('{"n": 1}\n')
    assert names(f"{tmp_path}/*") == names(f"{tmp_path}/*.json") == ["a.json"]


def test_the_files_of_a_list_come_in_its_order(tasks: Tasks, tmp_path: Path) -> None:
    for name, tier in (("z.csv", "old"), ("a.csv", "new")):
        (tmp_path / name).write_text(f"thirdPartyId,tier\nu1,{tier}\n")
    result = tasks.run(update(source=[f"{tmp_path}/z.csv", f"{tmp_path}/a.csv"]))
    assert result["rows"] == 2
    assert tasks.emulator.target.profiles["thirdPartyId", "u1"] == {"tier": "new"}
    for again in ("z.csv", "z*"):
        tasks.emulator.target.profiles.clear()
        tasks.run(update(source=[f"{tmp_path}/{name}" for name in ("z.csv", "a.csv", again)]))
        assert tasks.emulator.target.profiles["thirdPartyId", "u1"] == {"tier": "old"}


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for source in (f"{tmp_path}/a.json", f"{tmp_path}/*.json"):
        for if_empty in ("fail", "succeed"):
            with pytest.raises(AdobeConfigurationError, match="is no file"):
                resolve(source, "json", if_empty=if_empty)


def test_a_name_that_is_not_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))).write_text('{"n": 1}\n')
    with pytest.raises(AdobeConfigurationError, match=r"caf\\udce9\.json holds a byte that is not UTF-8"):
        resolve(f"{tmp_path}/*.json", "json")


@pytest.mark.parametrize("scheme", ["http", "sftp", "hdfs", "nothing"])
def test_a_storage_without_its_package_says_so(tasks: Tasks, scheme: str) -> None:
    with pytest.raises(AirflowFailException, match=r"(?s)cannot be read.*Install the provider of that stor"):
        tasks.run(ingest(f"{scheme}://x/a.json"))


@pytest.mark.parametrize(
    "given",
    [
        [{"thirdPartyId": "jane@example.org"}],
        {"thirdPartyId": "jane@example.org"},
        '{"thirdPartyId": "jane@example.org"}',
        '[{"thirdPartyId": "jane@example.org"}]',
        "jane@example.org,gold\njohn@example.org,blue\n",
    ],
)
def test_rows_that_are_given_for_a_path_are_not_shown(tasks: Tasks, given: Any) -> None:
    for operator in (ingest, update):
        with pytest.raises((AirflowFailException, AdobeError)) as caught:
            tasks.run(operator(source=given))
        assert "jane" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------
# what became of a source since

REWRITTEN: dict[str, Callable[[Path], Any]] = {
    "a byte order mark": lambda path: path.write_bytes(b"\xef\xbb\xbf" + b'{"n": 7}\n'),
    "gzip": lambda path: path.write_bytes(gzip.compress(b'{"n": 7}\n')),
    "another file": lambda path: path.with_name("b.json").write_bytes(gzip.compress(b'{"n": 7}\n')),
}


def begin(tasks: Tasks, source: Any, state: str) -> None:
    """A first try that leaves its batch ingested, or filled and loading."""
    if state == "success":
        tasks.run(ingest(source))
        return
    tasks.emulator.faults.add(method="POST", path="action=COMPLETE", status=503, times=9)
    with pytest.raises(AdobeError, match="503"):
        tasks.run(ingest(source))
    tasks.emulator.faults.clear()


@pytest.mark.parametrize("how", REWRITTEN)
@pytest.mark.parametrize("state", ["success", "loading"])
def test_a_source_that_was_rewritten_into_what_is_refused_is_not_gone(
    tasks: Tasks, tmp_path: Path, how: str, state: str
) -> None:
    tasks.store = Store()
    tasks.file("a.json", numbers(0, 2))
    source = f"{tmp_path}/*.json"
    begin(tasks, source, state)
    REWRITTEN[how](tmp_path / "a.json")
    with pytest.raises(AirflowFailException, match="source"):
        tasks.run(ingest(source))
    assert tasks.states() == ["success" if state == "success" else "aborted"]


def test_a_source_that_was_emptied_is_not_gone(tasks: Tasks, tmp_path: Path) -> None:
    source = tasks.file("a.json", numbers(0, 2))
    tasks.run(ingest(source, if_empty="succeed"))
    (tmp_path / "a.json").write_text("")
    with pytest.raises(AirflowFailException, match=r"(?s)other files or sizes now.*start a new Dag run"):
        tasks.run(ingest(source, if_empty="succeed"))
    (tmp_path / "a.json").unlink()
    assert tasks.run(ingest(source, if_empty="succeed"))["records_ingested"] == 2


def test_a_source_that_was_emptied_before_its_batch_was_complete_leaves_none_loading(
    tasks: Tasks, tmp_path: Path
) -> None:
    source = tasks.file("a.json", numbers(0, 2))
    tasks.emulator.faults.add(method="PUT", path="a.json", status=503, times=9)
    with pytest.raises(AdobeError, match="503"):
        tasks.run(ingest(source, if_empty="succeed"))
    tasks.emulator.faults.clear()
    (tmp_path / "a.json").write_text("")
    assert tasks.run(ingest(source, if_empty="succeed"))["files"] == 0
    assert tasks.states() == ["aborted"]


def test_one_of_several_sources_may_be_gone_when_its_batch_holds_it(tasks: Tasks, tmp_path: Path) -> None:
    source = [tasks.file(f"{name}.json", numbers(0, 1)) for name in "ab"]
    (tmp_path / "a.json").rename(tmp_path / "kept.json")
    with pytest.raises(AirflowFailException, match=r"a\.json' does not exist"):
        Tasks(tasks.emulator, tmp_path).run(ingest(source))
    (tmp_path / "kept.json").rename(tmp_path / "a.json")
    tasks.run(ingest(source))
    for name in "ab":
        (tmp_path / f"{name}.json").unlink()
        assert tasks.run(ingest(source))["files"] == 2


@pytest.mark.parametrize("how", ["rewritten", "emptied"])
@pytest.mark.parametrize("state", ["success", "loading"])
def test_what_is_left_of_a_source_is_what_its_batch_holds(
    tasks: Tasks, tmp_path: Path, state: str, how: str
) -> None:
    tasks.store = Store()
    source = [tasks.file(f"{name}.json", numbers(0, 3)) for name in "abc"]
    begin(tasks, source, state)
    (tmp_path / "a.json").unlink()
    kept = (tmp_path / "b.json").read_text()
    (tmp_path / "b.json").write_text("" if how == "emptied" else kept.replace("0", "7"))
    with pytest.raises(AirflowFailException, match=r"does not exist|part of the source is gone") as caught:
        tasks.run(ingest(source))
    assert tasks.states() == ["success" if state == "success" else "aborted"]
    if state == "success":
        assert "Write the source again as it was and clear the task." in str(caught.value)
        (tmp_path / "b.json").write_text(kept)
        assert tasks.run(ingest(source))["files"] == 3


@pytest.mark.parametrize("if_empty", ["fail", "succeed"])
def test_an_empty_file_that_is_left_was_empty_before(tasks: Tasks, tmp_path: Path, if_empty: Any) -> None:
    for name, rows in (
        ("a/part-0.json", []),
        ("a/part-1.json", numbers(0, 2)),
        ("b/part-0.json", numbers(2, 3)),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tasks.file(name, rows)
    source = [f"{tmp_path}/a/*.json", f"{tmp_path}/b/part-0.json"]
    assert tasks.run(ingest(source, if_empty=if_empty))["files"] == 2
    (tmp_path / "b" / "part-0.json").unlink()
    assert tasks.run(ingest(source, if_empty=if_empty))["files"] == 2
    (tmp_path / "a" / "part-1.json").write_text("")
    with pytest.raises(AirflowFailException, match=r"the rest is what that|other files or sizes"):
        tasks.run(ingest(source, if_empty=if_empty))


def test_of_what_is_left_each_file_counts_once(tasks: Tasks, tmp_path: Path) -> None:
    source = [tasks.file(f"{name}.json", numbers(0, 1)) for name in "ac"]
    (tmp_path / "b.json").hardlink_to(tmp_path / "a.json")
    source.insert(1, f"{tmp_path}/b.json")
    assert tasks.run(ingest(source))["files"] == 2
    (tmp_path / "c.json").unlink()
    assert tasks.run(ingest(source))["files"] == 2


def test_what_is_left_of_very_many_files_is_not_compared(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_adobe_audiences.batches.source._MAX_TOLD", 2)
    source = [tasks.file(f"{name}.json", numbers(0, 1)) for name in "abc"]
    tasks.run(ingest(source))
    (tmp_path / "a.json").unlink()
    with pytest.raises(AirflowFailException, match="it is not known that the rest is what"):
        tasks.run(ingest(source))
    for name in "bc":
        (tmp_path / f"{name}.json").unlink()
    assert tasks.run(ingest(source))["files"] == 3


def test_profiles_that_an_earlier_try_has_sent_are_not_forgotten(tasks: Tasks, tmp_path: Path) -> None:
    tasks.store = Store()
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,tier\nu1,gold\n")
    tasks.emulator.switches.update({"profile_batch_polls": 1_000_000})
    with pytest.raises(AdobeError, match=r"1 of 1|not ended|0\.05"):
        tasks.run(update(source=str(source), if_empty="succeed", timeout=timedelta(seconds=0.05)))
    source.write_text("thirdPartyId,tier\n")
    with pytest.raises(AirflowFailException, match=r"earlier try has uploaded 1 row.*\n.*Cleared, the task"):
        tasks.run(update(source=str(source), if_empty="succeed"))
    assert tasks.run(update(source=str(source), if_empty="succeed"))["rows"] == 0


def test_profiles_that_may_have_been_sent_are_not_forgotten(tasks: Tasks, tmp_path: Path) -> None:
    tasks.store = Store()
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,tier\nu1,gold\n")
    tasks.emulator.faults.add(method="POST", path="batchUpdate", drop=True, phase="after", times=2)
    with pytest.raises(AdobeUnknownOutcomeError):
        tasks.run(update(source=str(source), if_empty="skip"))
    source.write_text("thirdPartyId,tier\n")
    with pytest.raises(AirflowFailException, match="earlier try has sent rows, and it is not known whether"):
        tasks.run(update(source=str(source), if_empty="skip"))


@pytest.mark.parametrize("fault", [{"status": 400}, {"status": 403}, {"status": 429}])
def test_what_adobe_has_refused_is_known_not_to_be_sent(
    tasks: Tasks, tmp_path: Path, fault: dict[str, Any]
) -> None:
    tasks.store = Store()
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,tier\nu1,gold\n")
    tasks.emulator.faults.add(method="POST", path="batchUpdate", **fault)
    with pytest.raises((AdobeError, AirflowFailException), match=str(fault["status"])):
        tasks.run(update(source=str(source), if_empty="succeed"))
    tasks.emulator.faults.clear()
    source.write_text("thirdPartyId,tier\n")
    assert tasks.run(update(source=str(source), if_empty="succeed"))["rows"] == 0


@pytest.mark.parametrize("delimiter", ["\t", " ", ";", "|"])
def test_any_character_may_separate_cells(tasks: Tasks, tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "a.txt").write_text(f"thirdPartyId{delimiter}tier\nu1{delimiter}gold\n")
    assert tasks.run(update(source=f"{tmp_path}/a.txt", delimiter=delimiter))["rows"] == 1
    assert tasks.emulator.target.profiles["thirdPartyId", "u1"] == {"tier": "gold"}


@pytest.mark.parametrize("delimiter", ["", "\n", '"', ";;"])
def test_not_everything_separates_cells(delimiter: str) -> None:
    with pytest.raises(AdobeConfigurationError, match=r"argument 'delimiter' is .*: should be one character"):
        update(source="a.csv", delimiter=delimiter)


# ------------------------------------------------------------------------------------------------------------
# nothing to send


def test_the_advice_for_an_empty_file_of_a_mapped_upload_loses_no_rows(tasks: Tasks, tmp_path: Path) -> None:
    files = [tasks.file("a.json", numbers(0, 2)), tasks.file("b.json", [])]
    mapped = Mapped(tasks, files)
    with pytest.raises(AirflowFailException, match=r"is empty.*\n.*pass if_empty='skip'\.$"):
        mapped.create()
    mapped.batch_id = tasks.run(ingest(files[0], wait_for_completion=False))["batch_id"]
    with pytest.raises(AirflowFailException, match=r"is empty.*\n.*pass if_empty='succeed'\.$"):
        mapped.upload(1)
    with pytest.raises(AdobeConfigurationError, match="'if_empty' is 'skip'"):
        AdobeUploadBatchFilesOperator(
            task_id="u",
            batch_id="b",
            dataset_id="ds",
            source="x",
            if_empty="skip",  # type: ignore[arg-type]
        )


# ------------------------------------------------------------------------------------------------------------
# ids


def test_an_id_that_follows_may_be_somebody_elses(tasks: Tasks) -> None:
    source, other = tasks.file("a.json", numbers(0, 2)), tasks.file("b.json", numbers(5, 6))
    tasks.run(ingest(source, external_id="v1", wait_for_completion=False))
    batches = tasks.emulator.platform.batches
    batches.set_state(batches.batches[tasks.pushed["batch_id"]], "failed")
    strangers = Tasks(tasks.emulator, tasks.folder)
    tasks.emulator.faults.add(method="PUT", path="b.json", status=503, times=9)
    with pytest.raises(AdobeError, match="503"):
        strangers.run(ingest(other, external_id="v1.2"))
    tasks.emulator.faults.clear()

    for _ in range(2):
        assert tasks.run(ingest(source, external_id="v1"))["external_id"] == "v1.3"
    assert tasks.states() == ["failed", "loading", "success"]
    assert strangers.run(ingest(other, external_id="v1.2"))["records_ingested"] == 1


@pytest.mark.parametrize("value", [" ", "None", "a/b", "..", ""])
def test_an_id_that_is_none_is_refused_by_its_argument(tasks: Tasks, value: str) -> None:
    upload = AdobeUploadBatchFilesOperator(
        task_id="upload", batch_id=value, dataset_id="ds", source=tasks.file("a.json", numbers(0, 1))
    )
    with pytest.raises(AirflowFailException, match="argument 'batch_id' is "):
        tasks.run(upload)
    with pytest.raises(AirflowFailException, match="argument 'dataset_id' is "):
        tasks.run(ingest("a.json", dataset_id=value))
    if "/" not in value and value != "..":
        with pytest.raises(AirflowFailException, match="argument 'external_id' is "):
            tasks.run(ingest("a.json", external_id=value))
    assert tasks.emulator.journal.entries == []


# ------------------------------------------------------------------------------------------------------------
# what the machine refuses


def test_a_disk_that_is_full_is_told_with_advice(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,tier\nu1,gold\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    with pytest.raises(AdobeSourceError, match=r"(?s)FileNotFoundError in parts\.py.*What to do:.*TMPDIR"):
        tasks.run(update(source=str(source)))


def test_bad_rows_that_cannot_be_written_are_told_with_advice(tasks: Tasks, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("thirdPartyId,tier\na+b,gold\nu1,gold\n")
    skip = {"on_bad_row": "skip", "max_bad_rows": 5, "bad_rows_path": "/dev/full"}
    with pytest.raises(AdobeSourceError, match=r"(?s)No space left.*What to do:"):
        tasks.run(update(source=str(source), **skip))
    assert tasks.emulator.target.profiles == {}


def test_a_value_that_somebody_elses_code_refuses_is_not_an_argument(tasks: Tasks, tmp_path: Path) -> None:
    from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry

    with pytest.raises(ValueError, match="invalid literal") as caught, fail_without_retry():
        json.loads("[1]", parse_int=lambda text: int("x"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    "given",
    [
        "None",
        "",
        "batch-1",
        ["None"],
        {"batches": [{"status_url": None}]},
        {"batches": ["x"]},
        5,
        {"batches": 5},
        {"batches": None},
    ],
)
def test_what_is_no_status_url_is_not_asked(tasks: Tasks, given: Any) -> None:
    with pytest.raises(AirflowFailException, match="argument 'batches' is "):
        tasks.run(AdobeBulkProfileUpdateSensor(task_id="wait", batches=given))
    assert tasks.emulator.journal.entries == []


def test_empty_files_of_a_mapped_upload_are_left_out_as_the_docs_say(tasks: Tasks) -> None:
    files = [tasks.file("a.json", numbers(0, 2)), tasks.file("b.json", [])]
    mapped = Mapped(tasks, files)
    create = AdobeCreateBatchOperator(task_id="create", dataset_id="ds", source=files, if_empty="skip")
    mapped.batch_id = tasks.run(create)
    for index, file in enumerate(files):
        upload = AdobeUploadBatchFilesOperator(
            task_id="upload", batch_id=mapped.batch_id, dataset_id="ds", source=file, if_empty="succeed"
        )
        mapped.uploads[index] = tasks.run(upload, index)
    mapped.complete()
    assert mapped.wait()["records_ingested"] == 2
    assert tasks.rows() == numbers(0, 2)


def test_a_storage_that_is_only_allowed_is_not_reached(tasks: Tasks, tmp_path: Path) -> None:
    source = tasks.file("a.json", numbers(0, 1))
    allowed = ["sftp://no_such_connection@host/inbox", str(tmp_path)]
    assert tasks.run(ingest(source, allowed_sources=allowed))["records_ingested"] == 1
    with pytest.raises(AirflowFailException, match="outside of allowed_sources"):
        tasks.run(ingest("sftp://no_such_connection@host/other/a.json", allowed_sources=allowed))


def test_a_source_that_is_refused_is_refused_before_any_request(tasks: Tasks, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(gzip.compress(b'{"n": 7}\n'))
    for external_id in (None, "mine"):
        with pytest.raises(AirflowFailException, match="source"):
            Tasks(tasks.emulator, tmp_path).run(ingest(f"{tmp_path}/a.json", external_id=external_id))
    assert tasks.emulator.journal.entries == []


def test_links_that_lead_back_in_several_ways_end(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.json").write_text('{"n": 1}\n')
    for name, target in (("self", "."), ("again", "."), ("s/up", "..")):
        (tmp_path / name).symlink_to(target)
    assert names(f"{tmp_path}/**/*.json") == ["a.json"]
