# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform from a task: one method for each thing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.experience_platform import Audience, Batch, FailedFile
    from airflow_provider_adobe_audiences.audiences.ensure import AudienceMetadata


class AdobeExperiencePlatformHook(AdobeHook):
    """Audiences and batches of a sandbox.

    :param adobe_conn_id: connection of type ``adobe``.
    :param sandbox: another sandbox than the connection's.
    """

    hook_name = "Adobe Experience Platform"

    def ensure_audience_metadata(
        self,
        wanted: AudienceMetadata,
        *,
        is_ours: Callable[[Audience], bool] = lambda audience: False,
        remember: Callable[[dict[str, str | None]], None] = lambda known: None,
    ) -> dict[str, Any]:
        """Create the metadata of an external audience unless it exists; see
        :func:`~airflow_provider_adobe_audiences.audiences.ensure.ensure_audience_metadata`.

        :param wanted: what the audience shall be.
        :param is_ours: whether an audience was made by an earlier try of the same work.
        :param remember: is told what that earlier try needs to know.
        :returns: ``{"id", "audience_id", "name", "created"}``.
        """
        from airflow_provider_adobe_audiences.audiences.ensure import ensure_audience_metadata

        with self.session() as session:
            return ensure_audience_metadata(session, wanted, is_ours=is_ours, remember=remember)

    def get_batch(self, batch_id: str) -> Batch:
        """Return a batch as Catalog shows it now.

        :param batch_id: Adobe's id.
        :raises AdobeNotFoundError: when there is none.
        """
        return self.send(platform.get_batch(batch_id))

    def abort_batch(self, batch_id: str) -> None:
        """Abort a batch that is still loading, in seconds, since the task is being ended; a failure is
        logged, not raised. One that was handed over is left alone.

        :param batch_id: Adobe's id.
        """
        from airflow_provider_adobe_audiences.batches.ingest import abort_quietly

        with self.session(max_attempts=2, total_timeout=8, read_timeout=5) as session:
            abort_quietly(session, batch_id)

    def list_failed_files(self, batch_id: str) -> list[FailedFile]:
        """Return all files with failed rows of a batch.

        :param batch_id: Adobe's id.
        """
        files: list[FailedFile] = []
        with self.session() as session:
            while True:
                page = session.send(platform.list_failed_files(batch_id, start=len(files)))
                files += page
                if len(page) < 100:
                    return files

    def download_failed_file(
        self, batch_id: str, file_name: str, target: IO[bytes], length: int | None = None
    ) -> int:
        """Write one file of failed rows to ``target``.

        :param batch_id: Adobe's id of the batch.
        :param file_name: name of the file, from :meth:`list_failed_files`.
        :param target: an open file.
        :param length: how many there must be, from :meth:`list_failed_files`; ``None`` when Adobe did not
            say.
        :returns: the number of bytes.
        """
        with self.session() as session:
            return session.download(platform.get_failed_file(batch_id, file_name), target, length)
