# SPDX-License-Identifier: Apache-2.0
"""Files become one batch, exactly once, however often the work is begun again.

The batch carries an ``externalId`` that every try of one task derives alike. A later try finds its batch and
goes on from where it is: files are sent (a file sent twice replaces itself), COMPLETE is repeated (Adobe
declares that safe), or there is only the outcome left to wait for. Only a batch that failed is followed by
another, whose ``externalId`` counts one up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.call import Content, Service, segment
from airflow_provider_adobe_audiences.adobe.experience_platform import Batch, BatchState
from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeConflictError,
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    error_at,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.transport import AdobeSession

log = logging.getLogger(__name__)

MANIFEST_TAG = "airflow_source_manifest"
CONTENT_TAG = "airflow_source_content"

STALLED_GRACE_SECONDS = 900.0

_LOOK_AGAIN = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to send.

    :param name: its name within the batch, unique there.
    :param size: bytes.
    :param version: something that changes when the content does, such as an ETag or a time of modification.
    :param open_at: opens it at a byte offset.
    """

    name: str
    size: int
    version: str
    open_at: Callable[[int], IO[bytes]]

    def content(self, first_byte: int = 0, length: int | None = None) -> Content:
        return Content(
            open=lambda: self.open_at(first_byte), length=self.size - first_byte if length is None else length
        )


def _identifier(value: str) -> str:
    segment(value, "the id")
    return value


