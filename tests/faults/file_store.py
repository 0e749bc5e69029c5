# SPDX-License-Identifier: Apache-2.0
"""A secret store in a file. Before and after each operation it knocks at the emulator, so that a task can be
killed right there.
"""

from __future__ import annotations

import contextlib
import os
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_adobe_audiences.rotation.stores import SecretStore

#: Paths of the emulator that mean nothing to it.
KNOCK = "/store/"


class FileStore(SecretStore):
    def __init__(self, path: str, url: str) -> None:
        self._path, self._url = Path(path), url

    def __str__(self) -> str:
        return "the test's store"

    def _knock(self, moment: str) -> None:
        with (
            contextlib.suppress(OSError, HTTPException),
            contextlib.closing(HTTPConnection(urlsplit(self._url).netloc, timeout=5)) as http,
        ):
            http.request("GET", f"{KNOCK}{moment}")
            http.getresponse().read()

    def _read(self) -> str | None:
        self._knock("before-read")
        value = self._path.read_text() if self._path.exists() else None
        self._knock("after-read")
        return value

    def _write(self, secret: str) -> None:
        self._knock("before-write")
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_text(secret)
        new.replace(self._path)
        self._knock("after-write")

    def _prove_writable(self) -> None:
        self._knock("before-proof")
        proof = self._path.with_suffix(f".proof{os.getpid()}")
        proof.write_text("")
        proof.unlink()
