# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform: audiences, batches, their status in Catalog and their failed rows.

Sources: "Create Audience API Endpoint", "Audiences endpoint", "Batch ingestion developer guide", "Batch
ingestion troubleshooting guide", "Retrieve failed batches", "Error diagnostics", and the OpenAPI files of
Segmentation, Batch Ingestion, Catalog and Data Access.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.call import (
    JSON,
    Call,
    Content,
    Idempotency,
    Response,
    Service,
    no_content,
    path,
    segment,
)
from airflow_provider_adobe_audiences.text import one_line

EXTERNAL_AUDIENCES_V2 = "application/vnd.adobe.external.audiences+json; version=2"
ANY = "*/*"

_UPS = "/data/core/ups"
_IMPORT = "/data/foundation/import"
_CATALOG = "/data/foundation/catalog"
_EXPORT = "/data/foundation/export"

# Batch ingestion guardrails. Adobe writes MB; the smaller reading is kept.
MAX_WHOLE_FILE_BYTES = 256_000_000
MAX_PART_BYTES = 512_000_000
MAX_FILES = 25_000


# ------------------------------------------------------------------------------------------------------------
# audiences


@dataclass(frozen=True, slots=True)
class Audience:
    """An audience as Platform shows it.

    :param id: Platform's id, the one that paths take; ``None`` when the answer does not name it.
    :param audience_id: the id in the system that the audience comes from.
    """

    id: str | None
    audience_id: str
    name: str
    namespace: str | None = None
    origin_name: str | None = None
    description: str | None = None
    lifecycle_state: str | None = None
    created_at: float | None = None


def _audience(body: Mapping[str, Any]) -> Audience:
    identifier = body.get("id")
    return Audience(
        id=str(identifier) if identifier else None,
        audience_id=str(body["audienceId"]),
        name=str(body.get("name", "")),
        namespace=body.get("namespace"),
        origin_name=body.get("originName"),
        description=body.get("description"),
        lifecycle_state=body.get("lifecycleState"),
        created_at=_seconds(body.get("createEpoch") or body.get("creationTime")),
    )


def _seconds(value: Any) -> float | None:
    """Return an epoch in seconds: Adobe's pages show seconds, milliseconds and microseconds under one
    name.
    """
    if not isinstance(value, (int, float)) or not 0 < value < 1e18:
        return None
    while value > 1e11:
        value /= 1000
    return float(value)


def create_audience_metadata(
    base_path: str,
    *,
    name: str,
    namespace: str,
    origin_name: str,
    description: str | None = None,
    audience_id: str | None = None,
) -> Call[Audience]:
    """Register the metadata of an external audience whose members another service ingests ("Create Audience
    API Endpoint").

    :param base_path: ``/data/core/ais``, or ``/core/ais`` as older versions of the page print it.
    :param audience_id: the caller's id; without it the request is the older generation's, and Adobe makes up
        an id.
    """
    body = {"name": name, "namespace": namespace, "originName": origin_name}
    if description is not None:
        body["description"] = description
    if audience_id is not None:
        body["audienceId"] = audience_id
    return Call(
        name="create audience metadata",
        service=Service.EXPERIENCE_PLATFORM,
        method="POST",
        path=f"{base_path}/audiences",
        params=(("createAudienceMetaOnly", "true"),),
        accept=EXTERNAL_AUDIENCES_V2,
        idempotency=Idempotency.CREATE,
        json=body,
        parse=lambda response: _audience(response.json()),
    )


@dataclass(frozen=True, slots=True)
class AudiencePage:
    audiences: Sequence[Audience]
    next: str | None


def _audience_page(response: Response) -> AudiencePage:
    body = response.json()
    page = body.get("_page") or body.get("_pages") or {}
    following = page.get("next")
    return AudiencePage(
        audiences=[_audience(child) for child in body["children"]],
        next=str(following) if following not in (None, "", 0, "0") else None,
    )


def list_audiences(
    *, audience_id: str | None = None, name: str | None = None, start: str | None = None, limit: int = 100
) -> Call[AudiencePage]:
    """List audiences ("Audiences endpoint"). Follow ``next`` as ``start`` until it is ``None``.

    :param audience_id: only those with exactly this ``audienceId``; inactive ones too.
    :param name: only those whose name contains this.
    """
    params = [("limit", str(limit))]
    if audience_id is not None:
        params.append(("property", f"audienceId=={audience_id}"))
    if name is not None:
        params.append(("name", name))
    if start is not None:
        params.append(("start", start))
    return Call(
        name="list audiences",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=f"{_UPS}/audiences",
        params=params,
        idempotency=Idempotency.READ,
        parse=_audience_page,
    )


def get_audience(id: str) -> Call[Audience]:  # noqa: A002  Adobe's name
    """Get an audience by Platform's ``id``, which is not its ``audienceId`` ("Audiences endpoint")."""
    return Call(
        name="get audience",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=path(_UPS + "/audiences/{id}", id=id),
        idempotency=Idempotency.READ,
        parse=lambda response: _audience(response.json()),
    )