class BatchRequest(BaseModel):
    """What a batch shall be. Field names are Adobe's, in snake case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    file_format: Literal["json", "csv", "parquet"] = "json"
    is_multi_line_json: bool = False
    tags: dict[str, list[str]] = Field(default_factory=dict)
    enable_error_diagnostics: bool = True
    partial_ingestion_percent: Annotated[int, Field(ge=0, le=100)] | None = None

    _checked_dataset = field_validator("dataset_id")(_identifier)

    @model_validator(mode="after")
    def _multi_line_is_json(self) -> BatchRequest:
        if self.is_multi_line_json and self.file_format != "json":
            raise ValueError(
                f"is_multi_line_json only goes with file_format 'json', not {self.file_format!r}"
            )
        return self


class BatchIngestion:
    """The steps from files to an ingested batch; each may be done again.

    :param session: sends the calls.
    :param request: what the batch shall be.
    :param part_size: largest part, in bytes, in which a file above 256 MB is sent.
    :param on_batch: is told the id of the batch as soon as it is known, so that it can be aborted.
    """

    def __init__(
        self,
        session: AdobeSession,
        request: BatchRequest,
        *,
        part_size: int = platform.MAX_WHOLE_FILE_BYTES,
        on_batch: Callable[[str], None] = lambda batch_id: None,
    ) -> None:
        self._session = session
        self._request = request
        self._part_size = part_size
        self._on_batch = on_batch

    def submit(self, files: Sequence[SourceFile]) -> Batch:
        """Return the batch that holds ``files``, completed: processing goes on at Adobe.

        :raises AdobeError: when Adobe refuses, or the source changed since its batch was completed.
        """
        batch = self.find_or_create(_fingerprints(files))
        if batch.state is not BatchState.LOADING:
            log.info(
                "Batch %s holds these files already and is %s; nothing is sent again.", batch.id, batch.status
            )
            return batch
        try:
            for number, file in enumerate(files, 1):
                log.info(
                    "Batch %s: sending file %d of %d, %s (%d bytes).",
                    batch.id,
                    number,
                    len(files),
                    file.name,
                    file.size,
                )
                self.upload(batch.id, file)
        except (AdobeValidationError, AdobeConflictError):
            # An earlier try's COMPLETE may have arrived after Catalog was read: then the batch takes no more
            # files, rightly.
            current = self._session.send(platform.get_batch(batch.id))
            if current.state in (BatchState.LOADING, BatchState.FAILED, BatchState.GONE):
                raise
            return current
        return self.complete(batch.id)

    def find_or_create(self, fingerprints: tuple[str, str] | None = None) -> Batch:
        """Return this request's batch: the one of an earlier try unless that failed, otherwise a new one.

        :param fingerprints: of the files; a batch that is still loading and holds other content is aborted
            and replaced.
        """
        number = 0
        while True:
            number += 1
            external_id = (
                self._request.external_id if number == 1 else f"{self._request.external_id}.{number}"
            )
            batch = self._find(external_id) or self._create(external_id, fingerprints)
            self._on_batch(batch.id)
            if batch.state in (BatchState.FAILED, BatchState.GONE):
                log.info(
                    "Batch %s (%s) of an earlier try is %s; a new batch follows it.",
                    batch.id,
                    external_id,
                    batch.status,
                )
            elif fingerprints and self._differs(batch, fingerprints):
                log.warning(
                    "The source changed since batch %s was begun; it is aborted and a new batch follows it.",
                    batch.id,
                )
                self._session.send(platform.abort_batch(batch.id))
            else:
                return batch

    def upload(self, batch_id: str, file: SourceFile) -> None:
        """Send one file, whole or in parts; what arrived in an earlier try is not sent again if it came in
        parts.
        """
        if file.size <= platform.MAX_WHOLE_FILE_BYTES:
            self._session.send(
                platform.upload_file(batch_id, self._request.dataset_id, file.name, file.content())
            )
        else:
            self._upload_in_parts(batch_id, file)

    def complete(self, batch_id: str) -> Batch:
        """Say that all files are there, and return the batch as it is then."""
        for pause in (0.0, *_LOOK_AGAIN):
            time.sleep(pause)
            self._session.send(platform.complete_batch(batch_id))
            batch = self._session.send(platform.get_batch(batch_id))
            if batch.state is not BatchState.LOADING:
                return batch
            log.info(
                "Batch %s is still %s although it was completed; saying so again, which is safe.",
                batch_id,
                batch.status,
            )
        return batch

    def _upload_in_parts(self, batch_id: str, file: SourceFile) -> None:
        where = (batch_id, self._request.dataset_id, file.name)
        received = self._session.send(platform.get_received_bytes(*where))
        if received is None:
            try:
                self._session.send(platform.initialize_file(*where))
            except AdobeUnknownOutcomeError:
                if self._session.send(platform.get_received_bytes(*where)) is None:
                    self._session.send(platform.initialize_file(*where))
            received = 0
        while received < file.size:
            length = min(self._part_size, file.size - received)
            try:
                self._session.send(platform.upload_part(*where, received, file.content(received, length)))
                received += length
            except AdobeUnknownOutcomeError as error:
                arrived = self._session.send(platform.get_received_bytes(*where)) or 0
                if arrived <= received:
                    log.warning(
                        "A part of %s did not arrive (%s); sending it again.", file.name, error.message
                    )
                    self._session.send(platform.upload_part(*where, received, file.content(received, length)))
                    arrived = received + length
                received = arrived
            log.info("Batch %s: %d of %d bytes of %s sent.", batch_id, received, file.size, file.name)
        held = self._session.send(platform.get_received_bytes(*where))
        if (
            held and held < file.size
        ):  # nothing else would tell: Adobe does not know how large the file should be
            raise error_at(
                AdobeResponseError,
                platform.get_received_bytes(*where),
                f"Adobe acknowledged all {file.size} bytes of {file.name}, but has only {held}",
                hint="Run the task again: it sends the rest.",
            )
        self._session.send(platform.complete_file(*where))

    def _find(self, external_id: str) -> Batch | None:
        batches = [
            batch
            for batch in self._session.send(platform.list_batches(external_id=external_id))
            if batch.external_id == external_id
        ]
        if len(batches) > 1:
            raise AdobeConflictError(
                f"{len(batches)} batches have the externalId {external_id!r}: "
                f"{', '.join(batch.id for batch in batches)}",
                hint=(
                    "externalId should be unique in an organisation. Pass another external_id, or abort the "
                    "batches that are not wanted."
                ),
            )
        if batches and batches[0].dataset_id not in (None, self._request.dataset_id):
            raise AdobeConfigurationError(
                f"batch {batches[0].id} with the externalId {external_id!r} belongs to dataset "
                f"{batches[0].dataset_id}, "
                f"not {self._request.dataset_id}"
            )
        return batches[0] if batches else None

    def _create(self, external_id: str, fingerprints: tuple[str, str] | None) -> Batch:
        request = self._request
        tags = dict(request.tags)
        if fingerprints:
            tags |= {MANIFEST_TAG: [fingerprints[0]], CONTENT_TAG: [fingerprints[1]]}
        call = platform.create_batch(
            request.dataset_id,
            input_format=request.file_format,
            is_multi_line_json=request.is_multi_line_json,
            external_id=external_id,
            tags=tags,
            enable_error_diagnostics=request.enable_error_diagnostics,
            partial_ingestion_percent=request.partial_ingestion_percent,
        )
        try:
            batch = self._session.send(call)
        except (AdobeUnknownOutcomeError, AdobeConflictError, AdobeValidationError) as error:
            if found := self._find_after(error, external_id):
                return found
            if not isinstance(error, AdobeUnknownOutcomeError):
                raise
            # It did not arrive, as far as Catalog can tell; and if it did after all, Adobe refuses the same
            # externalId.
            batch = self._session.send(call)
        log.info("Created batch %s in dataset %s (externalId %s).", batch.id, request.dataset_id, external_id)
        return batch

    def _find_after(self, error: AdobeError, external_id: str) -> Batch | None:
        for pause in (0.0, *_LOOK_AGAIN) if isinstance(error, AdobeUnknownOutcomeError) else (0.0,):
            time.sleep(pause)
            if found := self._find(external_id):
                log.info("The batch was created although its answer was lost: it is %s.", found.id)
                return found
        return None

    def _differs(self, batch: Batch, fingerprints: tuple[str, str]) -> bool:
        """Whether ``batch``, still loading, was begun with other content.

        :raises AdobeValidationError: when it is past loading, so that its content cannot be replaced.
        """
        manifest, content = (
            next(iter(batch.tags.get(tag) or []), None) for tag in (MANIFEST_TAG, CONTENT_TAG)
        )
        if batch.state is BatchState.LOADING:
            return content is not None and content != fingerprints[1]
        if manifest is not None and manifest != fingerprints[0]:
            raise AdobeValidationError(
                f"batch {batch.id} of an earlier try of this task is {batch.status}, but the source has "
                "other files or sizes now",
                hint="To ingest the new content as well, start a new Dag run, or pass another external_id.",
            )
        return False


def _fingerprints(files: Sequence[SourceFile]) -> tuple[str, str]:
    """Return one hash of names and sizes, and one that also covers the files' versions."""
    manifest = [[file.name, file.size] for file in files]
    content = [[file.name, file.size, file.version] for file in files]
    return tuple(hashlib.sha256(json.dumps(part).encode()).hexdigest() for part in (manifest, content))  # type: ignore[return-value]


