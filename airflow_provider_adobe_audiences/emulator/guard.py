# SPDX-License-Identifier: Apache-2.0
"""Who may use the control API: programs of this machine, not the web pages that a browser on it has open."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .responses import JSON, respond
from .routing import CONTROL

BYTES = "application/octet-stream"
_BYTE = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
_THIS_MACHINE = re.compile(rf"(localhost|127(\.{_BYTE}){{3}}|\[::1\])(:\d{{1,5}})?", re.ASCII | re.IGNORECASE)


class ControlGuard:
    """ASGI middleware around all routes: it looks at the requests to the control API only.

    A page that names a host whose address is this machine (DNS rebinding) sends its own name as ``Host``. A
    page that sends a form or text here without being able to read the response (cross-site request forgery)
    sends its ``Origin``, and cannot say that it sends JSON.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(CONTROL):
            refused = refusal(Headers(scope=scope))
            if refused:
                status, reason = refused
                await respond(status, {"message": reason})(scope, receive, send)
                return
        await self.app(scope, receive, send)


def refusal(headers: Headers) -> tuple[int, str] | None:
    """Return the status and the reason to refuse a request to the control API, or ``None``.

    :param headers: those of the request.
    """
    host = headers.get("host", "")
    if not _THIS_MACHINE.fullmatch(host):
        return 403, "Host: the control API is for this machine only; call it by 127.0.0.1, [::1] or localhost"
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return 403, "Origin: web pages of other sites have no business with the control API"
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and media_type not in (JSON, BYTES):
        return 415, f"Content-Type: a body for the control API is {JSON}"
    return None
