# SPDX-License-Identifier: Apache-2.0
"""Responses, and errors that end a request with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"


class ErrorResponse(Exception):
    """A response other than the expected one. Raise it anywhere in a handler.

    :param status: HTTP status.
    :param body: text or bytes as they are, None for no body, anything else as JSON.
    :param headers: headers of the response.
    :param media_type: its ``Content-Type``.
    """

    def __init__(
        self, status: int, body: Any = None, headers: Mapping[str, str] | None = None, media_type: str = JSON
    ) -> None:
        super().__init__(status)
        self.status, self.body, self.headers, self.media_type = status, body, dict(headers or {}), media_type

    def response(self) -> Response:
        """Return it as a response."""
        return respond(self.status, self.body, self.headers, self.media_type)


def respond(
    status: int, body: Any = None, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """Return a response; see :class:`ErrorResponse` for the parameters."""
    if body is None:
        return Response(status_code=status, headers=dict(headers or {}))
    content = body if isinstance(body, str | bytes) else json.dumps(body, separators=(",", ":"))
    return Response(content, status_code=status, headers=dict(headers or {}), media_type=media_type)


async def on_error_response(request: Request, error: Exception) -> Response:
    """Handle :class:`ErrorResponse` in the application."""
    assert isinstance(error, ErrorResponse)
    return error.response()
