# SPDX-License-Identifier: Apache-2.0
"""Credentials become access tokens; a token is reused until shortly before it expires, or until it is
refused.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.token_cache import TokenCache

_LEAD_SECONDS = 300.0
_LEAD_SHARE = 0.1
_UNSTATED_LIFETIME = 300.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and when it ends.

    :param value: the token. Not part of ``repr``.
    :param expires_at: seconds since the epoch, by this machine's clock.
    :param renew_at: from when on another one is asked for.
    :param refresh_token: only with Audience Manager's legacy password grant, and only if the client was
        provisioned for it.
    """

    value: str = field(repr=False)
    expires_at: float
    renew_at: float
    refresh_token: str | None = field(default=None, repr=False)


def _parse_token(response: Response) -> AccessToken:
    body = response.json()
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("access_token"), str)
        or not body["access_token"]
    ):
        raise ValueError("the answer holds no access_token")
    if not (body["access_token"].isascii() and body["access_token"].isprintable()):
        raise ValueError("its access_token fits into no header")
    # Seconds in every grant built here; milliseconds were a trait of the retired JWT exchange. -1 means for
    # ever.
    lifetime = float(body.get("expires_in", _UNSTATED_LIFETIME))
    if lifetime < 0:
        lifetime = 86_400.0
    now = time.time()
    refresh = body.get("refresh_token")
    return AccessToken(
        value=body["access_token"],
        expires_at=now + lifetime,
        renew_at=now + lifetime - min(_LEAD_SECONDS, lifetime * _LEAD_SHARE),
        refresh_token=refresh if isinstance(refresh, str) else None,
    )


def request_token(settings: AdobeSettings) -> Call[AccessToken]:
    """Ask IMS for an access token with the OAuth Server-to-Server credential ("IMS reference", client
    credentials grant).
    """
    return Call(
        name="request access token",
        service=Service.IMS,
        method="POST",
        path="/ims/token/v3",
        idempotency=Idempotency.IDEMPOTENT,
        parse=_parse_token,
        form={
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
            "scope": settings.scopes,
        },
    )


def request_password_token(settings: AdobeSettings, refresh_token: str | None = None) -> Call[AccessToken]:
    """Ask Audience Manager for a token with its legacy password grant, or renew one ("REST APIs getting
    started", OAuth).
    """
    pair = f"{settings.client_id}:{settings.client_secret.get_secret_value()}"
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token} if refresh_token else None
    password = settings.user_password.get_secret_value() if settings.user_password else ""
    return Call(
        name="renew access token" if refresh_token else "request access token",
        service=Service.IMS,
        method="POST",
        path="/oauth/token",
        url=f"{settings.audience_manager_url}/oauth/token",
        idempotency=Idempotency.IDEMPOTENT,
        parse=_parse_token,
        headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")},
        form=form or {"grant_type": "password", "username": settings.username or "", "password": password},
    )


class TokenSource:
    """Gives the access token of a credential; thread-safe. Many waiting threads, and processes, cause one
    request.

    :param settings: the credential.
    :param fetch: gets a new token; it is given the previous one's refresh token, if there is one.
    :param on_token: is told each token before it is used, to mask it in logs.
    """

    def __init__(
        self,
        settings: AdobeSettings,
        fetch: Callable[[str | None], AccessToken],
        on_token: Callable[[str], None] | None = None,
    ) -> None:
        self._fetch = fetch
        self._on_token = on_token or (lambda token: None)
        self._cache = (
            TokenCache(settings)
            if settings.session_cache and settings.authentication != "access_token"
            else None
        )
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._fixed = settings.access_token.get_secret_value() if settings.access_token else None

    @property
    def renewable(self) -> bool:
        """Whether a refused token can be exchanged for another."""
        return self._fixed is None

    def get(self, refused: str | None = None) -> str:
        """Return a token that is not about to expire.

        :param refused: a token that the service just refused; anything but this one is returned.
        :raises AdobeError: when no token can be had.
        """
        if self._fixed is not None:
            self._on_token(self._fixed)
            return self._fixed
        with self._lock:
            if not _usable(self._token, refused):
                previous = self._token
                self._token = self._renew(previous, refused)
            assert self._token is not None
            return self._token.value

    def _renew(self, previous: AccessToken | None, refused: str | None) -> AccessToken:
        if self._cache is None:
            return self._fetched(previous)
        cached = self._cache.read()
        if not _usable(cached, refused):
            with self._cache.locked():
                cached = self._cache.read()
                if not _usable(cached, refused):
                    fetched = self._fetched(cached or previous)
                    self._cache.write(fetched)
                    return fetched
        assert cached is not None
        self._on_token(cached.value)
        return cached

    def _fetched(self, previous: AccessToken | None) -> AccessToken:
        token = self._fetch(previous.refresh_token if previous else None)
        self._on_token(token.value)
        if token.refresh_token:
            self._on_token(token.refresh_token)
        return token


def _usable(token: AccessToken | None, refused: str | None) -> bool:
    return token is not None and token.value != refused and time.time() < token.renew_at
