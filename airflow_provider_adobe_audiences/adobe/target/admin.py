# SPDX-License-Identifier: Apache-2.0
"""Target's Admin API: the profile authentication token, and the client settings.

Sources: Target Admin API reference ("Authentication", "Clients"), "Profile API settings".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service, path
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeError,
    AdobePermissionError,
    AdobeServerError,
    AdobeUnknownOutcomeError,
)

T = TypeVar("T")

MEDIA_TYPE = "application/vnd.adobe.target.v1+json"

#: The setting "Require authentication" of the Profile API.
AUTHENTICATION_SETTING = "enableProfileApiAuthentication"

TokenScope = Literal["profile_api", "debug_tools"]


@dataclass(frozen=True, slots=True)
class ProfileToken:
    """The one profile authentication token of a tenant.

    :param value: the secret itself; never part of ``repr``.
    :param expires_in: seconds that were left when Adobe responded.
    :param scope: what the token opens.
    """

    value: str = field(repr=False)
    expires_in: int
    scope: str = "profile_api"


def get_profile_token(tenant: str, scope: TokenScope = "profile_api") -> Call[ProfileToken | None]:
    """Read the token that exists. Adobe returns it in clear. Changes nothing.

    Source: Admin API reference, ``getAuthorizationToken``.

    :param tenant: the tenant's name, as in the address of Experience Cloud.
    :param scope: what the token opens.
    :returns: the call; its result is ``None`` when there is no token.
    """
    return Call(
        name="get profile token",
        service=Service.TARGET,
        method="GET",
        path=path("/{tenant}/target/authentication/token", tenant=tenant),
        params=[("authorizationScope", scope)],
        accept=MEDIA_TYPE,
        idempotency=Idempotency.READ,
        parse=lambda response: None if response.status == 404 else _token(response),
        treat_as_success=(404,),
    )


def create_profile_token(tenant: str, scope: TokenScope = "profile_api") -> Call[ProfileToken]:
    """Create a new token. The previous one stops working **at once**.

    Adobe takes no key that would make a repetition harmless. When the outcome is unknown, read the token and
    compare. Source: Admin API reference, ``requestAuthorizationToken``.

    :param tenant: the tenant's name, as in the address of Experience Cloud.
    :param scope: what the token opens.
    :returns: the call.
    """
    return Call(
        name="create profile token",
        service=Service.TARGET,
        method="POST",
        path=path("/{tenant}/target/authentication/token", tenant=tenant),
        params=[("authorizationScope", scope)],
        accept=MEDIA_TYPE,
        headers={"Content-Type": MEDIA_TYPE},
        idempotency=Idempotency.CREATE,
        parse=_token,
    )


def _token(response: Response) -> ProfileToken:
    token = _readable_token(response)
    if token is None:
        # The body may hold the token: nothing of it goes into a message, or into the frames of the error.
        del response
        raise ValueError("no accessToken that fits into a header, or no expiresIn, in it")
    return token


def _readable_token(response: Response) -> ProfileToken | None:
    try:
        body = response.json()
        value, expires_in = body["accessToken"], int(body["expiresIn"])
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        return None
    return None if " " in value else ProfileToken(value, expires_in, str(body.get("scope", "profile_api")))


def get_settings(tenant: str) -> Call[dict[str, Any]]:
    """Read the settings of the tenant.

    Source: Admin API reference, ``getSettings_1``.

    :param tenant: the tenant's name.
    :returns: the call.
    """
    return _settings_call(tenant, "get client settings", "GET", None, Idempotency.READ)


def patch_settings(tenant: str, changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Change single settings; the others stay.

    Source: Admin API reference, ``patchSettings``.

    :param tenant: the tenant's name.
    :param changes: the settings to change, by name.
    :returns: the call; its result is all settings.
    """
    return _settings_call(tenant, "change client settings", "PATCH", dict(changes), Idempotency.IDEMPOTENT)


def replace_settings(tenant: str, settings: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Replace all settings. What becomes of a setting left out is not documented: send them all.

    Source: Admin API reference, ``updateSettings_1``.

    :param tenant: the tenant's name.
    :param settings: all settings, by name.
    :returns: the call; its result is all settings.
    """
    return _settings_call(tenant, "replace client settings", "PUT", dict(settings), Idempotency.IDEMPOTENT)


def _settings_call(
    tenant: str, name: str, method: str, body: dict[str, Any] | None, idempotency: Idempotency
) -> Call[dict[str, Any]]:
    return Call(
        name=name,
        service=Service.TARGET,
        method=method,
        path=path("/{tenant}/target/clients/settings", tenant=tenant),
        accept=MEDIA_TYPE,
        headers={} if body is None else {"Content-Type": MEDIA_TYPE},
        json=body,
        idempotency=idempotency,
        parse=lambda response: json_object(response, "the settings are"),
    )


def json_object(response: Response, what: str) -> dict[str, Any]:
    """Return the body of a response that is a JSON object.

    :param response: what came back.
    :param what: subject and verb of the message, such as ``the settings are``.
    :returns: the object.
    :raises ValueError: when it is anything else.
    """
    body = response.json()
    if not isinstance(body, dict):
        raise ValueError(f"{what} not a JSON object")
    return body


def explained(send: Callable[[Call[T]], T], call: Call[T]) -> T:
    """Send a call of the Admin API; its error says what to do, if it may be a missing permission.

    :param send: sends it.
    :param call: what to send.
    :returns: its result.
    :raises AdobeError: as :func:`explain_permission` returns it.
    """
    try:
        return send(call)
    except AdobeError as error:
        better = explain_permission(error)
        if better is error:
            raise
        raise better from None


def explain_permission(error: AdobeError) -> AdobeError:
    """Return ``error`` of an Admin API call with what to do, if it may be a missing permission.

    Adobe documents 401 and 403 for that, and its own client's README adds 500; a 401 of the gateway is about
    the access token instead. Source: "Target Admin API overview", README of ``aio-lib-target``.

    :param error: what the call ended with.
    :returns: the same error, or a better one.
    """
    hint = (
        "The credential probably lacks the permission: in the Adobe Admin Console add it to a Target product "
        "profile (and workspace) "
        "with the role Approver or Admin."
    )
    cause = error.__cause__ if isinstance(error, AdobeUnknownOutcomeError) else error
    if (
        isinstance(cause, AdobeAuthenticationError)
        and cause.status == 401
        and not (cause.code or "").isdigit()
    ):
        better = AdobePermissionError(cause.message, hint=hint)
        better.__dict__.update({name: value for name, value in cause.__dict__.items() if name != "hint"})
        return better
    if isinstance(cause, AdobePermissionError) and not (cause.code or "").isdigit():
        error.hint = hint
    elif isinstance(cause, AdobeServerError) and cause.status == 500:
        error.hint = (
            f"Let the task retry. If it lasts, this 500 is most likely a permission in disguise. {hint}"
        )
    return error
