# SPDX-License-Identifier: Apache-2.0
"""One file goes into a batch: in one request, or, above 256 MB, in parts that are not sent twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.errors import AdobeResponseError, AdobeUnknownOutcomeError, error_at

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.batches.source import SourceFile

log = logging.getLogger(__name__)


def upload(
    session: AdobeSession, batch_id: str, dataset_id: str, file: SourceFile, *, part_size: int
) -> None:
    """Send one file. Sent again, a whole file replaces itself; parts that have arrived are not sent again.

    :param session: sends the calls.
    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file: the file.
    :param part_size: largest part, in bytes, in which a file above 256 MB is sent.
    :raises AdobeSourceError: when the file changed meanwhile.
    :raises AdobeError: when Adobe refuses.
    """
    if file.size <= platform.MAX_WHOLE_FILE_BYTES:
        session.send(platform.upload_file(batch_id, dataset_id, file.name, file.content()))
    else:
        _LargeFile(session, batch_id, dataset_id, file).send(part_size)
    file.check_unchanged()


class _LargeFile:
    """The large-file protocol for one file ("Batch ingestion developer guide")."""

    def __init__(self, session: AdobeSession, batch_id: str, dataset_id: str, file: SourceFile) -> None:
        self._session = session
        self._file = file
        self._where = (batch_id, dataset_id, file.name)

    def send(self, part_size: int) -> None:
        file, received = self._file, self._begin()
        while received < file.size:
            received = self._send_part(received, min(part_size, file.size - received))
            log.info("Batch %s: %d of %d bytes of %s sent.", self._where[0], received, file.size, file.name)
        held = self._received()
        if held and held < file.size:
            # Nothing else would tell: Adobe does not know how large the file should be.
            raise error_at(
                AdobeResponseError,
                platform.get_received_bytes(*self._where),
                f"Adobe acknowledged all {file.size} bytes of {file.name}, but has only {held}",
                hint="Run the task again: it sends the rest.",
            )
        self._session.send(platform.complete_file(*self._where))

    def _received(self) -> int | None:
        return self._session.send(platform.get_received_bytes(*self._where))

    def _begin(self) -> int:
        """Return how many bytes an earlier try has sent; begin the file if none has."""
        received = self._received()
        if received is not None:
            return received
        try:
            self._session.send(platform.initialize_file(*self._where))
        except AdobeUnknownOutcomeError:
            if self._received() is None:
                self._session.send(platform.initialize_file(*self._where))
        return 0

    def _send_part(self, first: int, length: int) -> int:
        """Send a part, and return how many bytes have arrived in all."""
        part = platform.upload_part(*self._where, first, self._file.content(first, length))
        try:
            self._session.send(part)
        except AdobeUnknownOutcomeError as error:
            arrived = self._received() or 0
            if arrived > first:
                return arrived
            log.warning("A part of %s did not arrive (%s); sending it again.", self._file.name, error.message)
            self._session.send(part)
        return first + length
