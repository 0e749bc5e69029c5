# SPDX-License-Identifier: Apache-2.0
"""Files that Airflow's ``ObjectStoragePath`` reads: local, s3, gs, abfs …, each with its own connection.

A file is known by what its path resolves to, however it is spelt.
"""

from __future__ import annotations

import ast
import hashlib
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import PlainValidator

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeSourceError
from airflow_provider_adobe_audiences.tasks.validation import NATIVE
from airflow_provider_adobe_audiences.text import one_line, visible

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.batches.source import SourceFile

_A_PATH = (str, PathLike, ObjectStoragePath)


def _names_files(value: Any) -> Any:
    if not isinstance(value, _A_PATH) and (
        isinstance(value, (bytes, Mapping)) or not hasattr(value, "__iter__")
    ):
        raise ValueError("should be a path, a glob, or a list of them")
    return value


def _names_a_folder(value: Any) -> Any:
    if not isinstance(value, _A_PATH) or not str(value).strip():
        raise ValueError("should be the path of a folder")
    return value


#: Files to send. :func:`resolve` looks at each path.
Source = Annotated[
    str | PathLike[str] | ObjectStoragePath | Sequence[str | PathLike[str] | ObjectStoragePath],
    PlainValidator(_names_files),
]
#: Where to write.
Folder = Annotated[str | PathLike[str] | ObjectStoragePath, PlainValidator(_names_a_folder)]

# What storages tell of an object. Whatever changes with each write is its version; a hash is its content.
_VERSION_KEYS = (
    "ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "created", "ino",
)  # fmt: skip
_HASH_KEYS = ("md5Hash", "content_md5", "crc32c", "ETag", "etag")
_WILDCARDS = "*?["
# A name in any folder: no path, no drive, no other protocol (fsspec's '::').
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:]{1,255}")
_PARQUET_MAGIC = b"PAR1"


def storage_path(path: str | PathLike[str] | ObjectStoragePath) -> ObjectStoragePath:
    """Return what a user's path names; a relative one is in the current folder.

    :param path: local, or with a protocol. Airflow 2.11 would take a relative one for one below ``/``.
    :returns: the path, absolute if it is local.
    :raises AdobeConfigurationError: when no installed package reads that storage, or the path holds a
        character that URLs lose, so that it would name another object.
    """
    name = str(path) if isinstance(path, ObjectStoragePath) else fspath(path)
    _refuse_control_characters(name)
    try:
        if not isinstance(path, ObjectStoragePath):
            path = ObjectStoragePath(name if "://" in name else os.path.join(os.getcwd(), name))
    except (ImportError, ValueError) as error:
        raise AdobeConfigurationError(
            f"{_shown(name)} cannot be read: {one_line(str(error))}",
            hint="Install the provider of that storage, with what it needs for files.",
        ) from None
    return path


def _refuse_control_characters(name: str) -> None:
    if not _CONTROL_CHARACTERS.isdisjoint(name):
        raise AdobeConfigurationError(
            f"the path {visible(name)[:200]} holds a control character",
            hint="Rename the file: a path with a tab or a line break may name another one.",
        )


_CONTROL_CHARACTERS = frozenset(map(chr, (*range(0x20), 0x7F)))


def refuse_source(path: ObjectStoragePath, files: Iterable[SourceFile], argument: str) -> None:
    """Refuse to write to one of the files that are read.

    :param path: what is to be written.
    :param files: the sources.
    :param argument: where the path was given.
    :raises AdobeConfigurationError: when it is one of them, however it is spelt.
    """
    place = _identity(path)
    if any(_identity(storage_path(file.where)) == place for file in files):
        raise AdobeConfigurationError(f"{argument} {_shown(str(path))} is a source, and would be overwritten")