def patch_audience(id: str, changes: Mapping[str, Any]) -> Call[None]:  # noqa: A002  Adobe's name
    """Change fields of an audience ("Audiences endpoint": a JSON Patch in which every ``op`` is ``add``)."""
    return Call(
        name="update audience",
        service=Service.EXPERIENCE_PLATFORM,
        method="PATCH",
        path=path(_UPS + "/audiences/{id}", id=id),
        json=[{"op": "add", "path": f"/{name}", "value": value} for name, value in changes.items()],
        idempotency=Idempotency.IDEMPOTENT,
        parse=no_content,
    )


# ------------------------------------------------------------------------------------------------------------
# batches


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
    """A batch as Catalog shows it. Counts are ``None`` when Adobe does not tell them (CSV without
    diagnostics, for one).
    """

    id: str
    status: str
    external_id: str | None = None
    dataset_id: str | None = None
    records_in: int | None = None
    records_ingested: int | None = None
    records_failed: int | None = None
    errors: tuple[str, ...] = ()
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def state(self) -> BatchState:
        return _STATES.get(self.status.lower(), BatchState.RUNNING)


def _count(*values: Any) -> int | None:
    return next(
        (
            int(value)
            for value in values
            if isinstance(value, (int, float, str)) and str(value).lstrip("-").isdigit()
        ),
        None,
    )


def _batch(identifier: str, body: Mapping[str, Any]) -> Batch:
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
        id=identifier,
        status=one_line(str(body["status"])),
        external_id=body.get("externalId"),
        dataset_id=next(
            (
                str(item["id"])
                for item in related
                if str(item.get("type")).lower() == "dataset" and "id" in item
            ),
            None,
        ),
        records_in=records_in,
        records_ingested=records_ingested,
        records_failed=records_failed,
        errors=tuple(_error_line(error) for error in body.get("errors") or [] if isinstance(error, Mapping)),
        tags=body.get("tags") or {},
    )


def _error_line(error: Mapping[str, Any]) -> str:
    rows = error.get("rows")
    where = f" (rows {', '.join(map(str, rows))})" if isinstance(rows, list) and rows else ""
    return one_line(f"{error.get('code')}: {error.get('description') or error.get('message')}{where}")


def _batches(response: Response) -> list[Batch]:
    return [
        _batch(identifier, body) for identifier, body in response.json().items() if isinstance(body, Mapping)
    ]


def create_batch(
    dataset_id: str,
    *,
    input_format: str,
    is_multi_line_json: bool = False,
    external_id: str | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
    enable_error_diagnostics: bool = False,
    partial_ingestion_percent: int | None = None,
) -> Call[Batch]:
    """Create a batch ("Batch ingestion developer guide"; diagnostics and partial ingestion: "Partial batch
    ingestion").

    :param input_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each file is one JSON array; otherwise every line is one record.
    :param external_id: the caller's id, unique in the organisation.
    :param partial_ingestion_percent: share of rejected rows, in percent, up to which the batch still
        succeeds.
    """
    formats: dict[str, Any] = {"format": input_format}
    if input_format == "json":
        formats["isMultiLineJson"] = is_multi_line_json
    body: dict[str, Any] = {"datasetId": dataset_id, "inputFormat": formats}
    if external_id is not None:
        body["externalId"] = external_id
    if tags:
        body["tags"] = {name: list(values) for name, values in tags.items()}
    if enable_error_diagnostics:
        body["enableErrorDiagnostics"] = True
    if partial_ingestion_percent is not None:
        body["partialIngestionPercent"] = partial_ingestion_percent

    def parse(response: Response) -> Batch:
        answer = response.json()
        identifier = str(answer["id"])
        segment(identifier, "the batch's id")  # refuses one that could not be asked for
        return _batch(identifier, answer)

    return Call(
        name="create batch",
        service=Service.EXPERIENCE_PLATFORM,
        method="POST",
        path=f"{_IMPORT}/batches",
        json=body,
        idempotency=Idempotency.CREATE,
        parse=parse,
    )


def _file_path(batch_id: str, dataset_id: str, file_path: str) -> str:
    parts = "/".join(segment(part, "file path") for part in file_path.split("/"))
    return (
        path(_IMPORT + "/batches/{batch}/datasets/{dataset}/files/", batch=batch_id, dataset=dataset_id)
        + parts
    )


def upload_file(batch_id: str, dataset_id: str, file_path: str, content: Content) -> Call[None]:
    """Send a whole file of at most 256 MB into a batch; sent again, it replaces itself ("Batch ingestion
    developer guide").
    """
    return Call(
        name="upload file",
        service=Service.EXPERIENCE_PLATFORM,
        method="PUT",
        path=_file_path(batch_id, dataset_id, file_path),
        accept=ANY,
        content=content,
        idempotency=Idempotency.IDEMPOTENT,
        parse=no_content,
    )


def initialize_file(batch_id: str, dataset_id: str, file_path: str) -> Call[None]:
    """Begin a file of more than 256 MB ("Batch ingestion developer guide", large files)."""
    return _file_action(
        "initialize large file", "INITIALIZE", batch_id, dataset_id, file_path, Idempotency.CREATE
    )


