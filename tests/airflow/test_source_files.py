# SPDX-License-Identifier: Apache-2.0
"""Which files a source names, however it is spelt; what they are; which are refused; where they are
staged.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.batches.formats import contradiction
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, AdobeSourceError
from airflow_provider_adobe_audiences.operators.audience_manager.desired import load_desired
from airflow_provider_adobe_audiences.tasks import staging
from airflow_provider_adobe_audiences.tasks.files import check_first_bytes, resolve
from airflow_provider_adobe_audiences.tasks.paths import storage_path

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2.11
    from airflow.io.store import attach

ROW = b'{"a": 1}\n'


@pytest.fixture
def memory() -> Iterator[Any]:
    """An object storage in memory, without a connection and with the connection ``conn``."""
    import fsspec  # type: ignore[import-untyped]

    storage = fsspec.filesystem("memory")
    for conn_id in (None, "conn"):
        attach("memory", conn_id=conn_id, fs=storage)
    yield storage
    for name in storage.ls("/", detail=False):
        storage.rm(name, recursive=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a file, a link to it, and a link to the folder."""
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.json").write_bytes(ROW)
    (folder / "link.json").symlink_to(folder / "a.json")
    os.link(folder / "a.json", folder / "hard.json")
    (tmp_path / "e").symlink_to(folder)
    return folder


SPELLINGS = (
    "{d}/a.json",
    "file://{d}/a.json",
    "{d}//a.json",
    "{d}/./a.json",
    "{d}/sub/../a.json",
    "{d}/link.json",
    "{d}/../e/a.json",
    "{d}/a.*",
    "file://{d}/[a]*.json",
    "{d}/hard.json",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(spellings=st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=5))
def test_one_file_is_one_file_however_it_is_spelt(data: Path, spellings: list[str]) -> None:
    files = resolve([spelling.format(d=data) for spelling in spellings], "json")

    assert len(files) == 1
    if "{d}/hard.json" not in spellings:
        assert files[0].name == resolve(str(data / "a.json"), "json")[0].name


def test_the_name_of_a_file_is_that_of_its_object(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)

    names = {
        resolve(spelling, "json")[0].name for spelling in ("a.json", "./a.json", str(data / "link.json"))
    }

    assert len(names) == 1
    assert names.pop().endswith("-a.json")


def test_a_relative_path_is_in_the_current_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)

    for relative in ("a.json", "sub/../a.json", "a*.json"):
        (found,) = resolve(relative, "json", allowed_sources=["."])
        (expected,) = resolve(str(data / relative), "json")
        assert (found.name, found.where) == (expected.name, expected.where)
    assert storage_path("sub").path == str(data / "sub")
    with pytest.raises(AdobeConfigurationError, match="outside of allowed_sources"):
        resolve("a.json", "json", allowed_sources=["sub"])


def test_an_object_storage_key_is_one_with_and_without_its_connection(memory: Any) -> None:
    memory.pipe("/bucket/a.json", ROW)

    files = resolve(["memory://bucket/a.json", "memory://conn@bucket/a.json"], "json")

    assert len(files) == 1


def test_what_a_glob_matches_is_read_with_the_connection_of_the_glob(memory: Any) -> None:
    class OtherAccount(type(memory)):  # type: ignore[misc]
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

    other = OtherAccount()
    attach("memory", conn_id="other", fs=other)
    memory.pipe("/bucket/a.json", b'{"account": "none"}\n')
    other.pipe("/bucket/a.json", b'{"account": "other"}\n')

    for source in ("memory://other@bucket/a.json", "memory://other@bucket/*.json"):
        (file,) = resolve(source, "json")
        with file.open_at(0) as opened:
            assert opened.read() == b'{"account": "other"}\n', source


def test_hidden_and_empty_files_are_left_out_of_a_glob_as_spark_does(tmp_path: Path) -> None:
    for name in (
        "_SUCCESS",
        "_temporary/0/part-9.json",
        ".part-0.json.crc",
        "_day=1/part-1.json",
        "part-2.json",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ROW + name.encode())
    (tmp_path / "part-3.json").touch()

    names = [file.name.partition("-")[2] for file in resolve(f"{tmp_path}/**/*", "json")]

    assert sorted(names) == ["part-1.json", "part-2.json"]
    assert len(resolve(f"{tmp_path}/_SUC*", "json")) == 1, "asked for by name"


def test_a_hidden_folder_that_a_glob_names_is_meant(tmp_path: Path) -> None:
    for name in ("x/.hidden/a.json", "x/.hidden/.b.json", "x/.other/c.json", "x/_tmp/_d.json", "x/e.json"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ROW + name.encode())

    def found(pattern: str) -> list[str]:
        return sorted(file.where.rpartition("/")[2] for file in resolve(f"{tmp_path}/{pattern}", "json"))

    assert found("*/.hidden/*.json") == ["a.json"]
    assert found("**/.hidden/*") == ["a.json"]
    assert found("*/.hidden/.*.json") == [".b.json"]
    assert found("*/.h*/*.json") == ["a.json"]
    assert found("*/_tmp/_*") == ["_d.json"]
    assert found("**/*.json") == ["e.json"], "nothing else of what is hidden"


