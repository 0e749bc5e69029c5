# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.client import limiter
from tests.security.calls import Async, Blocking
from tests.security.servers import Authority

Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that the tests run on."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "NETRC",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(limiter, "_limiters", {})


@pytest.fixture(params=[Blocking, Async], ids=["blocking", "async"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """``opened(settings)`` returns a function that sends a call with either session, and returns the error or
    ``None``.
    """
    made: list[Any] = []

    def make(settings: Any) -> Any:
        made.append(request.param(settings))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