def upload_part(
    batch_id: str, dataset_id: str, file_path: str, first_byte: int, content: Content
) -> Call[None]:
    """Send a part of a large file. Nothing says what a part sent twice does: after a doubt ask
    :func:`get_received_bytes`.
    """
    return Call(
        name="upload part",
        service=Service.EXPERIENCE_PLATFORM,
        method="PATCH",
        path=_file_path(batch_id, dataset_id, file_path),
        accept=ANY,
        headers={"Content-Range": f"bytes {first_byte}-{first_byte + content.length - 1}"},
        content=content,
        idempotency=Idempotency.CREATE,
        parse=no_content,
    )


def get_received_bytes(batch_id: str, dataset_id: str, file_path: str) -> Call[int | None]:
    """Ask how many bytes of a large file have arrived; ``None`` when it was not begun."""

    def parse(response: Response) -> int | None:
        if response.status == 404:
            return None
        numbers = re.findall(r"\d+", response.headers.get("range", ""))
        return int(numbers[-1]) + 1 if numbers else 0

    return Call(
        name="get received bytes",
        service=Service.EXPERIENCE_PLATFORM,
        method="HEAD",
        path=_file_path(batch_id, dataset_id, file_path),
        accept=ANY,
        idempotency=Idempotency.READ,
        treat_as_success=(404,),
        parse=parse,
    )


def complete_file(batch_id: str, dataset_id: str, file_path: str) -> Call[None]:
    """End a large file; Adobe checks only now whether its parts fit."""
    return _file_action(
        "complete large file", "COMPLETE", batch_id, dataset_id, file_path, Idempotency.IDEMPOTENT
    )


def _file_action(
    name: str, action: str, batch_id: str, dataset_id: str, file_path: str, idempotency: Idempotency
) -> Call[None]:
    return Call(
        name=name,
        service=Service.EXPERIENCE_PLATFORM,
        method="POST",
        path=_file_path(batch_id, dataset_id, file_path),
        params=(("action", action),),
        headers={"Content-Type": JSON},  # required by the specification, though there is no body
        idempotency=idempotency,
        parse=no_content,
    )


def complete_batch(batch_id: str) -> Call[None]:
    """Say that all files are there; declared safe to repeat ("Batch ingestion troubleshooting guide")."""
    return _batch_action("complete batch", "COMPLETE", batch_id)


def abort_batch(batch_id: str) -> Call[None]:
    """Give up a batch that is not ingested yet ("Batch ingestion developer guide")."""
    return _batch_action("abort batch", "ABORT", batch_id)


def _batch_action(name: str, action: str, batch_id: str) -> Call[None]:
    return Call(
        name=name,
        service=Service.EXPERIENCE_PLATFORM,
        method="POST",
        path=path(_IMPORT + "/batches/{batch}", batch=batch_id),
        params=(("action", action),),
        idempotency=Idempotency.IDEMPOTENT,
        parse=no_content,
    )


def get_batch(batch_id: str) -> Call[Batch]:
    """Ask Catalog for a batch (Catalog API, ``/batches/{id}``: an object keyed by the id)."""

    def parse(response: Response) -> Batch:
        body = response.json()
        return _batch(batch_id, body[batch_id])

    return Call(
        name="get batch",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=path(_CATALOG + "/batches/{batch}", batch=batch_id),
        idempotency=Idempotency.READ,
        parse=parse,
    )


def list_batches(*, external_id: str, limit: int = 100) -> Call[list[Batch]]:
    """Ask Catalog for the batches with an ``externalId`` (Catalog API, ``/batches``)."""
    return Call(
        name="list batches",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=f"{_CATALOG}/batches",
        params=(("externalId", external_id), ("limit", str(limit))),
        idempotency=Idempotency.READ,
        parse=_batches,
    )


# ------------------------------------------------------------------------------------------------------------
# failed rows


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file with failed rows. ``href`` is Adobe's own link to it."""

    name: str
    length: int
    href: str | None


def list_failed_files(batch_id: str, *, start: int = 0, limit: int = 100) -> Call[list[FailedFile]]:
    """List the files that hold a batch's failed rows ("Retrieve failed batches"); none is an empty list."""

    def parse(response: Response) -> list[FailedFile]:
        if response.status == 404:
            return []
        files = response.json().get("data") or []
        return [
            FailedFile(
                name=str(file["name"]),
                length=int(file.get("length") or 0),
                href=((file.get("_links") or {}).get("self") or {}).get("href"),
            )
            for file in files
        ]

    return Call(
        name="list failed rows",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=path(_EXPORT + "/batches/{batch}/failed", batch=batch_id),
        params=(("start", str(start)), ("limit", str(limit))),
        idempotency=Idempotency.READ,
        treat_as_success=(404,),
        parse=parse,
    )


def get_failed_file(batch_id: str, file_name: str) -> Call[None]:
    """Get one file of failed rows; send it with ``AdobeSession.download``."""
    return Call(
        name="download failed rows",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=path(_EXPORT + "/batches/{batch}/failed", batch=batch_id),
        params=(("path", file_name),),
        accept=ANY,
        idempotency=Idempotency.READ,
        parse=no_content,
    )