@pytest.mark.parametrize("tail", ["", "/*.json", "/a.json"])
@pytest.mark.parametrize("long", ["n" * 5000, "n/" * 2500 + "n", "é" * 200])
def test_a_path_that_is_too_long_is_refused_by_that_name(tmp_path: Path, long: str, tail: str) -> None:
    (tmp_path / "a.json").write_bytes(ROW)
    with pytest.raises(
        AdobeConfigurationError, match=r"(?s)^source is a path of \d+ char.*What to do: "
    ) as error:
        resolve(f"{tmp_path}/{long}{tail}", "json")
    assert len(str(error.value)) < 1000
    with pytest.raises(AdobeConfigurationError, match=r"^allowed_sources is a path of"):
        resolve(f"{tmp_path}/a.json", "json", allowed_sources=[f"{tmp_path}/{long}"])
    with pytest.raises(AdobeConfigurationError, match=r"^desired is a path of"):
        load_desired(f"{tmp_path}/{long}")


def test_a_source_that_the_system_cannot_look_at_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "b.json")
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    with pytest.raises(AdobeError, match=r"a\.json"):
        resolve(f"{tmp_path}/a.json", "json")
    (tmp_path / "file").touch()
    with pytest.raises(AdobeSourceError, match="cannot be read: Not a directory"):
        resolve(f"{tmp_path}/file/a.json", "json")


def test_the_connection_of_a_path_must_be_allowed_too(memory: Any) -> None:
    memory.pipe("/bucket/in/a.json", ROW)
    with_conn, without = "memory://conn@bucket/in/a.json", "memory://bucket/in/a.json"

    assert len(resolve(with_conn, "json", allowed_sources=["memory://conn@bucket/in"])) == 1
    assert len(resolve("memory://conn@bucket/in/*", "json", allowed_sources=["memory://conn@bucket/"])) == 1
    assert len(resolve(without, "json", allowed_sources=["memory://bucket/in"])) == 1
    both = ["memory://bucket/in", "memory://conn@bucket/in"]
    assert len(resolve([with_conn, without], "json", allowed_sources=both)) == 1
    with pytest.raises(AdobeConfigurationError, match="with no connection named, not with connection 'conn'"):
        resolve(with_conn, "json", allowed_sources=["memory://bucket/in"])
    with pytest.raises(AdobeConfigurationError, match="with connection 'conn', not with no connection named"):
        resolve(without, "json", allowed_sources=["memory://conn@bucket/in"])
    with pytest.raises(AdobeConfigurationError, match="outside of allowed_sources"):
        resolve("memory://bucket/i*/*", "json", allowed_sources=["memory://conn@bucket/in"])


HEADS: dict[str, tuple[bytes, str, dict[str, Any], str | None]] = {
    "JSON lines": (ROW, "json", {}, None),
    "JSON lines after blanks": (b"\n \n" + ROW, "json", {}, None),
    "an array": (b"[" + ROW + b"]", "json", {"is_multi_line_json": True}, None),
    "one object on many lines": (b'{\n"a": 1}', "json", {"is_multi_line_json": True}, None),
    "CSV": (b"a,b\n1,2\n", "csv", {}, None),
    "CSV with a bracket": (b"[a],b\n1,2\n", "csv", {}, None),
    "Parquet": (b"PAR1" + b"\x00" * 20, "parquet", {}, None),
    "an array as lines": (b'[{"a": 1}]', "json", {}, "is_multi_line_json=True"),
    "CSV as JSON": (b"a,b\n1,2\n", "json", {}, "does not begin with an object"),
    "JSON as CSV": (ROW, "csv", {}, "file_format='json'"),
    "Parquet as CSV": (b"PAR1" + b"\x00" * 20, "csv", {}, "file_format='parquet'"),
    "CSV as Parquet": (b"a,b\n", "parquet", {}, "is not Parquet"),
    "gzip": (gzip.compress(ROW), "json", {}, "compressed with gzip"),
    "gzip as CSV": (gzip.compress(b"a,b\n"), "csv", {}, "compressed with gzip"),
    "UTF-16": ("a,b\n".encode("utf-16"), "csv", {}, "UTF-16"),
    "UTF-16 without mark": ("a,b\n".encode("utf-16-le"), "csv", {}, "UTF-16"),
    "byte order mark": ("a,b\n".encode("utf-8-sig"), "csv", {}, "byte order mark"),
    "byte order mark in JSON": (b"\xef\xbb\xbf" + ROW, "json", {}, "byte order mark"),
    "Excel": (b"PK\x03\x04rest", "csv", {}, "ZIP"),
    "Avro": (b"Obj\x01", "json", {}, "Avro"),
}


