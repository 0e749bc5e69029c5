# SPDX-License-Identifier: Apache-2.0
"""An external audience's metadata exists, once, and is what it shall be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from airflow_provider_adobe_audiences.adobe.client.call import checked_segment
from airflow_provider_adobe_audiences.adobe.experience_platform import (
    Audience,
    create_audience_metadata,
    list_audiences,
    patch_audience,
)
from airflow_provider_adobe_audiences.audiences import IfExists
from airflow_provider_adobe_audiences.errors import (
    AdobeConflictError,
    AdobeError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

log = logging.getLogger(__name__)

_LOOK_AGAIN = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

# Adobe documents no limits for these. Ours only keep out what is surely a mistake.
_Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$"),
]


class AudienceMetadata(BaseModel):
    """What the audience shall be. Field names are Adobe's, in snake case.

    :param name: name in Audience Portal.
    :param namespace: namespace of ``audience_id``.
    :param origin_name: where the audience comes from.
    :param audience_id: the caller's id; without it Adobe makes one up.
    :param description: free text.
    :param if_exists: what to do with one that exists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Text
    namespace: _Text
    origin_name: _Text
    audience_id: Annotated[_Text, AfterValidator(checked_segment)] | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    if_exists: IfExists = "skip"

    def is_met_by(self, audience: Audience) -> bool:
        """Whether an audience has this name and description.

        :param audience: what Adobe lists.
        :returns: so or not.
        """
        return (audience.name, audience.description or None) == (self.name, self.description or None)


def ensure_audience_metadata(
    session: AdobeSession,
    wanted: AudienceMetadata,
    *,
    is_ours: Callable[[Audience], bool],
    remember: Callable[[dict[str, str | None]], None] = lambda known: None,
) -> dict[str, Any]:
    """Look the audience up, create it if it is not there, and read it back.

    :param session: sends the calls.
    :param wanted: what the audience shall be.
    :param is_ours: whether an audience that is found was made by an earlier try of the same work; it then
        counts as created, whatever ``if_exists`` says.
    :param remember: is told the ``audience_id`` before and after the creation (``None`` while Adobe has not
        made it up yet), and an empty dictionary when Adobe refused.
    :returns: ``{"id", "audience_id", "name", "created"}``.
    :raises AdobeConflictError: when it exists and ``if_exists`` is ``fail``, or exists with another namespace
        or origin.
    """
    found = _find(session, wanted)
    if found is not None:
        return _found(session, found, wanted, ours=is_ours(found))
    remember({"audience_id": wanted.audience_id})
    try:
        created = session.send(
            create_audience_metadata(
                session.settings.ais_base_path,
                name=wanted.name,
                namespace=wanted.namespace,
                origin_name=wanted.origin_name,
                description=wanted.description or None,
                audience_id=wanted.audience_id,
            )
        )
    except AdobeUnknownOutcomeError as error:
        found = _find_patiently(session, wanted)
        if found is None:
            raise
        log.info("Audience %r exists although the response was: %s", found.audience_id, error.message)
        return _result(found, created=True)
    except AdobeConflictError as error:
        # Somebody else, perhaps an earlier try of ours, was faster than the look-up.
        found = _find_patiently(session, wanted)
        remember({})
        if found is None:
            raise _not_visible(wanted, error) from error
        return _found(session, found, wanted, ours=is_ours(found))
    except AdobeError:
        remember({})
        raise
    remember({"audience_id": created.audience_id})
    log.info("Created the metadata of audience %r (%r).", created.audience_id, created.name)
    result = _result(_read_back(session, created, wanted), created=True)
    if wanted.audience_id is None:
        _find(session, wanted)  # Adobe makes up an id for each request: two at once make two audiences
    return result


def _found(session: AdobeSession, found: Audience, wanted: AudienceMetadata, *, ours: bool) -> dict[str, Any]:
    if not ours:
        return _result(_existing(session, found, wanted), created=False)
    log.info("Audience %r was created by an earlier try of this task.", found.audience_id)
    return _result(_existing(session, found, wanted.model_copy(update={"if_exists": "update"})), created=True)


def _not_visible(wanted: AudienceMetadata, error: AdobeConflictError) -> AdobeUnknownOutcomeError:
    return AdobeUnknownOutcomeError(
        f"Adobe says that audience {wanted.audience_id or wanted.name!r} exists, but does not list it: "
        f"{error.message}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        hint="Run the task again in some minutes: it looks the audience up before it creates one. If it "
        "stays invisible, look in Adobe's Audience Portal, and in other sandboxes.",
    )


def _existing(session: AdobeSession, found: Audience, wanted: AudienceMetadata) -> Audience:
    if wanted.if_exists == "fail":
        raise AdobeConflictError(
            f"audience {found.audience_id!r} exists already (id {found.id!r}, name {found.name!r}) and "
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
            f"audience {found.audience_id!r} exists already (id {found.id!r}), but its "
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
        log.info("Audience %r exists already (id %r)%s.", found.audience_id, found.id, suffix)
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
    log.info("Updated %s of audience %r.", " and ".join(changes), found.audience_id)
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
        listed = ", ".join(f"{audience.id!r} ({audience.namespace!r})" for audience in matches)
        raise AdobeConflictError(
            f"{len(matches)} audiences match {audience_id or wanted.name!r}: {listed}",
            hint=(
                "Give an audience_id that is unique in its namespace, or delete the duplicates in Adobe's "
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
            f"Adobe answered that audience {created.audience_id!r} (id {created.id!r}) was created, but does "
            "not list it",
            hint="Run the task again: it looks the audience up before it creates one. "
            "If it stays invisible, look in Adobe's Audience Portal.",
        )
    return found


def _result(audience: Audience, *, created: bool) -> dict[str, Any]:
    return {"id": audience.id, "audience_id": audience.audience_id, "name": audience.name, "created": created}
