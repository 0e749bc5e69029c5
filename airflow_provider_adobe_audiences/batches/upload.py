# SPDX-License-Identifier: Apache-2.0
"""Files go into a batch, several at a time: each in one request, or, above 256 MB, in parts that are not sent
twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, TypeVar, cast

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY, in_parallel
from airflow_provider_adobe_audiences.batches.source import SourceFile
from airflow_provider_adobe_audiences.errors import (
    AdobeResponseError,
    AdobeSourceError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    error_at,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


def fill(
    session: AdobeSession,
    batch_id: str,
    dataset_id: str,
    files: Sequence[SourceFile],
    *,
    part_size: int,
    concurrency: int = DEFAULT_CONCURRENCY,
) -> None:
    """Send files into a batch. Sent again, a whole file replaces itself; parts that have arrived are not sent
    again. The first failure stops all that is under way.

    :param session: sends the calls; used by several threads at once.
    :param batch_id: Adobe's id.
    :param dataset_id: the batch's dataset.
    :param files: what to send; they are begun in this order, the large ones last.
    :param part_size: largest part, in bytes, in which a file above 256 MB is sent.
    :param concurrency: most requests under way at the same time.
    :raises AdobeSourceError: when one changed until the last was sent.
    :raises AdobeError: when Adobe refuses, naming the file.
    """
    _Filling(session, (batch_id, dataset_id), files, part_size, concurrency).run()


class _Filling:
    """The way from files to a batch that holds them."""

    def __init__(
        self,
        session: AdobeSession,
        where: tuple[str, str],
        files: Sequence[SourceFile],
        part_size: int,
        concurrency: int,
    ) -> None:
        self._session, self._where, self._files = session, where, files
        self._part_size, self._concurrency = part_size, concurrency
        self._stopped = threading.Event()

    def run(self) -> None:
        whole = [file for file in self._files if file.size <= platform.MAX_WHOLE_FILE_BYTES]
        large = [self._large(file) for file in self._files if file.size > platform.MAX_WHOLE_FILE_BYTES]
        self._in_parallel(self._send_whole, whole)
        self._in_parallel(_LargeFile.begin, large)
        self._send_missing(large)
        fits = self._in_parallel(lambda one: one.finish(may_begin_anew=True), large)
        refused = [one for one, does in zip(large, fits, strict=True) if not does]
        # What an earlier try, or a lost response, has left does not fit after all.
        self._in_parallel(_LargeFile.begin_anew, refused)
        self._send_missing(refused)
        self._in_parallel(lambda one: one.finish(may_begin_anew=False), refused)
        self._in_parallel(SourceFile.check_unchanged, self._files)

    def _in_parallel(self, do: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return in_parallel(do, items, self._concurrency, self._stopped)

    def _large(self, file: SourceFile) -> _LargeFile:
        return _LargeFile(self._session, self._where, file, self._part_size, self._stopped)

    def _send_whole(self, file: SourceFile) -> None:
        log.info("Batch %s: sending %s (%d bytes).", self._where[0], file.name, file.size)
        content = _stoppable(file.content(), file, self._stopped)
        self._session.send(platform.upload_file(*self._where, file.name, content))
        file.check_unchanged()

    def _send_missing(self, large: Sequence[_LargeFile]) -> None:
        parts = [(one, first, length) for one in large for first, length in one.missing]
        self._in_parallel(lambda part: part[0].send_part(*part[1:]), parts)
        # Only now, with nothing under way, does the number of bytes that arrived tell which part is missing.
        self._in_parallel(_LargeFile.send_doubtful, large)


class _LargeFile:
    """A file that is sent in parts ("Batch ingestion developer guide", large files)."""

    def __init__(
        self,
        session: AdobeSession,
        where: tuple[str, str],
        file: SourceFile,
        part_size: int,
        stopped: threading.Event,
    ) -> None:
        self._session, self._file, self._stopped = session, file, stopped
        self._where = (*where, file.name)
        self._part_size = part_size
        #: The parts that have not arrived, as (first byte, length).
        self.missing: list[tuple[int, int]] = []
        self._doubtful: list[tuple[int, int]] = []
        # Whether anything was sent of which nobody knows whether it arrived.
        self._is_uncertain = False

    def begin(self) -> None:
        """Find out what an earlier try has sent; begin the file if it has not."""
        received = self._received()
        self._is_uncertain = received is not None
        if received is None:
            try:
                self._session.send(platform.initialize_file(*self._where))
            except AdobeUnknownOutcomeError:
                if self._received() is None:
                    self._session.send(platform.initialize_file(*self._where))
        self._plan(received or 0)

    def begin_anew(self) -> None:
        """Begin the file as if nothing had been sent."""
        log.warning("Batch %s: %s is sent again from its beginning.", self._where[0], self._file.name)
        self._session.send(platform.initialize_file(*self._where))
        self._plan(0)

    def _plan(self, received: int) -> None:
        """Cut what is missing, at the same bytes in every try: a part that has arrived unnoticed is replaced
        as a whole.
        """
        self.missing, self._doubtful = [], []
        size = self._file.size
        while received < size:
            end = min(size, (received // self._part_size + 1) * self._part_size)
            self.missing.append((received, end - received))
            received = end

    def send_part(self, first: int, length: int) -> None:
        try:
            self._send(first, length)
        except AdobeUnknownOutcomeError as error:
            log.warning(
                "Whether the part from byte %d on of %s arrived is not known: %s",
                first,
                self._file.name,
                error.message,
            )
            self._doubtful.append((first, length))

    def send_doubtful(self) -> None:
        """Look which parts did not arrive, and send those again."""
        for first, length in sorted(self._doubtful):
            if (self._received() or 0) <= first:
                log.warning("The part from byte %d on of %s is sent again.", first, self._file.name)
                self._send(first, length)
            self._is_uncertain = True

    def _send(self, first: int, length: int) -> None:
        content = _stoppable(self._file.content(first, length), self._file, self._stopped)
        self._session.send(platform.upload_part(*self._where, first, content))
        log.info(
            "Batch %s: bytes %d to %d of %d of %s sent.",
            self._where[0],
            first,
            first + length - 1,
            self._file.size,
            self._file.name,
        )

    def _received(self) -> int | None:
        return self._session.send(platform.get_received_bytes(*self._where))

    def finish(self, *, may_begin_anew: bool) -> bool:
        """End the file; return whether Adobe says that its parts fit. Where all of them were sent by this try
        and are known to have arrived, a refusal is an error.
        """
        held = self._received()
        if held and held < self._file.size:
            if may_begin_anew and self._is_uncertain:
                return False
            # Nothing else would tell: Adobe does not know how large the file should be.
            raise error_at(
                AdobeResponseError,
                platform.get_received_bytes(*self._where),
                f"Adobe acknowledged all {self._file.size} bytes of {self._file.name}, but has only {held}",
                hint="Run the task again: it sends the rest.",
            )
        try:
            self._session.send(platform.complete_file(*self._where))
        except AdobeValidationError as error:
            if not (may_begin_anew and self._is_uncertain):
                raise
            log.warning("%s", error.summary)
            return False
        self._file.check_unchanged()
        return True


def _stoppable(content: Content, file: SourceFile, stopped: threading.Event) -> Content:
    """Return content that ends, with an error that names its file, as soon as it is not wanted any more."""
    return replace(content, open=lambda: cast("IO[bytes]", _Stoppable(content.open, file, stopped)))


class _Stoppable:
    def __init__(
        self, open_file: Callable[[], IO[bytes]], file: SourceFile, stopped: threading.Event
    ) -> None:
        self._where, self._size, self._stopped = file.where or file.name, file.size, stopped
        self._check()
        try:
            self._file = open_file()
        except OSError as error:
            raise AdobeSourceError(f"{self._where} cannot be opened: {error}") from error

    def read(self, size: int) -> bytes:
        self._check()
        try:
            piece = self._file.read(size)
        except OSError as error:
            raise AdobeSourceError(f"{self._where} cannot be read: {error}") from error
        if not piece:
            raise AdobeSourceError(f"{self._where} ended before the {self._size} bytes that it had")
        return piece

    def close(self) -> None:
        self._file.close()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise AdobeSourceError(f"{self._where} is not sent any further: another file failed")
