# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion spread over several tasks, and the rows that Adobe rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from airflow.providers.common.compat.sdk import AirflowSkipException, Context

from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from airflow_provider_adobe_audiences.batches import FileFormat
from airflow_provider_adobe_audiences.errors import (
    AdobeConflictError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry, push_ids, with_ids
from airflow_provider_adobe_audiences.tasks.paths import Folder, Source, storage_path
from airflow_provider_adobe_audiences.tasks.runs import TaskMemory, instance_id
from airflow_provider_adobe_audiences.tasks.validation import (
    Concurrency,
    Id,
    PathId,
    Template,
    Text,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.call import Call
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.experience_platform import Batch
    from airflow_provider_adobe_audiences.batches.source import SourceFile
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

from airflow_provider_adobe_audiences.operators.experience_platform.base import (
    DEFAULT_PART_SIZE,
    NOTHING_TO_SEND,
    AdobeExperiencePlatformOperator,
    BatchOperator,
    PartSize,
    Percent,
    SourceOperator,
    Tags,
    Uploads,
)


class AdobeCreateBatchOperator(BatchOperator):
    """Create a batch that other tasks fill. Returns the batch's id; ``batch_id`` and ``external_id`` are XCom
    keys of their own, too.

    The batch remembers names, sizes and content of its files, so that :class:`AdobeCompleteBatchOperator` can
    refuse what is missing or surplus. A retry, or a cleared task, finds the batch of the earlier try; if that
    has failed or was aborted, or the files have changed before it was completed, a new one follows.

    :param dataset_id: id of the dataset (templated).
    :param source: all files that the uploads will send, as in :class:`AdobeIngestBatchOperator` (templated).
    :param file_format: ``json``, ``csv`` or ``parquet`` (templated).
    :param is_multi_line_json: each JSON file is one array; otherwise every line is a record.
    :param if_empty: when there is nothing to send: ``fail`` or ``skip`` the task.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``; any other source is refused.
    :param external_id: your own id for the batch, unique in the organisation (templated). Default: derived
        from sandbox, dataset, Dag, run, task and map index.
    :param tags: tags of the batch, lists of strings by name (templated).
    :param enable_error_diagnostics: ask Adobe to keep what was wrong with rejected rows.
    :param partial_ingestion_percent: share of rejected rows, 0 to 100, up to which Adobe still ingests the
        rest.
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    _empty_hint = "if_empty='skip'"

    def __init__(
        self,
        *,
        dataset_id: PathId | Template,
        source: Source | Template,
        file_format: FileFormat | Template = "json",
        is_multi_line_json: bool = False,
        if_empty: Literal["fail", "skip"] = "fail",
        allowed_sources: Sequence[str] | None = None,
        external_id: Id | Template | None = None,
        tags: Tags | Template | None = None,
        enable_error_diagnostics: bool = True,
        partial_ingestion_percent: Percent | None = None,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.dataset_id = dataset_id
        self.source = source
        self.file_format = file_format
        self.is_multi_line_json = is_multi_line_json
        self.if_empty = if_empty
        self.allowed_sources = allowed_sources
        self.external_id = external_id
        self.tags = tags
        self.enable_error_diagnostics = enable_error_diagnostics
        self.partial_ingestion_percent = partial_ingestion_percent
        self.check_constants()

    def execute(self, context: Context) -> str:
        """Create the batch, or find it.

        :param context: the task's context.
        :returns: its id.
        :raises AirflowSkipException: when there is nothing to send and ``if_empty`` is ``skip``.
        """
        from airflow_provider_adobe_audiences.batches.ingest import BatchIngestion
        from airflow_provider_adobe_audiences.batches.source import Manifest

        with fail_without_retry():
            self.check_arguments()
            request = self._request(context)
            files = self._files()
            if not files:
                raise AirflowSkipException(NOTHING_TO_SEND)
            manifest = Manifest.of(file.entry() for file in files)
            with self.hook.session() as session:
                ingestion = BatchIngestion(
                    session,
                    request,
                    on_batch=self._note(context),
                    first_try=self._is_first_try(context),
                    created_by=instance_id(context),
                )
                return ingestion.find_or_create(manifest).id


class AdobeUploadBatchFilesOperator(SourceOperator):
    """Send files into a batch; made for ``.partial(...).expand(source=...)``. A file sent twice replaces
    itself.

    Returns ``{"batch_id", "map_index", "files", "bytes", "manifest"}`` for
    :class:`AdobeCompleteBatchOperator`; the manifest has name, size and fingerprint of each file.

    :param batch_id: the batch (templated).
    :param dataset_id: the dataset that the batch belongs to (templated).
    :param source: a path or glob, or a list of them, as in :class:`AdobeIngestBatchOperator` (templated).
    :param file_format: what the files are, as the batch was created for; they are checked for it as far as
        possible (templated).
    :param is_multi_line_json: each JSON file is one array; otherwise every line is a record.
    :param if_empty: when there is nothing to send: ``fail``, or ``succeed`` with no file. There is no
        ``skip``: what completes the batch would be skipped, too, and the files of other uploads lost.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``; any other source is refused.
    :param part_size: bytes of a part, for files above 256 MB.
    :param concurrency: most files, and parts of large files, that are sent at the same time, from 1 to 64.
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*SourceOperator.template_fields, "batch_id")
    _empty_hint = "if_empty='succeed'"

    def __init__(
        self,
        *,
        batch_id: PathId | Template,
        dataset_id: PathId | Template,
        source: Source | Template,
        file_format: FileFormat | Template = "json",
        is_multi_line_json: bool = False,
        if_empty: Literal["fail", "succeed"] = "fail",
        allowed_sources: Sequence[str] | None = None,
        part_size: PartSize = DEFAULT_PART_SIZE,
        concurrency: Concurrency = DEFAULT_CONCURRENCY,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batch_id: Any = batch_id
        self.dataset_id = dataset_id
        self.source = source
        self.file_format = file_format
        self.is_multi_line_json = is_multi_line_json
        self.if_empty = if_empty
        self.allowed_sources = allowed_sources
        self.part_size = part_size
        self.concurrency = concurrency
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the files, unless the batch was handed over: then it holds them.

        :param context: the task's context.
        :returns: what the batch holds of this task.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch
        from airflow_provider_adobe_audiences.batches.complete import upload_result

        with fail_without_retry():
            self.check_arguments()
            where = get_batch(self.batch_id)  # refuses an id that would break out of the path
            files = self._files()
            result = with_ids(
                context, upload_result(self.batch_id, cast(int, context["ti"].map_index), files)
            )
            with self.hook.session() as session:
                self._send(context, session, where, files)
            return result

    def _send(
        self, context: Context, session: AdobeSession, where: Call[Batch], files: Sequence[SourceFile]
    ) -> None:
        from airflow_provider_adobe_audiences.batches.upload import fill
        from airflow_provider_adobe_audiences.batches.wait import completed_by_somebody_else

        memory = TaskMemory(context)
        is_first_try = context["ti"].try_number == 1
        batch = session.send(where)
        holds = "nothing of this task" if is_first_try else "not all files of this task"
        if self._takes_files(batch):
            memory.take(batch.id, is_filled=False)
            try:
                fill(
                    session,
                    batch.id,
                    self.dataset_id,
                    files,
                    part_size=self.part_size,
                    concurrency=self.concurrency,
                )
            except (AdobeValidationError, AdobeConflictError):
                batch = session.send(where)
                if self._takes_files(batch):
                    raise
                holds = "not all files of this task"
            else:
                memory.take(batch.id, is_filled=True)
                return
        # If an earlier try has filled it, the completing task has handed it over, and has compared.
        if is_first_try or memory.is_filled(batch.id) is False:
            raise completed_by_somebody_else(batch, holds)

    def _takes_files(self, batch: Batch) -> bool:
        """Whether files may be sent; otherwise the batch holds them, and the completing task compares."""
        from airflow_provider_adobe_audiences.adobe.experience_platform import BatchState

        if batch.state in (BatchState.FAILED, BatchState.GONE):
            raise AdobeConflictError(
                f"batch {batch.id} is {batch.status} and takes no more files",
                hint="Clear the task that creates the batch as well, with everything downstream, so that a "
                "new batch is begun.",
            )
        if batch.state is not BatchState.LOADING:
            self.log.info("Batch %s is %s already; nothing is sent.", batch.id, batch.status)
        return batch.state is BatchState.LOADING


class AdobeCompleteBatchOperator(AdobeExperiencePlatformOperator):
    """Say that all files of a batch are there, so that Adobe ingests it. Returns the batch's id; safe to
    repeat.

    Compares first what the uploads have sent with what the batch was created for: a file that is missing,
    surplus or went into another batch is an error, and nothing is ingested.

    :param batch_id: the batch (templated).
    :param uploads: the output of :class:`AdobeUploadBatchFilesOperator`, mapped or not:
        ``uploads=upload.output`` (templated).
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*AdobeExperiencePlatformOperator.template_fields, "batch_id", "uploads")

    def __init__(
        self,
        *,
        batch_id: PathId | Template,
        uploads: Uploads | Template,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batch_id: Any = batch_id
        self.uploads: Any = uploads
        self.check_constants()

    def execute(self, context: Context) -> str:
        """Compare, and complete the batch.

        :param context: the task's context.
        :returns: the batch's id.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import BatchState, get_batch
        from airflow_provider_adobe_audiences.batches.complete import check_batch, check_uploads, uploads_of
        from airflow_provider_adobe_audiences.batches.ingest import complete

        with fail_without_retry():
            self.check_arguments()
            where = get_batch(self.batch_id)  # refuses an id that would break out of the path
            uploads = uploads_of(self.uploads)
            sent = check_uploads(self.batch_id, uploads)
            with self.hook.session() as session:
                batch = session.send(where)
                check_batch(batch, sent, uploads)
                if batch.state is BatchState.LOADING:
                    batch = complete(session, batch.id)
            self.log.info(
                "Batch %s with %d files (%d bytes) is complete, and %s.",
                batch.id,
                sent.files,
                sent.bytes,
                batch.status,
            )
            push_ids(context, batch_id=batch.id, external_id=batch.external_id)
            return batch.id


class AdobeAbortBatchOperator(AdobeExperiencePlatformOperator):
    """Abort a batch that is still loading; made for a teardown task. One that was completed is left alone.

    Returns the batch's status afterwards.

    :param batch_id: the batch (templated).
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*AdobeExperiencePlatformOperator.template_fields, "batch_id")

    def __init__(
        self,
        *,
        batch_id: PathId | Template,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batch_id: Any = batch_id
        self.check_constants()

    def execute(self, context: Context) -> str:
        """Abort the batch if it is loading.

        :param context: the task's context.
        :returns: its status.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import (
            BatchState,
            abort_batch,
            get_batch,
        )

        with fail_without_retry():
            self.check_arguments()
            with self.hook.session() as session:
                batch = session.send(get_batch(self.batch_id))
                if batch.state is BatchState.LOADING:
                    session.send(abort_batch(batch.id))
                    batch = session.send(get_batch(batch.id))
            self.log.info("Batch %s is %s.", batch.id, batch.status)
            return batch.status


class AdobeDownloadFailedRowsOperator(AdobeExperiencePlatformOperator):
    """Fetch the rows of a batch that Adobe rejected, with its reasons, into a folder. Returns the files'
    paths.

    .. seealso:: Adobe's "Retrieve failed batches" and "Error diagnostics".

    :param batch_id: the batch (templated).
    :param target: folder that ``ObjectStoragePath`` writes to: local, ``s3://conn@bucket/prefix`` …
        (templated).
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*AdobeExperiencePlatformOperator.template_fields, "batch_id", "target")

    def __init__(
        self,
        *,
        batch_id: PathId | Template,
        target: Folder | Template,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batch_id: Any = batch_id
        self.target: Any = target
        self.check_constants()

    def execute(self, context: Context) -> list[str]:
        """Fetch every file.

        :param context: the task's context.
        :returns: where they are now.
        :raises AdobeConflictError: when the batch has not ended.
        """
        import tempfile

        from airflow_provider_adobe_audiences.adobe.experience_platform import BatchState
        from airflow_provider_adobe_audiences.tasks.output_files import check_plain_name, write_to

        with fail_without_retry():
            self.check_arguments()
            batch = self.hook.get_batch(self.batch_id)
            if not batch.state.is_terminal and batch.state is not BatchState.STALLED:
                raise AdobeConflictError(
                    f"batch {batch.id} is {batch.status}: which rows it rejects is not known yet",
                    hint="Wait for it with AdobeBatchSensor first.",
                )
            files = [file for file in self.hook.list_failed_files(self.batch_id) if file.name != "_SUCCESS"]
            for file in files:
                check_plain_name(file.name)
            folder = storage_path(self.target, "target") / self.batch_id
            written = []
            for file in files:
                with tempfile.TemporaryFile() as buffer:
                    size = self.hook.download_failed_file(
                        self.batch_id, file.name, buffer, file.length or None
                    )
                    written.append(write_to(folder, file.name, buffer))
                self.log.info("Wrote %s (%d bytes).", written[-1], size)
            self.log.info("Batch %s has %d files of failed rows.", self.batch_id, len(written))
            return written
