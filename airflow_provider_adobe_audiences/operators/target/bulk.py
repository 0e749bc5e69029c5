# SPDX-License-Identifier: Apache-2.0
"""The bulk profile update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack

from airflow.providers.common.compat.sdk import AirflowSkipException, Context, conf

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeError,
    AdobeNotFoundError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.operators.target.base import AdobeTargetOperator
from airflow_provider_adobe_audiences.profiles.options import (
    Escape,
    Key,
    OnBadRow,
    OnUnknownOutcome,
    SourceFormat,
)
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry, push_ids
from airflow_provider_adobe_audiences.tasks.paths import Source, refuse_source, storage_path
from airflow_provider_adobe_audiences.tasks.rows import Rows, RowsField, check_rows
from airflow_provider_adobe_audiences.tasks.validation import (
    Count,
    Delimiter,
    IfEmpty,
    PositiveDuration,
    Seconds,
    Template,
    Text,
)
from airflow_provider_adobe_audiences.text import one_line

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.target import ProfileBatchStatus
    from airflow_provider_adobe_audiences.batches.source import SourceFile
    from airflow_provider_adobe_audiences.profiles.parts import BadRows, Part, Parts, Table
    from airflow_provider_adobe_audiences.profiles.upload import Memory, Uploads
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

# Adobe remembers the status of the last ten uploads of a client.
_MAX_PARTS_TO_WAIT_FOR = 10


class AdobeBulkProfileUpdateOperator(AdobeTargetOperator):
    r"""Set attributes of many profiles: check and encode the rows, upload them in as few batches as Adobe
    takes, wait for the outcome.

    Every row is checked before the first request; a row that cannot be sent is named by its number (the first
    after the column names is row 1). Batches hold at most 500,000 rows and less than 50 MB.

    Returns ``{"rows", "successful", "not_found", "failed", "batches": [{"batch_id", "status_url", "rows",
    "status", …}]}``, alike in blocking, deferred and resumed runs; with ``on_bad_row="skip"`` also
    ``skipped_rows``. ``batch_ids`` is an XCom key of its own, as soon as they are known.

    .. seealso:: Adobe's page "Bulk profile update API". An empty cell leaves an attribute as it is. Adobe may
        take up to 24 hours, and may lose up to 0.1 % of a large batch.

    :param source: path or glob, or a list of them, that ``ObjectStoragePath`` reads: local,
        ``s3://conn@bucket/key`` … (templated).
    :param rows: instead of ``source``: a list of mappings from column to value, such as an upstream task
        returns (templated). Airflow shows how many there are, not what is in them; what is written into the
        Dag file itself is part of the Dag, and stored with it.
    :param file_format: ``csv`` with a first line of column names, ``json`` with one object per line, or
        ``parquet`` (templated). CSV and JSON may be compressed with gzip, or in UTF-16 with a byte order
        mark.
    :param delimiter: between the cells of a CSV file.
    :param escape: how a CSV file writes a quote within quotes: ``'\\'`` as Spark does, ``'"'`` as RFC 4180
        has it. Needed only for a file in which a quote follows a backslash.
    :param key: ``thirdPartyId``, or ``pcId`` (not with Experience Cloud ids).
    :param key_column: the column that holds it; by default the one of that name (templated).
    :param parameters: the columns to send, or column -> attribute name; by default all, under their own names
        (templated).
    :param if_empty: when there is no row to send: ``fail``, ``skip`` the task, or ``succeed`` with an empty
        result.
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``, that ``source`` may lie in; by
        default any. A path that comes from a Param is read with the worker's rights.
    :param on_bad_row: when a row cannot be sent: ``fail``, before anything is sent, or ``skip`` it
        (templated).
    :param max_bad_rows: with ``skip``: how many rows may be left out; with more, nothing is sent (templated).
    :param bad_rows_path: with ``skip``: the file, which ``ObjectStoragePath`` writes, for the rows left out
        and why, as JSON lines with their values (templated).
    :param store: where the profile token is. Read at each call; when the token is refused, once more.
    :param api_version: 2 creates profiles that are unknown; 1 counts them as not found.
    :param max_failed_rows: how many rows may fail, in all batches together; ``None`` for any number
        (templated).
    :param max_not_found: how many profiles may be unknown; ``None`` for any number (templated).
    :param show_values: let messages quote values of rows, and the result carry ids of profiles that failed.
        They identify people, and logs and XCom are no place for them by default.
    :param on_unknown_outcome: when an upload was sent and its response was lost: ``send_again`` (the rows set
        values, so the same rows twice leave the same profiles) or ``fail`` without a retry, for those who
        write the same attributes from elsewhere at the same time.
    :param wait_for_completion: wait until Adobe has taken in every batch; otherwise return when they are
        accepted.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two looks at the status.
    :param timeout: longest wait; Adobe goes on, and from Airflow 3.3 a retry waits for the same batches.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    :raises AdobeConfigurationError: on bad arguments or rows, before any request.
    """

    template_fields: Sequence[str] = (
        *AdobeOperator.template_fields,
        "source",
        "rows",
        "file_format",
        "key_column",
        "parameters",
        "on_bad_row",
        "max_bad_rows",
        "bad_rows_path",
        "max_failed_rows",
        "max_not_found",
    )

    rows = RowsField()

    def __init__(
        self,
        *,
        source: Source | Template | None = None,
        rows: Rows | Template | None = None,
        file_format: SourceFormat | Template = "csv",
        delimiter: Delimiter = ",",
        escape: Escape | None = None,
        key: Key = "thirdPartyId",
        key_column: Text | Template | None = None,
        parameters: Sequence[str] | Mapping[str, str] | Template | None = None,
        if_empty: IfEmpty = "fail",
        allowed_sources: Sequence[str] | None = None,
        on_bad_row: OnBadRow | Template = "fail",
        max_bad_rows: Count | Template | None = None,
        bad_rows_path: Text | Template | None = None,
        store: SecretStore | None = None,
        api_version: Literal[1, 2] = 2,
        max_failed_rows: Count | Template | None = 0,
        max_not_found: Count | Template | None = None,
        show_values: bool = False,
        on_unknown_outcome: OnUnknownOutcome = "send_again",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: Seconds = 60.0,
        timeout: PositiveDuration = timedelta(hours=24),
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.source: Any = source
        self.rows = rows
        self.file_format: Any = file_format
        self.delimiter = delimiter
        self.escape = escape
        self.key = key
        self.key_column: Any = key_column
        self.parameters: Any = parameters
        self.if_empty = if_empty
        self.allowed_sources = allowed_sources
        self.on_bad_row: Any = on_bad_row
        self.max_bad_rows: Any = max_bad_rows
        self.bad_rows_path: Any = bad_rows_path
        self.store = store
        self.api_version = api_version
        self.max_failed_rows: Any = max_failed_rows
        self.max_not_found: Any = max_not_found
        self.show_values = show_values
        self.on_unknown_outcome = on_unknown_outcome
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.check_constants()
        if self.deferrable and self.wait_for_completion and self.store is not None:
            self.store.reference()  # a store that the triggerer could not use is found out now

    def execute(self, context: Context) -> Any:
        """Check, upload and wait.

        :param context: the task's.
        :returns: the sums, and each batch.
        """
        from airflow_provider_adobe_audiences.profiles.encode import Columns
        from airflow_provider_adobe_audiences.profiles.parts import Parts
        from airflow_provider_adobe_audiences.profiles.wait import submitted, summary

        with fail_without_retry():
            self.check_arguments()
            self._check_together()
            code = self.hook.settings.client_code()
            columns = Columns(self.key, self.key_column or self.key, self._parameters(), self.show_values)
            with Parts(columns) as writer, self.hook.session() as session:
                parts, skipped = self._write(writer)
                uploads = self._uploads(context, session, code)
                if not parts:
                    uploads.check_nothing()
                    self._nothing_to_send()
                batches = self._upload(uploads, parts)
                push_ids(context, batch_ids=[batch["batch_id"] for batch in batches])
                if not self.wait_for_completion or not batches:
                    uploads.forget()
                    return summary([submitted(batch) for batch in batches]) | skipped
                try:
                    outcomes = self._outcomes(context, session, uploads, batches, skipped)
                except (AdobeNotFoundError, AdobeValidationError):
                    uploads.forget()  # waiting for them again cannot help
                    raise
            return self._checked_outcome(context, outcomes, skipped)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw.

        :param context: the task's.
        :param event: the trigger's.
        :returns: the sums, and each batch.
        """
        from airflow_provider_adobe_audiences.profiles.wait import WHAT
        from airflow_provider_adobe_audiences.tasks.waiting import result_of

        with fail_without_retry():
            try:
                ended = result_of(event, what=WHAT, timeout=self.timeout)
            except AdobeError as error:
                if not error.transient:
                    self._memory(context).clear()  # waiting for them again cannot help
                raise
            return self._checked_outcome(context, ended["batches"], ended.get("known", {}))

    def _memory(self, context: Context) -> Memory:
        from airflow_provider_adobe_audiences.profiles.upload import NoMemory
        from airflow_provider_adobe_audiences.tasks.record import task_record

        return task_record(context, "adobe_target_bulk_update") or NoMemory()

    def _uploads(self, context: Context, session: AdobeSession, code: str) -> Uploads:
        from airflow_provider_adobe_audiences.profiles.upload import Uploads

        return Uploads(
            submit=lambda content: self.hook.submit_profile_batch(session, content, self.api_version),
            status=lambda url: self.hook.get_profile_batch_status(session, url),
            memory=self._memory(context),
            where=f"{code}/v{self.api_version}",
            on_unknown_outcome=self.on_unknown_outcome,
        )

    def _upload(self, uploads: Uploads, parts: Sequence[Part]) -> list[dict[str, Any]]:
        return uploads.upload(parts)

    def _outcomes(
        self,
        context: Context,
        session: AdobeSession,
        uploads: Uploads,
        batches: Sequence[Mapping[str, Any]],
        skipped: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Wait until every batch has ended; each is asked for once before a task defers or sleeps."""
        from airflow_provider_adobe_audiences.profiles.wait import BatchesWait
        from airflow_provider_adobe_audiences.tasks.waiting import defer_until, wait_for

        def ask(url: str) -> ProfileBatchStatus:
            known = uploads.statuses.pop(url, None)
            return known or self.hook.get_profile_batch_status(session, url)

        waiter = BatchesWait(batches, show_values=self.show_values)
        if not self.deferrable:
            ended = wait_for(
                waiter, ask, poll_interval=self.poll_interval, timeout=self.timeout, log=self.log
            )
            return list(ended["batches"])
        # A retry often finds them ended: no need for a triggerer then.
        for url in waiter.pending():
            waiter.note(url, ask(url))
        if waiter.pending():
            from airflow_provider_adobe_audiences.triggers.target import AdobeBulkProfileUpdateTrigger

            defer_until(
                self,
                context,
                AdobeBulkProfileUpdateTrigger,
                timeout=self.timeout,
                poll_interval=self.poll_interval,
                batches=list(batches),
                ended=waiter.ended,
                store=self.store.reference() if self.store is not None else None,
                show_values=self.show_values,
                known=dict(skipped),
            )
        return list(waiter.result()["batches"])

    def _checked_outcome(
        self, context: Context, outcomes: Sequence[Mapping[str, Any]], skipped: Mapping[str, Any]
    ) -> dict[str, Any]:
        from airflow_provider_adobe_audiences.profiles.wait import check_outcome, summary

        # They have ended, well or not: whoever runs this task again wants to upload again.
        self._memory(context).clear()
        check_outcome(outcomes, self.max_failed_rows, self.max_not_found)
        result: dict[str, Any] = {**summary(outcomes), **skipped}
        self.log.info(
            "%s of %s rows are in Target's profiles; %s failed, %s were not found%s.",
            *(result[name] for name in ("successful", "rows", "failed", "not_found")),
            f", {result['skipped_rows']} were left out before" if skipped else "",
        )
        return result

    # -- rows

    def _check_together(self) -> None:
        check_rows(self.rows)
        if (self.source is None) == (self.rows is None):
            raise AdobeConfigurationError("argument 'source' or 'rows', and not both, should be given")
        given = self.max_bad_rows is not None and self.bad_rows_path is not None
        if (self.on_bad_row == "skip") != given or (
            not given and (self.max_bad_rows is not None or self.bad_rows_path is not None)
        ):
            raise AdobeConfigurationError(
                f"argument 'on_bad_row' is {self.on_bad_row!r}: with 'skip', and only then, max_bad_rows and "
                "bad_rows_path should be given"
            )

    def _parameters(self) -> Mapping[str, str] | None:
        parameters = self.parameters
        if parameters is None or isinstance(parameters, Mapping):
            return parameters
        if isinstance(parameters, str):
            raise AdobeConfigurationError(
                f"parameters is the text {parameters!r}: give a list of columns, or column -> attribute name"
            )
        return {name: name for name in parameters}

    def _write(self, writer: Parts) -> tuple[list[Part], dict[str, Any]]:
        """Return the parts, and what the result tells of rows that were left out."""
        files = self._files()
        with self._bad_rows(files) as bad_rows:
            parts = writer.write(self._tables(files), bad_rows)
        for file in files:
            file.check_unchanged()
        if self.wait_for_completion and len(parts) > _MAX_PARTS_TO_WAIT_FOR:
            raise AdobeConfigurationError(
                f"{sum(part.rows for part in parts)} rows are {len(parts)} uploads, but Adobe "
                f"remembers the status of {_MAX_PARTS_TO_WAIT_FOR} only",
                hint=(
                    "Split the source over several tasks that run one after the other, or set "
                    "wait_for_completion=False."
                ),
            )
        if self.on_bad_row != "skip":
            return parts, {}
        if bad_rows.count:
            self.log.warning("%d rows are left out: %s", bad_rows.count, bad_rows)
        return parts, {"skipped_rows": bad_rows.count}

    def _nothing_to_send(self) -> None:
        if self.if_empty == "skip":
            raise AirflowSkipException("there is no row to send")
        if self.if_empty == "fail":
            raise AdobeConfigurationError(
                "there is no row to send", hint="If that may be, set if_empty to 'skip' or 'succeed'."
            )
        self.log.info("There is no row to send.")

    @contextmanager
    def _bad_rows(self, files: Sequence[SourceFile]) -> Iterator[BadRows]:
        from airflow_provider_adobe_audiences.profiles.parts import BadRows
        from airflow_provider_adobe_audiences.tasks.output_files import open_private

        if self.on_bad_row != "skip":
            yield BadRows()
            return
        path = storage_path(self.bad_rows_path, "bad_rows_path")
        refuse_source(path, files, "bad_rows_path")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open_private(path, "w", encoding="utf-8")
        except OSError as error:
            raise AdobeConfigurationError(
                f"bad_rows_path {one_line(str(path))} cannot be written: {error.strerror or error}"
            ) from None
        with file:
            yield BadRows(self.max_bad_rows, file)

    def _files(self) -> list[SourceFile]:
        from airflow_provider_adobe_audiences.tasks.files import resolve

        if self.rows is not None:
            return []
        return resolve(
            self.source, self.file_format, if_empty=self.if_empty, allowed_sources=self.allowed_sources
        )

    def _tables(self, files: Sequence[SourceFile]) -> list[Table]:
        from airflow_provider_adobe_audiences.profiles.rows import table_of_file, table_of_rows

        if self.rows is not None:
            return [table_of_rows(self.rows)]
        return [
            table_of_file(
                lambda file=file: file.open_at(0),  # type: ignore[misc]
                self.file_format,
                file.where,
                delimiter=self.delimiter,
                escape=self.escape,
            )
            for file in files
        ]
