# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform: audience metadata, and batch ingestion in one task or spread over workers."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, conf

from airflow_provider_adobe_audiences.adobe.experience_platform import (
    MAX_PART_BYTES,
    MAX_WHOLE_FILE_BYTES,
    Audience,
    Batch,
    BatchState,
    abort_batch,
    complete_batch,
    get_batch,
)
from airflow_provider_adobe_audiences.audiences.ensure import AudienceMetadata, IfExists
from airflow_provider_adobe_audiences.batches.ingest import (
    BatchIngestion,
    BatchRequest,
    BatchWait,
    abort_quietly,
    check_outcome,
    outcome,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeConflictError,
    AdobeError,
    AdobeSourceError,
)
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import checked
from airflow_provider_adobe_audiences.tasks.waiting import check_waiting, poll_until, result_of

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.transport import AdobeSession
    from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook
    from airflow_provider_adobe_audiences.tasks.files import Source

_CLOCK_SKEW_SECONDS = 300.0
# A name in any folder: no path, no drive, no other protocol (fsspec's '::').
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:]{1,255}")


class AdobeExperiencePlatformOperator(AdobeOperator):
    """Base of the operators of this module."""

    def hook(self) -> AdobeExperiencePlatformHook:
        from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook

        return AdobeExperiencePlatformHook(self.adobe_conn_id)


class AdobeCreateAudienceMetadataOperator(AdobeExperiencePlatformOperator):
    """Register the metadata of an external audience whose members another service, such as batch ingestion,
    brings in.

    Looks the audience up first, creates it if it is not there, reads it back. Returns ``{"id", "audienceId",
    "name", "created"}``.

    .. seealso:: Adobe's page "Create Audience API Endpoint". Adobe does not document what a second request
        with the same ``audienceId`` does; this operator never relies on it.

    :param name: name of the audience (templated).
    :param namespace: namespace of the audience; Adobe documents no list of values (templated).
    :param origin_name: where the audience comes from; Adobe documents no list of values (templated).
    :param audience_id: your id for the audience (templated). Without it the older request is sent, in which
        Adobe makes up the id, and an existing audience is found by its name, namespace and origin.
    :param description: free text (templated).
    :param if_exists: ``skip`` accepts an existing audience, ``update`` changes its name and description,
        ``fail`` fails.
    :raises AdobeConfigurationError: on bad arguments, before any request.
    """

    template_fields: Sequence[str] = (
        *AdobeOperator.template_fields,
        "name",
        "namespace",
        "origin_name",
        "audience_id",
        "description",
    )

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        origin_name: str,
        audience_id: str | None = None,
        description: str | None = None,
        if_exists: IfExists = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.namespace = namespace
        self.origin_name = origin_name
        self.audience_id = audience_id
        self.description = description
        self.if_exists = if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            wanted = checked(
                AudienceMetadata,
                {
                    "name": self.name,
                    "namespace": self.namespace,
                    "origin_name": self.origin_name,
                    "audience_id": self.audience_id,
                    "description": self.description,
                    "if_exists": self.if_exists,
                },
                type(self).__name__,
            )
            return self.hook().ensure_audience_metadata(
                wanted, is_ours=lambda audience: _made_by_this_run(audience, context)
            )


def _made_by_this_run(audience: Audience, context: Context) -> bool:
    """Whether an audience that looks as wanted can only be what an earlier try of this task made."""
    started = getattr(context.get("dag_run"), "start_date", None)
    return (
        context["ti"].try_number > 1
        and started is not None
        and audience.created_at is not None
        and audience.created_at >= started.timestamp() - _CLOCK_SKEW_SECONDS
    )


