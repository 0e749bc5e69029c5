# SPDX-License-Identifier: Apache-2.0
"""What globs match: folders by their own names and by links, at every depth, and what is hidden."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.utils import glob_translate  # type: ignore[import-untyped]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeSourceError
from airflow_provider_adobe_audiences.tasks.files import check_first_bytes, resolve

FOLDERS = st.sampled_from(["a", "b", "ab", "_c", ".d", "e=1", "_e=1"])
PLACES = st.lists(FOLDERS, max_size=3).map("/".join)
FILES = st.tuples(PLACES, st.sampled_from(["x", "y.json", "_z.json", "[q]", "é.json"]))
LINKS = st.tuples(PLACES, st.sampled_from(["0", "a", "zz", "_l"]), PLACES)
PARTS = st.sampled_from(["*", "**", "a*", "[ab]", "[!a]*", "_*", ".*", "*=*", "a", "*.json", "latest"])
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda text: re.search("[*?[]", text))
#: Links within links are followed so far by the model; deeper names lead to no further file here.
DEPTH = 9


def found(source: str | list[str]) -> set[str]:
    """The real paths of what a source names, but where it also matches a folder."""
    try:
        return {os.path.realpath(file.where) for file in resolve(source, "json", if_empty="skip")}
    except AdobeConfigurationError as error:
        assume("also matches the directory" not in str(error))
        raise


def made(root: Path, files: set[tuple[str, str]], links: list[tuple[str, str, str]]) -> None:
    for place, name in files:
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / name).write_text('{"n": 1}\n')
    for place, name, target in links:
        if (root / place).is_dir() and (root / target).is_dir() and not os.path.lexists(root / place / name):
            (root / place / name).symlink_to(root / target)


def meant(root: Path, pattern: str) -> set[str]:
    """What a glob means: every path that it fits and of which no part is hidden, unless it asks for that."""
    *folders, last = pattern.split("/")
    fits = re.compile(glob_translate(pattern)).match

    def is_hidden(part: str, asked: list[str]) -> bool:
        if not (part[0] == "." or (part[0] == "_" and "=" not in part)):
            return False
        asks = [one for one in asked if one[0] in "._"]
        return not any(re.compile(glob_translate(one)).match(part) for one in asks)

    names: set[str] = set()

    def walk(folder: Path, parts: list[str]) -> None:
        for entry in os.scandir(folder):
            here = [*parts, entry.name]
            if entry.is_dir():
                if len(here) < DEPTH and not is_hidden(entry.name, folders):
                    walk(folder / entry.name, here)
            elif fits("/".join(here)) and not is_hidden(entry.name, [last]):
                names.add(os.path.realpath(entry.path))

    walk(root, [])
    return names


@settings(deadline=None)
@given(st.sets(FILES, max_size=8), PATTERNS)
def test_a_glob_matches_what_it_means(files: set[tuple[str, str]], pattern: str) -> None:
    with TemporaryDirectory() as folder:
        made(Path(folder), files, [])
        assert found(f"{folder}/{pattern}") == meant(Path(folder), pattern)


@settings(deadline=None)
@given(st.sets(FILES, max_size=6), st.lists(LINKS, max_size=2), PATTERNS)
def test_a_glob_matches_what_it_means_whatever_links_there_are(
    files: set[tuple[str, str]], links: list[tuple[str, str, str]], pattern: str
) -> None:
    with TemporaryDirectory() as folder:
        made(Path(folder), files, links)
        assert found(f"{folder}/{pattern}") == meant(Path(folder), pattern)


@pytest.mark.parametrize("link", ["latest", "0", "zz", "2026/08"])
def test_a_link_takes_no_folder_away(tmp_path: Path, link: str) -> None:
    made(tmp_path, {("2026/10", "a.json"), ("2026/11", "b.json")}, [])
    (tmp_path / link).symlink_to(tmp_path / "2026" / "11")
    assert len(found(f"{tmp_path}/*/*/*.json")) == len(found(f"{tmp_path}/**/*.json")) == 2
    assert len(found(f"{tmp_path}/**/11/*.json")) == 1
    # By its own name, so that the order of the files does not depend on the link.
    assert [file.where for file in resolve(f"{tmp_path}/**/b.json", "json")] == [f"{tmp_path}/2026/11/b.json"]


def test_the_current_folder_is_a_folder_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, {("", "a.json")}, [])
    monkeypatch.chdir(tmp_path)
    wild = re.sub(r"^/(.)", "/[\\1]", str(tmp_path))
    assert found(f"{wild}/*.json") == {os.path.realpath(tmp_path / "a.json")}


def test_links_that_lead_back_in_many_ways_are_looked_into_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[str] = []
    real = LocalFileSystem.ls

    def ls(self: LocalFileSystem, path: str, **more: Any) -> Any:
        listings.append(path)
        return real(self, path, **more)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    folders = [f"{number}" for number in range(12)]
    made(tmp_path, {(folder, "a.json") for folder in folders}, [])
    for one in folders:
        for other in folders:
            (tmp_path / one / f"to-{other}").symlink_to(tmp_path / other)
    for pattern in ("**/*.json", "**/to-*/**/*.json", "*/*/*/*.json"):
        listings.clear()
        assert len(found(f"{tmp_path}/{pattern}")) == 12
        assert len(listings) < 500


def test_links_of_a_storage_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only names are known there: links that lead back could not be told.
    made(tmp_path, {("sub", "a.json")}, [("sub", "one", ""), ("sub", "two", "")])
    for module in ("files", "globs"):
        module = f"airflow_provider_adobe_audiences.tasks.{module}"
        monkeypatch.setattr(f"{module}.is_local", lambda path: False)
        monkeypatch.setattr(f"{module}.identity", lambda path, name=None: str(name or path))
    assert [file.where for file in resolve(f"{tmp_path}/**/*.json", "json")] == [f"{tmp_path}/sub/a.json"]


@pytest.mark.parametrize("end", ["?", "#"])
def test_an_end_that_urls_lose_is_refused(tmp_path: Path, end: str) -> None:
    made(tmp_path, {("", "part-1"), ("", "part-")}, [])
    with pytest.raises(AdobeConfigurationError, match=r"(?s)ends with .*such as \[0-9\]"):
        resolve(f"{tmp_path}/part-{end}", "json")
    assert found(f"{tmp_path}/part-[0-9]") == {os.path.realpath(tmp_path / "part-1")}
    (tmp_path / f"part-1{end}").write_text('{"n": 1}\n')
    with pytest.raises(AdobeConfigurationError, match="Otherwise rename"):
        resolve(f"{tmp_path}/part-1*", "json")


@pytest.mark.parametrize("how", ["again", "symbolic link", "hard link"])
def test_a_file_that_a_list_names_twice_has_its_last_place(tmp_path: Path, how: str) -> None:
    made(tmp_path, {("", "a"), ("", "b")}, [])
    again = tmp_path / ("a" if how == "again" else "c")
    if how == "symbolic link":
        again.symlink_to(tmp_path / "a")
    elif how == "hard link":
        again.hardlink_to(tmp_path / "a")
    files = resolve([str(tmp_path / "a"), str(tmp_path / "b"), str(again)], "json")
    assert all(os.path.samefile(file.where, tmp_path / name) for file, name in zip(files, "ba", strict=True))


@pytest.mark.parametrize("where", ["ls", "info", "open"])
def test_a_storage_that_refuses_may_take_it_back(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3 says the same of a token that has run out as of one without rights.
    made(tmp_path, {("sub", "a.json")}, [])
    for module in ("files", "globs"):
        monkeypatch.setattr(f"airflow_provider_adobe_audiences.tasks.{module}.is_local", lambda path: False)

    def refuse(*_: Any, **more: Any) -> Any:
        raise PermissionError("The provided token has expired.")

    monkeypatch.setattr(LocalFileSystem, where, refuse)
    with pytest.raises(AdobeSourceError, match="cannot be read: The provided token has expired") as error:
        check_first_bytes(resolve(f"{tmp_path}/*/a.json", "json"), "json")
    assert error.value.transient


@pytest.mark.parametrize("text", ["{{}}", "{{'a'}}", "{[1]: 2}"])
def test_a_text_with_brackets_is_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(AdobeConfigurationError, match=r"does not exist|matches no file"):
        resolve(text, "json")


@pytest.mark.parametrize("pattern", ["day=*/*.json", "**/*.json"])
def test_a_link_that_leads_nowhere_is_not_left_out(tmp_path: Path, pattern: str) -> None:
    made(tmp_path, {("day=1", "a.json")}, [])
    (tmp_path / "day=2").symlink_to(tmp_path / "not mounted")
    with pytest.raises(AdobeConfigurationError, match=r"(?s)day=2' is a link that leads nowhere.*remove"):
        resolve(f"{tmp_path}/{pattern}", "json")
    assert found(f"{tmp_path}/day=[13]/*.json") == found(f"{tmp_path}/day=1/*.json")
    (tmp_path / "day=2").unlink()  # what the message says
    assert len(found(f"{tmp_path}/{pattern}")) == 1


@pytest.mark.parametrize("pattern", ["cur/*.json", "cur/**/*.json", "cur/day=1/*.json", "cur/day=*/x.json"])
def test_a_glob_below_a_link_that_leads_nowhere_is_not_an_empty_one(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "cur").symlink_to(tmp_path / "not mounted")
    with pytest.raises(AdobeConfigurationError, match="cur' is a link that leads nowhere"):
        resolve(f"{tmp_path}/{pattern}", "json", if_empty="succeed")
    (tmp_path / "not mounted" / "day=1").mkdir(parents=True)
    assert found(f"{tmp_path}/{pattern}") == set()


@pytest.mark.parametrize("pattern", ["a.json/*.json", "a.json/**", "*/*.json", "*/**/*.json"])
def test_nothing_is_below_a_file(tmp_path: Path, pattern: str) -> None:
    made(tmp_path, {("", "a.json")}, [])
    with pytest.raises(AdobeConfigurationError, match="matches no file"):
        resolve(f"{tmp_path}/{pattern}", "json")


@pytest.mark.parametrize("pattern", ["**/*.json", "**"])
def test_a_link_to_a_folder_in_place_of_a_file_is_searched_with_it(tmp_path: Path, pattern: str) -> None:
    made(tmp_path, {("b.json", "part-0.json")}, [("", "latest.json", "b.json")])
    assert found(f"{tmp_path}/{pattern}") == {os.path.realpath(tmp_path / "b.json" / "part-0.json")}


ANYWHERE = "have such names, too, give '(.*?)';"
LIST = "a list of '(.*?)' and a glob"
ALONE = "are meant, give '(.*?)'\\. If not"


@pytest.mark.parametrize(
    ("pattern", "folder", "below", "advice", "rest"),
    [
        ("*.json", "b.json", "part-0.json", ANYWHERE, None),
        ("data_*", "data_2", "data_part", ANYWHERE, None),
        ("su[b]/*.json", "sub/b.json", "day=1/part-0.json", ANYWHERE, None),
        ("*.json", "b.json", "part-0", LIST, "[!b].json"),
        ("*", "b.json", "day=1/part-0", LIST, "[!bs]*"),
        ("data_*", "data_2", "part-0", LIST, "data_[!2]"),
        ("[!x]*.json", "b[1]*.json", "part-0", LIST, "a.json"),
        ("**/*.json", "sub/b.json", "part-0", LIST, "a.json"),
        ("*x.json", "x.json", "part-0", ALONE, None),
        ("[d]ata/*", "data/b.json", "day=1/part-0", ALONE, None),
    ],
)
def test_the_advice_for_a_folder_in_place_of_a_file_works(
    tmp_path: Path, pattern: str, folder: str, below: str, advice: str, rest: str | None
) -> None:
    """``rest`` is the glob of the user's own that leaves the folder out."""
    place, _, name = f"{folder}/{below}".rpartition("/")
    made(tmp_path, {("", "a.json"), ("", "data_1"), ("sub", "c.json"), (place, name)}, [])
    with pytest.raises(AdobeConfigurationError, match="also matches the directory") as error:
        resolve(f"{tmp_path}/{pattern}", "json", if_empty="skip")
    advised = re.search(advice, str(error.value))
    assert advised is not None
    read = found([advised[1], *([f"{tmp_path}/{rest}"] if rest else [])])
    assert os.path.realpath(tmp_path / place / name) in read
    assert len(read) == 1 if advice is ALONE else len(read) > 1


