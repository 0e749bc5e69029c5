# SPDX-License-Identifier: Apache-2.0
"""Settings of a client of Target ("Clients" in the Admin API reference)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

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


class FlickerManagerSettings(BaseModel):
    """Settings of the flicker manager."""

    model_config = ConfigDict(extra="forbid", strict=True)

    enabled: bool
    timeout: Annotated[int, Field(ge=0, le=10_000)] = 3000


class SettingsBody(BaseModel):
    """Change settings: any of these."""

    model_config = ConfigDict(extra="forbid", strict=True)

    locale: str = ""
    timeZone: str = ""  # noqa: N815
    defaultCompanyName: str = ""  # noqa: N815
    defaultReportSuite: str = ""  # noqa: N815
    defaultDataCollectionHost: str = ""  # noqa: N815
    ipObfuscation: Literal["NONE", "LAST_OCTET", "STRIP"] = "NONE"  # noqa: N815
    onDeviceDecisioning: bool = False  # noqa: N815
    onDeviceDecisioningActivityQualification: bool = False  # noqa: N815
    a4TEnabled: bool = False  # noqa: N815
    permissionEnabled: bool = False  # noqa: N815
    mobileDeviceTargetingEnabled: bool = False  # noqa: N815
    geoLocationEnabled: bool = False  # noqa: N815
    flickerManagerSettings: FlickerManagerSettings | None = Field(default_factory=lambda: None)  # noqa: N815
    allowedRemoteOfferUrlPatterns: list[str] = []  # noqa: N815
    enableProfileApiAuthentication: bool = False  # noqa: N815

    @field_validator("allowedRemoteOfferUrlPatterns")
    @classmethod
    def _unique(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("must be unique")
        return value

    @field_validator("flickerManagerSettings")
    @classmethod
    def _given(cls, value: FlickerManagerSettings | None) -> FlickerManagerSettings:
        if value is None:
            raise ValueError("must be an object")
        return value


def problem_of_settings(body: Any) -> str | None:
    """Return what is wrong with the body of a request that changes settings, or None."""
    try:
        SettingsBody.model_validate(body)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)[:5]
        )
    return None
