# SPDX-License-Identifier: Apache-2.0
"""Batches: what they are, what may be done to them, and how their status moves with time."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.service import Environment

from .datasets import Datasets
from .files import Disk, StoredFile
from .ingestion import Judgement, Outcome, accepted, ingest
from .records import InputFormat

#: What a batch goes through between COMPLETE and its end.
STEPS = ("loaded", "queued", "processing", "staging", "staged")
#: Read at once, not in a thread: the status is then exact to the poll.
MAX_READ_AT_ONCE = 4 << 20
_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass
class Batch:
    """One batch."""

    id: str
    external_id: str
    caller: Caller
    dataset_id: str
    written: InputFormat
    created: int
    updated: int
    body: dict[str, Any]
    percent: int
    diagnostics: bool
    files: dict[str, StoredFile] = field(default_factory=dict)
    #: What Catalog was told about it.
    patched: dict[str, Any] = field(default_factory=dict)
    #: What the client made of it last: loading, completed, aborted, failed, reverted, deleted.
    state: str = "loading"
    completed: float = 0.0
    polls: int = 0
    changes: int = 0
    outcome: Outcome | None = None
    #: When the final status was first seen, in milliseconds.
    ended: int | None = None
    rejected: Path | None = None

    @property
    def version(self) -> str:
        """Version of its metadata."""
        return f"1.0.{self.changes}"

    @property
    def replay(self) -> dict[str, Any]:
        """What it replaces; empty: nothing."""
        return {
            key: [plain_id(text) for text in value] if isinstance(value, list) else value
            for key, value in (self.body.get("replay") or {}).items()
        }

    def paths(self) -> list[tuple[str, Path]]:
        """Return name and place of each complete file."""
        return [(file.name, file.path) for file in self.files.values() if file.complete]


class Batches:
    """All batches of all organisations and sandboxes."""

    def __init__(
        self, environment: Environment, switches: ExperiencePlatformSwitches, datasets: Datasets
    ) -> None:
        self._environment, self._switches, self._datasets = environment, switches, datasets
        self.disk = Disk()
        self.batches: dict[str, Batch] = {}
        self._reading: set[asyncio.Future[None]] = set()
        self._thread: ThreadPoolExecutor | None = None

    def reset(self) -> None:
        """Forget all batches."""
        self.batches.clear()
        self.disk.clear()

    def close(self) -> None:
        """Remove all files, and end the thread that reads them."""
        self.disk.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None

    def create(self, caller: Caller, body: dict[str, Any], written: InputFormat) -> Batch:
        """Create a batch; ``body`` is the body of the request."""
        now = self._environment.clock.milliseconds()
        number, percent = batch_id(), body.get("partialIngestionPercent")
        batch = Batch(
            id=number,
            external_id=body.get("externalId") or number,
            caller=caller,
            dataset_id=body["datasetId"],
            written=written,
            created=now,
            updated=now,
            body=body,
            percent=self._switches.partial_ingestion_default if percent is None else percent,
            diagnostics=bool(body.get("enableErrorDiagnostics", False)),
        )
        self.batches[batch.id] = batch
        return batch

    def find(self, caller: Caller, number: str) -> Batch | None:
        """Return the batch with this id; None when it is not in the sandbox of the caller."""
        batch = self.batches.get(number)
        return batch if batch is not None and batch.caller.place == caller.place else None

    def of(self, caller: Caller) -> list[Batch]:
        """Return the batches of an organisation's sandbox, oldest first."""
        return [batch for batch in self.batches.values() if batch.caller.place == caller.place]

    def last(self, caller: Caller, dataset_id: str) -> dict[str, Any]:
        """Return the newest batches of a dataset; empty when there are none."""
        last: dict[str, Any] = {}
        for batch in self.of(caller):
            if batch.dataset_id != dataset_id:
                continue
            status = self.status(batch)
            last |= {"lastBatchId": batch.id, "lastBatchStatus": status}
            if status in {"success", "active"}:
                last["lastSuccessfulBatchId"] = batch.id
            elif status in {"failed", "failure"}:
                last["lastFailedBatchId"] = batch.id
            last["created"] = last.get("created", batch.created)
            last["updated"] = max(last.get("updated", 0), batch.updated)
        return last

    def by_external_id(self, org_id: str, external_id: str) -> Batch | None:
        """Return the batch that holds an external id; it is unique in the organisation."""
        freed = self._switches.external_id_freed
        for batch in reversed(self.batches.values()):
            if batch.caller.org_id == org_id and batch.external_id == external_id:
                if freed and self.status(batch) in {"failed", "failure", "aborted", "abandoned"}:
                    continue
                return batch
        return None

    # -- changes

    def touch(self, batch: Batch) -> None:
        """Note that a batch was changed just now."""
        batch.updated = self._environment.clock.milliseconds()
        batch.changes += 1

    def set_state(self, batch: Batch, state: str) -> None:
        """Note what the client made of it: aborted, failed or reverted."""
        batch.state = state
        batch.ended = self._environment.clock.milliseconds()
        self.touch(batch)

    def complete(self, batch: Batch) -> None:
        """Take the batch in: from now on its status moves by itself."""
        batch.state = "completed"
        batch.completed = self._environment.clock.now()
        self.touch(batch)
        if sum(file.size for file in batch.files.values()) <= MAX_READ_AT_ONCE:
            self._read(batch)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "adobe-emulator-ingestion")
        reading = asyncio.get_running_loop().run_in_executor(self._thread, self._read, batch)
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)

    def _read(self, batch: Batch) -> None:
        switches = self._switches
        dataset = self._datasets.find(batch.dataset_id)
        judgement = Judgement(
            batch.percent, batch.diagnostics, dataset.required if dataset else (), switches.check_rows
        )
        batch.rejected = self.disk.place()
        breach = self._breach(batch)
        if breach:
            message = f"Batch ingestion guardrails hit: {breach}"
            errors = [{"code": "INGEST-1401-400", "description": message}]
            batch.outcome = Outcome(True, files=len(batch.files), errors=errors)
        elif not batch.files and switches.complete_without_files == "success":
            batch.outcome = Outcome()
        else:
            try:
                batch.outcome = ingest(batch.paths(), batch.written, judgement, batch.rejected)
            except FileNotFoundError:  # a reset, while a thread was reading
                return
        for predecessor in self._predecessors(batch) if not batch.outcome.failed else ():
            if predecessor.state == "completed":
                self.set_state(predecessor, "reverted")

    def _breach(self, batch: Batch) -> str | None:
        """Return the guardrails that a batch breaks, in Adobe's words."""
        size = sum(file.size for file in batch.files.values())
        counts = (
            (len(batch.files), "files", self._switches.max_files),
            (size, "bytes", self._switches.max_batch_bytes),
        )
        broken = [f"{n} {unit} (over the {limit} threshold)" for n, unit, limit in counts if n > limit]
        return "; ".join(broken) or None

    def _predecessors(self, batch: Batch) -> Iterator[Batch]:
        replay = batch.body.get("replay") or {}
        ids = {plain_id(text) for text in replay.get("predecessors", [])}
        externals = {plain_id(text) for text in replay.get("predecessorsByExternalId", [])}
        for other in list(self.batches.values()):
            if other is not batch and (other.id in ids or other.external_id in externals):
                yield other

    # -- status

    def poll(self, batch: Batch) -> str:
        """Return the status as a client asks for it; asking counts."""
        batch.polls += 1
        return self.status(batch)

    def status(self, batch: Batch) -> str:
        """Return the status; looking does not count."""
        switches, now = self._switches, self._environment.clock.now()
        if batch.state == "loading":
            limit = switches.batch_abandon_seconds
            return "abandoned" if limit and now - batch.created / 1000 >= limit else "loading"
        if batch.state == "failed":
            return switches.failure_status
        if batch.state != "completed":
            return {"aborted": "aborted", "reverted": "inactive", "deleted": "deleted"}[batch.state]
        if switches.batch_stalls:
            return "stalled"
        if switches.batch_polls is not None:
            done, whole = float(max(0, batch.polls - 1)), float(switches.batch_polls)
        else:
            done, whole = now - batch.completed, switches.batch_seconds
        if batch.ended is None and done < whole:
            return STEPS[min(int(done / whole * len(STEPS)), len(STEPS) - 1)] if done > 0 else STEPS[0]
        if batch.outcome is None:
            return STEPS[-1]
        if batch.ended is None:
            batch.ended = self._environment.clock.milliseconds()
            self.touch(batch)
        return switches.failure_status if batch.outcome.failed else switches.success_status

    def succeeded(self, batch: Batch) -> bool:
        """Return whether a batch has succeeded."""
        return self.status(batch) in {"success", "active"}

    def running(self, batch: Batch) -> bool:
        """Return whether a batch is between COMPLETE and its end."""
        return self.status(batch) in {*STEPS, "stalled"}

    def rows(self, dataset_id: str, caller: Caller | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield batch id and row of everything that successful batches have brought into a dataset.

        :param caller: only batches of this caller's sandbox; none: of all.
        """
        dataset = self._datasets.find(dataset_id)
        for batch in list(self.batches.values()):
            here = caller is None or batch.caller.place == caller.place
            if here and batch.dataset_id == dataset_id and self.succeeded(batch):
                for row in accepted(batch.paths(), batch.written, dataset.required if dataset else ()):
                    yield batch.id, row

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all batches."""
        return [
            {
                "id": batch.id,
                "externalId": batch.external_id,
                "dataSetId": batch.dataset_id,
                "sandbox": batch.caller.sandbox,
                "format": batch.written.format,
                "status": self.status(batch),
                "files": [
                    {"name": file.name, "size": file.size, "complete": file.complete}
                    for file in batch.files.values()
                ],
                "recordsIn": batch.outcome.records_in if batch.outcome else None,
                "recordsOut": batch.outcome.records_out if batch.outcome else None,
                "recordsRejected": batch.outcome.rejected if batch.outcome else None,
                "errors": batch.outcome.errors if batch.outcome else [],
            }
            for batch in self.batches.values()
        ]


def plain_id(text: str) -> str:
    """Return an id without the ``$`` that parameterises it in a request."""
    return text.removeprefix("$").removeprefix("{").removesuffix("}")


def batch_id() -> str:
    """Return a fresh ULID: 10 characters of time, 16 of chance."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ULID[value >> shift & 31] for shift in range(125, -1, -5))
