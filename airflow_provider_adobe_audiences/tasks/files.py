# SPDX-License-Identifier: Apache-2.0
"""Files that Airflow's ``ObjectStoragePath`` reads: local, s3, gs, abfs …, each with its own connection.

A file is known by what its path resolves to, however it is spelt.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import json
import os
import posixpath
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, AdobeSourceError
from airflow_provider_adobe_audiences.tasks.paths import (
    A_PATH,
    Source,
    before_wildcards,
    check_allowed,
    conn_id_of,
    endpoint,
    identity,
    is_local,
    refuse_lost_characters,
    shown,
    storage_path,
)
from airflow_provider_adobe_audiences.tasks.validation import NATIVE
from airflow_provider_adobe_audiences.text import one_line

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.batches.source import SourceFile

# What storages tell of an object. Whatever changes with each write is its version; a hash is its content.
_VERSION_KEYS = (
    "ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "created", "ino",
)  # fmt: skip
_HASH_KEYS = ("md5Hash", "content_md5", "crc32c", "ETag", "etag")
_PARQUET_MAGIC = b"PAR1"
# A folder of such a name is what Spark and pyarrow call a file.
_ENDINGS = (".csv", ".gz", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv", ".txt")


def resolve(
    source: Source,
    file_format: str,
    *,
    if_empty: str = "fail",
    empty_hint: str = "if_empty='skip' or 'succeed'",
    allowed_sources: Sequence[str] | None = None,
) -> list[SourceFile]:
    """Return the files that ``source`` names, checked as far as that is possible without reading them.

    Of what a glob matches, hidden files (``_SUCCESS``, ``.crc``, as Spark and Hive do it) and empty ones are
    left out. An object that is named twice is there once.

    :param source: a path or glob, or a list of them. Paths may carry a connection:
        ``s3://my_conn@bucket/key``.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param if_empty: with anything but ``fail``, no file, and an empty one, is no error.
    :param empty_hint: what to pass for that, as messages advise it.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``; a file outside of them, or read
        with another connection, is refused.
    :returns: the files in a stable order; none at all only if ``if_empty`` allows it.
    :raises AdobeConfigurationError: naming the path that is missing, empty, a directory, not allowed, or not
        of the format.
    """
    from airflow_provider_adobe_audiences.adobe.experience_platform import MAX_FILES

    hint = f"If it is right that there is nothing today, pass {empty_hint}."
    found: dict[tuple[str, str], tuple[ObjectStoragePath, bool]] = {}
    for item in _items(source):
        expanded = _expand(item, allowed_sources)
        if not expanded and if_empty == "fail":
            raise AdobeConfigurationError(f"source {shown(str(item))} matches no file", hint=hint)
        for path, is_match in expanded:
            place = (identity(path), endpoint(path))
            found[place] = (path, found.pop(place, (path, True))[1] and is_match)
    if len(found) > MAX_FILES:
        raise AdobeConfigurationError(
            f"source names {len(found)} files; a batch takes at most {MAX_FILES}",
            hint="Merge small files, or ingest several batches. Adobe recommends fewer than 10,000 files a "
            "batch.",
        )
    files: dict[Any, SourceFile] = {}
    for path, is_match in found.values():  # in the order of the list, last named: a later row wins
        info = _info(path)
        if not info.get("size"):
            if is_match or if_empty != "fail":
                continue
            raise AdobeConfigurationError(
                f"source {str(path)!r} is empty", hint=f"Adobe refuses an empty file. {hint}"
            )
        _put(files, path, info, file_format)
    if not files and if_empty == "fail":
        raise AdobeConfigurationError(
            f"source {shown(source)} names no file{' that is not empty' if found else ''}", hint=hint
        )
    return list(files.values())


def what_is_left(
    source: Source, file_format: str, allowed_sources: Sequence[str] | None = None
) -> list[SourceFile] | None:
    """Return the files that are still there of a source of which something is gone. An empty file is there.

    :param source: as :func:`resolve` takes it.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param allowed_sources: as :func:`resolve` takes them.
    :returns: ``None`` when nothing is gone, and when that cannot be told.
    """
    try:
        expanded = [_expand(item, allowed_sources) for item in _items(source)]
        paths = [path for found in expanded for path, _ in found]
        left = [path for path in paths if _is_there(path)]
        if all(expanded) and left == paths:
            return None
        files: dict[Any, SourceFile] = {}
        for path in left:
            _put(files, path, _info(path), file_format)
        return list(files.values())
    except AdobeError:
        return None


def _put(
    files: dict[Any, SourceFile], path: ObjectStoragePath, info: Mapping[str, Any], file_format: str
) -> None:
    """Add a file; of one that has several names the last counts."""
    place = (identity(path), endpoint(path))
    same = _inode(path, info) or place
    files.pop(same, None)
    files[same] = _file(path, _name(*place), info, file_format)


def _items(source: Source) -> Iterable[Any]:
    return [source] if isinstance(source, A_PATH) else source


def check_first_bytes(
    files: Iterable[SourceFile], file_format: str, *, is_multi_line_json: bool = False
) -> None:
    """Look into each file.

    :param files: what :func:`resolve` returned.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each JSON file is one array.
    :raises AdobeConfigurationError: when a file is something else, saying what.
    :raises AdobeSourceError: when it cannot be read.
    """
    from airflow_provider_adobe_audiences.batches.formats import contradiction
    from airflow_provider_adobe_audiences.formats import HEAD_BYTES

    for file in files:
        try:
            with file.open_at(0) as opened:
                head = opened.read(HEAD_BYTES)
        except OSError as error:
            raise AdobeSourceError(f"{file.where} cannot be read: {error}") from error
        if wrong := contradiction(head, file_format, is_multi_line_json=is_multi_line_json):
            what, _, todo = wrong.partition(". ")
            raise AdobeConfigurationError(
                f"source {file.where!r} {what}, but file_format is {file_format!r}", hint=f"{todo}."
            )


def _expand(item: Any, allowed_sources: Sequence[str] | None) -> list[tuple[ObjectStoragePath, bool]]:
    """Return paths, and whether each is what a glob matched."""
    if isinstance(item, str) and not item.strip():
        raise AdobeConfigurationError("source contains an empty path")
    if isinstance(item, str) and (listed := _list_in(item)) is not None and not _is_there(item):
        # Rows are nobody's business; paths help to find the mistake.
        paths = all(isinstance(one, str) for one in listed)
        text = shown(item) if paths else "of a list of something else"
        raise AdobeConfigurationError(f"source is the text {text}, where a list of paths is meant{NATIVE}")
    if not isinstance(item, A_PATH):
        is_plain = item is None or isinstance(item, (bool, int, float))
        what = shown(item) if is_plain else f"a value of type {type(item).__name__}"
        raise AdobeConfigurationError(
            f"source contains {what}, which is not a path",
            hint="Give a path or a glob, or a list of them. Rows of a bulk profile update go to its argument "
            "'rows'.",
        )
    path = storage_path(item, is_opened=False)
    root = before_wildcards(path.path)
    check_allowed(path, root, allowed_sources)
    storage_path(path)
    if root == path.path or _is_there(path):  # a file may have such a character in its name
        check_allowed(path, path.path, allowed_sources)
        return [(path, False)]
    matches = _matches(path, root)
    storage = {"conn_id": conn_id} if (conn_id := conn_id_of(path)) else {}
    for name in matches:
        refuse_lost_characters(name)
    prefix = f"{path.protocol}://" if path.protocol else ""
    found = [ObjectStoragePath(f"{prefix}{name}", **storage) for name in sorted(matches)]
    for match in found:
        check_allowed(match, match.path, allowed_sources)
    return [(match, True) for match in found]


def _matches(path: ObjectStoragePath, root: str) -> list[str]:
    """Return the files that a glob matches, but for hidden ones.

    A folder that cannot be listed is not an empty one, and one with a name for files is not left out.
    """
    from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    pattern = path.path
    try:
        glob_translate(pattern)
        # fsspec would leave out what it may not list, and linked folders. What lists by itself (S3, GCS,
        # Azure) has no links, and raises.
        is_flat = isinstance(path.fs, AsyncFileSystem)
        names = path.fs.glob(pattern) if is_flat else _walked(path, root)
    except ValueError as error:
        raise AdobeConfigurationError(
            f"source {shown(str(path))} is no glob: {one_line(str(error))}"
        ) from None
    found = [name for name in names if not _is_hidden(name, pattern, root)]
    folders = {name for name in found if path.fs.isdir(name)}
    files = [name for name in found if name not in folders]
    is_named = bool(posixpath.basename(path.path).strip("*"))
    for folder in sorted(folders):
        if (is_named or folder.endswith(_ENDINGS)) and not any(
            name.startswith(f"{folder}/") for name in files
        ):
            raise AdobeConfigurationError(
                f"source {shown(str(path))} also matches the directory {shown(folder)}, whose files it does "
                "not match",
                hint="Spark and pyarrow write a directory in place of a file: name its files, too, such as "
                f"{str(path.parent / '**' / path.name)!r}. If they are not meant, give a glob that leaves "
                "the directory out.",
            )
    return files


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
            elif entry["type"] != "file" and is_local(path) and path.fs.isdir(entry["name"]):
                todo.append(further)  # a link
    return sorted(matches)


def _entries(path: ObjectStoragePath, folder: str) -> list[Mapping[str, Any]]:
    try:
        return list(path.fs.ls(folder, detail=True))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _refused(folder, error, is_local(path)) from error


def _list_in(text: str) -> Sequence[Any] | None:
    """Return the list, or the mapping as a list of one, that a template has made a text of."""
    if text.strip()[:1] in "[({":
        for parse in (ast.literal_eval, json.loads):
            with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found = parse(text.strip())
                if isinstance(found, list | tuple):
                    return found
                return [found] if isinstance(found, Mapping) else None
    return None


def _is_there(path: str | ObjectStoragePath) -> bool:
    try:
        return os.path.exists(path) if isinstance(path, str) else path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise _refused(str(path), error, isinstance(path, str) or is_local(path)) from error


def _refused(path: str, error: OSError, is_here: bool) -> AdobeError:
    """Return what to raise when this machine or a storage refuses. A storage may take it back: it says the
    same of a token that has run out.
    """
    if isinstance(error, PermissionError) and is_here:
        return AdobeConfigurationError(
            f"source {shown(path)} may not be read by this worker",
            hint="Give the worker, or the connection of the storage, the right to read it, or name the files "
            "that are meant alone; nothing was sent to Adobe.",
        )
    return AdobeSourceError(f"source {shown(path)} cannot be read: {one_line(error.strerror or str(error))}")


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


def _info(path: ObjectStoragePath) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = path.fs.info(path.path)
    except FileNotFoundError:
        hint = "Correct the path; nothing was sent to Adobe."
        if is_local(path):
            hint += (
                " A file that another task has written must be in a folder that all workers reach, "
                "such as s3://conn@bucket/prefix."
            )
        raise AdobeConfigurationError(f"source {str(path)!r} does not exist", hint=hint) from None
    except OSError as error:
        raise _refused(str(path), error, is_local(path)) from error
    if is_local(path) and not (os.path.isfile(path.path) or os.path.isdir(path.path)):
        raise AdobeConfigurationError(
            f"source {str(path)!r} is no file", hint="A pipe, a socket or a device cannot be read twice."
        )
    if info.get("type") == "directory":
        raise AdobeConfigurationError(
            f"source {str(path)!r} is a directory",
            hint=f"Name its files with a glob, such as {str(path).rstrip('/')}/*.",
        )
    return info


def _inode(path: ObjectStoragePath, info: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return what hard links have in common."""
    if not is_local(path) or int(info.get("nlink") or 1) < 2:
        return None
    found = os.stat(path.path)
    return found.st_dev, found.st_ino


