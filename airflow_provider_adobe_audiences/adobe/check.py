# SPDX-License-Identifier: Apache-2.0
"""What "Test connection" says: which services answer, and what is missing. Only reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.adobe import audience_manager, experience_platform, target
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeError, AdobeNotFoundError

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

_PREFIXES = ("/api/v1", "/v1")
# A person waits for the answer.
_PATIENCE = {"max_attempts": 1, "total_timeout": 20.0, "connect_timeout": 5.0, "read_timeout": 15.0}


def check_connection(settings: AdobeSettings, on_token: Callable[[list[str]], None]) -> tuple[bool, str]:
    """Get an access token and ask one harmless question of each service.

    :param settings: the checked fields of the connection.
    :param on_token: is told all forms of each token, to mask them in logs.
    :returns: whether everything that the connection is set up for works, and one message for a person.
    """
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

    settings = settings.model_copy(update=_PATIENCE)
    with AdobeSession(settings, on_token=on_token) as session:
        try:
            session.get_token()
        except AdobeError as error:
            return False, f"No access token: {error}"
        findings = [_experience_platform(session), _audience_manager(session, on_token), _target(session)]
    works = all(good for good, _ in findings if good is not None) and any(good for good, _ in findings)
    return works, " ".join(["Access token: issued.", *(text for _, text in findings)])


Finding = tuple[bool | None, str]
"""Whether it works (``None``: the connection is not set up for it), and what to tell."""


def _experience_platform(session: AdobeSession) -> Finding:
    if session.settings.authentication == "audience_manager_password":
        return None, "Experience Platform: not used with this authentication."
    try:
        session.send(experience_platform.list_audiences(limit=1))
    except AdobeError as error:
        return False, f"Experience Platform: FAILED. {error}"
    return True, f"Experience Platform: answers for sandbox {session.settings.sandbox!r}."


def _audience_manager(session: AdobeSession, on_token: Callable[[list[str]], None]) -> Finding:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

    settings = session.settings
    answering = []
    refusal: AdobeError | None = None
    for prefix in dict.fromkeys((settings.audience_manager_prefix, *_PREFIXES)):
        with AdobeSession(
            settings.model_copy(update={"audience_manager_prefix": prefix}), on_token=on_token
        ) as other:
            try:
                other.send(audience_manager.list_permissionable_object_types())
                answering.append(prefix)
            except AdobeNotFoundError:
                continue
            except AdobeError as error:
                refusal = refusal or error
    if settings.audience_manager_prefix in answering:
        return True, f"Audience Manager: answers at prefix {' and '.join(answering)}."
    if answering:
        return (
            False,
            f"Audience Manager: FAILED at prefix {settings.audience_manager_prefix}, but answers at "
            f"{answering[0]}: use that one.",
        )
    reason = refusal or "neither prefix is known there"
    fields = AdobeSettings.model_fields
    used = settings.authentication == "audience_manager_password" or any(
        getattr(settings, name) != fields[name].default
        for name in ("audience_manager_url", "audience_manager_prefix")
    )
    return (False if used else None), f"Audience Manager: {'FAILED' if used else 'not available'}. {reason}"


def _target(session: AdobeSession) -> Finding:
    settings = session.settings
    if settings.target_tenant is None:
        return None, "Target: not set up (the field 'Target tenant' is empty)."
    if settings.authentication == "audience_manager_password":
        return (
            False,
            "Target: FAILED. It does not accept Audience Manager's password grant; use another connection "
            "for it.",
        )
    try:
        required = session.send(target.get_settings(settings.target_tenant)).get(
            "enableProfileApiAuthentication"
        )
    except AdobeError as error:
        return False, f"Target: FAILED. {target.explain_permission(error)}"
    edge = (
        ""
        if settings.target_client_code or settings.target_edge_url
        else " For profile updates, fill in 'Target client code'."
    )
    return (
        True,
        f"Target: answers for tenant {settings.target_tenant!r}; profile authentication is "
        f"{'on' if required else 'off'}.{edge}",
    )
