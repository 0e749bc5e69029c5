# SPDX-License-Identifier: Apache-2.0
"""Files that Airflow's ``ObjectStoragePath`` reads: local, s3, gs, abfs …, each with its own connection."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from typing import IO, Any, cast

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.adobe.experience_platform import MAX_FILES
from airflow_provider_adobe_audiences.batches.ingest import SourceFile
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

Source = str | PathLike[str] | ObjectStoragePath | Sequence[str | PathLike[str] | ObjectStoragePath]

_VERSION_KEYS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "generation",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
_PARQUET_MAGIC = b"PAR1"


def resolve(source: Source, file_format: str) -> list[SourceFile]:
    """Return the files that ``source`` names, checked as far as that is possible without reading them.

    :param source: a path or glob, or a list of them. Paths may carry a connection:
        ``s3://my_conn@bucket/key``.
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :raises AdobeConfigurationError: naming the path that is missing, empty, a directory, or not of the
        format.
    """
    items: Iterable[Any] = [source] if isinstance(source, (str, PathLike, ObjectStoragePath)) else source
    if not isinstance(items, (list, tuple)) and not hasattr(items, "__iter__"):
        raise AdobeConfigurationError(
            f"source is {type(source).__name__}: give a path, a glob, or a list of them"
        )
    found: dict[str, ObjectStoragePath] = {}
    for item in items:
        for path in _expand(item):
            found[str(path)] = path
    if not found:
        raise AdobeConfigurationError(f"source {source!r} names no file")
    if len(found) > MAX_FILES:
        raise AdobeConfigurationError(
            f"source names {len(found)} files; a batch takes at most {MAX_FILES}",
            hint=(
                "Merge small files, or ingest several batches. Adobe recommends fewer than 10,000 files a "
                "batch."
            ),
        )
    return [_checked(path, file_format) for _, path in sorted(found.items())]


def _expand(item: Any) -> list[ObjectStoragePath]:
    if isinstance(item, str) and not item.strip():
        raise AdobeConfigurationError("source contains an empty path")
    if not isinstance(item, (str, PathLike, ObjectStoragePath)):
        raise AdobeConfigurationError(f"source contains {item!r}, which is not a path")
    path = item if isinstance(item, ObjectStoragePath) else ObjectStoragePath(fspath(item))
    if not any(character in path.path for character in "*?["):
        return [path]
    if path.exists():  # a file may have such a character in its name
        return [path]
    matches = [name for name in path.fs.glob(path.path) if not path.fs.isdir(name)]
    if not matches:
        raise AdobeConfigurationError(f"source {str(path)!r} matches no file")
    storage = {"conn_id": path.storage_options.get("conn_id")} if path.storage_options.get("conn_id") else {}
    prefix = f"{path.protocol}://" if path.protocol else ""
    return [ObjectStoragePath(f"{prefix}{name}", **storage) for name in sorted(matches)]


def _checked(path: ObjectStoragePath, file_format: str) -> SourceFile:
    try:
        info = path.fs.info(path.path)
    except FileNotFoundError:
        raise AdobeConfigurationError(f"source {str(path)!r} does not exist") from None
    except PermissionError:
        raise AdobeConfigurationError(f"source {str(path)!r} may not be read by this worker") from None
    if info.get("type") == "directory":
        raise AdobeConfigurationError(
            f"source {str(path)!r} is a directory",
            hint=f"Name its files with a glob, such as {str(path).rstrip('/')}/*.",
        )
    size = int(info.get("size") or 0)
    if size == 0:
        raise AdobeConfigurationError(
            f"source {str(path)!r} is empty",
            hint="Adobe refuses an empty file; skip the task when there is nothing to send.",
        )
    if file_format == "parquet":
        _check_parquet(path, size)
    version = next((f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key) is not None), "")
    return SourceFile(
        name=_name(path), size=size, version=version, open_at=lambda offset: _open_at(path, offset)
    )


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


def _name(path: ObjectStoragePath) -> str:
    # Two folders may hold files of one name, and mapped tasks do not know each other's: the path decides,
    # alike in every try.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = "".join(
        character if character.isalnum() or character in "._-=" else "_"
        for character in posixpath.basename(path.path)
    )
    return f"{digest}-{name}"


def _open_at(path: ObjectStoragePath, offset: int) -> IO[bytes]:
    file = cast(IO[bytes], path.open("rb"))
    if offset:
        file.seek(offset)
    return file
