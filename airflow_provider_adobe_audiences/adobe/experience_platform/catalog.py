# SPDX-License-Identifier: Apache-2.0
"""Batches as Catalog shows them: status, counts, errors, tags.

Sources: "Batch ingestion troubleshooting guide" (statuses, metrics), and the OpenAPI file of Catalog.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Listing,
    Response,
    Service,
    path,
)
from airflow_provider_adobe_audiences.text import one_line

_CATALOG = "/data/foundation/catalog"
# "The global limit for all other Catalog queries is 100 objects" (Adobe: "Filter Catalog data").
MAX_LISTED_BATCHES = 100
# Batch Ingestion refuses a URL of more than 2,000 characters; of Catalog nothing is said. 60 ids fit.
_MAX_CHARACTERS = 1750
# A comma, or an exclamation mark in front, means something in a filter.
_LISTABLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
# All that :func:`batch_from` reads.
_PROPERTIES = "status,externalId,relatedObjects,recordCount,failedRecordCount,metrics,errors,tags,updated"


class BatchState(Enum):
    """What a batch's status means. Adobe's documents name 16 and more; one that is not known counts as
    running.
    """

    LOADING = "waits for files and for COMPLETE"
    RUNNING = "is being processed"
    STALLED = "is stalled: Adobe's own retries are used up"
    SUCCEEDED = "is ingested"
    FAILED = "has failed"
    GONE = "has left the dataset"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows by itself. ``stalled`` is not declared final by Adobe."""
        return self in (BatchState.SUCCEEDED, BatchState.FAILED, BatchState.GONE)


_STATES = {
    "loading": BatchState.LOADING,
    "stalled": BatchState.STALLED,
    "success": BatchState.SUCCEEDED,
    "active": BatchState.SUCCEEDED,
    "failed": BatchState.FAILED,
    "failure": BatchState.FAILED,
    "aborted": BatchState.FAILED,
    "abandoned": BatchState.FAILED,
    "inactive": BatchState.GONE,
    "deleted": BatchState.GONE,
    "archived": BatchState.GONE,
    "retained": BatchState.GONE,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as Catalog shows it. Every text is fit for a log.

    Counts are ``None`` when Adobe does not tell them (CSV without diagnostics, for one).

    :param id: Adobe's id.
    :param status: Adobe's word.
    :param external_id: the caller's id.
    :param dataset_id: where its rows go.
    :param records_in: rows that were read.
    :param records_ingested: rows that are in the dataset.
    :param records_failed: rows that Adobe rejected.
    :param files_in: files that were read.
    :param bytes_in: bytes that were read.
    :param errors: what Adobe says went wrong, one line each.
    :param tags: lists of texts by name.
    :param updated_at: when Catalog changed it last, in seconds since the epoch, by Adobe's clock.
    """

    id: str
    status: str
    external_id: str | None = None
    dataset_id: str | None = None
    records_in: int | None = None
    records_ingested: int | None = None
    records_failed: int | None = None
    files_in: int | None = None
    bytes_in: int | None = None
    errors: tuple[str, ...] = ()
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    updated_at: float | None = None

    @property
    def state(self) -> BatchState:
        """What the status means."""
        return _STATES.get(self.status.lower(), BatchState.RUNNING)

    @property
    def is_lost(self) -> bool:
        """Whether somebody, not its data, has ended it: it was aborted or abandoned, or left the dataset."""
        return self.state is BatchState.GONE or self.status.lower() in ("aborted", "abandoned")


def _count(*values: Any) -> int | None:
    return next(
        (
            int(value)
            for value in values
            if isinstance(value, (int, float, str)) and str(value).lstrip("-").isdigit()
        ),
        None,
    )


def batch_from(identifier: str, body: Mapping[str, Any]) -> Batch:
    """Return the batch that a document of Catalog, or of Batch Ingestion, describes.

    :param identifier: Adobe's id of the batch.
    :param body: the document.
    :returns: the batch.
    :raises KeyError: when it names no status.
    """
    metrics = body.get("metrics") or {}
    records_in = _count(
        metrics.get("inputRecordCount"), metrics.get("inputRecordSize"), body.get("recordCount")
    )
    records_ingested = _count(metrics.get("outputRecordCount"), metrics.get("outputRecordSize"))
    records_failed = _count(metrics.get("failedRecordCount"), body.get("failedRecordCount"))
    if records_failed is None and records_in is not None and records_ingested is not None:
        records_failed = max(0, records_in - records_ingested)
    related = [item for item in body.get("relatedObjects") or [] if isinstance(item, Mapping)]
    return Batch(
        id=one_line(identifier),
        status=one_line(str(body["status"])),
        external_id=one_line(str(body["externalId"])) if body.get("externalId") is not None else None,
        dataset_id=next(
            (
                one_line(str(item["id"]))
                for item in related
                if str(item.get("type")).lower() == "dataset" and "id" in item
            ),
            None,
        ),
        records_in=records_in,
        records_ingested=records_ingested,
        records_failed=records_failed,
        files_in=_count(metrics.get("inputFileCount")),
        bytes_in=_count(metrics.get("inputByteSize")),
        errors=tuple(_error_line(error) for error in body.get("errors") or [] if isinstance(error, Mapping)),
        tags=_tags(body.get("tags")),
        updated_at=_seconds(body.get("updated")),
    )


def _tags(tags: Any) -> dict[str, list[str]]:
    """Return tags as lists of texts: samples of Adobe's diagnostics also show plain values."""
    if not isinstance(tags, Mapping):
        return {}
    return {
        one_line(str(name)): [
            one_line(str(value)) for value in (values if isinstance(values, list) else [values])
        ]
        for name, values in tags.items()
    }


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) and milliseconds > 0 else None


