# SPDX-License-Identifier: Apache-2.0
"""A folder of one Dag run for files on their way: private, and removed when the run is over.

On this machine it belongs to the user of the worker alone (mode 0700; owner and links are checked, since the
temporary directory is everybody's). Workers on several machines need a ``base`` that all of them reach, such
as ``s3://my_conn@bucket/staging``, whose access its owner rules.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.tasks.paths import is_local, storage_path


def run_folder(dag_id: str, run_id: str, base: str | None = None) -> ObjectStoragePath:
    """Return the folder of a Dag run, made if it is not there.

    :param dag_id: the Dag.
    :param run_id: the run.
    :param base: where to; default: a private folder below the temporary directory of this machine.
    :raises AdobeConfigurationError: when somebody else could read or exchange its files.
    """
    folder = _place(dag_id, run_id, base)
    if not is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    local = Path(folder.path)
    if base is None:
        _make_private(local.parent)
    else:
        local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_private(local)
    return folder


def remove_run_folder(dag_id: str, run_id: str, base: str | None = None) -> None:
    """Remove the folder of a Dag run with all its files; made for a teardown task.

    :param dag_id: the Dag.
    :param run_id: the run.
    :param base: the same as for :func:`run_folder`.
    """
    folder = _place(dag_id, run_id, base)
    if not is_local(folder):
        if folder.exists():
            folder.fs.rm(folder.path, recursive=True)
        return
    shutil.rmtree(folder.path, ignore_errors=not os.path.lexists(folder.path))


def _place(dag_id: str, run_id: str, base: str | None) -> ObjectStoragePath:
    name = hashlib.sha256(f"{dag_id}\n{run_id}".encode()).hexdigest()[:24]
    root = base or f"file://{tempfile.gettempdir()}/adobe-audiences-{os.geteuid()}"
    return storage_path(root, "base") / name


def _make_private(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        wrong = "is a link or a file"
    elif found.st_uid != os.geteuid():
        wrong = "belongs to another user"
    elif found.st_mode & 0o077:
        wrong = f"has the mode {stat.S_IMODE(found.st_mode):04o}, so others may look into it"
    else:
        return
    raise AdobeConfigurationError(
        f"folder {str(folder)!r} {wrong}, and is not used for staging",
        hint="Remove it, or give another base for the staged files. Nothing was written.",
    )