@pytest.mark.parametrize("folder", ["b.json", "b[1]*.json", "inbox"])
def test_the_advice_for_a_path_that_is_a_folder_works(tmp_path: Path, folder: str) -> None:
    made(tmp_path, {("bx.json", "other"), (f"{folder}/day=1", "part-0")}, [])
    with pytest.raises(AdobeConfigurationError, match="is a directory") as error:
        resolve(f"{tmp_path}/{folder}/", "json")
    advised = str(error.value).partition("such as ")[2].removesuffix(".")
    assert found(advised) == {os.path.realpath(tmp_path / folder / "day=1" / "part-0")}


def test_a_file_of_a_folder_that_a_link_names_is_not_all_of_it(tmp_path: Path) -> None:
    made(tmp_path, {("b.json", "part-0.json"), ("b.json", "part-1.json")}, [])
    (tmp_path / "latest.json").symlink_to(tmp_path / "b.json" / "part-0.json")
    with pytest.raises(AdobeConfigurationError, match="also matches the directory"):
        resolve(f"{tmp_path}/*.json", "json")
    assert len(found(f"{tmp_path}/**/*.json")) == 2


@pytest.mark.parametrize(
    ("names", "is_empty"),
    [
        (["_SUCCESS"], True),
        (["_SUCCESS", "._SUCCESS.crc"], True),
        (["_SUCCESS", "_committed_1", "_metadata"], True),
        ([], False),
        ([".part-0.crc"], False),
        (["_SUCCESS", "part-0"], False),
        (["_SUCCESS", "_temporary/0/part-0"], False),
        (["_SUCCESS/part-0"], False),
    ],
)
@pytest.mark.parametrize("if_empty", ["fail", "skip"])
def test_only_a_folder_that_spark_has_written_without_rows_is_left_out(
    tmp_path: Path, names: list[str], is_empty: bool, if_empty: str
) -> None:
    made(tmp_path, {("", "a.json")} | {os.path.split(f"b.json/{name}") for name in names}, [])
    (tmp_path / "b.json").mkdir(exist_ok=True)
    for pattern in ("*.json", "*"):
        if is_empty:
            assert found(f"{tmp_path}/{pattern}") == {os.path.realpath(tmp_path / "a.json")}
        else:
            with pytest.raises(AdobeConfigurationError, match="also matches the directory") as error:
                resolve(f"{tmp_path}/{pattern}", "json", if_empty=if_empty)
            assert ("It holds no file: let the task run again" in str(error.value)) == ("part-0" not in names)


