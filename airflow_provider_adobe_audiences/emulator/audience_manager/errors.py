# SPDX-License-Identifier: Apache-2.0
"""Errors of Audience Manager. Adobe documents no error body."""

from __future__ import annotations

from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse


def error(status: int, code: str, message: str) -> ErrorResponse:
    """Return an error as Audience Manager's own user interface expects it."""
    return ErrorResponse(status, {"code": code, "message": message})
