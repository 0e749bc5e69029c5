# SPDX-License-Identifier: Apache-2.0
"""Answers that end a request: raise one anywhere in a handler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .wire import JSON


class Answer(Exception):
    """An answer other than the expected one, usually an error.

    :param status: HTTP status.
    :param body: text or bytes as they are, None for no body, anything else as JSON.
    """

    def __init__(
        self, status: int, body: Any = None, headers: Mapping[str, str] | None = None, media_type: str = JSON
    ) -> None:
        super().__init__(status)
        self.status, self.body, self.headers, self.media_type = status, body, dict(headers or {}), media_type

    def response(self) -> Response:
        return respond(self.status, self.body, self.headers, self.media_type)


def respond(
    status: int, body: Any = None, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """Return a response; see :class:`Answer` for the parameters."""
    if body is None:
        return Response(status_code=status, headers=dict(headers or {}))
    content = body if isinstance(body, str | bytes) else json.dumps(body, separators=(",", ":"))
    return Response(content, status_code=status, headers=dict(headers or {}), media_type=media_type)


def changes_nothing(request: Request) -> None:
    """Tell the journal that this request is no write, although its method says so."""
    entry = request.scope.get("emulator.entry")
    if entry is not None:
        entry.write = False


async def on_answer(request: Request, answer: Exception) -> Response:
    """Exception handler for the application."""
    assert isinstance(answer, Answer)
    return answer.response()