class _BatchOperator(AdobeExperiencePlatformOperator):
    """What the operators that create a batch share; see :class:`AdobeIngestBatchOperator` for the
    parameters.
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "dataset_id", "external_id", "tags")

    def __init__(
        self,
        *,
        dataset_id: str,
        file_format: str = "json",
        is_multi_line_json: bool = False,
        external_id: str | None = None,
        tags: Mapping[str, Sequence[str]] | None = None,
        enable_error_diagnostics: bool = True,
        partial_ingestion_percent: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.file_format = file_format
        self.is_multi_line_json = is_multi_line_json
        self.external_id = external_id
        self.tags = tags
        self.enable_error_diagnostics = enable_error_diagnostics
        self.partial_ingestion_percent = partial_ingestion_percent
        self._batch_id: str | None = None

    def _remember(self, batch_id: str) -> None:
        self._batch_id = batch_id

    def _request(self, context: Context, sandbox: str) -> BatchRequest:
        return checked(
            BatchRequest,
            {
                "dataset_id": self.dataset_id,
                "external_id": self.external_id or _external_id(context, sandbox, self.dataset_id),
                "file_format": self.file_format,
                "is_multi_line_json": self.is_multi_line_json,
                "tags": {name: list(values) for name, values in (self.tags or {}).items()},
                "enable_error_diagnostics": self.enable_error_diagnostics,
                "partial_ingestion_percent": self.partial_ingestion_percent,
            },
            type(self).__name__,
        )


def _external_id(context: Context, sandbox: str, dataset_id: str) -> str:
    """Return the same id in every try of one task instance, and another one anywhere else."""
    ti = context["ti"]
    identity = [sandbox, dataset_id, ti.dag_id, ti.run_id, ti.task_id, ti.map_index]
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{ti.dag_id}-{ti.task_id}")[:80]
    return f"{readable}-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}"


class AdobeIngestBatchOperator(_BatchOperator):
    """Ingest files into a dataset as one batch, and wait for the outcome.

    Exactly once: the batch carries an ``externalId`` made of Dag, run, task and map index, so that a retry
    finds it and goes on from where it is. Files are streamed; up to 256 MB in one request, above that in
    parts.

    Returns ``{"batch_id", "external_id", "dataset_id", "status", "records_in", "records_ingested",
    "records_failed", "files", "bytes"}``, alike in blocking, deferred and resumed runs.

    .. seealso:: Adobe's "Batch ingestion developer guide" and "Batch ingestion troubleshooting guide".

    :param dataset_id: id of the dataset (templated).
    :param source: a path or glob, or a list of them, that ``ObjectStoragePath`` reads: local,
        ``s3://conn@bucket/key`` … (templated).
    :param file_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each JSON file is one array; otherwise every line is a record.
    :param external_id: your own id for the batch, unique in the organisation (templated). Default: derived,
        as said above.
    :param tags: tags of the batch, lists of strings by name (templated).
    :param enable_error_diagnostics: ask Adobe to keep what was wrong with rejected rows.
    :param partial_ingestion_percent: share of rejected rows, 0 to 100, up to which Adobe still ingests the
        rest.
    :param max_failed_rows: how many rejected rows are acceptable in a batch that succeeds; ``None`` for any
        number.
    :param part_size: bytes of a part, for files above 256 MB; at most 512,000,000.
    :param wait_for_completion: wait until Adobe has ingested the batch; otherwise return when it is handed
        over.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two looks at the batch.
    :param timeout: longest wait; the batch itself goes on, and a retry waits again.
    :param abort_on_kill: abort the batch when the task is killed, or fails for good before the batch was
        handed over.
    :raises AdobeConfigurationError: on bad arguments and sources, before any request.
    """

    template_fields: Sequence[str] = (*_BatchOperator.template_fields, "source")

    def __init__(
        self,
        *,
        source: Source,
        max_failed_rows: int | None = 0,
        part_size: int = MAX_WHOLE_FILE_BYTES,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        timeout: timedelta = timedelta(hours=6),
        abort_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.max_failed_rows = max_failed_rows
        self.part_size = part_size
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.abort_on_kill = abort_on_kill

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_adobe_audiences.tasks.files import resolve

        with fail_without_retry():
            check_waiting(self.poll_interval, self.timeout)
            _check_limits(self.max_failed_rows, self.part_size)
            hook = self.hook()
            request = self._request(context, hook.settings.sandbox)
            files = resolve(self.source, request.file_format)
            sent = {"files": len(files), "bytes": sum(file.size for file in files)}
            with hook.session() as session:
                with self._aborted_if_final(context, session):
                    ingestion = BatchIngestion(
                        session, request, part_size=self.part_size, on_batch=self._remember
                    )
                    batch = ingestion.submit(files)
                if self.wait_for_completion and not batch.state.is_terminal:
                    if self.deferrable:
                        self._defer(batch.id, sent)
                    wait = BatchWait()

                    def ask() -> Batch | None:
                        current = session.send(get_batch(batch.id))
                        self.log.info("Batch %s is %s.", current.id, current.status)
                        return current if wait.is_over(current) else None

                    batch = poll_until(
                        ask, poll_interval=self.poll_interval, timeout=self.timeout, what=f"batch {batch.id}"
                    )
            if self.wait_for_completion:
                check_outcome(batch, self.max_failed_rows)
            return outcome(batch) | sent

    def _defer(self, batch_id: str, sent: dict[str, int]) -> None:
        from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

        self.defer(
            trigger=AdobeBatchTrigger(
                adobe_conn_id=self.adobe_conn_id,
                batch_id=batch_id,
                poll_interval=self.poll_interval,
                deadline=time.time() + self.timeout.total_seconds(),
                abort_on_kill=self.abort_on_kill,
                sent=sent,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw."""
        with fail_without_retry():
            batch = batch_of(event, self.timeout)
            check_outcome(batch, self.max_failed_rows)
            return outcome(batch) | dict(event["result"].get("sent") or {})

    @contextmanager
    def _aborted_if_final(self, context: Context, session: AdobeSession) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            ti = context["ti"]
            retried = ti.try_number <= ti.max_tries and not (
                isinstance(error, AdobeError) and not error.transient
            )
            if self._batch_id and self.abort_on_kill and not retried:
                abort_quietly(session, self._batch_id)
            raise

    def on_kill(self) -> None:
        if self.abort_on_kill and self._batch_id:
            self.hook().abort_batch(self._batch_id)


