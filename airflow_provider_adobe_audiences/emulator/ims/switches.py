# SPDX-License-Identifier: Apache-2.0
"""What Adobe leaves open about IMS."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_adobe_audiences.emulator.switches import ServiceSwitches


class ImsSwitches(ServiceSwitches):
    """Switches of IMS."""

    token_seconds: int = Field(86_399, ge=0, description="life of an IMS access token")
    expires_in_unit: Literal["seconds", "milliseconds"] = Field(
        "seconds", description="unit of `expires_in` (Adobe's documents differ)"
    )
    bad_credential_status: Literal[400, 401] = Field(
        400, description="status for a wrong client id or secret (Adobe's documents differ)"
    )
    scope_required: bool = Field(
        False, description="a token request without `scope` is refused with `invalid_scope` (no Adobe text)"
    )
    token_type_shown: bool = Field(
        True, description="the response has `token_type` (one sample leaves it out)"
    )
    token_requests_allowed: int = Field(
        0, ge=0, description="token requests per minute before IMS throttles with 429; 0: no limit"
    )
    token_retry_after: int = Field(
        30, ge=0, description="`Retry-After` of the throttled response, in seconds"
    )
