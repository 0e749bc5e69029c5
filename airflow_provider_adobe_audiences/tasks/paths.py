# SPDX-License-Identifier: Apache-2.0
"""What a user's path names: local, or in a storage that Airflow's ``ObjectStoragePath`` reads, however it is
spelt; and whether a Dag's author allows it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Annotated, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import PlainValidator

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, AdobeSourceError
from airflow_provider_adobe_audiences.text import one_line, visible

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.batches.source import SourceFile

A_PATH = (str, PathLike, ObjectStoragePath)


def _names_files(value: Any) -> Any:
    if not isinstance(value, A_PATH) and (
        isinstance(value, (bytes, Mapping)) or not hasattr(value, "__iter__")
    ):
        raise ValueError("should be a path, a glob, or a list of them")
    return value


def _names_a_place(value: Any) -> Any:
    if not isinstance(value, A_PATH) or not str(value).strip():
        raise ValueError("should be a path")
    return value


#: Files to send. :func:`~airflow_provider_adobe_audiences.tasks.files.resolve` looks at each path.
Source = Annotated[
    str | PathLike[str] | ObjectStoragePath | Sequence[str | PathLike[str] | ObjectStoragePath],
    PlainValidator(_names_files),
]
#: Where to write.
Folder = Annotated[str | PathLike[str] | ObjectStoragePath, PlainValidator(_names_a_place)]

_WILDCARDS = "*?["


def storage_path(
    path: str | PathLike[str] | ObjectStoragePath, argument: str = "source", *, is_opened: bool = True
) -> ObjectStoragePath:
    """Return what a user's path names; a relative one is in the current folder.

    :param path: local, or with a protocol. Airflow 2.11 would take a relative one for one below ``/``.
    :param argument: where the path was given.
    :param is_opened: whether its storage is to be reached, and not only its name compared.
    :returns: the path, absolute if it is local.
    :raises AdobeConfigurationError: when no installed package reads that storage, or the path holds a
        character that URLs lose, so that it would name another object, or is too long.
    """
    name = str(path) if isinstance(path, ObjectStoragePath) else fspath(path)
    refuse_lost_characters(name)
    try:
        if not isinstance(path, ObjectStoragePath):
            path = ObjectStoragePath(name if "://" in name else os.path.join(os.getcwd(), name))
        if is_opened:
            path.fs  # noqa: B018  which looks for the storage's package
    except (ImportError, ValueError) as error:
        raise AdobeConfigurationError(
            f"{shown(name)} cannot be read: {one_line(str(error))}",
            hint="Install the provider of that storage, with what it needs for files.",
        ) from None
    if is_local(path):
        _refuse_too_long(before_wildcards(path.path), argument)
    return path


def _refuse_too_long(name: str, argument: str) -> None:
    try:
        os.lstat(name)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise AdobeConfigurationError(
                f"{argument} is a path of {len(name)} characters, {shown(name)}, and this machine takes no "
                "path, or no name in a path, that is so long",
                hint=f"Check what {argument} was rendered to: most file systems take names of 255 bytes and "
                "paths of 4,096. Name many files by a list or a glob.",
            ) from None


def refuse_lost_characters(name: str) -> None:
    """Refuse a path that URLs may lose a part of, or that is no text.

    :param name: the path.
    :raises AdobeConfigurationError: when it holds a control character, or a byte that is not UTF-8, or ends
        in what could begin the query or fragment of a URL.
    """
    if found := _NOT_IN_A_PATH.search(name):
        what = "a control character" if found[0] < "\x80" else "a byte that is not UTF-8"
        # A text of several lines may be rows, given for a path.
        is_text = "\n" in name or "\r" in name
        path = f"of {len(name)} characters" if is_text else visible(name)[:200]
        raise AdobeConfigurationError(
            f"the path {path} holds {what}",
            hint="Rename the file: such a path may name another one, or cannot be written down.",
        )
    if name.endswith(("?", "#")):
        raise AdobeConfigurationError(
            f"the path {shown(name)} ends with {name[-1]!r}, which would get lost: it would name another one",
            hint="At the end of a glob, name the characters that are meant, such as [0-9]. Otherwise rename "
            "the file.",
        )


_NOT_IN_A_PATH = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def refuse_source(path: ObjectStoragePath, files: Iterable[SourceFile], argument: str) -> None:
    """Refuse to write to one of the files that are read.

    :param path: what is to be written.
    :param files: the sources.
    :param argument: where the path was given.
    :raises AdobeConfigurationError: when it is one of them, however it is spelt.
    """
    place = identity(path)
    if any(identity(storage_path(file.where)) == place for file in files):
        raise AdobeConfigurationError(f"{argument} {shown(str(path))} is a source, and would be overwritten")


def refused(path: str, error: OSError, is_here: bool) -> AdobeError:
    """Return what to raise when this machine or a storage refuses. A storage may take it back: it says the
    same of a token that has run out.

    :param path: what was looked at.
    :param error: what was raised.
    :param is_here: whether it is a path of this machine.
    """
    if isinstance(error, PermissionError) and is_here:
        return AdobeConfigurationError(
            f"source {shown(path)} may not be read by this worker",
            hint="Give the worker, or the connection of the storage, the right to read it, or name the files "
            "that are meant alone; nothing was sent to Adobe.",
        )
    if error.errno == errno.ELOOP and is_here:
        return AdobeConfigurationError(
            f"source {shown(path)} is reached by too many links, or by one that leads in a circle",
            hint="Correct the link, or remove it.",
        )
    return AdobeSourceError(f"source {shown(path)} cannot be read: {one_line(error.strerror or str(error))}")


def before_wildcards(path: str) -> str:
    """Return the folder that a glob begins in; a path without wildcards as it is.

    :param path: without protocol.
    """
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(sign in part for sign in _WILDCARDS)), len(parts))
    return "/".join(parts[:first])


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether a path is of this machine.

    :param path: any.
    """
    return path.protocol in ("", "file", "local")