def _check_limits(max_failed_rows: int | None, part_size: int) -> None:
    if max_failed_rows is not None and (
        not isinstance(max_failed_rows, int) or isinstance(max_failed_rows, bool) or max_failed_rows < 0
    ):
        raise AdobeConfigurationError(
            f"argument 'max_failed_rows' is {max_failed_rows!r}: should be 0 or more, or None for any number"
        )
    if not isinstance(part_size, int) or not 1 <= part_size <= MAX_PART_BYTES:
        raise AdobeConfigurationError(
            f"argument 'part_size' is {part_size!r}: should be between 1 and {MAX_PART_BYTES} bytes"
        )


def batch_of(event: Any, timeout: timedelta) -> Batch:
    """Return the batch that the event of an :class:`AdobeBatchTrigger` tells of."""
    result = result_of(event, what="the batch", timeout=timeout)
    known = {name: value for name, value in result.items() if name in Batch.__dataclass_fields__}
    return Batch(id=result["batch_id"], **{**known, "errors": tuple(result.get("errors") or ())})


class AdobeCreateBatchOperator(_BatchOperator):
    """Create a batch that other tasks fill; see :class:`AdobeIngestBatchOperator` for the parameters. Returns
    the batch's id.

    A retry finds the batch of the earlier try.
    """

    def execute(self, context: Context) -> str:
        with fail_without_retry():
            hook = self.hook()
            request = self._request(context, hook.settings.sandbox)
            with hook.session() as session:
                return BatchIngestion(session, request).find_or_create().id