class BatchWait:
    """Decides when a batch's status is final. ``stalled`` is not declared final by Adobe, so it gets a time
    of grace.
    """

    def __init__(self) -> None:
        self._stalled_since: float | None = None

    def is_over(self, batch: Batch) -> bool:
        if batch.state is not BatchState.STALLED:
            self._stalled_since = None
            return batch.state.is_terminal
        now = time.monotonic()
        self._stalled_since = self._stalled_since or now
        return now - self._stalled_since >= STALLED_GRACE_SECONDS


def check_outcome(batch: Batch, max_failed_rows: int | None) -> None:
    """Return if the outcome of ``batch`` is good enough.

    :param max_failed_rows: how many rows Adobe may have rejected; ``None`` for any number.
    :raises AdobeJobFailedError: saying why, with Adobe's own errors.
    """
    errors = "; ".join(batch.errors[:5])
    if batch.state is not BatchState.SUCCEEDED:
        raise AdobeJobFailedError(
            f"batch {batch.id} ended as {batch.status!r}{': ' + errors if errors else ''}",
            service=Service.EXPERIENCE_PLATFORM,
            call="get batch",
            method="GET",
            path=platform.get_batch(batch.id).path,
            hint="Correct the data, then clear the task: a new batch follows the failed one. "
            "AdobeDownloadFailedRowsOperator fetches the rows that Adobe could not read.",
        )
    if batch.records_failed is None:
        log.info("Adobe reports no count of rejected rows for batch %s.", batch.id)
    elif batch.records_failed:
        log.warning(
            "Batch %s: %d of %s rows were rejected: %s",
            batch.id,
            batch.records_failed,
            batch.records_in,
            errors or "no details",
        )
        if max_failed_rows is not None and batch.records_failed > max_failed_rows:
            raise AdobeJobFailedError(
                f"batch {batch.id} succeeded, but Adobe rejected {batch.records_failed} of "
                f"{batch.records_in} rows "
                f"and max_failed_rows is {max_failed_rows}{': ' + errors if errors else ''}",
                hint=(
                    "Fetch the rows with AdobeDownloadFailedRowsOperator, correct them and ingest them; or "
                    "raise max_failed_rows."
                ),
            )


def outcome(batch: Batch) -> dict[str, Any]:
    """Return what operators and triggers say about a finished batch, as small JSON."""
    return {
        "batch_id": batch.id,
        "external_id": batch.external_id,
        "dataset_id": batch.dataset_id,
        "status": batch.status,
        "records_in": batch.records_in,
        "records_ingested": batch.records_ingested,
        "records_failed": batch.records_failed,
    }


def abort_quietly(session: AdobeSession, batch_id: str) -> None:
    """Abort a batch as well as that can be done on the way out: a failure is logged."""
    try:
        session.send(platform.abort_batch(batch_id))
        log.info("Batch %s is aborted.", batch_id)
    except AdobeNotFoundError:
        log.info("Batch %s is not there to be aborted.", batch_id)
    except AdobeError as error:
        log.warning("Batch %s could not be aborted: %s", batch_id, error)
