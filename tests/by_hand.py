# SPDX-License-Identifier: Apache-2.0
"""Adobe as a person uses it, with nothing of the package in between."""

from __future__ import annotations

from typing import Any

import httpx


def headers(emulator: Any) -> dict[str, str]:
    """Return what Adobe wants with every request, an access token among it."""
    return {
        "authorization": f"Bearer {emulator.ims.issue()}",
        "x-api-key": "emulator-client",
        "x-gw-ims-org-id": "0123456789ABCDEF01234567@AdobeOrg",
        "x-sandbox-name": "prod",
    }


def adobe(emulator: Any) -> httpx.Client:
    """Return a client, to set the scene with."""
    return httpx.Client(base_url=emulator.url, headers=headers(emulator), timeout=10, trust_env=False)
