# SPDX-License-Identifier: Apache-2.0
"""A :class:`~.call.Call` becomes the request that is sent, or an error that says why it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.bodies import ACCEPTED_ENCODING
from airflow_provider_adobe_audiences.adobe.client.call import JSON, Call, Content, Service
from airflow_provider_adobe_audiences.adobe.client.redaction import MIN_LENGTH, Redactor, written_forms
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, error_at
from airflow_provider_adobe_audiences.text import one_line

_LEGACY = "audience_manager_password"
_WITHOUT_TOKEN = (Service.IMS, Service.TARGET_EDGE)


@dataclass(frozen=True, slots=True)
class Request:
    """What a driver sends, in one attempt. What may hold a secret is not part of ``repr``.

    :param method: HTTP method.
    :param url: absolute, without the parameters.
    :param params: query parameters, in order.
    :param headers: all but those that the client adds itself.
    :param body: JSON, encoded.
    :param form: fields of a form, to be encoded.
    :param content: a body of raw bytes.
    """

    method: str
    url: str
    params: Sequence[tuple[str, str]]
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    form: dict[str, str] | None = field(default=None, repr=False)
    content: Content | None = field(default=None, repr=False)


class RequestBuilder:
    """Makes requests with one connection.

    :param settings: hosts and credential.
    :param redactor: cleans what is said of a value that cannot be sent.
    """

    def __init__(self, settings: AdobeSettings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._never_sent = tuple(
            form
            for secret in settings.secrets()
            if len(secret) >= MIN_LENGTH
            for form in written_forms(secret)
        )

    def check(self, call: Call[Any]) -> None:
        """Raise :class:`AdobeConfigurationError` when ``call`` cannot be sent, whatever the token is.

        :param call: what to send.
        """
        legacy = self._settings.authentication == _LEGACY
        if legacy and call.service not in (Service.AUDIENCE_MANAGER, *_WITHOUT_TOKEN):
            raise error_at(
                AdobeConfigurationError,
                call,
                "the connection authenticates with Audience Manager's password grant, which no other service "
                "accepts",
                hint="Use a connection with an OAuth Server-to-Server credential for this service.",
            )
        if call.url is None and not call.path.startswith("/"):
            # Appended to a base URL, it would be part of the host's name.
            raise error_at(AdobeConfigurationError, call, "the path does not begin with '/'")

    def build(self, call: Call[Any], token: SecretStr | None, request_id: str) -> Request:
        """Return the request of ``call``.

        :param call: what to send.
        :param token: the access token, for a service that takes one.
        :param request_id: value of ``x-request-id``, the same in all attempts of a call.
        :returns: what a driver sends.
        :raises AdobeConfigurationError: when a value cannot be written down, holds a secret of the
            connection, or would lead elsewhere. Nothing of it is sent.
        """
        form = None if call.form is None else {name: _revealed(value) for name, value in call.form.items()}
        body = self._body(call, form)
        self._check_values(call)
        headers = self._headers(call, token, request_id)
        if body is not None:
            headers.setdefault("Content-Type", JSON)
        if call.content is not None:
            headers.setdefault("Content-Type", call.content.media_type)
        _check_headers(call, headers)
        return Request(call.method, self._url(call), call.params, headers, body, form, call.content)

    def _url(self, call: Call[Any]) -> str:
        if call.url is None:
            return self._settings.base_url(call.service) + call.path
        if call.service is Service.IMS:  # made of the settings
            return call.url
        return self._settings.allowed_url(call.service, call.url)

    def _headers(self, call: Call[Any], token: SecretStr | None, request_id: str) -> dict[str, str]:
        own = {name: _revealed(value) for name, value in call.headers.items()}
        headers = {"Accept": call.accept, "Accept-Encoding": ACCEPTED_ENCODING, **own}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            if self._settings.authentication != _LEGACY:
                headers["x-api-key"] = self._settings.client_id
                if self._settings.org_id:
                    headers["x-gw-ims-org-id"] = self._settings.org_id
        elif call.bearer is not None:
            headers["Authorization"] = f"Bearer {_revealed(call.bearer)}"
        if call.service is Service.EXPERIENCE_PLATFORM:
            headers["x-sandbox-name"] = self._settings.sandbox
            headers["x-request-id"] = request_id
        return headers

    def _body(self, call: Call[Any], form: Mapping[str, str] | None) -> bytes | None:
        """Return the JSON body, once it is sure that all of the call can be written down."""
        try:
            if call.params or form:
                urlencode([*call.params, *(form or {}).items()])
            if call.json is None:
                return None
            return json.dumps(call.json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            reason = one_line(self._redactor.text(f"{type(error).__name__}: {error}"))
        raise error_at(AdobeConfigurationError, call, f"a value cannot be sent ({reason})")

    def _check_values(self, call: Call[Any]) -> None:
        """Raise when a value is a secret of the connection: a template such as ``{{
        conn.adobe_default.password }}`` makes it one.
        """
        if call.service is Service.IMS:
            return
        for text in _texts(call):
            if any(secret in text for secret in self._never_sent):
                error = error_at(
                    AdobeConfigurationError,
                    call,
                    "a value of the request holds a secret of the connection; it is not sent",
                    hint="Look for a template that renders the connection, and take it out of the arguments.",
                )
                raise self._redactor.error(error)


def needs_token(call: Call[Any]) -> bool:
    """Return whether ``call`` is sent with the connection's access token.

    :param call: what to send.
    """
    return call.service not in _WITHOUT_TOKEN


def _revealed(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _check_headers(call: Call[Any], headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            # Never the value: most of them are secrets.
            raise error_at(
                AdobeConfigurationError,
                call,
                f"the value of the header {name!r} is incomplete, or holds a line break or another "
                "character that fits into no header",
                hint=(
                    "Copy the credential (or the token in the secret store) once more, without blanks "
                    "and line breaks."
                ),
            )


def _texts(call: Call[Any]) -> Iterator[str]:
    yield unquote(call.path)
    if call.url:
        yield unquote(call.url)
    for _, value in call.params:
        yield value
    yield from _texts_in([call.form, call.json])


def _texts_in(value: Any) -> Iterator[str]:
    """Yield each text in a value, keys too. Walks without recursion: the value may be deep."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            left += value.keys()
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value


def user_agent() -> str:
    """Return the ``User-Agent`` of every request."""
    from airflow_provider_adobe_audiences import __version__

    return f"airflow-provider-adobe-audiences/{__version__}"
