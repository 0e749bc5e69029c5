# SPDX-License-Identifier: Apache-2.0
"""Many who wait for a token at once cause one request, whether it succeeds or not."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.ims import (
    TokenSource,
    acquire_token_source,
    release_token_source,
)
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.token_cache import AccessToken
from airflow_provider_adobe_audiences.errors import AdobeAuthenticationError, AdobeError

AT_ONCE = 20


def settings(**fields: Any) -> AdobeSettings:
    given = {
        "client_id": "client",
        "client_secret": "the-client-secret",
        "org_id": "0123456789ABCDEF01234567@AdobeOrg",
        "session_cache": False,
    }
    return AdobeSettings.of({**given, **fields})


class Ims:
    """Gives a token, or an error, when the test lets it."""

    def __init__(self, error: AdobeError | None = None) -> None:
        self.asked = 0
        self.error = error
        self.answers = threading.Event()

    def fetch(self, _: SecretStr | None) -> AccessToken:
        self.asked += 1
        assert self.answers.wait(10)
        if self.error is not None:
            raise self.error
        return AccessToken(SecretStr(f"token-{self.asked}"), time.time() + 1000)


class Gate:
    """A lock that counts who came to it."""

    def __init__(self) -> None:
        self.came = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.came += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def all_at_once(source: TokenSource, ims: Ims) -> list[Any]:
    got: list[Any] = []
    gate = source._lock = Gate()

    def ask() -> None:
        try:
            got.append(source.get(ims.fetch))
        except AdobeError as error:
            got.append(error)

    threads = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    while gate.came < AT_ONCE:
        time.sleep(0.001)
    ims.answers.set()
    for thread in threads:
        thread.join(10)
    return got


def test_they_get_the_same_token() -> None:
    ims = Ims()
    assert set(all_at_once(TokenSource(settings()), ims)) == {SecretStr("token-1")}
    assert ims.asked == 1


def test_they_get_the_same_failure_each_as_an_error_of_its_own_and_the_next_one_asks_again() -> None:
    source, ims = TokenSource(settings()), Ims(AdobeAuthenticationError("no", status=401))
    got = all_at_once(source, ims)
    assert ims.asked == 1
    assert {str(error) for error in got} == {str(ims.error)}
    assert len({id(error) for error in got}) == AT_ONCE
    ims.error = None
    assert source.get(ims.fetch) == SecretStr("token-2")


def test_sessions_with_the_same_credential_share_it_while_one_is_open() -> None:
    one, two, other = object.__new__(Ims), object.__new__(Ims), object.__new__(Ims)
    source = acquire_token_source(settings(), one)
    assert acquire_token_source(settings(max_attempts=1, audience_manager_prefix="/v1"), two) is source
    for fields in ({"client_secret": "another-secret"}, {"scopes": "x"}, {"session_cache": True}):
        foreign = acquire_token_source(settings(**fields), other)
        assert foreign is not source
        release_token_source(foreign, other)
    release_token_source(source, one)
    release_token_source(source, one)
    assert acquire_token_source(settings(), one) is source
    release_token_source(source, one)
    release_token_source(source, two)
    fresh = acquire_token_source(settings(), two)
    assert fresh is not source
    release_token_source(fresh, two)


@pytest.mark.parametrize("left", [-1, 1000])
def test_what_is_at_hand_is_known_without_asking(left: float) -> None:
    source = TokenSource(settings())
    assert source.known() is None
    token = SecretStr("token")
    source.get(lambda _: AccessToken(token, time.time() + left))
    assert source.known() == (token if left > 0 else None)
    assert source.known(token) is None
