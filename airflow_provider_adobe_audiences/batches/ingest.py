# SPDX-License-Identifier: Apache-2.0
"""Files become one batch, exactly once, however often the work is begun again.

The batch carries an ``externalId`` that every try of one task derives alike. A later try finds its batch and
goes on from where it is: files are sent (a file sent twice replaces itself), COMPLETE is repeated (Adobe
declares that safe), or there is only the outcome left to wait for. Only a batch that failed or was lost is
followed by another, whose ``externalId`` counts one up.
"""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.call import checked_segment
from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from airflow_provider_adobe_audiences.adobe.experience_platform import Batch, BatchState
from airflow_provider_adobe_audiences.batches import FileFormat
from airflow_provider_adobe_audiences.batches.source import (
    CREATED_BY_TAG,
    EXTERNAL_ID_TAG,
    Manifest,
    SourceFile,
)
from airflow_provider_adobe_audiences.batches.upload import fill
from airflow_provider_adobe_audiences.batches.wait import completed_by_somebody_else
from airflow_provider_adobe_audiences.errors import (
    AdobeBatchLostError,
    AdobeConfigurationError,
    AdobeConflictError,
    AdobeError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    error_at,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

log = logging.getLogger(__name__)

_LOOK_AGAIN = (0.5, 1.0, 2.0, 4.0)
_MAX_BEGINNINGS = 3
_ENDED = (BatchState.FAILED, BatchState.GONE)


class BatchRequest(BaseModel):
    """What a batch shall be. Field names are Adobe's, in snake case.

    :param dataset_id: where the rows go.
    :param external_id: the caller's id of the batch.
    :param file_format: what the files are.
    :param is_multi_line_json: each file is one JSON array; otherwise every line is one record.
    :param tags: lists of texts by name.
    :param enable_error_diagnostics: keep what was wrong with rejected rows.
    :param partial_ingestion_percent: share of rejected rows, in percent, up to which the batch succeeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_id: Annotated[
        str, StringConstraints(min_length=1, max_length=256), AfterValidator(checked_segment)
    ]
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    file_format: FileFormat = "json"
    is_multi_line_json: bool = False
    tags: dict[str, list[str]] = Field(default_factory=dict)
    enable_error_diagnostics: bool = True
    partial_ingestion_percent: Annotated[int, Field(ge=0, le=100)] | None = None

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
    :param concurrency: most requests under way at the same time.
    :param on_batch: is told the batch as soon as it is known.
    :param on_filled: is told the batch when it holds all files, before it is completed.
    :param is_filled: whether a try has sent all files into a batch; ``None`` if nobody knows.
    :param first_try: only ``created_by`` can have worked under this ``external_id`` before; whoever else has
        is somebody else.
    :param created_by: who creates batches here, in a word that nobody else has.
    """

    def __init__(
        self,
        session: AdobeSession,
        request: BatchRequest,
        *,
        part_size: int = platform.MAX_WHOLE_FILE_BYTES,
        concurrency: int = DEFAULT_CONCURRENCY,
        on_batch: Callable[[Batch], None] = lambda batch: None,
        on_filled: Callable[[Batch], None] = lambda batch: None,
        is_filled: Callable[[Batch], bool | None] = lambda batch: None,
        first_try: bool = False,
        created_by: str | None = None,
    ) -> None:
        self._session = session
        self._request = request
        self._part_size = part_size
        self._concurrency = concurrency
        self._on_batch = on_batch
        self._on_filled = on_filled
        self._is_filled = is_filled
        # Tells a batch that was created here from one of somebody else with the same ``externalId``.
        self._mark = created_by or uuid.uuid4().hex
        self._first_try = first_try

    def submit(self, files: Sequence[SourceFile]) -> Batch:
        """Return the batch that holds ``files``, completed: processing goes on at Adobe.

        A batch that somebody else aborts meanwhile is followed by a new one.

        :param files: everything that the batch shall hold.
        :returns: the batch as it is then.
        :raises AdobeSourceError: when a file changed while it was being sent.
        :raises AdobeError: when Adobe refuses, or the source changed since its batch was completed.
        """
        manifest = Manifest.of(file.entry() for file in files)
        for _ in range(_MAX_BEGINNINGS):
            batch = self.find_or_create(manifest)
            if batch.state is not BatchState.LOADING:
                self.check_filled(batch)
                log.info(
                    "Batch %s holds these files already and is %s; nothing is sent again.",
                    batch.id,
                    batch.status,
                )
                return batch
            try:
                fill(
                    self._session,
                    batch.id,
                    self._request.dataset_id,
                    files,
                    part_size=self._part_size,
                    concurrency=self._concurrency,
                )
                self._on_filled(batch)
                return complete(self._session, batch.id)
            except (AdobeValidationError, AdobeConflictError):
                current = self._session.send(platform.get_batch(batch.id))
                if current.state is BatchState.LOADING:
                    raise
                if current.state not in _ENDED:
                    # An earlier try's COMPLETE may have arrived after Catalog was read: then the batch takes
                    # no more files, rightly.
                    self.check_filled(current)
                    return current
                log.warning("Batch %s was %s while it was being filled.", batch.id, current.status)
        raise AdobeBatchLostError(
            f"{_MAX_BEGINNINGS} batches in a row were ended by somebody else while they were being filled, "
            f"the last one is {batch.id}",
            batch_id=batch.id,
            external_id=batch.external_id,
        )

    def check_filled(self, batch: Batch) -> None:
        """Return unless it is known that nobody has sent all files into a batch that was completed.

        :param batch: a batch that is past loading.
        :raises AdobeJobFailedError: when that is known.
        """
        if self._is_filled(batch) is False:
            raise completed_by_somebody_else(batch, "less than its files")

    def find_or_create(self, manifest: Manifest | None = None) -> Batch:
        """Return this request's batch: the one of an earlier try unless that has ended without success,
        otherwise a new one.

        :param manifest: what the batch shall hold; one that is still loading and was begun for other content
            is aborted and replaced.
        :returns: the batch.
        :raises AdobeValidationError: when a batch that was handed over holds other content.
        :raises AdobeConflictError: when somebody else has begun a batch under this ``external_id``.
        """
        for external_id, batch in self._generations():
            if batch is None:
                batch = self._create(external_id, manifest)
            elif self._is_somebody_elses(batch) and batch.state not in _ENDED:
                raise self._somebody_elses(batch)
            if batch.state in _ENDED:
                log.info("Batch %s (%s) is %s; a new batch follows it.", batch.id, external_id, batch.status)
                continue
            self._on_batch(batch)
            if manifest is None or not self._differs(batch, manifest):
                return batch
            log.warning(
                "The source changed since batch %s was begun; it is aborted and a new batch follows it.",
                batch.id,
            )
            self._session.send(platform.abort_batch(batch.id))
        raise AssertionError("the generations never end")

    def find(self) -> Batch | None:
        """Return the newest batch of this request; ``None`` when there is none."""
        newest = None
        for _, batch in self._generations():
            if batch is None:
                break
            newest = batch
        if newest is not None and newest.state not in _ENDED:
            self._on_batch(newest)
        return newest

    def holds(self, batch: Batch, left: Sequence[SourceFile]) -> bool:
        """Return whether ``batch`` was begun with what is left of the source.

        :param batch: the batch of an earlier try.
        :param left: the files that are still there of a source of which something is gone.
        :raises AdobeValidationError: when it was handed over, and was not begun with them.
        """
        held = Manifest.from_tags(batch.tags)
        if not left or (held is not None and held.holds(file.entry() for file in left)):
            return True
        if batch.state is BatchState.LOADING:
            return False
        raise AdobeValidationError(
            f"batch {batch.id} of an earlier try of this task is {batch.status}, but a part of the source is "
            "gone, and it is not known that the rest is what that batch was begun with",
            hint="Write the source again as it was and clear the task. To ingest the new content as well, "
            "start a new Dag run, or pass another external_id.",
        )

    def withdraw(self) -> None:
        """Abort the batch of an earlier try, which still waits for files: now there is nothing to send.

        :raises AdobeValidationError: when it was handed over, with the files that there were then.
        """
        batch = self.find()
        if batch is not None and batch.state not in _ENDED and self._differs(batch, Manifest.of([])):
            log.warning("The source is empty since batch %s was begun; it is aborted.", batch.id)
            self._session.send(platform.abort_batch(batch.id))

    def _generations(self) -> Iterator[tuple[str, Batch | None]]:
        """Yield the ids of this request, each with the batch that has it. The next one may be an id that
        somebody else has given: the tag tells, unless Adobe keeps none.
        """
        first = self._request.external_id
        batch = self._find(first)
        yield first, batch
        tags_are_kept = batch is None or EXTERNAL_ID_TAG in batch.tags
        for number in itertools.count(2):
            external_id = f"{first}.{number}"
            batch = self._find(external_id, check_dataset=False)
            if batch is not None and not (
                batch.tags.get(EXTERNAL_ID_TAG) == [first]
                if tags_are_kept
                else batch.dataset_id in (None, self._request.dataset_id)
            ):
                log.info("Batch %s has the externalId %s and is somebody else's.", batch.id, external_id)
                continue
            yield external_id, batch

    def _find(self, external_id: str, *, check_dataset: bool = True) -> Batch | None:
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
        if check_dataset and batches and batches[0].dataset_id not in (None, self._request.dataset_id):
            raise AdobeConfigurationError(
                f"batch {batches[0].id} with the externalId {external_id!r} belongs to dataset "
                f"{batches[0].dataset_id}, "
                f"not {self._request.dataset_id}"
            )
        return batches[0] if batches else None

    def _create(self, external_id: str, manifest: Manifest | None) -> Batch:
        request = self._request
        call = platform.create_batch(
            request.dataset_id,
            input_format=request.file_format,
            is_multi_line_json=request.is_multi_line_json,
            external_id=external_id,
            tags=request.tags
            | (manifest.tags() if manifest else {})
            | {CREATED_BY_TAG: [self._mark], EXTERNAL_ID_TAG: [request.external_id]},
            enable_error_diagnostics=request.enable_error_diagnostics,
            partial_ingestion_percent=request.partial_ingestion_percent,
        )
        try:
            batch = self._session.send(call)
        except (AdobeUnknownOutcomeError, AdobeConflictError, AdobeValidationError) as error:
            if found := self._find_after(error, external_id):
                return found
            if isinstance(error, AdobeValidationError):
                raise
            if isinstance(error, AdobeConflictError):
                raise error_at(
                    AdobeUnknownOutcomeError,
                    call,
                    f"Adobe says that a batch with the externalId {external_id!r} exists, but Catalog does "
                    f"not list it: {error.message}",
                    status=error.status,
                    request_id=error.request_id,
                    hint="Run the task again in some minutes: it looks for the batch again. If it stays "
                    "invisible, a batch of another sandbox may have this id: pass another external_id.",
                ) from error
            # It did not arrive, as far as Catalog can tell; and if it did after all, Adobe refuses the same
            # externalId.
            batch = self._session.send(call)
        log.info("Created batch %s in dataset %s (externalId %s).", batch.id, request.dataset_id, external_id)
        return batch

    def _find_after(self, error: AdobeError, external_id: str) -> Batch | None:
        # Catalog may lag behind Batch Ingestion. A 400 that is not about the externalId is worth no wait.
        patient = not isinstance(error, AdobeValidationError) or "external" in error.message.lower()
        for pause in (0.0, *_LOOK_AGAIN) if patient else (0.0,):
            time.sleep(pause)
            if found := self._find(external_id):
                mine = self._request.external_id
                is_told = CREATED_BY_TAG in found.tags
                if found.tags.get(EXTERNAL_ID_TAG, [mine]) != [mine] or (
                    is_told and self._is_somebody_elses(found)
                ):
                    raise self._somebody_elses(found)
                log.info(
                    "The batch was created although the response was: %s It is %s.", error.message, found.id
                )
                return found
        return None

    def _differs(self, batch: Batch, manifest: Manifest) -> bool:
        """Whether ``batch``, still loading, was begun with other content.

        :raises AdobeValidationError: when it is past loading, so that its content cannot be replaced.
        """
        held = Manifest.from_tags(batch.tags)
        difference = held.difference(manifest) if held else None
        if difference and batch.state is not BatchState.LOADING:
            raise AdobeValidationError(
                f"batch {batch.id} of an earlier try of this task is {batch.status}, but the source has "
                f"{difference}",
                hint="To ingest the new content as well, start a new Dag run, or pass another external_id.",
            )
        return difference is not None

    def _is_somebody_elses(self, batch: Batch) -> bool:
        return self._first_try and batch.tags.get(CREATED_BY_TAG) != [self._mark]

    def _somebody_elses(self, batch: Batch) -> AdobeConflictError:
        return AdobeConflictError(
            f"batch {batch.id} ({batch.status}) has the externalId {batch.external_id!r} of this task, "
            "although this is its first try: a Dag run of this run id was deleted and triggered again, or "
            "another Airflow deployment with the same Dag uses this sandbox",
            hint="To ingest anew, trigger a run with another run id, or set the field 'deployment' of the "
            "connection to a name of this Airflow's own. To take over the batch, clear the task.",
        )


def complete(session: AdobeSession, batch_id: str) -> Batch:
    """Say that all files are there.

    :param session: sends the calls.
    :param batch_id: Adobe's id.
    :returns: the batch as it is then.
    """
    for pause in (0.0, *_LOOK_AGAIN):
        time.sleep(pause)
        session.send(platform.complete_batch(batch_id))
        batch = session.send(platform.get_batch(batch_id))
        if batch.state is not BatchState.LOADING:
            return batch
        log.info(
            "Batch %s is still %s although it was completed; saying so again, which is safe.",
            batch_id,
            batch.status,
        )
    return batch


def abort_quietly(session: AdobeSession, batch_id: str) -> None:
    """Abort a batch that is still loading, as well as that can be done on the way out: a failure is logged.

    One that was handed over is left alone: its rows may be in the dataset.

    :param session: sends the calls.
    :param batch_id: Adobe's id.
    """
    try:
        batch = session.send(platform.get_batch(batch_id))
        if batch.state is not BatchState.LOADING:
            log.info("Batch %s is %s and is left alone.", batch.id, batch.status)
            return
        session.send(platform.abort_batch(batch_id))
        log.info("Batch %s is aborted.", batch_id)
    except AdobeNotFoundError:
        log.info("Batch %s is not there to be aborted.", batch_id)
    except AdobeError as error:
        log.warning("Batch %s could not be aborted, and may be left loading: %s", batch_id, error)
