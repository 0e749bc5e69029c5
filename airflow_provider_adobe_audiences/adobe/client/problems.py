# SPDX-License-Identifier: Apache-2.0
"""What an unsuccessful response means: Adobe's words, and the error with its remedy.

Shapes read here (Adobe's pages: Experience Platform "Troubleshooting", "Create Audience API Endpoint",
"Audiences endpoint", Target "Admin API overview", Audience Manager "REST APIs getting started", Developer
Console "IMS reference"): gateway ``{error_code, message}``; problem documents ``{type, title, status, detail,
report, error-chain}``; the audiences envelope ``{requestId, errors: {"404": [{code, message}]}}``; Target
``{httpStatus, requestId, errors: [{errorCode, message}]}``; OAuth ``{error, error_description}``; Audience
Manager ``{code, message, childMessages}``; and no JSON at all.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.call import Call, Response, Service
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConflictError,
    AdobeError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeRateLimitError,
    AdobeResponseError,
    AdobeServerError,
    AdobeTransportError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.text import one_line

TOKEN_REFUSED = "Target refused the profile authentication token: rotate or adopt it, then run again."  # noqa: S105

_REQUEST_ID_HEADERS = ("x-request-id", "x-debug-id", "x-adobe-request-id", "x-correlation-id")


@dataclass(frozen=True, slots=True)
class Problem:
    """What Adobe said about a failure, whatever shape it used.

    :param code: Adobe's own error code.
    :param message: in one line.
    :param request_id: Adobe's id of the request, for Adobe's support.
    """

    code: str | None
    message: str
    request_id: str | None


def _join(parts: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(str(part) for part in parts if part))


def _grouped_errors(errors: Any) -> list[Mapping[str, Any]]:
    """Flatten ``[{…}]`` and ``{"404": [{…}]}`` to one list."""
    if isinstance(errors, Mapping):
        errors = [
            item for group in errors.values() for item in (group if isinstance(group, list) else [group])
        ]
    return [item for item in errors if isinstance(item, Mapping)] if isinstance(errors, list) else []


def read_problem(response: Response) -> Problem:
    """Return code, message and request id of an unsuccessful response. Never raises, whatever the body is.

    :param response: of any status.
    """
    request_id = next(
        (response.headers[name] for name in _REQUEST_ID_HEADERS if response.headers.get(name)), None
    )
    code = body_request_id = None
    try:
        body = response.json()
        if isinstance(body, Mapping):
            code, message, body_request_id = _read_mapping(body)
        else:
            message = body if isinstance(body, str) and body else _beginning(response)
    except (ValueError, RecursionError):
        message = _read_text(response)
    request_id = body_request_id or request_id
    return Problem(
        code and one_line(code),
        one_line(message) or "the response has no message",
        request_id and one_line(request_id),
    )


def _read_mapping(body: Mapping[str, Any]) -> tuple[str | None, str, str | None]:
    nested = body.get("data")
    if isinstance(nested, Mapping) and not any(
        key in body for key in ("message", "errors", "error", "title")
    ):
        body = nested
    errors = _grouped_errors(body.get("errors"))
    first: Mapping[str, Any] = errors[0] if errors else {}
    report = body.get("report") if isinstance(body.get("report"), Mapping) else {}
    assert isinstance(report, Mapping)
    chain = body.get("error-chain") or report.get("errorChain") or []
    chained = (
        chain[0].get("errorCode")
        if isinstance(chain, list) and chain and isinstance(chain[0], Mapping)
        else None
    )
    kind = body.get("type")
    code = (
        body.get("error_code")
        or chained
        or first.get("errorCode")
        or (
            kind.rsplit("/", 1)[-1]
            if isinstance(kind, str) and "placeholder" not in kind and kind != "about:blank"
            else None
        )
        or body.get("code")
        or body.get("error")
        or first.get("code")
    )
    children = body.get("childMessages")
    message = (
        _join(children if isinstance(children, list) else [])
        or _join(error.get("message") or error.get("description") for error in errors)
        or body.get("error_description")
        or _join([body.get("title"), body.get("detail"), report.get("detailed-message")])
        or body.get("message")
        or body.get("errorMessage")
        or body.get("error")
        or ""
    )
    request_id = body.get("requestId") or report.get("registryRequestId")
    return (str(code) if code else None, str(message), str(request_id) if request_id else None)


def _beginning(response: Response) -> str:
    return response.body[:20_000].decode("utf-8", "replace")


def _read_text(response: Response) -> str:
    text = _beginning(response)
    if "<" in text and ">" in text:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = html.unescape(title.group(1) if title else re.sub(r"<[^>]{0,200}>", " ", text))
        text = f"an HTML or XML page instead of JSON: {text.strip()}"
    return text or "an empty body"


def error_of(call: Call[Any], response: Response) -> AdobeError:
    """Return the error that an unsuccessful ``response`` to ``call`` means.

    :param call: what was sent.
    :param response: what came back.
    """
    problem = read_problem(response)
    kind, hint = _classify(call, response.status, problem)
    return kind(
        problem.message,
        service=call.service,
        call=call.name,
        method=call.method,
        path=call.path,
        status=response.status,
        code=problem.code,
        request_id=problem.request_id,
        hint=hint,
    )


# Hints for codes that Adobe documents on its pages; a code that is not here falls back to its HTTP status.
_HINTS: dict[str, tuple[type[AdobeError], str]] = {
    "401013": (
        AdobeAuthenticationError,
        "The access token was refused although it was just renewed: check the credential and its "
        "organisation.",
    ),
    "403000": (AdobeAuthenticationError, "The client id (Login of the connection) was not sent or is empty."),
    "403003": (AdobeAuthenticationError, "The client id (Login of the connection) is not known to Adobe."),
    "403010": (
        AdobeAuthenticationError,
        "No access token reached Adobe: a proxy may remove the Authorization header.",
    ),
    "400003": (AdobeValidationError, "A header is missing: set the IMS organisation id in the connection."),
    "403025": (
        AdobePermissionError,
        "The credential is not entitled in this organisation: add it to a product profile in the Admin "
        "Console.",
    ),
    "403023": (
        AdobePermissionError,
        "The credential is not entitled in this organisation: add it to a product profile in the Admin "
        "Console.",
    ),
    "403027": (
        AdobePermissionError,
        "Check the IMS organisation id, and that the credential has an Experience Platform product profile.",
    ),
    "100921-401": (
        AdobeAuthenticationError,
        "The IMS organisation id of the connection is not the one of the credential.",
    ),
    "100922-401": (
        AdobePermissionError,
        "The credential may not use the audience APIs: ask for the permission to manage audiences.",
    ),
    "invalid_client": (
        AdobeAuthenticationError,
        "Client id or client secret is wrong, or the secret was deleted in the Developer Console.",
    ),
    "unauthorized_client": (
        AdobeAuthenticationError,
        "The credential is not an OAuth Server-to-Server credential: create one in the Developer Console.",
    ),
    "invalid_scope": (
        AdobeAuthenticationError,
        "Copy the scopes of the connection from the credential's page in the Developer Console.",
    ),
    "Unsupported.Feature": (
        AdobeValidationError,
        "Adobe does not know the version asked for: update this package.",
    ),
}

_BY_STATUS: dict[int, type[AdobeError]] = {
    400: AdobeValidationError,
    401: AdobeAuthenticationError,
    403: AdobePermissionError,
    404: AdobeNotFoundError,
    407: AdobeTransportError,
    408: AdobeServerError,
    409: AdobeConflictError,
    412: AdobeConflictError,
    429: AdobeRateLimitError,
}


def _classify(call: Call[Any], status: int, problem: Problem) -> tuple[type[AdobeError], str | None]:
    if problem.code in _HINTS:
        return _HINTS[problem.code]
    if call.service is Service.IMS and status in (400, 401, 403):
        return AdobeAuthenticationError, None
    if call.service is Service.TARGET_EDGE and status in (401, 403):
        return AdobeAuthenticationError, TOKEN_REFUSED
    if 300 <= status < 400:
        return (
            AdobeResponseError,
            "Adobe answered with a redirect, which is never followed with a credential: correct the URL in "
            "the connection.",
        )
    if status in _BY_STATUS:
        return _BY_STATUS[status], None
    if status >= 500:
        return AdobeServerError, None
    if 400 <= status < 500:
        return AdobeValidationError, None
    return AdobeResponseError, None
