# SPDX-License-Identifier: Apache-2.0
"""The token of umapi-client, against the emulator: ``python umapi_calls.py URL``."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlsplit

import requests
from umapi_client.auth import OAuthS2S

URL = sys.argv[1]
_send = requests.Session.send


def send(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
    """Send what goes to Adobe to the emulator."""
    request.url = URL + str(request.url).partition(urlsplit(str(request.url)).netloc)[2]
    return _send(session, request, **kwargs)


def report(name: str, right: bool, problem: str = "") -> None:
    print(json.dumps({"call": name, "right": right, "statuses": [], "problem": problem}))


if __name__ == "__main__":
    requests.Session.send = send  # type: ignore[method-assign]
    auth = OAuthS2S("emulator-client", "emulator-client-secret")
    auth.refresh_token()
    report("refresh_token", bool(auth.token) and auth.expiry is not None)
    request = requests.Request("GET", f"{URL}/data/core/ups/audiences", auth=auth).prepare()
    report("__call__", request.headers["Authorization"] == f"Bearer {auth.token}")
    try:
        OAuthS2S("emulator-client", "wrong").refresh_token()
    except RuntimeError as error:
        report("refresh_token (wrong secret)", "invalid client_secret" in str(error), str(error)[:200])
    else:
        report("refresh_token (wrong secret)", False, "no error")