def _error_line(error: Mapping[str, Any]) -> str:
    rows = error.get("rows")
    where = f" (rows {', '.join(map(str, rows))})" if isinstance(rows, list) and rows else ""
    return one_line(f"{error.get('code')}: {error.get('description') or error.get('message')}{where}")


def _batches(response: Response) -> list[Batch]:
    found = response.json()
    return [batch_from(identifier, body) for identifier, body in found.items() if isinstance(body, Mapping)]


def get_batch(batch_id: str) -> Call[Batch]:
    """Ask Catalog for a batch (Catalog API, ``/batches/{id}``: an object keyed by the id).

    :param batch_id: Adobe's id.
    :returns: the call; its result is the batch.
    :raises ValueError: when ``batch_id`` could leave its place in the path.
    """
    return Call(
        name="get batch",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=path(_CATALOG + "/batches/{batch}", batch=batch_id),
        idempotency=Idempotency.READ,
        parse=lambda response: batch_from(batch_id, response.json()[batch_id]),
    )


def list_batches(*, external_id: str, limit: int = 100) -> Call[list[Batch]]:
    """Ask Catalog for the batches with an ``externalId`` (Adobe: Catalog API, ``/batches``).

    :param external_id: the caller's id.
    :param limit: the most that are listed, up to 100.
    :returns: the call; its result is the list.
    """
    return Call(
        name="list batches",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=f"{_CATALOG}/batches",
        params=(("externalId", external_id), ("limit", str(limit))),
        idempotency=Idempotency.READ,
        parse=_batches,
    )


def get_batches(batch_ids: Sequence[str]) -> Call[Mapping[str, Batch]]:
    """Ask Catalog for several batches (Catalog API, ``/batches``, filter ``batch``;
    several values: "Filter Catalog data", simple filters).

    :param batch_ids: Adobe's ids, at most ``MAX_LISTED_BATCHES``.
    :returns: the call; its result has those batches, by their ids, that Adobe listed in a readable way.
    """

    def parse(response: Response) -> dict[str, Batch]:
        listed = response.json()
        if not isinstance(listed, Mapping):
            raise ValueError("it is no object")
        found = {}
        for identifier in batch_ids:
            # Whoever asks for that one alone is told what is wrong with it.
            with suppress(LookupError, ArithmeticError, TypeError, ValueError, AttributeError):
                found[identifier] = batch_from(identifier, listed[identifier])
        return found

    return Call(
        name="list batches",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=f"{_CATALOG}/batches",
        params=(
            ("batch", ",".join(batch_ids)),
            ("limit", str(MAX_LISTED_BATCHES)),
            ("properties", _PROPERTIES),
        ),
        idempotency=Idempotency.READ,
        parse=parse,
    )


#: How many batches are asked for at once.
BATCH_LISTING: Listing[Batch] = Listing(
    get_batches,
    takes=lambda batch_id: _LISTABLE.fullmatch(batch_id) is not None,
    max_keys=MAX_LISTED_BATCHES,
    max_characters=_MAX_CHARACTERS,
)