class AdobeUploadBatchFilesOperator(AdobeExperiencePlatformOperator):
    """Send files into a batch; made for ``.partial(...).expand(files=...)``. A file sent twice replaces
    itself.

    Returns ``{"files", "bytes"}``.

    :param batch_id: the batch (templated).
    :param dataset_id: the dataset that the batch belongs to (templated).
    :param files: a path or glob, or a list of them, as ``source`` of :class:`AdobeIngestBatchOperator`
        (templated).
    :param file_format: what the files are, as the batch was created for; they are checked for it as far as
        possible.
    :param part_size: bytes of a part, for files above 256 MB.
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "batch_id", "dataset_id", "files")

    def __init__(
        self,
        *,
        batch_id: str,
        dataset_id: str,
        files: Source,
        file_format: str = "json",
        part_size: int = MAX_WHOLE_FILE_BYTES,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.dataset_id = dataset_id
        self.files = files
        self.file_format = file_format
        self.part_size = part_size

    def execute(self, context: Context) -> dict[str, int]:
        from airflow_provider_adobe_audiences.tasks.files import resolve

        with fail_without_retry():
            _check_limits(None, self.part_size)
            request = checked(
                BatchRequest,
                {
                    "dataset_id": self.dataset_id,
                    "external_id": str(self.batch_id),
                    "file_format": self.file_format,
                },
                type(self).__name__,
            )
            where = get_batch(self.batch_id)  # refuses an id that would break out of the path
            files = resolve(self.files, request.file_format)
            with self.hook().session() as session:
                batch = session.send(where)
                if batch.state is not BatchState.LOADING:
                    raise AdobeConflictError(
                        f"batch {batch.id} is {batch.status} and takes no more files",
                        hint="Clear the task that creates the batch as well, so that a new batch is begun.",
                    )
                ingestion = BatchIngestion(session, request, part_size=self.part_size)
                for file in files:
                    ingestion.upload(batch.id, file)
                    self.log.info("Batch %s: sent %s (%d bytes).", batch.id, file.name, file.size)
            return {"files": len(files), "bytes": sum(file.size for file in files)}


class AdobeCompleteBatchOperator(AdobeExperiencePlatformOperator):
    """Say that all files of a batch are there, so that Adobe ingests it. Returns the batch's id; safe to
    repeat.

    :param batch_id: the batch (templated).
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "batch_id")

    def __init__(self, *, batch_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id

    def execute(self, context: Context) -> str:
        with fail_without_retry():
            self.hook().send(complete_batch(self.batch_id))
            return self.batch_id


class AdobeAbortBatchOperator(AdobeExperiencePlatformOperator):
    """Abort a batch that is still loading; made for a teardown task. One that was completed is left alone.

    Returns the batch's status afterwards.

    :param batch_id: the batch (templated).
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "batch_id")

    def __init__(self, *, batch_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id

    def execute(self, context: Context) -> str:
        with fail_without_retry(), self.hook().session() as session:
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
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "batch_id", "target")

    def __init__(self, *, batch_id: str, target: str | ObjectStoragePath, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.target = target

    def execute(self, context: Context) -> list[str]:
        import shutil
        import tempfile

        with fail_without_retry():
            hook = self.hook()
            files = [file for file in hook.list_failed_files(self.batch_id) if file.name != "_SUCCESS"]
            folder = ObjectStoragePath(self.target) / self.batch_id
            written = []
            for name in (file.name for file in files):
                if not _PLAIN_NAME.fullmatch(name) or name in {".", ".."}:
                    raise AdobeConfigurationError(
                        f"Adobe lists a file of failed rows with the name {name[:200]!r}, which is not "
                        "written",
                        hint="Adobe has no such names: check what answers in its place.",
                    )
            for file in files:
                with tempfile.TemporaryFile() as buffer:
                    size = hook.download_failed_file(self.batch_id, file.name, buffer, file.length or None)
                    buffer.seek(0)
                    try:
                        folder.mkdir(parents=True, exist_ok=True)
                        with (folder / file.name).open("wb") as target:
                            shutil.copyfileobj(buffer, target, 1 << 20)
                    except OSError as error:
                        raise AdobeSourceError(
                            f"{folder / file.name} cannot be written: {error.strerror or error}",
                            hint=(
                                "Check that target is a folder that the worker may write to and that there "
                                "is room, then run again."
                            ),
                        ) from error
                self.log.info("Wrote %s (%d bytes).", folder / file.name, size)
                written.append(str(folder / file.name))
            self.log.info("Batch %s has %d files of failed rows.", self.batch_id, len(written))
            return written
