# SPDX-License-Identifier: Apache-2.0
"""Credentials become access tokens; a token is reused until shortly before it expires, or until it is
refused.
"""

from __future__ import annotations

import copy
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.token_cache import AccessToken, TokenCache
from airflow_provider_adobe_audiences.errors import AdobeError

_LEAD_SECONDS = 300.0
_LEAD_SHARE = 0.1
_UNSTATED_LIFETIME = 300.0


def _parse_token(response: Response) -> AccessToken:
    body = response.json()
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("access_token"), str)
        or not body["access_token"]
    ):
        raise ValueError("the response holds no access_token")
    if not (body["access_token"].isascii() and body["access_token"].isprintable()):
        raise ValueError("its access_token fits into no header")
    # Seconds in every grant built here; milliseconds were a trait of the retired JWT exchange. -1 means for
    # ever.
    lifetime = float(body.get("expires_in", _UNSTATED_LIFETIME))
    if lifetime < 0:
        lifetime = 86_400.0
    refresh = body.get("refresh_token")
    return AccessToken(
        value=SecretStr(body["access_token"]),
        renew_at=time.time() + lifetime - min(_LEAD_SECONDS, lifetime * _LEAD_SHARE),
        refresh_token=SecretStr(refresh) if isinstance(refresh, str) and refresh else None,
    )


def request_token(settings: AdobeSettings) -> Call[AccessToken]:
    """Ask IMS for an access token with the OAuth Server-to-Server credential (Adobe's "IMS reference", client
    credentials grant).

    :param settings: the credential.
    :returns: a call that parses Adobe's token and its lifetime.
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
            "client_secret": settings.client_secret,
            "scope": settings.scopes,
        },
    )


def request_password_token(
    settings: AdobeSettings, refresh_token: SecretStr | None = None
) -> Call[AccessToken]:
    """Ask Audience Manager for a token with its legacy password grant, or renew one (Adobe's "REST APIs
    getting started", OAuth).

    :param settings: client, user and their passwords.
    :param refresh_token: the one that came with the token to be renewed.
    :returns: a call that parses the token and its lifetime.
    """
    form: dict[str, str | SecretStr] = (
        {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if refresh_token is not None
        else {
            "grant_type": "password",
            "username": settings.username or "",
            "password": settings.user_password or "",
        }
    )
    return Call(
        name="renew access token" if refresh_token else "request access token",
        service=Service.IMS,
        method="POST",
        path="/oauth/token",
        url=f"{settings.audience_manager_url}/oauth/token",
        idempotency=Idempotency.IDEMPOTENT,
        parse=_parse_token,
        headers={"Authorization": SecretStr(f"Basic {settings.basic()}")},
        form=form,
    )


Fetch = Callable[[SecretStr | None], AccessToken]
"""Gets a new token; is given the previous one's refresh token, if there is one."""


class TokenSource:
    """Gives the access token of a credential; thread-safe. Many waiting threads, and processes, cause one
    request.

    :param settings: the credential.
    """

    def __init__(self, settings: AdobeSettings) -> None:
        is_shared = settings.session_cache and settings.authentication != "access_token"
        self._cache = TokenCache(settings) if is_shared else None
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._failure: AdobeError | None = None
        self._failed_at = 0.0
        self._fixed = settings.access_token

    def known(self, refused: SecretStr | None = None) -> SecretStr | None:
        """Return a token that is at hand, without waiting for anything; ``None`` when there is none.

        :param refused: a token that the service just refused; anything but this one is returned.
        """
        if self._fixed is not None:
            return self._fixed
        token = self._token
        return token.value if token is not None and _usable(token, refused) else None

    def get(self, fetch: Fetch, refused: SecretStr | None = None) -> SecretStr:
        """Return a token that is not about to expire.

        :param fetch: gets a new one when there is none.
        :param refused: a token that the service just refused; anything but this one is returned.
        :raises AdobeError: when no token can be had.
        """
        if known := self.known(refused):
            return known
        begun = time.monotonic()
        with self._lock:
            if not _usable(self._token, refused):
                if self._failure is not None and self._failed_at >= begun:
                    # It was asked for while this one waited: a thousand who wait do not fail one by one.
                    raise copy.copy(self._failure)
                try:
                    self._token = self._renewed(fetch, self._token, refused)
                except AdobeError as error:
                    self._failure, self._failed_at = error, time.monotonic()
                    raise
            assert self._token is not None
            return self._token.value

    def _renewed(self, fetch: Fetch, previous: AccessToken | None, refused: SecretStr | None) -> AccessToken:
        if self._cache is None:
            return fetch(previous.refresh_token if previous else None)
        cached = self._cache.read()
        if not _usable(cached, refused):
            with self._cache.locked():
                cached = self._cache.read()
                if not _usable(cached, refused):
                    latest = cached or previous
                    fetched = fetch(latest.refresh_token if latest else None)
                    self._cache.write(fetched)
                    return fetched
        assert cached is not None
        return cached


def _usable(token: AccessToken | None, refused: SecretStr | None) -> bool:
    return token is not None and token.value != refused and time.time() < token.renew_at


_shared: weakref.WeakValueDictionary[Any, TokenSource] = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()


def acquire_token_source(settings: AdobeSettings, user: object) -> TokenSource:
    """Return the source of tokens that all open sessions of this process with the same credential share.

    To be given back with :func:`release_token_source`; with the last session that uses it, it goes.

    :param settings: the credential.
    :param user: the session.
    """
    secrets = (settings.client_secret, settings.user_password, settings.access_token)
    key = (settings.identity(), secrets, settings.session_cache)
    with _shared_lock:
        source = _shared.get(key)
        if source is None:
            source = _shared[key] = TokenSource(settings)
        source.users.add(user)
        return source


def release_token_source(source: TokenSource, user: object) -> None:
    """Note that a session does not share ``source`` any more; it may go on using it alone.

    :param source: as :func:`acquire_token_source` returned it.
    :param user: the session.
    """
    with _shared_lock:
        source.users.discard(user)
        if not source.users:
            for key in [key for key, shared in _shared.items() if shared is source]:
                del _shared[key]
