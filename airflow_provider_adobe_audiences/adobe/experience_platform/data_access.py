# SPDX-License-Identifier: Apache-2.0
"""Data Access: the rows of a batch that Adobe rejected.

Sources: "Retrieve failed batches", "Error diagnostics", and the OpenAPI file of Data Access.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_adobe_audiences.adobe.client.call import (
    ANY,
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
    path,
)

_EXPORT = "/data/foundation/export"


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file with failed rows.

    :param name: its name, to ask for it with.
    :param length: bytes; 0 when Adobe does not say.
    """

    name: str
    length: int


def list_failed_files(batch_id: str, *, start: int = 0, limit: int = 100) -> Call[list[FailedFile]]:
    """List the files that hold a batch's failed rows ("Retrieve failed batches").

    :param batch_id: Adobe's id of the batch.
    :param start: how many to leave out.
    :param limit: the most that are listed.
    :returns: the call; its result is empty when no row failed.
    """

    def parse(response: Response) -> list[FailedFile]:
        if response.status == 404:
            return []
        files = response.json().get("data") or []
        return [FailedFile(name=str(file["name"]), length=int(file.get("length") or 0)) for file in files]

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
    """Get one file of failed rows; send it with ``AdobeSession.download``.

    :param batch_id: Adobe's id of the batch.
    :param file_name: its name, from :func:`list_failed_files`.
    :returns: the call.
    """
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