def identity(path: ObjectStoragePath, name: str | None = None) -> str:
    """Return the object that a path names, however it is spelt.

    :param path: any.
    :param name: another place in the same storage.
    """
    name = path.path if name is None else name
    if is_local(path):
        return f"file://{os.path.realpath(name)}"
    return f"{path.protocol}://{name.lstrip('/')}"


def endpoint(path: ObjectStoragePath) -> str:
    """Return which of several stores of one protocol a path is in: they may hold equal buckets.

    :param path: any.
    """
    return "" if is_local(path) else str(getattr(path.fs, "endpoint_url", None) or "")


def check_allowed(
    path: ObjectStoragePath, name: str, allowed_sources: Sequence[str] | None, argument: str = "source"
) -> None:
    """Refuse what lies outside of the folders that a Dag's author allows. Links are followed first.

    Two connections may be two accounts, so a folder allows only paths that name the connection that it names.

    :param path: whose storage it is.
    :param name: the place in that storage.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``; none: everything is allowed.
    :param argument: where the path was given.
    :raises AdobeConfigurationError: when it lies in none of them.
    """
    if allowed_sources is None:
        return
    if not is_local(path) and ".." in name.split("/"):
        raise AdobeConfigurationError(f"{argument} {shown(str(path))} has '..' in it: give the path itself")
    place, conn_id = identity(path, name), conn_id_of(path)
    hint = "Give a path below one of the folders that allowed_sources names."
    for allowed in allowed_sources:
        folder = storage_path(allowed, "allowed_sources", is_opened=False)
        root = identity(folder).rstrip("/")
        if place == root or place.startswith(f"{root}/"):
            if conn_id == conn_id_of(folder):
                return
            hint = (
                f"The folder is allowed with {_connection(conn_id_of(folder))}, not with "
                f"{_connection(conn_id)}: name the same one in both."
            )
    raise AdobeConfigurationError(f"{argument} {shown(str(path))} is outside of allowed_sources", hint=hint)


def conn_id_of(path: ObjectStoragePath) -> str | None:
    """Return the Airflow connection that a path is read with.

    :param path: any.
    """
    if is_local(path):
        return None
    # Airflow 3.2 has moved it.
    return getattr(path, "conn_id", None) or path.storage_options.get("conn_id") or None


def _connection(conn_id: str | None) -> str:
    return f"connection {conn_id!r}" if conn_id else "no connection named"


def shown(value: Any) -> str:
    """Return a value as messages quote it: in one line of bearable length.

    :param value: a path, or what is given in its place.
    """
    text = one_line(repr(value))
    return text if len(text) <= 200 else f"{text[:200]}…"