def resolve(
    source: Source,
    file_format: str,
    *,
    if_empty: str = "fail",
    allowed_sources: Sequence[str] | None = None,
) -> list[SourceFile]:
    """Return the files that ``source`` names, checked as far as that is possible without reading them.

    Of what a glob matches, hidden files (``_SUCCESS``, ``.crc``, as Spark and Hive do it) and empty ones are
    left out. An object that is named twice is there once.

    :param source: a path or glob, or a list of them. Paths may carry a connection:
        ``s3://my_conn@bucket/key``.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param if_empty: with anything but ``fail``, no file, and an empty one, is no error.
    :param allowed_sources: folders, local or ``s3://bucket/prefix``; a file outside of them is refused.
    :returns: the files in a stable order; none at all only if ``if_empty`` allows it.
    :raises AdobeConfigurationError: naming the path that is missing, empty, a directory, not allowed, or not
        of the format.
    """
    from airflow_provider_adobe_audiences.adobe.experience_platform import MAX_FILES

    items: Iterable[Any] = [source] if isinstance(source, _A_PATH) else source
    found: dict[tuple[str, str], tuple[ObjectStoragePath, bool]] = {}
    for item in items:
        for path, is_match in _expand(item, if_empty, allowed_sources):
            found.setdefault((_identity(path), _endpoint(path)), (path, is_match))
    if len(found) > MAX_FILES:
        raise AdobeConfigurationError(
            f"source names {len(found)} files; a batch takes at most {MAX_FILES}",
            hint=(
                "Merge small files, or ingest several batches. Adobe recommends fewer than 10,000 files a "
                "batch."
            ),
        )
    files, inodes = [], set()
    for (identity, endpoint), (path, is_match) in sorted(found.items(), key=lambda item: item[0]):
        info = _info(path)
        inode = _inode(path, info)
        if not info.get("size") and (is_match or if_empty != "fail"):
            continue
        if inode is None or inode not in inodes:
            files.append(_file(path, _name(identity, endpoint), info, file_format))
        inodes.add(inode)
    if not files and if_empty == "fail":
        raise AdobeConfigurationError(
            f"source {_shown(source)} names no file{' that is not empty' if found else ''}",
            hint="If it is right that there is nothing today, pass if_empty='skip' or 'succeed'.",
        )
    return files


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


def write_to(folder: ObjectStoragePath, name: str, content: IO[bytes]) -> str:
    """Write a file that came from Adobe.

    :param folder: where to.
    :param name: a name that :func:`check_plain_name` accepts.
    :param content: read from its beginning.
    :returns: the path.
    :raises AdobeSourceError: when it cannot be written.
    """
    content.seek(0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as target:
            shutil.copyfileobj(content, target, 1 << 20)
    except OSError as error:
        raise AdobeSourceError(
            f"{folder / name} cannot be written: {error.strerror or error}",
            hint="Check that target is a folder that the worker may write to and that there is room, then "
            "run again.",
        ) from error
    return str(folder / name)


def check_plain_name(name: str) -> None:
    """Check a file's name that came from Adobe.

    :param name: the name.
    :raises AdobeConfigurationError: when it could lead out of its folder.
    """
    if not _PLAIN_NAME.fullmatch(name) or name in {".", ".."}:
        raise AdobeConfigurationError(
            f"Adobe lists a file of failed rows with the name {name[:200]!r}, which is not written",
            hint="Adobe has no such names: check what answers in its place.",
        )


def _expand(
    item: Any, if_empty: str, allowed_sources: Sequence[str] | None
) -> list[tuple[ObjectStoragePath, bool]]:
    """Return paths, and whether each is what a glob matched."""
    if isinstance(item, str) and not item.strip():
        raise AdobeConfigurationError("source contains an empty path")
    if isinstance(item, str) and _is_text_of_a_list(item) and not os.path.exists(item):
        raise AdobeConfigurationError(
            f"source is the text {_shown(item)}, where a list of paths is meant{NATIVE}"
        )
    if not isinstance(item, (str, PathLike, ObjectStoragePath)):
        raise AdobeConfigurationError(f"source contains {_shown(item)}, which is not a path")
    path = storage_path(item)
    root = _before_wildcards(path.path)
    check_allowed(path, root, allowed_sources)
    if root == path.path or path.exists():  # a file may have such a character in its name
        return [(path, False)]
    matches = [
        name
        for name in path.fs.glob(path.path)
        if not _is_hidden(name, path.path, root) and not path.fs.isdir(name)
    ]
    if not matches and if_empty == "fail":
        raise AdobeConfigurationError(
            f"source {str(path)!r} matches no file",
            hint="If it is right that there is nothing today, pass if_empty='skip' or 'succeed'.",
        )
    storage = {"conn_id": path.storage_options.get("conn_id")} if path.storage_options.get("conn_id") else {}
    for name in matches:
        _refuse_control_characters(name)
    prefix = f"{path.protocol}://" if path.protocol else ""
    found = [ObjectStoragePath(f"{prefix}{name}", **storage) for name in sorted(matches)]
    for match in found:
        check_allowed(match, match.path, allowed_sources)
    return [(match, True) for match in found]


def _is_text_of_a_list(text: str) -> bool:
    """Whether a template has made a text of a list."""
    try:
        return text.strip()[:1] in "[(" and isinstance(ast.literal_eval(text.strip()), list | tuple)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _before_wildcards(path: str) -> str:
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(sign in part for sign in _WILDCARDS)), len(parts))
    return "/".join(parts[:first])