def test_a_link_in_a_circle_is_corrected_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "one.json").symlink_to(tmp_path / "two.json")
    (tmp_path / "two.json").symlink_to(tmp_path / "one.json")
    for source in ("one.json", "*.json", "one.json/*.json", "*/x.json", "one.json/x.json"):
        with pytest.raises(AdobeConfigurationError, match="one that leads in a circle"):
            resolve(f"{tmp_path}/{source}", "json", if_empty="skip")


@pytest.mark.parametrize("source", ["x.json", "*.json", "day/x.json", "through.json"])
def test_a_file_that_is_a_link_that_leads_nowhere_is_called_so(tmp_path: Path, source: str) -> None:
    for name in ("x.json", "day"):
        (tmp_path / name).symlink_to(tmp_path / "not mounted")
    (tmp_path / "file").write_text("")
    (tmp_path / "through.json").symlink_to(tmp_path / "file" / "x.json")
    with pytest.raises(
        AdobeConfigurationError, match=r"(x\.json|day|through\.json)' is a link that leads nowhere"
    ):
        resolve(f"{tmp_path}/{source}", "json", if_empty="skip")


def test_rows_given_for_a_path_are_not_shown_whatever_they_end_with() -> None:
    for end in ("?", "#", ""):
        with pytest.raises(AdobeConfigurationError) as error:
            resolve(f"thirdPartyId,mail\nu1,anna@example.com\nu2,is it{end}", "json")
        assert "anna" not in str(error.value)
