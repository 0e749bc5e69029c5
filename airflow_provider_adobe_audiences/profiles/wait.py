# SPDX-License-Identifier: Apache-2.0
"""Waiting for bulk profile updates, and judging how they ended. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.errors import AdobeJobFailedError

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.target.profiles import ProfileBatchStatus

WHAT = "the bulk profile update"

_MAX_EXAMPLES = 5
_WORDS = {
    "max_failed_rows": ("failed", "rows failed"),
    "max_not_found": ("not_found", "profiles were not found"),
}


class BatchesWait:
    """Waits for the batches of one bulk update; each is asked for until it has ended, and never again.

    :param batches: ``batch_id``, ``status_url`` and ``rows`` of each, in the order of the upload.
    :param ended: what is known of those that have ended, by status URL: :attr:`ended` of an earlier process.
    :param show_values: keep the ids of profiles that failed, as far as Adobe lists them.
    """

    what = WHAT

    def __init__(
        self,
        batches: Sequence[Mapping[str, Any]],
        ended: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        show_values: bool = False,
    ) -> None:
        self._batches = {str(batch["status_url"]): dict(batch) for batch in batches}
        self._order = [str(batch["status_url"]) for batch in batches]
        self._show_values = show_values
        self._words: dict[str, str] = {}
        #: What is known of the batches that have ended, by status URL; JSON.
        self.ended: dict[str, dict[str, Any]] = {
            url: dict(outcome) for url, outcome in (ended or {}).items() if url in self._batches
        }

    def pending(self) -> list[str]:
        """Return the status URLs of the batches that have not ended."""
        return [url for url in self._batches if url not in self.ended]

    def note(self, key: str, status: ProfileBatchStatus, now: float = 0.0) -> None:
        """Take in the status of one batch.

        :param key: its status URL.
        :param status: what Adobe said of it.
        :param now: seconds since the epoch; not needed here.
        """
        if status.state.is_terminal:
            self.ended[key] = outcome(self._batches[key], status, show_values=self._show_values)
        else:
            self._words[key] = status.status

    def progress(self) -> str:
        """Return how many batches have ended, and the state of the others."""
        waiting = ", ".join(
            f"{self._batches[url]['batch_id']} is {self._words.get(url, 'not looked at yet')}"
            for url in self.pending()
        )
        ended = f"{len(self.ended)} of {len(self._batches)} batches have ended"
        return f"{ended}; {waiting}." if waiting else f"{ended}."

    def result(self) -> dict[str, Any]:
        """Return ``{"batches": […]}`` with what is known of each, in the order of the upload."""
        return {"batches": [self.ended[url] for url in self._order]}


def outcome(
    batch: Mapping[str, Any], status: ProfileBatchStatus, *, show_values: bool = False
) -> dict[str, Any]:
    """Return what is known of a batch that ended, as JSON.

    :param batch: ``batch_id``, ``status_url`` and ``rows`` of the upload.
    :param status: what Adobe said of it.
    :param show_values: add ``failed_ids``, the first profiles that failed. They identify people.
    :returns: ``batch_id``, ``status_url``, ``rows``, ``status``, ``successful``, ``not_found``, ``failed``.
    """
    failed = status.failed
    if failed is None and status.batch_size is not None and status.successful is not None:
        failed = status.batch_size - status.successful - (status.not_found or 0)
    found = {
        **{name: batch[name] for name in ("batch_id", "status_url", "rows")},
        "status": status.status,
        "successful": status.successful,
        "not_found": status.not_found,
        "failed": failed,
    }
    return found | {"failed_ids": list(status.failed_ids)} if show_values else found


def submitted(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a batch that is not waited for, in the shape of :func:`outcome`.

    :param batch: ``batch_id``, ``status_url`` and ``rows`` of the upload.
    """
    from airflow_provider_adobe_audiences.adobe.target.profiles import ProfileBatchStatus

    return outcome(batch, ProfileBatchStatus(batch["batch_id"], "submitted"))


def summary(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the operator and the sensor return: the sums, and each batch.

    :param outcomes: what :func:`outcome` returned for each batch.
    :returns: ``rows``, ``successful``, ``not_found``, ``failed`` (``None`` where Adobe does not say),
        ``batches``.
    """

    def total(name: str) -> int | None:
        counts = [batch[name] for batch in outcomes]
        return None if any(count is None for count in counts) else sum(counts)

    return {
        "rows": total("rows"),
        "successful": total("successful"),
        "not_found": total("not_found"),
        "failed": total("failed"),
        "batches": [dict(batch) for batch in outcomes],
    }


def check_outcome(
    outcomes: Sequence[Mapping[str, Any]], max_failed_rows: int | None, max_not_found: int | None
) -> None:
    """Raise unless every batch is complete and its counts are acceptable: ``complete`` alone does not mean
    that every row worked.

    :param outcomes: what :func:`outcome` returned for each batch.
    :param max_failed_rows: how many rows may have failed in all; ``None`` for any number.
    :param max_not_found: how many profiles may have been unknown in all; ``None`` for any number.
    :raises AdobeJobFailedError: with the counts, and the ids of the batches.
    """
    from airflow_provider_adobe_audiences.adobe.target.profiles import BatchState

    for batch in outcomes:
        if BatchState(str(batch["status"]).strip().lower()) is not BatchState.COMPLETE:
            raise AdobeJobFailedError(
                f"batch {batch['batch_id']} ended as {batch['status']!r}",
                hint="Adobe could not finish it. Run the task again: it uploads the rows anew.",
            )
    for argument, maximum in (("max_failed_rows", max_failed_rows), ("max_not_found", max_not_found)):
        name, words = _WORDS[argument]
        counts = [batch[name] for batch in outcomes]
        if maximum is None:
            continue
        if any(count is None for count in counts):
            raise AdobeJobFailedError(
                f"Adobe does not say how many {words}",
                hint=f"Set {argument} to None to accept a batch without its counts.",
            )
        if sum(counts) > maximum:
            examples = [identity for batch in outcomes for identity in batch.get("failed_ids", ())]
            named = (
                f" (such as {', '.join(examples[:_MAX_EXAMPLES])})" if examples and name == "failed" else ""
            )
            batches = ", ".join(str(batch["batch_id"]) for batch in outcomes)
            raise AdobeJobFailedError(
                f"{sum(counts)} {words}{named} in {batches}; {maximum} are acceptable",
                hint=f"Correct these rows and run again, or raise {argument}.",
            )
