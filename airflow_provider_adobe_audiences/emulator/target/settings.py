# SPDX-License-Identifier: Apache-2.0
"""Settings of a client of Target."""

from __future__ import annotations

from typing import Any

from .errors import error

# "Clients" in the Admin API reference.
SETTINGS: dict[str, Any] = {
    "locale": "en_US",
    "timeZone": "America/Los_Angeles",
    "defaultCompanyName": "Emulator",
    "defaultReportSuite": "",
    "defaultDataCollectionHost": "",
    "ipObfuscation": "LAST_OCTET",
    "onDeviceDecisioning": False,
    "onDeviceDecisioningActivityQualification": False,
    "a4TEnabled": True,
    "permissionEnabled": False,
    "mobileDeviceTargetingEnabled": False,
    "geoLocationEnabled": True,
    "flickerManagerSettings": {"enabled": True, "timeout": 3000},
    "allowedRemoteOfferUrlPatterns": [],
    "enableProfileApiAuthentication": True,
}
BOOLEANS = {name for name, value in SETTINGS.items() if isinstance(value, bool)}


def check_settings(body: Any) -> dict[str, Any]:
    """Return the body of a request that changes settings.

    :raises ErrorResponse: 400 when it has fields that are unknown or of the wrong type.
    """
    if not isinstance(body, dict):
        raise error(400, "Invalid.Body", "The body must be an object")
    for name, value in body.items():
        if name not in SETTINGS:
            raise error(400, "Unknown.Field", f"Unrecognized field {name!r}")
        if name in BOOLEANS and not isinstance(value, bool):
            raise error(400, "Invalid.Field", f"{name} must be a boolean")
    return body
