# SPDX-License-Identifier: Apache-2.0
"""When a batch has ended, and whether its outcome is good enough. Nothing here asks Adobe."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_adobe_audiences.adobe.experience_platform.catalog import Batch, BatchState, get_batch
from airflow_provider_adobe_audiences.batches.source import Manifest
from airflow_provider_adobe_audiences.errors import (
    AdobeBatchLostError,
    AdobeJobFailedError,
    error_at,
)

log = logging.getLogger(__name__)

STALLED_GRACE_SECONDS = 900.0


class BatchWaiter:
    """Waits for one batch. ``stalled`` is not declared final by Adobe, so it gets a time of grace.

    :param batch_id: the batch.
    :param stalled_since: since when it is known to be stalled, in seconds since the epoch.
    """

    def __init__(self, batch_id: str, stalled_since: float | None = None) -> None:
        self.batch_id = batch_id
        self.what = f"batch {batch_id}"
        self.stalled_since = stalled_since
        self.batch: Batch | None = None
        self._grace_is_over = False

    def pending(self) -> Sequence[str]:
        """Return the batch's id until it has ended."""
        ended = self.batch is not None and (self.batch.state.is_terminal or self._grace_is_over)
        return () if ended else (self.batch_id,)

    def note(self, key: str, status: Batch, now: float) -> None:
        """Take in what Catalog shows.

        A process that begins to wait anew does not begin the time of grace anew: Catalog tells when it
        changed the batch last.

        :param key: the batch's id.
        :param status: the batch.
        :param now: seconds since the epoch.
        """
        self.batch = status
        if status.state is not BatchState.STALLED:
            self.stalled_since = None
        elif self.stalled_since is None:
            self.stalled_since = min(now, status.updated_at or now)
        self._grace_is_over = (
            self.stalled_since is not None and now - self.stalled_since >= STALLED_GRACE_SECONDS
        )

    def progress(self) -> str:
        """Return the status in a few words."""
        if self.batch is None:
            return f"Batch {self.batch_id} is not known yet."
        nobody = ", as nobody has completed it" if self.batch.state is BatchState.LOADING else ""
        return f"Batch {self.batch_id} is {self.batch.status}{nobody}."

    def result(self) -> dict[str, Any]:
        """Return the ended batch as JSON; :func:`batch_of` makes the batch of it again."""
        assert self.batch is not None
        batch, held = self.batch, Manifest.from_tags(self.batch.tags)
        return {
            **outcome(batch),
            "errors": list(batch.errors[:5]),
            "files_in": batch.files_in,
            "bytes_in": batch.bytes_in,
            "tags": held.tags() if held else {},
        }


def batch_of(result: Mapping[str, Any]) -> Batch:
    """Return the batch of :meth:`BatchWaiter.result`.

    :param result: the JSON; names that are not known are left out.
    """
    known = {name: value for name, value in result.items() if name in Batch.__dataclass_fields__}
    return Batch(id=result["batch_id"], **{**known, "errors": tuple(result.get("errors") or ())})


def outcome(batch: Batch) -> dict[str, Any]:
    """Return what operators and sensors say about a batch, as small JSON.

    :param batch: the batch.
    """
    return {
        "batch_id": batch.id,
        "external_id": batch.external_id,
        "dataset_id": batch.dataset_id,
        "status": batch.status,
        "records_in": batch.records_in,
        "records_ingested": batch.records_ingested,
        "records_failed": batch.records_failed,
    }


def check_outcome(batch: Batch, max_failed_rows: int | None) -> None:
    """Return if the outcome of ``batch`` is good enough.

    :param batch: a batch that has ended.
    :param max_failed_rows: how many rows Adobe may have rejected; ``None`` for any number.
    :raises AdobeBatchLostError: when somebody aborted it, or took it out of the dataset.
    :raises AdobeJobFailedError: when it failed, when too many rows were rejected, with Adobe's own errors, or
        when Adobe has read less than the batch was begun for.
    """
    errors = "; ".join(batch.errors[:5])
    call = get_batch(batch.id)
    about: dict[str, Any] = {
        "batch_id": batch.id,
        "external_id": batch.external_id,
        "records_failed": batch.records_failed,
    }
    if batch.is_lost:
        raise error_at(
            AdobeBatchLostError,
            call,
            f"batch {batch.id} ended as {batch.status!r}, which this task did not ask for",
            **about,
        )
    if batch.state is not BatchState.SUCCEEDED:
        raise error_at(
            AdobeJobFailedError,
            call,
            f"batch {batch.id} ended as {batch.status!r}{': ' + errors if errors else ''}",
            **about,
            hint="Correct the data, then clear the task (spread over several tasks: the one that creates the "
            "batch, with everything downstream): a new batch follows the failed one. "
            "AdobeDownloadFailedRowsOperator fetches the rows that Adobe could not read.",
        )
    held = Manifest.from_tags(batch.tags)
    if held and _less(batch.files_in, held.files) and _less(batch.bytes_in, held.bytes):
        raise completed_by_somebody_else(
            batch, f"{batch.files_in} of {held.files} files with {batch.bytes_in} of {held.bytes} bytes"
        )
    if batch.records_failed:
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
                **about,
                hint=(
                    "Fetch the rows with AdobeDownloadFailedRowsOperator, correct them and ingest them; or "
                    "raise max_failed_rows."
                ),
            )
    log.info("%s", _summary(batch))


def completed_by_somebody_else(batch: Batch, holds: str) -> AdobeJobFailedError:
    """Return the error for a batch that was completed before all files were in it.

    :param batch: the batch.
    :param holds: how much of its files it holds, in words.
    """
    return AdobeJobFailedError(
        f"batch {batch.id} ({batch.status}) holds {holds}: somebody else completed it before all were sent",
        batch_id=batch.id,
        external_id=batch.external_id,
        hint="When it has ended, take its rows out of the dataset (Batch Ingestion API: "
        f"POST /data/foundation/import/batches/{batch.id}?action=REVERT ), then clear the task that creates "
        "the batch, with everything downstream: a new batch follows it.",
    )


def _less(found: int | None, expected: int) -> bool:
    return found is not None and found < expected


def _summary(batch: Batch) -> str:
    if batch.records_in is None:
        return f"Batch {batch.id} is ingested; Adobe reports no row counts."
    return (
        f"Batch {batch.id}: {batch.records_ingested} of {batch.records_in} rows ingested, "
        f"{batch.records_failed or 0} rejected."
    )