@pytest.mark.parametrize("name", list(HEADS))
def test_the_first_bytes_say_what_a_file_is(tmp_path: Path, name: str) -> None:
    content, file_format, more, wrong = HEADS[name]
    found = contradiction(content, file_format, **more)
    assert (found is None) if wrong is None else (found is not None and wrong in found)
    if wrong is not None and file_format != "parquet":
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(AdobeConfigurationError, match="file_format is"):
            check_first_bytes(resolve(str(tmp_path / "file"), file_format), file_format, **more)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=9)), min_size=1
    )
)
def test_json_lines_are_never_taken_for_something_else(rows: list[dict[str, Any]]) -> None:
    for ascii_only in (True, False):
        text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
        assert contradiction(text.encode("utf-8", "replace"), "json") is None


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "/etc/pass*",
        "{d}/../secret.json",
        "{d}/out.json",
        "file:///etc/passwd",
        "{d}x/a.json",
        "memory://d/a",
    ],
)
def test_what_is_outside_of_the_allowed_folders_is_refused_unread(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "dx").mkdir()
    (tmp_path / "dx" / "a.json").write_bytes(ROW)
    (tmp_path / "secret.json").write_bytes(ROW)
    (folder / "out.json").symlink_to(tmp_path / "secret.json")
    (folder / "in.json").write_bytes(ROW)

    with pytest.raises(AdobeConfigurationError, match="outside of allowed_sources"):
        resolve(source.format(d=folder), "json", allowed_sources=[str(folder)])

    assert len(resolve(f"{folder}/in.*", "json", allowed_sources=[f"file://{folder}/"])) == 1


def test_a_match_that_leads_out_of_the_allowed_folders_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "secret.json").write_bytes(ROW)
    (folder / "out.json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(AdobeConfigurationError, match="outside of allowed_sources"):
        resolve(f"{folder}/*", "json", allowed_sources=[str(folder)])


@pytest.mark.parametrize("name", ["[x]/../../secret.json", "[l].json"])
def test_a_name_that_looks_like_a_glob_leads_out_of_no_allowed_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "d"
    (folder / "[x]").mkdir(parents=True)
    (tmp_path / "secret.json").write_bytes(ROW)
    (folder / "[l].json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(AdobeConfigurationError, match="outside of allowed_sources"):
        resolve(f"{folder}/{name}", "json", allowed_sources=[str(folder)])


@pytest.mark.parametrize("given", [None, 1])
def test_rows_where_paths_are_meant_are_refused_unseen(given: Any) -> None:
    rows = [{"email": f"jane{number}@example.com", "x": given} for number in range(200)]

    with pytest.raises(AdobeConfigurationError, match="where a list of paths is meant") as raised:
        resolve(json.dumps(rows), "json")

    assert "jane" not in str(raised.value)


def test_a_glob_that_is_too_long_matches_nothing(tmp_path: Path) -> None:
    with pytest.raises(AdobeConfigurationError, match="matches no file") as raised:
        resolve(f"{tmp_path}/*{'x' * 300}.json", "json")

    assert len(str(raised.value)) < 600


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(staging.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_staged_files_are_private_and_removed(temporary: Path) -> None:
    folder = staging.run_folder("d", "run")
    with (folder / "a.json").open("w") as file:
        file.write("{}")

    for place in (Path(folder.path), Path(folder.path).parent):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert staging.run_folder("d", "run") == folder
    assert staging.run_folder("d", "other") != folder

    for _ in range(2):
        staging.remove_run_folder("d", "run")
        assert not Path(folder.path).exists()


@pytest.mark.parametrize("attack", ["link", "file", "open"])
def test_a_staging_folder_that_somebody_else_has_laid_out_is_not_used(temporary: Path, attack: str) -> None:
    trap = temporary / f"adobe-audiences-{os.geteuid()}"
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    match attack:
        case "link":
            trap.symlink_to(elsewhere)
        case "file":
            trap.touch()
        case "open":
            trap.mkdir()
            trap.chmod(0o777)

    with pytest.raises(AdobeConfigurationError, match="is not used for staging"):
        staging.run_folder("d", "run")

    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_a_staging_folder_of_another_user_is_not_used(temporary: Path) -> None:
    trap = temporary / "adobe-audiences-0"
    trap.mkdir(mode=0o700)
    os.chown(trap, 12345, 12345)

    with pytest.raises(AdobeConfigurationError, match="belongs to another user"):
        staging.run_folder("d", "run")


def test_a_folder_of_the_run_below_a_given_base_is_private_too(tmp_path: Path) -> None:
    folder = staging.run_folder("d", "run", f"file://{tmp_path}/shared")
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
    trap = Path(staging.run_folder("d", "other", f"file://{tmp_path}/shared").path)
    trap.chmod(0o755)
    with pytest.raises(AdobeConfigurationError, match="mode 0755"):
        staging.run_folder("d", "other", f"file://{tmp_path}/shared")


def test_a_folder_of_the_run_in_an_object_storage_is_removed(memory: Any) -> None:
    folder = staging.run_folder("d", "run", "memory://bucket/staging")
    with (folder / "a.json").open("w") as file:
        file.write("{}")
    staging.remove_run_folder("d", "run", "memory://bucket/staging")
    assert not folder.exists()
    staging.remove_run_folder("d", "run", "memory://bucket/staging")
