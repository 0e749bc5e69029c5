# SPDX-License-Identifier: Apache-2.0
"""Files that tasks write for people: rows of customers that were left out, or that Adobe has rejected."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import IO, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeSourceError
from airflow_provider_adobe_audiences.tasks.paths import is_local

# A name in any folder: no path, no drive, no other protocol (fsspec's '::').
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:]{1,255}")


def open_private(path: ObjectStoragePath, mode: str, encoding: str | None = None) -> IO[Any]:
    """Open a file to write. One that is made on this machine can only be read by the user of the worker.

    :param path: where.
    :param mode: as for :func:`open`.
    :param encoding: of text.
    :returns: the file.
    :raises OSError: when it cannot be written.
    """
    if is_local(path):
        Path(path.path).touch(mode=0o600)
    file: IO[Any] = path.open(mode, encoding=encoding)
    return file


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
        with open_private(folder / name, "wb") as target:
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
