# SPDX-License-Identifier: Apache-2.0
"""Uploading the parts of a bulk profile update, in order, and none more often than needed.

Adobe gives an upload no key by which it could be found again. So what was accepted is remembered by the hash
of its bytes, from one try of a task to the next; where there is no such memory, a retry sends everything
again, which leaves the same profiles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.adobe.target.profiles import ProfileBatch, ProfileBatchStatus
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.profiles.options import OnUnknownOutcome
from airflow_provider_adobe_audiences.profiles.parts import Part
from airflow_provider_adobe_audiences.text import counted

log = logging.getLogger(__name__)


class Memory(Protocol):
    """Keeps one JSON object between the tries of one task."""

    def load(self) -> Mapping[str, Any] | None:
        """Return what was saved, ``None`` for nothing."""

    def save(self, record: Mapping[str, Any]) -> None:
        """Replace what was saved.

        :param record: what to keep, as JSON.
        """

    def clear(self) -> None:
        """Forget what was saved."""


class NoMemory:
    """For a task whose tries know nothing of each other."""

    def load(self) -> None:
        """Return nothing."""

    def save(self, record: Mapping[str, Any]) -> None:
        """Do nothing.

        :param record: is not kept.
        """

    def clear(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Uploads:
    """Uploads parts in order, unless an earlier try has.

    :param submit: sends one part.
    :param status: asks for the status of a batch, by its status URL.
    :param memory: of the task.
    :param where: which client and version of the API the parts go to; what went elsewhere does not count.
    :param on_unknown_outcome: when a part was sent and the response was lost: send it again, or fail.
    """

    submit: Callable[[Content], ProfileBatch]
    status: Callable[[str], ProfileBatchStatus]
    memory: Memory
    where: str
    on_unknown_outcome: OnUnknownOutcome = "send_again"
    #: What Adobe said of the batches of an earlier try, by status URL.
    statuses: dict[str, ProfileBatchStatus] = field(default_factory=dict)
    _accepted: list[dict[str, Any]] = field(default_factory=list)
    _sending: str | None = None

    def upload(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        """Upload what an earlier try has not.

        :param parts: in the order in which they have to arrive: of two rows of one profile the later counts.
        :returns: ``batch_id``, ``status_url`` and ``rows`` of each part.
        :raises AdobeJobFailedError: with ``on_unknown_outcome="fail"``, when it is not known whether a part
            arrived.
        :raises AdobeUnknownOutcomeError: when the response to the repetition was lost, too.
        """
        self._load([part.sha256 for part in parts])
        batches: list[dict[str, Any]] = []
        for index, part in enumerate(parts):
            if index < len(self._accepted) and self._is_remembered(self._accepted[index]):
                batch = self._accepted[index]
                log.info(
                    "Rows %d and following (%d) were uploaded before, as batch %s.",
                    part.first_row,
                    part.rows,
                    batch["batch_id"],
                )
            else:
                del self._accepted[index:]  # a part that is sent now would undo what follows it
                batch = self._send(part)
            batches.append({name: batch[name] for name in ("batch_id", "status_url", "rows")})
        return batches

    def check_nothing(self) -> None:
        """Check that nothing was uploaded by an earlier try, now that there is nothing to upload.

        :raises AdobeJobFailedError: when something was: nobody has seen what became of it.
        """
        known = self.memory.load() or {}
        accepted = known.get("accepted") or []
        if accepted or known.get("sending"):
            self.forget()
            rows = counted(sum(batch["rows"] for batch in accepted), "row")
            names = ", ".join(batch["batch_id"] for batch in accepted)
            uploaded = [f"has uploaded {rows}: {names}"] if accepted else []
            if known.get("sending"):
                uploaded.append("has sent rows, and it is not known whether Adobe took them")
            raise AdobeJobFailedError(
                f"there is no row to send, but an earlier try {', and '.join(uploaded)}",
                hint=("Look with AdobeBulkProfileUpdateSensor what became of them. " if accepted else "")
                + "If they are not what profiles shall hold, upload the right rows. Cleared, the task takes "
                "the source as it is then.",
            )

    def forget(self) -> None:
        """Let the next try begin afresh."""
        self.memory.clear()

    def _load(self, wanted: Sequence[str]) -> None:
        record = self.memory.load() or {}
        accepted = record.get("accepted") if record.get("where") == self.where else None
        if not isinstance(accepted, list):
            return
        before = [batch["sha256"] for batch in accepted]
        if before != list(wanted)[: len(before)]:
            # What was sent then, and is not wanted any more, must not be the last word on any profile.
            log.warning("The rows have changed since an earlier try uploaded some; uploading all of them.")
            return
        self._accepted, self._sending = list(accepted), record.get("sending")

    def _save(self, *, sending: str | None) -> None:
        self._sending = sending
        self.memory.save({"where": self.where, "accepted": self._accepted, "sending": sending})

    def _send(self, part: Part) -> dict[str, Any]:
        if self._sending == part.sha256 and self.on_unknown_outcome == "fail":
            self._save(sending=None)
            raise _not_again(part)
        was_nothing_sent = self._sending is None
        for again in (True, False):
            self._save(sending=part.sha256)
            try:
                batch = self.submit(part.content())
            except AdobeUnknownOutcomeError as error:
                if self.on_unknown_outcome == "fail":
                    self._save(sending=None)
                    raise _not_again(part) from error
                if not again:
                    raise
                log.warning(
                    "The response to the upload was lost; sending the same rows again. %s", error.message
                )
            except AdobeError:
                if was_nothing_sent and again:  # Adobe has said no, or was not reached
                    self._save(sending=None)
                raise
            else:
                return self._take(part, batch)
        raise AssertionError("unreachable")

    def _take(self, part: Part, batch: ProfileBatch) -> dict[str, Any]:
        log.info("%d rows (%d bytes) are accepted as batch %s.", part.rows, part.size, batch.batch_id)
        taken = {
            "sha256": part.sha256,
            "batch_id": batch.batch_id,
            "status_url": batch.status_url,
            "rows": part.rows,
        }
        self._accepted.append(taken)
        self._save(sending=None)
        return taken

    def _is_remembered(self, batch: Mapping[str, Any]) -> bool:
        """Whether Adobe can still tell of a batch of an earlier try: after ten others, or a day, it
        cannot.
        """
        url = batch["status_url"]
        try:
            self.statuses[url] = self.status(url)
        except (AdobeNotFoundError, AdobeValidationError) as error:
            if self.on_unknown_outcome == "fail":
                self.forget()
                raise
            log.warning(
                "Batch %s was uploaded before, and Adobe does not know it any more; sending the same rows "
                "again. %s",
                batch["batch_id"],
                error.message,
            )
            return False
        return True


def _not_again(part: Part) -> AdobeJobFailedError:
    return AdobeJobFailedError(
        f"rows {part.first_row} to {part.first_row + part.rows - 1} were sent, and it is not known "
        "whether Adobe took them",
        hint=(
            "Clear the task to send them again; parts that Adobe accepted are not repeated (from Airflow "
            "3.3)."
        ),
    )
