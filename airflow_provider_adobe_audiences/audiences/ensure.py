# SPDX-License-Identifier: Apache-2.0
"""An external audience's metadata exists, once, and is what it shall be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator

from airflow_provider_adobe_audiences.adobe.client.call import segment
from airflow_provider_adobe_audiences.adobe.experience_platform import (
    Audience,
    create_audience_metadata,
    list_audiences,
    patch_audience,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeConflictError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.transport import AdobeSession

log = logging.getLogger(__name__)

IfExists = Literal["skip", "fail", "update"]

_LOOK_AGAIN = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

# Adobe documents no limits for these. Ours only keep out what is surely a mistake.
_Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$"),
]


class AudienceMetadata(BaseModel):
    """What the audience shall be. Field names are Adobe's, in snake case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Text
    namespace: _Text
    origin_name: _Text
    audience_id: _Text | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    if_exists: IfExists = "skip"

    @field_validator("audience_id")
    @classmethod
    def _segment(cls, value: str | None) -> str | None:
        if value is not None:
            segment(value, "the id")
        return value


def ensure_audience_metadata(
    session: AdobeSession, wanted: AudienceMetadata, *, is_ours: Callable[[Audience], bool]
) -> dict[str, Any]:
    """Look the audience up, create it if it is not there, and read it back.

    :param is_ours: whether an audience that is found and looks as wanted was made by an earlier try of the
        same work; it then counts as created, whatever ``if_exists`` says.
    :returns: ``{"id", "audienceId", "name", "created"}``.
    :raises AdobeConflictError: when it exists and ``if_exists`` is ``fail``, or exists with another namespace
        or origin.
    """
    found = _find(session, wanted)
    if found is not None:
        if _same(found, wanted) and is_ours(found):
            log.info("Audience %s was created by an earlier try of this task.", found.audience_id)
            return _result(found, created=True)
        return _result(_existing(session, found, wanted), created=False)
    try:
        created = session.send(
            create_audience_metadata(
                session.settings.ais_base_path,
                name=wanted.name,
                namespace=wanted.namespace,
                origin_name=wanted.origin_name,
                description=wanted.description,
                audience_id=wanted.audience_id,
            )
        )
    except (AdobeUnknownOutcomeError, AdobeConflictError) as error:
        # Either the answer was lost, or somebody else, perhaps an earlier try of ours, was faster than the
        # look-up.
        found = _find_patiently(session, wanted)
        if found is None:
            raise
        log.info("Audience %s exists although its creation answered: %s", found.audience_id, error.message)
        if isinstance(error, AdobeConflictError) and not is_ours(found):
            return _result(_existing(session, found, wanted), created=False)
        return _result(found, created=True)
    log.info("Created the metadata of audience %s (%s).", created.audience_id, created.name)
    return _result(_read_back(session, created, wanted), created=True)


def _existing(session: AdobeSession, found: Audience, wanted: AudienceMetadata) -> Audience:
    if wanted.if_exists == "fail":
        raise AdobeConflictError(
            f"audience {found.audience_id!r} exists already (id {found.id}, name {found.name!r}) and "
            "if_exists is 'fail'",
            hint="Use if_exists='skip' to accept it or 'update' to change its name and description.",
        )
    fixed = [
        f"{what} is {there!r}, not {want!r}"
        for what, there, want in (
            ("namespace", found.namespace, wanted.namespace),
            ("originName", found.origin_name, wanted.origin_name),
        )
        if there is not None and there != want
    ]
    if fixed:
        raise AdobeConflictError(
            f"audience {found.audience_id!r} exists already (id {found.id}), but its "
            f"{' and its '.join(fixed)}",
            hint=(
                "Adobe does not let these fields be changed. Use another audience_id, or correct the "
                "operator's arguments."
            ),
        )
    changes = {
        name: want
        for name, there, want in (
            ("name", found.name, wanted.name),
            ("description", found.description, wanted.description),
        )
        if want is not None and want != (there or "")
    }
    if not changes or wanted.if_exists == "skip":
        suffix = (
            f"; it differs in {', '.join(changes)}, which if_exists='skip' leaves alone" if changes else ""
        )
        log.info("Audience %s exists already (id %s)%s.", found.audience_id, found.id, suffix)
        return found
    if found.id is None:
        raise AdobeResponseError(
            f"Adobe lists audience {found.audience_id!r} without its id, so it cannot be updated"
        )
    session.send(patch_audience(found.id, changes))
    current = _find(session, wanted)
    if current is None or any(getattr(current, name) != value for name, value in changes.items()):
        raise AdobeResponseError(
            f"audience {found.audience_id!r} was updated, but reads back unchanged",
            hint="Run the task again.",
        )
    log.info("Updated %s of audience %s.", " and ".join(changes), found.audience_id)
    return current


def _find(session: AdobeSession, wanted: AudienceMetadata, audience_id: str | None = None) -> Audience | None:
    audience_id = audience_id or wanted.audience_id
    start: str | None = None
    matches = []
    while True:
        page = session.send(
            list_audiences(audience_id=audience_id, name=None if audience_id else wanted.name, start=start)
        )
        matches += [audience for audience in page.audiences if _matches(audience, wanted, audience_id)]
        start = page.next
        if start is None:
            break
    if len(matches) > 1:
        listed = ", ".join(f"{audience.id} ({audience.namespace})" for audience in matches)
        raise AdobeConflictError(
            f"{len(matches)} audiences match {audience_id or wanted.name!r}: {listed}",
            hint=(
                "Give an audience_id that is unique in its namespace, or delete the twins in Adobe's "
                "Audience Portal."
            ),
        )
    return matches[0] if matches else None


def _matches(audience: Audience, wanted: AudienceMetadata, audience_id: str | None) -> bool:
    if audience_id is not None:
        # The same audienceId in another namespace is another audience.
        return audience.audience_id == audience_id and audience.namespace in (None, wanted.namespace)
    return (audience.name, audience.namespace, audience.origin_name) == (
        wanted.name,
        wanted.namespace,
        wanted.origin_name,
    )


def _find_patiently(
    session: AdobeSession, wanted: AudienceMetadata, audience_id: str | None = None
) -> Audience | None:
    for pause in _LOOK_AGAIN:
        time.sleep(pause)
        if found := _find(session, wanted, audience_id):
            return found
    return None


def _read_back(session: AdobeSession, created: Audience, wanted: AudienceMetadata) -> Audience:
    found = _find_patiently(session, wanted, created.audience_id)
    if found is None:
        raise AdobeResponseError(
            f"Adobe answered that audience {created.audience_id!r} (id {created.id}) was created, but does "
            "not list it",
            hint="Run the task again: it looks the audience up before it creates one. "
            "If it stays invisible, look in Adobe's Audience Portal.",
        )
    return found


def _same(found: Audience, wanted: AudienceMetadata) -> bool:
    return (found.name, found.description or None) == (wanted.name, wanted.description or None)


def _result(audience: Audience, *, created: bool) -> dict[str, Any]:
    return {"id": audience.id, "audienceId": audience.audience_id, "name": audience.name, "created": created}
