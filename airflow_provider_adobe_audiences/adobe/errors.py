# SPDX-License-Identifier: Apache-2.0
"""One family of errors, and the one reader of every body in which Adobe's services report them.

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
from typing import Any, TypeVar

from airflow_provider_adobe_audiences.adobe.call import Call, Response, Service

E = TypeVar("E", bound="AdobeError")

_LONGEST_MESSAGE = 500
# Control characters but line breaks, what turns the direction of text or cannot be seen, halves of
# characters: what others wrote must neither steer a terminal nor break a log file.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_REQUEST_ID_HEADERS = ("x-request-id", "x-debug-id", "x-adobe-request-id", "x-correlation-id")


class AdobeError(Exception):
    """Something at, or on the way to, an Adobe service failed.

    :ivar service: which service, as :class:`~.call.Service`, or ``None`` when it failed before a call
        existed.
    :ivar call: the name of the call, such as ``create batch``.
    :ivar method: HTTP method.
    :ivar path: path of the request, without its query.
    :ivar status: HTTP status, or ``None`` when there was no answer.
    :ivar code: Adobe's own error code.
    :ivar message: Adobe's message, or ours.
    :ivar request_id: Adobe's id of the request, for Adobe's support.
    :ivar hint: what the reader can do next.
    :ivar transient: whether repeating the task later may help.
    """

    transient = False
    default_hint = "Read the message; the log above shows what was done before."

    def __init__(
        self,
        message: str,
        *,
        service: Service | None = None,
        call: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message = seen(message)
        self.service = service
        self.call = call
        self.method = method
        self.path = path and one_line(path)
        self.status = status
        self.code = code and one_line(code)
        self.request_id = request_id and one_line(request_id)
        self.hint = hint or self.default_hint
        super().__init__(message)

    def __str__(self) -> str:
        where = ""
        if self.service is not None:
            answered = f" answered {self.status}" if self.status is not None else ""
            code = f" [{self.code}]" if self.code else ""
            where = f"{self.service}, {self.call}: {self.method} {self.path}{answered}{code}: "
        request = f" Request id: {self.request_id}." if self.request_id else ""
        return f"{where}{_sentence(self.message)}{request} What to do: {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross processes in Airflow; keyword-only arguments need help with that.
        return _restore, (
            type(self),
            self.message,
            {k: v for k, v in self.__dict__.items() if k != "message"},
        )


def _restore(kind: type[AdobeError], message: str, state: dict[str, Any]) -> AdobeError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class AdobeConfigurationError(AdobeError, ValueError):
    """The connection, or an argument, cannot work. Nothing was sent."""

    default_hint = "Correct the connection or the argument; nothing was sent to Adobe."


class AdobeAuthenticationError(AdobeError):
    """The credential or a token was refused."""

    default_hint = (
        "Check client id and client secret of the connection against the credential in Adobe's Developer "
        "Console, "
        "and that its scopes and product profiles cover this service."
    )


class AdobePermissionError(AdobeError):
    """The credential is valid but may not do this."""

    default_hint = (
        "Ask your Adobe administrator to add the credential to a product profile (or role) that allows this, "
        "and check organisation id and sandbox of the connection."
    )


class AdobeNotFoundError(AdobeError):
    """Adobe does not know the thing, or the path."""

    default_hint = (
        "Check the id, and that the connection's sandbox (or tenant, or path prefix) is the one that holds "
        "it."
    )


class AdobeConflictError(AdobeError):
    """The thing exists already, or its state forbids the change."""

    default_hint = "Look at what exists at Adobe now; repeating the same request will not help."


class AdobeValidationError(AdobeError):
    """Adobe refused the content of the request."""

    default_hint = (
        "Correct the value that the message names; a retry of the same request will be refused again."
    )


class AdobeRateLimitError(AdobeError):
    """Too many requests, and waiting for longer than the configured deadline.

    :ivar retry_after: seconds that Adobe asked to wait, if it did.
    """

    transient = True
    default_hint = (
        "Let the task retry later, lower its concurrency, or set 'Requests per minute' on the connection."
    )
    retry_after: float | None = None


class AdobeServerError(AdobeError):
    """Adobe failed."""

    transient = True
    default_hint = "Let the task retry; if it lasts, give the request id to Adobe's support."


class AdobeTransportError(AdobeError):
    """No answer: DNS, TCP, TLS, a proxy or a timeout."""

    transient = True
    default_hint = (
        "Check host names, proxy and TLS settings of the connection, and the network of the worker; then let "
        "the task retry."
    )


class AdobeResponseError(AdobeError):
    """An answer that cannot be understood: not JSON, another shape than documented, or too large."""

    transient = True
    default_hint = "Check that the URL in the connection is Adobe's and that no proxy answers in its place."


class AdobeSourceError(AdobeError):
    """The data to send cannot be read, or changed while it was being sent; or what was received cannot be
    written.
    """

    transient = True
    default_hint = (
        "Check that nothing rewrites the source while the task runs, and that the worker may read it; then "
        "run again."
    )


class AdobeUnknownOutcomeError(AdobeError):
    """A creating request was sent, and it is not known whether Adobe processed it."""

    transient = True
    default_hint = (
        "Look whether it exists at Adobe before sending it again. Operators of this package do so when they "
        "are retried."
    )


class AdobeJobFailedError(AdobeError):
    """Adobe accepted the work and reports that it failed."""

    default_hint = "Read Adobe's errors in the message, correct the data, and run again."


class AdobeJobTimeoutError(AdobeError):
    """Adobe did not finish within the time allowed. The work may still be going on."""

    transient = True
    default_hint = (
        "Adobe goes on working. A retry finds the work and waits again; or raise the task's timeout."
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """What Adobe said about a failure, whatever shape it used."""

    code: str | None
    message: str
    request_id: str | None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def seen(text: str) -> str:
    """Return ``text`` with a blank for each character that cannot be seen; line breaks stay."""
    return _UNSEEN.sub(" ", text)


def one_line(text: str) -> str:
    """Return what somebody else wrote as one line of bearable length, fit for a log, a terminal and an
    exception.
    """
    text = re.sub(r"\s+", " ", seen(text[: 10 * _LONGEST_MESSAGE])).strip()
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


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
    """Return code, message and request id of an unsuccessful answer. Never raises, whatever the body is."""
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
        one_line(message) or "the answer has no message",
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
    """Return the error that an unsuccessful ``response`` to ``call`` means."""
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


def error_at(kind: type[E], call: Call[Any], message: str, **details: Any) -> E:
    """Return an error of ``kind`` that carries where ``call`` goes to."""
    return kind(message, service=call.service, call=call.name, method=call.method, path=call.path, **details)


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
        return (
            AdobeAuthenticationError,
            "Target refused the profile authentication token: rotate or adopt it, then run again.",
        )
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
