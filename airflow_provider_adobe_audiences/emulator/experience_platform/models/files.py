# SPDX-License-Identifier: Apache-2.0
"""Uploaded files: streamed to disk, never held in memory."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import ClientDisconnect, Request


@dataclass
class StoredFile:
    """A file of a batch."""

    name: str
    path: Path
    size: int = 0
    #: False: a large file whose COMPLETE has not come yet.
    complete: bool = True
    #: The parts of a large file that have come in whole, as (first byte, last byte).
    parts: list[tuple[int, int]] = field(default_factory=list)

    def received(self) -> int:
        """Return how many bytes have come in without a gap from the start."""
        end = 0
        for first, last in sorted(self.parts):
            if first > end:
                break
            end = max(end, last + 1)
        return end

    def received_in_all(self) -> int:
        """Return how many bytes have come in, wherever they belong."""
        return sum(last + 1 - first for first, last in set(self.parts))

    def gap_or_overlap(self) -> str | None:
        """Return what is wrong with the parts, if anything."""
        end = 0
        for first, last in sorted(self.parts):
            if first > end:
                return f"bytes {end}-{first - 1} are missing"
            if first < end:
                return f"bytes {first}-{min(last, end - 1)} were sent twice"
            end = last + 1
        return None if end else "no part was sent"


class Disk:
    """A temporary folder. The names of files there are numbers: nothing of a request gets into a path."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._folder: Path | None = None

    def place(self) -> Path:
        """Return a place for a new file."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="adobe-emulator-"))
        return self._folder / str(next(self._numbers))

    def clear(self) -> None:
        """Remove all files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class TooLargeError(Exception):
    """More bytes came than allowed."""


async def receive(request: Request, path: Path, limit: int = 0, offset: int = 0) -> int:
    """Write the body of a request to a file, from ``offset`` on, and return how many bytes it had.

    :param path: the file.
    :param limit: maximum number of bytes; 0: no limit.
    :param offset: byte to begin at.
    :raises TooLargeError: when there are more.
    :raises starlette.requests.ClientDisconnect: when the client went away in the middle.
    """
    received = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        # Chunks go from the socket into the page cache without a detour: a thread would cost more than the
        # write.
        async for chunk in request.stream():
            received += len(chunk)
            if limit and received > limit:
                raise TooLargeError
            view = memoryview(chunk)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
    finally:
        os.close(descriptor)
    return received


__all__ = ["ClientDisconnect", "Disk", "StoredFile", "TooLargeError", "receive"]
