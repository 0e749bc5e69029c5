# SPDX-License-Identifier: Apache-2.0
"""What a glob matches, in storages that Airflow's ``ObjectStoragePath`` reads."""

from __future__ import annotations

import glob
import os
import posixpath
import re
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.tasks.paths import identity, is_local, refused, shown
from airflow_provider_adobe_audiences.text import one_line

# A folder of such a name is what Spark and pyarrow call a file.
_ENDINGS = (".csv", ".gz", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv", ".txt")


def matches(path: ObjectStoragePath, root: str) -> list[str]:
    """Return the files that a glob matches, but for hidden ones.

    A folder that cannot be listed is not an empty one, and one with a name for files is not left out.

    :param path: the glob.
    :param root: the folder that it begins in.
    :returns: their names.
    :raises AdobeError: when it is no glob, or something that it may mean cannot be reached.
    """
    from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    pattern = path.path
    try:
        glob_translate(pattern)
    except ValueError as error:
        raise AdobeConfigurationError(
            f"source {shown(str(path))} is no glob: {one_line(str(error))}"
        ) from None
    # fsspec would leave out what it may not list, and linked folders. What lists by itself (S3, GCS, Azure)
    # has no links, and raises.
    names = path.fs.glob(pattern) if isinstance(path.fs, AsyncFileSystem) else _walked(path, root)
    found = [name for name in names if not _is_hidden(name, pattern, root)]
    # An object whose name ends with "/" marks a folder.
    folders = {name.rstrip("/") for name in found if name.endswith("/") or path.fs.isdir(name)}
    files = [name for name in found if name.rstrip("/") not in folders]
    is_named = bool(posixpath.basename(pattern).strip("*"))
    in_place_of_files = [folder for folder in sorted(folders) if is_named or folder.endswith(_ENDINGS)]
    parents = {
        parent for name in (files if in_place_of_files else ()) for parent in PurePosixPath(name).parents
    }
    reached = {identity(path, str(parent)) for parent in parents}
    for folder in in_place_of_files:
        if identity(path, folder) not in reached and (hint := _what_to_do(path, folder, files)):
            raise AdobeConfigurationError(
                f"source {shown(str(path))} also matches the directory {shown(folder)}, whose files it does "
                "not match",
                hint=hint,
            )
    return files


def _what_to_do(path: ObjectStoragePath, folder: str, files: Sequence[str]) -> str:
    """Return what to do about a folder in place of a file; nothing, if Spark has written it without rows.

    :param path: the glob that matches it.
    :param folder: its name.
    :param files: what the glob matches beside it.
    """
    entries = _entries(path, folder)
    names = {posixpath.basename(entry["name"].rstrip("/")) for entry in entries}
    if all(_is_hidden_part(name, ()) for name in names):
        if "_SUCCESS" in names and all(entry["type"] == "file" for entry in entries):
            return ""
        return "It holds no file: let the task run again when all is written, or remove the directory."
    pattern, name = path.path, posixpath.basename(path.path)
    below = all_below(path, folder)
    if not files:
        meant = f"give {f'{path}/**'!r}"
    elif name.strip("*") and "**" not in pattern:
        anywhere = str(path.parent / "**" / name)
        meant = (
            f"and have such names, too, give {anywhere!r}; if they have others, give a list of {below!r} and "
            "a glob that leaves the directory out"
        )
    else:
        meant = f"give a list of {below!r} and a glob that leaves the directory out"
    return (
        f"Spark and pyarrow write a directory in place of a file. If its files are meant, {meant}. If not, "
        "give only a glob that leaves the directory out."
    )


def all_below(path: ObjectStoragePath, folder: str) -> str:
    """Return the glob of all files in a folder, at any depth, as people write it.

    :param path: something in the same storage.
    :param folder: its name.
    """
    return f"{str(path).removesuffix(path.path)}{glob.escape(folder.rstrip('/'))}/**"


def _walked(path: ObjectStoragePath, root: str) -> list[str]:
    """Return what a glob matches.

    A folder is looked into once for each place of the pattern, whatever links lead to it, and by its own name
    if that leads to it as well.

    :raises AdobeError: when a folder cannot be listed.
    """
    from fsspec.utils import glob_translate

    asked = path.path.removeprefix(root).strip("/").split("/")
    fits = [re.compile(glob_translate(part)).match for part in asked]
    listed: dict[str, list[Mapping[str, Any]]] = {}
    matches, done = set(), set()
    todo = deque([(root or "/", 0)])
    while todo:
        folder, place = todo.popleft()
        if (known := (identity(path, folder), place)) in done:  # links may lead back
            continue
        done.add(known)
        is_any_depth, is_last = asked[place] == "**", place == len(asked) - 1
        if is_any_depth and not is_last:
            todo.appendleft((folder, place + 1))
        if folder not in listed:
            listed[folder] = _entries(path, folder)
        for entry in listed[folder]:
            name = posixpath.basename(entry["name"].rstrip("/"))
            if not is_any_depth and not fits[place](name):
                continue
            if is_last:
                matches.add(entry["name"])
            if (is_last and not is_any_depth) or _is_hidden_part(name, asked[:-1]):
                continue
            further = (entry["name"], place if is_any_depth else place + 1)
            if entry["type"] == "directory":
                todo.appendleft(further)
            elif entry["type"] != "file" and is_local(path) and _leads_to_folder(entry["name"]):
                todo.append(further)
    return sorted(matches)


def _entries(path: ObjectStoragePath, folder: str) -> list[Mapping[str, Any]]:
    try:
        # Of a file, its own name is listed.
        return [entry for entry in path.fs.ls(folder, detail=True) if entry["name"].rstrip("/") != folder]
    except (FileNotFoundError, NotADirectoryError):
        if is_local(path):
            refuse_lost_link(folder)
        return []
    except OSError as error:
        raise refused(folder, error, is_local(path)) from error


def refuse_lost_link(name: str) -> None:
    """Refuse a local path that is not there because of a link that leads nowhere.

    :param name: the path.
    :raises AdobeConfigurationError: naming the link.
    """
    for link in (name, *map(str, PurePosixPath(name).parents)):
        if os.path.islink(link):
            _leads_to_folder(link)


def _leads_to_folder(link: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(link).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise AdobeConfigurationError(
            f"source {shown(link)} is a link that leads nowhere",
            hint="Mount what it leads to, correct the link, or remove it: what a source may mean is not left "
            "out.",
        ) from None
    except OSError as error:
        raise refused(link, error, is_here=True) from error


def _is_hidden(name: str, pattern: str, root: str) -> bool:
    """Whether Spark and Hive would not read a match: ``_temporary/…``, ``.part.crc``; but ``_day=1/…``.

    What the pattern names with its ``_`` or ``.`` is meant: ``*/.hidden/*.json``.
    """
    *folders, file = name.removeprefix(root).strip("/").split("/")
    *asked_folders, asked_file = pattern.removeprefix(root).strip("/").split("/")
    return _is_hidden_part(file, [asked_file]) or any(
        _is_hidden_part(folder, asked_folders) for folder in folders
    )


def _is_hidden_part(part: str, asked_for: Sequence[str]) -> bool:
    """Whether a name is hidden, and the pattern does not ask for names like it."""
    return (part[:1] == "." or (part[:1] == "_" and "=" not in part)) and not any(
        asked[:1] in ("_", ".") and fnmatchcase(part, asked) for asked in asked_for
    )
