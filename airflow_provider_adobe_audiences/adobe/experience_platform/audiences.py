# SPDX-License-Identifier: Apache-2.0
"""Audiences: the metadata of external ones, and what Platform lists.

Sources: "Create Audience API Endpoint", "Audiences endpoint", and the OpenAPI file of Segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    given,
    no_content,
    path,
)
from airflow_provider_adobe_audiences.text import plain_id

EXTERNAL_AUDIENCES_V2 = "application/vnd.adobe.external.audiences+json; version=2"

_UPS = "/data/core/ups"


@dataclass(frozen=True, slots=True)
class Audience:
    """An audience as Platform shows it ("Audiences endpoint"), its texts byte for byte.

    :param id: Platform's id, the one that paths take; ``None`` when the response does not name it.
    :param audience_id: the id in the system that the audience comes from.
    :param name: name in Audience Portal.
    :param namespace: namespace of ``audience_id``.
    :param origin_name: where the audience comes from.
    :param description: free text, as it came.
    :param lifecycle_state: Adobe's word, such as ``published``.
    :param created_at: seconds since the epoch, by Adobe's clock.
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
        id=plain_id(identifier, "audience's id") if identifier else None,
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
    :param name: name of the audience.
    :param namespace: namespace of the audience.
    :param origin_name: where the audience comes from.
    :param description: free text.
    :param audience_id: the caller's id; without it the request is the older generation's, and Adobe makes up
        an id.
    :returns: the call; its result is the audience as Adobe created it.
    """
    return Call(
        name="create audience metadata",
        service=Service.EXPERIENCE_PLATFORM,
        method="POST",
        path=f"{base_path}/audiences",
        params=(("createAudienceMetaOnly", "true"),),
        accept=EXTERNAL_AUDIENCES_V2,
        idempotency=Idempotency.CREATE,
        json=given(
            name=name,
            namespace=namespace,
            originName=origin_name,
            description=description,
            audienceId=audience_id,
        ),
        parse=lambda response: _audience(response.json()),
    )


@dataclass(frozen=True, slots=True)
class AudiencePage:
    """One page of a list of audiences.

    :param audiences: what it holds.
    :param next: the ``start`` of the next page; ``None`` on the last one.
    """

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
    """List audiences (Adobe: "Audiences endpoint"). Follow ``next`` as ``start`` until it is ``None``.

    :param audience_id: only those with exactly this ``audienceId``; inactive ones too.
    :param name: only those whose name contains this.
    :param start: the ``next`` of the page before.
    :param limit: audiences per page.
    :returns: the call; its result is one page.
    """
    wanted = None if audience_id is None else f"audienceId=={audience_id}"
    params = given(limit=str(limit), property=wanted, name=name, start=start)
    return Call(
        name="list audiences",
        service=Service.EXPERIENCE_PLATFORM,
        method="GET",
        path=f"{_UPS}/audiences",
        params=list(params.items()),
        idempotency=Idempotency.READ,
        parse=_audience_page,
    )


def patch_audience(id: str, changes: Mapping[str, Any]) -> Call[None]:  # noqa: A002  Adobe's name
    """Change fields of an audience ("Audiences endpoint": a JSON Patch in which every ``op`` is ``add``).

    :param id: Platform's id.
    :param changes: new values by Adobe's name of the field.
    :returns: the call.
    :raises ValueError: when ``id`` could leave its place in the path.
    """
    return Call(
        name="update audience",
        service=Service.EXPERIENCE_PLATFORM,
        method="PATCH",
        path=path(_UPS + "/audiences/{id}", id=id),
        json=[{"op": "add", "path": f"/{name}", "value": value} for name, value in changes.items()],
        idempotency=Idempotency.IDEMPOTENT,
        parse=no_content,
    )