def _file(path: ObjectStoragePath, name: str, info: Mapping[str, Any], file_format: str) -> SourceFile:
    from airflow_provider_adobe_audiences.batches.source import SourceFile

    size, version = _state(info)
    if file_format == "parquet":
        _check_parquet(path, size)

    def look() -> tuple[int, str]:
        path.fs.invalidate_cache(path.path)
        return _state(path.fs.info(path.path))

    settings = info.get("content_settings")
    hashes = {**info, **(settings if isinstance(settings, Mapping) else {})}
    return SourceFile(
        name=name,
        size=size,
        version=version,
        open_at=lambda offset: _open_at(path, offset),
        where=one_line(str(path)),
        content_hash=next((f"{key}={hashes[key]}" for key in _HASH_KEYS if hashes.get(key)), ""),
        look=look,
    )


def _state(info: Mapping[str, Any]) -> tuple[int, str]:
    version = " ".join(f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key) is not None)
    return int(info.get("size") or 0), version


def _check_parquet(path: ObjectStoragePath, size: int) -> None:
    with _open_at(path, 0) as file:
        head = file.read(4)
        tail = b""
        if size >= 12:
            file.seek(-4, 2)
            tail = file.read(4)
    if head != _PARQUET_MAGIC or tail != _PARQUET_MAGIC:
        raise AdobeConfigurationError(
            f"source {str(path)!r} is not a complete Parquet file",
            hint="Check file_format, and that the file was closed.",
        )


def _name(place: str, store: str) -> str:
    # Two folders may hold files of one name, and mapped tasks do not know each other's: the object decides,
    # alike in every try.
    digest = hashlib.sha256(f"{place}{store}".encode()).hexdigest()[:8]
    name = "".join(
        character if character.isalnum() or character in "._-=" else "_"
        for character in posixpath.basename(place)
    )
    return f"{digest}-{name}"


def _open_at(path: ObjectStoragePath, offset: int) -> IO[bytes]:
    try:
        file = cast(IO[bytes], path.open("rb"))
        if offset:
            file.seek(offset)
    except OSError as error:
        raise _refused(str(path), error, is_local(path)) from error
    return file
