# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion in one task."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import AirflowSkipException, Context, conf

from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from airflow_provider_adobe_audiences.batches import FileFormat
from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeError,
    AdobeSourceError,
)
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry, is_permanent, with_ids
from airflow_provider_adobe_audiences.tasks.paths import Source
from airflow_provider_adobe_audiences.tasks.runs import instance_id
from airflow_provider_adobe_audiences.tasks.validation import (
    Concurrency,
    Count,
    Id,
    IfEmpty,
    PathId,
    PositiveDuration,
    Seconds,
    Template,
    Text,
)
from airflow_provider_adobe_audiences.tasks.waiting import defer_until, result_of, wait_for

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.experience_platform import Batch
    from airflow_provider_adobe_audiences.batches.ingest import BatchIngestion, BatchRequest
    from airflow_provider_adobe_audiences.batches.source import SourceFile
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

from airflow_provider_adobe_audiences.operators.experience_platform.base import (
    DEFAULT_PART_SIZE,
    NOTHING_TO_SEND,
    BatchOperator,
    PartSize,
    Percent,
    Tags,
)


class AdobeIngestBatchOperator(BatchOperator):
    """Ingest files into a dataset as one batch, and wait for the outcome.

    Exactly once: the batch carries an ``externalId`` made of sandbox, dataset, Dag, run, task and map index,
    so that a retry finds it and goes on from where it is. Files are streamed; up to 256 MB in one request,
    above that in parts.

    Returns ``{"batch_id", "external_id", "dataset_id", "status", "records_in", "records_ingested",
    "records_failed", "files", "bytes"}``, alike in blocking, deferred and resumed runs; ``batch_id`` and
    ``external_id`` are XCom keys of their own as soon as they are known.

    .. seealso:: Adobe's "Batch ingestion developer guide" and "Batch ingestion troubleshooting guide".

    :param dataset_id: id of the dataset (templated).
    :param source: a path or glob, or a list of them, that ``ObjectStoragePath`` reads: local,
        ``s3://conn@bucket/key`` … (templated). Of what a glob matches, hidden and empty files are left out.
    :param file_format: ``json``, ``csv`` or ``parquet`` (templated).
    :param is_multi_line_json: each JSON file is one array; otherwise every line is a record.
    :param if_empty: when there is nothing to send: ``fail``, ``skip`` the task, or ``succeed`` without one.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``; any other source is refused. Give
        it when ``source`` comes from somebody who may trigger the Dag.
    :param external_id: your own id for the batch, unique in the organisation (templated). Default: derived,
        as said above.
    :param tags: tags of the batch, lists of strings by name (templated).
    :param enable_error_diagnostics: ask Adobe to keep what was wrong with rejected rows.
    :param partial_ingestion_percent: share of rejected rows, 0 to 100, up to which Adobe still ingests the
        rest.
    :param max_failed_rows: how many rejected rows are acceptable in a batch that succeeds; ``None`` for any
        number (templated).
    :param part_size: bytes of a part, for files above 256 MB; at most 512,000,000.
    :param concurrency: most files, and parts of large files, that are sent at the same time, from 1 to 64.
    :param wait_for_completion: wait until Adobe has ingested the batch; otherwise return when it is handed
        over.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two polls.
    :param timeout: longest wait; the batch itself goes on, and a retry waits again.
    :param abort_on_kill: abort the batch when the task is killed, or fails for good, before the batch was
        handed over.
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*BatchOperator.template_fields, "max_failed_rows")

    def __init__(
        self,
        *,
        dataset_id: PathId | Template,
        source: Source | Template,
        file_format: FileFormat | Template = "json",
        is_multi_line_json: bool = False,
        if_empty: IfEmpty = "fail",
        allowed_sources: Sequence[str] | None = None,
        external_id: Id | Template | None = None,
        tags: Tags | Template | None = None,
        enable_error_diagnostics: bool = True,
        partial_ingestion_percent: Percent | None = None,
        max_failed_rows: Count | Template | None = 0,
        part_size: PartSize = DEFAULT_PART_SIZE,
        concurrency: Concurrency = DEFAULT_CONCURRENCY,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: Seconds = 30.0,
        timeout: PositiveDuration = timedelta(hours=6),
        abort_on_kill: bool = True,
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
        self.max_failed_rows: Any = max_failed_rows
        self.part_size = part_size
        self.concurrency = concurrency
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.abort_on_kill = abort_on_kill
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the files, or find that an earlier try has, and wait.

        :param context: the task's context.
        :returns: the batch's ids and outcome.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch
        from airflow_provider_adobe_audiences.batches.ingest import BatchIngestion
        from airflow_provider_adobe_audiences.batches.wait import BatchWaiter, batch_of, outcome

        with fail_without_retry():
            self.check_arguments()
            request = self._request(context)
            with self.hook.session() as session:
                ingestion = BatchIngestion(
                    session,
                    request,
                    part_size=self.part_size,
                    concurrency=self.concurrency,
                    on_batch=self._note(context),
                    on_filled=self._note_filled,
                    is_filled=self._is_filled,
                    first_try=self._is_first_try(context),
                    created_by=instance_id(context),
                )
                with self._aborted_if_final(context, session):
                    batch, sent = self._submit(context, session, ingestion)
                if batch is None:
                    return self._nothing_to_send(request)
                if not self.wait_for_completion:
                    judge = self._checked if batch.state.is_terminal else lambda _, batch: outcome(batch)
                    return judge(context, batch) | sent
                waiter = BatchWaiter(batch.id)
                waiter.note(batch.id, batch, time.time())
                if waiter.pending() and self.deferrable:
                    self._defer(context, batch.id, sent)
                ended = wait_for(
                    waiter,
                    lambda batch_id: session.send(get_batch(batch_id)),
                    poll_interval=self.poll_interval,
                    timeout=self.timeout,
                    log=self.log,
                )
            return self._checked(context, batch_of(ended)) | sent

    def _submit(
        self, context: Context, session: AdobeSession, ingestion: BatchIngestion
    ) -> tuple[Batch | None, dict[str, int]]:
        """Return the batch, handed over, and how much it holds; no batch when there is nothing to send."""
        from airflow_provider_adobe_audiences.batches.source import Manifest
        from airflow_provider_adobe_audiences.tasks.files import what_is_left

        files: list[SourceFile] = []
        refused: AdobeError | None = None
        try:
            files = self._files()
        except (AdobeConfigurationError, AdobeSourceError) as error:
            refused = error
        if files:
            manifest = Manifest.of(file.entry() for file in files)
            return ingestion.submit(files), manifest.counts()
        if not self._is_first_try(context):
            left = what_is_left(self.source, self.file_format, self.allowed_sources)
            if left is not None:
                if earlier := self._without_source(session, ingestion, left):
                    held = Manifest.from_tags(earlier.tags)
                    return earlier, held.counts() if held else {}
            elif refused is not None and context["ti"].try_number > 1:
                with suppress(AdobeError):
                    ingestion.find()  # to be aborted if this is the end
            if refused is None:
                ingestion.withdraw()
        if refused is not None:
            raise refused
        return None, {}

    def _without_source(
        self, session: AdobeSession, ingestion: BatchIngestion, left: Sequence[SourceFile]
    ) -> Batch | None:
        """Return the batch of an earlier try if it holds everything, and what is left of the source as it is
        now: nobody needs the rest of it any more.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import BatchState
        from airflow_provider_adobe_audiences.batches.ingest import complete

        batch = ingestion.find()
        if batch is None or batch.state in (BatchState.FAILED, BatchState.GONE):
            return None
        if not ingestion.holds(batch, left):
            return None
        if batch.state is BatchState.LOADING:
            if not self._is_filled(batch):
                return None
            complete(session, batch.id)
        ingestion.check_filled(batch)
        self.log.info("Batch %s of an earlier try holds everything: no source is needed.", batch.id)
        return batch

    def _nothing_to_send(self, request: BatchRequest) -> dict[str, Any]:
        if self.if_empty == "skip":
            raise AirflowSkipException(NOTHING_TO_SEND)
        self.log.info("%s", NOTHING_TO_SEND)
        fields = ("batch_id", "external_id", "status", "records_in", "records_ingested", "records_failed")
        return {**dict.fromkeys(fields), "dataset_id": request.dataset_id, "files": 0, "bytes": 0}

    def _defer(self, context: Context, batch_id: str, sent: dict[str, int]) -> None:
        from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

        defer_until(
            self,
            context,
            AdobeBatchTrigger,
            timeout=self.timeout,
            poll_interval=self.poll_interval,
            batch_id=batch_id,
            sandbox=self.sandbox,
            sent=sent,
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw.

        :param context: the task's context.
        :param event: what the trigger fired.
        :returns: the batch's ids and outcome.
        """
        from airflow_provider_adobe_audiences.batches.wait import batch_of

        with fail_without_retry():
            result = result_of(event, what="the batch", timeout=self.timeout)
            return self._checked(context, batch_of(result)) | dict(result.get("sent") or {})

    def _checked(self, context: Context, batch: Batch) -> dict[str, Any]:
        from airflow_provider_adobe_audiences.batches.wait import check_outcome, outcome

        found = with_ids(context, outcome(batch))
        check_outcome(batch, self.max_failed_rows)
        return found

    @contextmanager
    def _aborted_if_final(self, context: Context, session: AdobeSession) -> Iterator[None]:
        """Leave no batch loading that nobody will complete."""
        from airflow_provider_adobe_audiences.batches.ingest import abort_quietly

        try:
            yield
        except BaseException as error:  # Airflow's time-out is no Exception
            ti = context["ti"]
            retried = ti.try_number <= ti.max_tries and not is_permanent(error)
            if self._batch_id is not None and not retried:
                if self.abort_on_kill:
                    abort_quietly(session, self._batch_id)
                else:
                    self.log.warning("Batch %s is left as it is (abort_on_kill=False).", self._batch_id)
            raise

    def on_kill(self) -> None:
        """Abort the batch if it still waits for its files, and no later try works on it."""
        if not self.abort_on_kill or self._batch_id is None:
            return
        if self._memory is not None and self._memory.is_taken_over(self._batch_id):
            self.log.info("Batch %s is left alone: a later try works on it.", self._batch_id)
            return
        self.hook.abort_batch(self._batch_id)
