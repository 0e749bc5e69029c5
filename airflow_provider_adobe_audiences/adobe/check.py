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
            return False, f"No access token: {_said(error)}"
        findings = [_experience_platform(session), _audience_manager(session, on_token), _target(session)]
    works = all(good for good, _ in findings if good is not None) and any(good for good, _ in findings)
    lines = ["Access token: issued.", *(text for _, text in findings)]
    if not any(good for good, _ in findings):
        lines.append("No service answers: add the credential to a product profile in Adobe's Admin Console.")
    return works, "\n".join(lines)


Finding = tuple[bool | None, str]
"""Whether it works (``None``: the connection is not set up for it), and what to tell."""

# A connection is meant for a service when one of these fields is not what it is by default.
_FIELDS = {
    "Experience Platform": ("sandbox", "platform_url", "ais_base_path"),
    "Audience Manager": ("audience_manager_url", "audience_manager_prefix"),
}


def _refused(service: str, settings: AdobeSettings, reason: str, *, meant: bool = False) -> Finding:
    """Return the finding of a service that does not answer: a failure only where the connection means it."""
    default = AdobeSettings.model_fields
    if meant or any(getattr(settings, name) != default[name].default for name in _FIELDS[service]):
        return False, f"{service}: FAILED. {reason}"
    fields = ", ".join(_FIELDS[service])
    return None, f"{service}: not available, and nothing asks for it ({fields} are the defaults). {reason}"


def _said(error: AdobeError) -> str:
    return f"{error.summary} What to do: {error.hint}"


def _experience_platform(session: AdobeSession) -> Finding:
    settings = session.settings
    if settings.authentication == "audience_manager_password":
        return None, "Experience Platform: not used with this authentication."
    try:
        session.send(experience_platform.list_audiences(limit=1))
    except AdobeError as error:
        return _refused("Experience Platform", settings, _said(error))
    return True, f"Experience Platform: answers for sandbox {settings.sandbox!r}."


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
    reason = _said(refusal) if refusal else "Neither prefix is known there."
    legacy = settings.authentication == "audience_manager_password"
    return _refused("Audience Manager", settings, reason, meant=legacy)


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
        return False, f"Target: FAILED. {_said(target.explain_permission(error))}"
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
