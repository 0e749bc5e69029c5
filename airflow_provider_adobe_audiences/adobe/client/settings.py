# SPDX-License-Identifier: Apache-2.0
"""Where Adobe is and who we are: the fields of a connection, checked before anything is sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from airflow_provider_adobe_audiences.adobe.client import urls
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.urls import is_loopback
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.text import meant

EXPERIENCE_PLATFORM_SCOPES = (
    "openid,session,AdobeID,read_organizations,additional_info.projectedProductContext"
)

_TARGET_EDGE_SUFFIX = ".tt.omtrdc.net"

# No part may be '.' or '..'.
_PREFIX = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"
_SANDBOX = re.compile(r"[a-z0-9][a-z0-9-]*").fullmatch
_FITS_INTO_A_HEADER = re.compile(r"[\x21-\x7e]*")


def sandbox_name(value: str) -> str:
    """Return ``value``, without blanks around it, if it can be the name of a sandbox.

    :param value: from a connection or an argument.
    :raises ValueError: saying what a name looks like. Source: "Sandbox management endpoint".
    """
    value = value.strip() if isinstance(value, str) else value
    if not isinstance(value, str) or not _SANDBOX(value):
        like = str(value).lower().replace(" ", "-")
        raise ValueError(
            "must be the sandbox's name, not its title: lower-case letters, digits and hyphens"
            + (f" (did you mean {like!r}?)" if _SANDBOX(like) else "")
        )
    return value


def _checked_url(value: str) -> str:
    if re.search("[?#]", value) or "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError("must not contain a user name, a password, a query or a fragment")
    try:
        url = urls.parse(value)
    except ValueError as error:
        raise ValueError(f"must be a URL such as https://platform.adobe.io ({error})") from None
    if url.scheme not in ("http", "https"):
        raise ValueError("must be a URL such as https://platform.adobe.io")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError(
            "must begin with https://; plain http is only allowed for this machine (127.0.0.1), tokens must "
            "not travel in clear"
        )
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


class AdobeSettings(BaseModel):
    """One credential of Adobe's Developer Console and the hosts that it is used with.

    Source: "Authenticate and access Experience Platform APIs", "OAuth Server-to-Server", Audience Manager
    "REST APIs getting started", Target "Configure authentication". Built with :meth:`of`, which explains what
    is wrong.

    :param client_id: of an OAuth Server-to-Server credential (Adobe also calls it API key).
    :param client_secret: of the same credential.
    :param org_id: IMS organisation id, ``…@AdobeOrg``.
    :param sandbox: name of the Experience Platform sandbox.
    :param deployment: tells one Airflow from another where they share a sandbox.
    :param scopes: comma separated, as the Developer Console shows them.
    :param authentication: how access tokens are had.
    :param access_token: a ready-made one, for ``authentication="access_token"``.
    :param username: of Audience Manager's legacy password grant.
    :param user_password: of Audience Manager's legacy password grant.
    :param ims_url: where access tokens are issued.
    :param platform_url: Experience Platform's gateway.
    :param ais_base_path: of audience metadata.
    :param audience_manager_url: Audience Manager's host.
    :param audience_manager_prefix: ``/api/v1`` or ``/v1``; Adobe's pages print both.
    :param target_url: Target's Admin API.
    :param target_tenant: the company's name in the address of Experience Cloud.
    :param target_client_code: of Target; not the same as the tenant.
    :param target_edge_url: where profiles are updated, if not at ``<client code>.tt.omtrdc.net``.
    :param connect_timeout: seconds, for each attempt.
    :param read_timeout: seconds, the longest silence of an attempt.
    :param total_timeout: seconds, for one call with all its attempts.
    :param max_attempts: of a call that may be repeated.
    :param requests_per_minute: limit of each process; ``None`` for none.
    :param ca_bundle: file with the certificates to trust; ``None`` for the system's.
    :param verify_tls: ``False`` only when every host is this machine.
    :param session_cache: share access tokens between the tasks of a worker.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True
    )

    client_id: str = Field(min_length=1)
    client_secret: SecretStr = SecretStr("")
    org_id: str | None = None
    sandbox: Annotated[str, AfterValidator(sandbox_name)] = "prod"
    deployment: str | None = Field(None, max_length=200)
    scopes: str = EXPERIENCE_PLATFORM_SCOPES
    authentication: Literal["oauth_server_to_server", "access_token", "audience_manager_password"] = (
        "oauth_server_to_server"
    )
    access_token: SecretStr | None = None
    username: str | None = None
    user_password: SecretStr | None = None
    ims_url: str = "https://ims-na1.adobelogin.com"
    platform_url: str = "https://platform.adobe.io"
    ais_base_path: str = Field("/data/core/ais", pattern=_PREFIX)
    audience_manager_url: str = "https://aam.adobe.io"
    audience_manager_prefix: str = Field("/api/v1", pattern=_PREFIX)
    target_url: str = "https://mc.adobe.io"
    target_tenant: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    target_client_code: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    target_edge_url: str | None = None
    connect_timeout: float = Field(10, gt=0, le=3600)
    read_timeout: float = Field(60, gt=0, le=3600)
    total_timeout: float = Field(300, gt=0, le=86400)
    max_attempts: int = Field(6, ge=1, le=100)
    requests_per_minute: int | None = Field(None, ge=1)
    ca_bundle: str | None = None
    verify_tls: bool = True
    session_cache: bool = True

    @classmethod
    def of(cls, fields: Mapping[str, Any], where: str = "the settings") -> Self:
        """Return checked settings; empty values mean *not given*.

        :param fields: field names and values.
        :param where: what the reader should correct, such as ``connection 'adobe_default'``.
        :raises AdobeConfigurationError: naming each field that is wrong, and why. Secrets are never part of
            the message.
        """
        given = {name: value for name, value in fields.items() if value is not None and value != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problems = [
                _explain(problem["loc"], problem["msg"], problem["type"]) for problem in error.errors()
            ]
        raise AdobeConfigurationError(f"{where} cannot work: " + "; ".join(problems))

    @field_validator("client_id", "access_token")
    @classmethod
    def _in_a_header(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text and not _FITS_INTO_A_HEADER.fullmatch(text):
            raise ValueError(
                "holds a blank, a line break or another character that fits into no header; copy it once more"
            )
        return value

    @field_validator("org_id")
    @classmethod
    def _organisation(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9A-Fa-f]{24}@AdobeOrg", value):
            raise ValueError(
                "must be 24 hexadecimal digits followed by @AdobeOrg, as the Developer Console shows it"
            )
        return value

    @field_validator("scopes")
    @classmethod
    def _scopes(cls, value: str) -> str:
        scopes = [scope for scope in re.split(r"[,\s]+", value) if scope]
        if not scopes:
            raise ValueError("must name at least one scope")
        return ",".join(scopes)

    @field_validator("ims_url", "platform_url", "audience_manager_url", "target_url", "target_edge_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value)

    @model_validator(mode="after")
    def _together(self) -> Self:
        kind = self.authentication
        if kind != "access_token" and self.access_token is not None:
            raise ValueError(
                f"access_token is given but authentication is {kind!r}: remove the token, or set "
                "authentication to 'access_token'"
            )
        if kind == "access_token" and self.access_token is None:
            raise ValueError("authentication is 'access_token' but the access_token is empty")
        if kind != "access_token" and not self.client_secret.get_secret_value():
            raise ValueError("the client secret (Password of the connection) is empty")
        if kind == "audience_manager_password" and not (self.username and self.user_password):
            raise ValueError("authentication 'audience_manager_password' needs username and user_password")
        if kind != "audience_manager_password" and (self.username or self.user_password):
            raise ValueError(
                "username and user_password are only used with authentication 'audience_manager_password', "
                f"not {kind!r}"
            )
        if kind == "oauth_server_to_server" and self.org_id is None:
            raise ValueError(
                "org_id is missing: copy the organisation id (…@AdobeOrg) from the Developer Console into "
                "the connection"
            )
        if not self.verify_tls:
            if self.ca_bundle:
                raise ValueError("ca_bundle contradicts verify_tls = false: remove one of them")
            remote = [
                service.value
                for service in Service
                if (url := self._url_of(service)) and not is_loopback(urls.parse(url).host)
            ]
            if remote:
                raise ValueError(
                    "verify_tls = false is only allowed when every URL is on this machine; to trust a "
                    "company's certificate "
                    f"set ca_bundle (not on this machine: {', '.join(remote)})"
                )
        return self

    def _url_of(self, service: Service) -> str | None:
        match service:
            case Service.IMS:
                return self.ims_url
            case Service.EXPERIENCE_PLATFORM:
                return self.platform_url
            case Service.AUDIENCE_MANAGER:
                return f"{self.audience_manager_url}{self.audience_manager_prefix}"
            case Service.TARGET:
                return self.target_url
            case Service.TARGET_EDGE:
                return self.target_edge_url or (
                    self.target_client_code and f"https://{self.target_client_code}{_TARGET_EDGE_SUFFIX}"
                )

    def base_url(self, service: Service) -> str:
        """Return the URL that a call's path is appended to.

        :param service: who answers.
        :raises AdobeConfigurationError: when the connection does not name it.
        """
        url = self._url_of(service)
        if not url:
            raise AdobeConfigurationError(
                "the connection has neither a Target client code nor a Target edge URL", service=service
            )
        return url

    def tenant(self) -> str:
        """Return the Target tenant; raise :class:`AdobeConfigurationError` when the connection has none."""
        if self.target_tenant is None:
            raise AdobeConfigurationError(
                "the connection has no Target tenant (field 'Target tenant')", service=Service.TARGET
            )
        return self.target_tenant

    def client_code(self) -> str:
        """Return the Target client code; raise :class:`AdobeConfigurationError` when the connection has
        none.
        """
        if self.target_client_code is None:
            raise AdobeConfigurationError(
                "the connection has no Target client code (field 'Target client code')",
                service=Service.TARGET_EDGE,
            )
        return self.target_client_code

    def allowed_url(self, service: Service, url: str) -> str:
        """Return ``url``, which a response named, as https, if it leads to ``service``.

        :param service: whose credential would be sent there.
        :param url: as the response named it.
        :raises AdobeConfigurationError: when its host is neither the service's own nor, for the Target edge,
            below ``.tt.omtrdc.net``. Nothing is sent to it then.
        """
        base = urls.parse(self.base_url(service))
        try:
            to = urls.parse(url)
        except ValueError as error:
            raise AdobeConfigurationError(
                f"a response pointed to {url[:200]!r}, which is no plain URL ({error}); the credential is "
                "not sent there",
                service=service,
                hint=(
                    "Adobe sends no such URL: check what answers in its place, and where the URL was passed "
                    "on."
                ),
            ) from None
        same = to.host == base.host
        edge_node = (
            service is Service.TARGET_EDGE
            and to.host.endswith(_TARGET_EDGE_SUFFIX)
            and not is_loopback(base.host)
        )
        own_port = base.port if same else None
        usual = {None, 80, 443} if not is_loopback(to.host) else {own_port}
        if not (same or edge_node) or to.port not in usual | {own_port}:
            raise AdobeConfigurationError(
                f"a response pointed to {to.scheme}://{to.host}, which is not a host of this service; the "
                "credential is not sent there",
                service=service,
                hint="If this host is Adobe's, set it as the URL of the service in the connection.",
            )
        scheme = base.scheme if is_loopback(to.host) else "https"
        return str(replace(to, scheme=scheme, port=own_port))

    def identity(self) -> tuple[str | None, ...]:
        """Return what decides whose token it is, but for secrets."""
        return (
            self.authentication,
            self.ims_url,
            self.audience_manager_url,
            self.client_id,
            self.org_id,
            self.scopes,
            self.username,
        )

    def basic(self) -> str:
        """Return client id and secret as HTTP's Basic authentication writes them (RFC 7617). A secret."""
        pair = f"{self.client_id}:{self.client_secret.get_secret_value()}"
        return base64.b64encode(pair.encode()).decode("ascii")

    def secrets(self) -> tuple[str, ...]:
        """Return every secret value of these settings in clear, to mask them."""
        values = (self.client_secret, self.access_token, self.user_password)
        clear = [value.get_secret_value() for value in values if value is not None]
        if clear[0]:
            clear.append(self.basic())
        return tuple(value for value in clear if value)


def _explain(location: tuple[int | str, ...], message: str, kind: str) -> str:
    name = ".".join(str(part) for part in location)
    message = message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = sorted(set(AdobeSettings.model_fields) - {"client_id", "client_secret"})
        close = meant(name, known, 0.8) or f" (known fields: {', '.join(known)})"
        return f"field {name!r} is unknown{close}"
    if kind == "missing" and name == "client_id":
        return "the client id (Login of the connection) is empty"
    return f"field {name!r}: {message}" if name else message
