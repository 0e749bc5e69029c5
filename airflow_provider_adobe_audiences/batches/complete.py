# SPDX-License-Identifier: Apache-2.0
"""A batch that several tasks have filled is completed only if it holds exactly what it was created for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_adobe_audiences.adobe.experience_platform import Batch, BatchState
from airflow_provider_adobe_audiences.batches.source import Manifest, SourceFile
from airflow_provider_adobe_audiences.errors import (
    AdobeBatchLostError,
    AdobeConfigurationError,
    AdobeConflictError,
)
from airflow_provider_adobe_audiences.text import one_line

log = logging.getLogger(__name__)

_CLEAR_ALL = (
    "Clear the task that creates the batch, with everything downstream of it (all map indexes of the "
    "uploads): then one batch gets all files. Nothing was ingested."
)
_SHOWN = 20


def upload_result(batch_id: str, map_index: int, files: Sequence[SourceFile]) -> dict[str, Any]:
    """Return what an upload says of itself, as small JSON.

    :param batch_id: the batch that it went into.
    :param map_index: the task's map index, -1 if it is not mapped.
    :param files: what it sent.
    """
    return {
        "batch_id": batch_id,
        "map_index": map_index,
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "manifest": [file.entry() for file in files],
    }


def uploads_of(given: Any) -> list[Mapping[str, Any]]:
    """Return the results of uploads as a list.

    :param given: the result of one upload, or of several, as :func:`upload_result` returns them.
    :raises AdobeConfigurationError: when these are no results of uploads.
    """
    results = [given] if isinstance(given, Mapping) else given
    if not isinstance(results, (str, bytes)) and isinstance(results, Iterable):
        results = list(results)
        if results and all(_is_result(result) for result in results):
            return results
    raise AdobeConfigurationError(
        f"argument 'uploads' is {one_line(repr(given))[:120]}: should be what AdobeUploadBatchFilesOperator "
        "returns, such as uploads=upload.output"
    )


def check_uploads(batch_id: str, results: Sequence[Mapping[str, Any]]) -> Manifest:
    """Return what all uploads together have put into a batch.

    :param batch_id: the batch.
    :param results: the results of the uploads.
    :raises AdobeConflictError: when some went into another batch, or two sent different content under one
        name; naming their map indexes.
    """
    elsewhere = [result for result in results if result["batch_id"] != batch_id]
    if elsewhere:
        others = sorted({one_line(str(result["batch_id"])) for result in elsewhere})
        raise AdobeConflictError(
            f"{_uploads(elsewhere)} went into batch {', '.join(others[:_SHOWN])}, not into {batch_id}: it "
            "would lack their files",
            hint=_CLEAR_ALL,
        )
    entries: dict[str, Mapping[str, Any]] = {}
    for result in results:
        for entry in result["manifest"]:
            known = entries.setdefault(entry["name"], entry)
            if known["fingerprint"] != entry["fingerprint"]:
                raise AdobeConflictError(
                    f"file {one_line(str(entry['name']))} was sent twice with different content, the second "
                    f"time by {_uploads([result])}",
                    hint=_CLEAR_ALL,
                )
    return Manifest.of(entries.values())


def check_batch(batch: Batch, sent: Manifest, results: Sequence[Mapping[str, Any]]) -> None:
    """Return if ``batch`` may be completed, or was so rightly.

    :param batch: the batch as Catalog shows it.
    :param sent: what the uploads have put into it.
    :param results: the results of the uploads, for the message.
    :raises AdobeConflictError: when something is missing or surplus.
    :raises AdobeBatchLostError: when the batch was ended by somebody else.
    """
    if batch.is_lost:
        raise AdobeBatchLostError(
            f"batch {batch.id} is {batch.status}", batch_id=batch.id, external_id=batch.external_id
        )
    expected = Manifest.from_tags(batch.tags)
    if expected is None:
        log.warning("Batch %s does not say what it was created for: only its uploads are compared.", batch.id)
        return
    if difference := expected.difference(sent):
        gaps = _missing_indexes(results)
        raise AdobeConflictError(
            f"batch {batch.id} was created for other files than the uploads have sent: they have {difference}"
            + (f"; there is no upload with map index {', '.join(map(str, gaps))}" if gaps else ""),
            hint=_CLEAR_ALL
            if batch.state is BatchState.LOADING
            else "The batch was handed over before. To ingest what is there now as well, start a new run.",
        )


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, Mapping)
        and {"batch_id", "map_index", "manifest"} <= set(result)
        and isinstance(result["manifest"], Sequence)
        and all(
            isinstance(entry, Mapping) and {"name", "size", "fingerprint"} <= set(entry)
            for entry in result["manifest"]
        )
    )


def _uploads(results: Sequence[Mapping[str, Any]]) -> str:
    indexes = sorted({int(result["map_index"]) for result in results} - {-1})
    if not indexes:
        return "the upload"
    shown = ", ".join(map(str, indexes[:_SHOWN])) + (" …" if len(indexes) > _SHOWN else "")
    return f"the upload{'s' if len(indexes) > 1 else ''} with map index {shown}"


def _missing_indexes(results: Sequence[Mapping[str, Any]]) -> list[int]:
    present = {int(result["map_index"]) for result in results}
    return sorted(set(range(max(present) + 1)) - present)[:_SHOWN]
