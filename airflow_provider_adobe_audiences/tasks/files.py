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
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, AdobeSourceError
from airflow_provider_adobe_audiences.formats import HEAD_BYTES, PARQUET
from airflow_provider_adobe_audiences.tasks import globs
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
    refused,
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
            place = _place(path)
            found[place] = (path, found.pop(place, (path, True))[1] and is_match)
    if len(found) > MAX_FILES:
        raise AdobeConfigurationError(
            f"source names {len(found)} files; a batch takes at most {MAX_FILES}",
            hint="Merge small files, or ingest several batches. Adobe recommends fewer than 10,000 files a "
            "batch.",
        )
    files: dict[Any, SourceFile] = {}
    for place, (path, is_match) in found.items():  # in the order of the list, last named: a later row wins
        info = _info(path)
        if not info.get("size"):
            if is_match or if_empty != "fail":
                continue
            raise AdobeConfigurationError(
                f"source {str(path)!r} is empty", hint=f"Adobe refuses an empty file. {hint}"
            )
        _put(files, place, path, info, file_format)
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
            info = _info(path)
            _put(files, _place(path), path, info, file_format if info.get("size") else "")
        return list(files.values())
    except AdobeError:
        return None


def _put(
    files: dict[Any, SourceFile],
    place: tuple[str, str],
    path: ObjectStoragePath,
    info: Mapping[str, Any],
    file_format: str,
) -> None:
    """Add a file; of one that has several names the last counts."""
    same = _inode(path, info) or place
    files.pop(same, None)
    files[same] = _file(path, _name(*place), info, file_format)


def _place(path: ObjectStoragePath) -> tuple[str, str]:
    return identity(path), endpoint(path)


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
    matches = globs.matches(path, root)
    storage = {"conn_id": conn_id} if (conn_id := conn_id_of(path)) else {}
    for name in matches:
        refuse_lost_characters(name)
    prefix = f"{path.protocol}://" if path.protocol else ""
    found = [ObjectStoragePath(f"{prefix}{name}", **storage) for name in sorted(matches)]
    for match in found:
        check_allowed(match, match.path, allowed_sources)
    return [(match, True) for match in found]


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
        raise refused(str(path), error, isinstance(path, str) or is_local(path)) from error


def _info(path: ObjectStoragePath) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = path.fs.info(path.path)
    except FileNotFoundError:
        hint = "Correct the path."
        if is_local(path):
            globs.refuse_lost_link(path.path)
            hint += (
                " A file that another task has written must be in a folder that all workers reach, "
                "such as s3://conn@bucket/prefix."
            )
        raise AdobeConfigurationError(f"source {str(path)!r} does not exist", hint=hint) from None
    except OSError as error:
        if is_local(path):
            globs.refuse_lost_link(path.path)
        raise refused(str(path), error, is_local(path)) from error
    if is_local(path) and not (os.path.isfile(path.path) or os.path.isdir(path.path)):
        raise AdobeConfigurationError(
            f"source {str(path)!r} is no file", hint="A pipe, a socket or a device cannot be read twice."
        )
    if info.get("type") == "directory":
        raise AdobeConfigurationError(
            f"source {str(path)!r} is a directory",
            hint=f"Name its files with a glob, such as {globs.all_below(path, path.path)}.",
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
    if head != PARQUET or tail != PARQUET:
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
        raise refused(str(path), error, is_local(path)) from error
    return file