def _is_hidden(name: str, pattern: str, root: str) -> bool:
    """Whether Spark and Hive would not read a match: ``_temporary/…``, ``.part.crc``; but ``_day=1/…``."""
    asked_for = posixpath.basename(pattern)[:1] in ("_", ".")
    parts = name.removeprefix(root).strip("/").split("/")
    hidden = [part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts]
    return any(hidden[:-1]) or (hidden[-1] and not asked_for)


def _is_local(path: ObjectStoragePath) -> bool:
    return path.protocol in ("", "file", "local")


def _identity(path: ObjectStoragePath, name: str | None = None) -> str:
    """Return the object that a path names, however it is spelt."""
    name = path.path if name is None else name
    if _is_local(path):
        return f"file://{os.path.realpath(name)}"
    return f"{path.protocol}://{name.lstrip('/')}"


def _endpoint(path: ObjectStoragePath) -> str:
    """Return which of several stores of one protocol a path is in: they may hold equal buckets."""
    return "" if _is_local(path) else str(getattr(path.fs, "endpoint_url", None) or "")


def check_allowed(
    path: ObjectStoragePath, name: str, allowed_sources: Sequence[str] | None, argument: str = "source"
) -> None:
    """Refuse what lies outside of the folders that a Dag's author allows. Links are followed first.

    :param path: whose storage it is.
    :param name: the place in that storage.
    :param allowed_sources: folders, local or ``s3://bucket/prefix``; none: everything is allowed.
    :param argument: where the path was given.
    :raises AdobeConfigurationError: when it lies in none of them.
    """
    if allowed_sources is None:
        return
    if not _is_local(path) and ".." in name.split("/"):
        raise AdobeConfigurationError(f"{argument} {_shown(str(path))} has '..' in it: give the path itself")
    place = _identity(path, name)
    for allowed in allowed_sources:
        root = _identity(storage_path(allowed)).rstrip("/")
        if place == root or place.startswith(f"{root}/"):
            return
    raise AdobeConfigurationError(
        f"{argument} {_shown(str(path))} is outside of allowed_sources",
        hint="Give a path below one of the folders that allowed_sources names.",
    )


def _info(path: ObjectStoragePath) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = path.fs.info(path.path)
    except FileNotFoundError:
        hint = "Correct the path; nothing was sent to Adobe."
        if _is_local(path):
            hint += (
                " A file that another task has written must be in a folder that all workers reach, "
                "such as s3://conn@bucket/prefix."
            )
        raise AdobeConfigurationError(f"source {str(path)!r} does not exist", hint=hint) from None
    except PermissionError:
        raise AdobeConfigurationError(f"source {str(path)!r} may not be read by this worker") from None
    if info.get("type") == "directory":
        raise AdobeConfigurationError(
            f"source {str(path)!r} is a directory",
            hint=f"Name its files with a glob, such as {str(path).rstrip('/')}/*.",
        )
    return info


def _inode(path: ObjectStoragePath, info: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return what hard links have in common."""
    if not _is_local(path) or int(info.get("nlink") or 1) < 2:
        return None
    found = os.stat(path.path)
    return found.st_dev, found.st_ino


def _file(path: ObjectStoragePath, name: str, info: Mapping[str, Any], file_format: str) -> SourceFile:
    from airflow_provider_adobe_audiences.batches.source import SourceFile

    size, version = _state(info)
    if size == 0:
        raise AdobeConfigurationError(
            f"source {str(path)!r} is empty",
            hint="Adobe refuses an empty file; pass if_empty='skip' when there may be nothing to send.",
        )
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
    with path.open("rb") as file:
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


def _name(identity: str, endpoint: str) -> str:
    # Two folders may hold files of one name, and mapped tasks do not know each other's: the object decides,
    # alike in every try.
    digest = hashlib.sha256(f"{identity}{endpoint}".encode()).hexdigest()[:8]
    name = "".join(
        character if character.isalnum() or character in "._-=" else "_"
        for character in posixpath.basename(identity)
    )
    return f"{digest}-{name}"


def _open_at(path: ObjectStoragePath, offset: int) -> IO[bytes]:
    file = cast(IO[bytes], path.open("rb"))
    if offset:
        file.seek(offset)
    return file


def _shown(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 200 else f"{text[:200]}…"
