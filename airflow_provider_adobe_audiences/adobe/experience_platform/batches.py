# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion: create a batch, send its files whole or in parts, complete or abort it.

Sources: "Batch ingestion developer guide", "Partial batch ingestion", "Batch ingestion troubleshooting
guide", and the OpenAPI file of Batch Ingestion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from airflow_provider_adobe_audiences.adobe.client.call import (
    ANY,
    JSON,
    Call,
    Content,
    Idempotency,
    Response,
    Service,
    given,
    no_content,
    path,
    segment,
)
from airflow_provider_adobe_audiences.adobe.experience_platform.catalog import Batch, batch_from
from airflow_provider_adobe_audiences.text import plain_id

_IMPORT = "/data/foundation/import"

# Batch ingestion guardrails. Adobe writes MB; the smaller reading is kept.
MAX_WHOLE_FILE_BYTES = 256_000_000
MAX_PART_BYTES = 512_000_000
MAX_FILES = 25_000


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
    """Create a batch (Adobe: "Batch ingestion developer guide"; diagnostics and partial ingestion: "Partial
    batch ingestion").

    :param dataset_id: where the rows go.
    :param input_format: ``json``, ``csv`` or ``parquet``.
    :param is_multi_line_json: each file is one JSON array; otherwise every line is one record.
    :param external_id: the caller's id, expected to be unique in the organisation.
    :param tags: lists of texts by name.
    :param enable_error_diagnostics: keep what was wrong with rejected rows.
    :param partial_ingestion_percent: share of rejected rows, in percent, up to which the batch still
        succeeds.
    :returns: the call; its result is the batch, ``loading``.
    """
    more = {"isMultiLineJson": is_multi_line_json} if input_format == "json" else {}
    body = given(
        datasetId=dataset_id,
        inputFormat={"format": input_format, **more},
        externalId=external_id,
        tags={name: list(values) for name, values in tags.items()} if tags else None,
        enableErrorDiagnostics=True if enable_error_diagnostics else None,
        partialIngestionPercent=partial_ingestion_percent,
    )

    def parse(response: Response) -> Batch:
        body = response.json()
        identifier = plain_id(body["id"], "batch's id")
        segment(identifier, "the batch's id")  # refuses one that could not be asked for
        return batch_from(identifier, body)

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

    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file_path: name of the file within the batch; may contain folders.
    :param content: its bytes.
    :returns: the call.
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
    """Begin a file of more than 256 MB ("Batch ingestion developer guide", large files).

    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file_path: name of the file within the batch.
    :returns: the call.
    """
    return _file_action(
        "initialize large file", "INITIALIZE", batch_id, dataset_id, file_path, Idempotency.CREATE
    )


def upload_part(
    batch_id: str, dataset_id: str, file_path: str, first_byte: int, content: Content
) -> Call[None]:
    """Send a part of a large file. Nothing says what a part sent twice does: after a doubt ask
    :func:`get_received_bytes`.

    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file_path: name of the file within the batch.
    :param first_byte: where in the file the part begins.
    :param content: the part's bytes, at most 512 MB.
    :returns: the call.
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
    """Ask how many bytes of a large file have arrived ("Batch ingestion developer guide", large files).

    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file_path: name of the file within the batch.
    :returns: the call; its result is ``None`` when the file was not begun.
    """

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
    """End a large file; Adobe checks only now whether its parts fit.

    :param batch_id: Adobe's id of the batch.
    :param dataset_id: the batch's dataset.
    :param file_path: name of the file within the batch.
    :returns: the call.
    """
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
    """Say that all files are there; declared safe to repeat ("Batch ingestion troubleshooting guide").

    :param batch_id: Adobe's id of the batch.
    :returns: the call.
    """
    return _batch_action("complete batch", "COMPLETE", batch_id)


def abort_batch(batch_id: str) -> Call[None]:
    """Give up a batch that is not ingested yet ("Batch ingestion developer guide").

    :param batch_id: Adobe's id of the batch.
    :returns: the call.
    """
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
