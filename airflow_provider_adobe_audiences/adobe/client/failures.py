# SPDX-License-Identifier: Apache-2.0
"""Why no response came, in words for the reader, and whether the request may have been processed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_adobe_audiences.adobe.client.bodies import BadResponse
from airflow_provider_adobe_audiences.adobe.client.policy import NoResponse
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeResponseError
from airflow_provider_adobe_audiences.text import counted

if TYPE_CHECKING:
    import httpx

# What OpenSSL says before anything of a request is sent.
_NO_HANDSHAKE = (
    "CERTIFICATE",
    "certificate",
    "WRONG_VERSION_NUMBER",
    "HANDSHAKE",
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
)
_NO_NAME = (
    "Name or service not known",
    "getaddrinfo",
    "NameResolution",
    "name resolution",
    "nodename",
    "No address associated",
)
_NO_FILE_LEFT = (errno.EMFILE, errno.ENFILE)
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def bad_response(error: BadResponse) -> NoResponse:
    """Return what a response that broke a limit, or the protocol, means.

    :param error: says what was wrong with it.
    """
    return NoResponse(str(error), sent=True, hint=AdobeResponseError.default_hint)


def too_slow(seconds: float) -> NoResponse:
    """Return what it means that a response was not complete in time.

    :param seconds: how long it could take.
    """
    return NoResponse(
        f"the response was not complete after {counted(seconds, 'second')}",
        sent=True,
        hint=AdobeResponseError.default_hint,
    )


def requests_failure(error: Exception, url: str) -> NoResponse:
    """Return what an exception of requests or urllib3 means.

    :param url: where the request went to.
    :param error: as it was raised.
    :raises AdobeConfigurationError: when no request can be made of the URL.
    """
    import requests
    import urllib3

    if not isinstance(error, requests.exceptions.RequestException):
        return _broken(error)
    if isinstance(
        error,
        requests.exceptions.InvalidURL
        | requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema
        | requests.exceptions.InvalidHeader,
    ):
        raise AdobeConfigurationError(f"the request cannot be made ({type(error).__name__})") from None
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    not_sent = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.NameResolutionError,
    )
    # urllib3 also blames the proxy, or TLS, when the connection through it breaks after the request was sent.
    original = getattr(reason, "original_error", reason)
    blamed = isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError)
    if isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(reason, not_sent):
        surely_not_sent = True
    else:
        surely_not_sent = blamed and (
            isinstance(original, not_sent)
            or any(word in str(original) for word in ("Tunnel connection failed", *_NO_HANDSHAKE))
        )
    if surely_not_sent:
        return no_connection(reason if isinstance(reason, BaseException) else error, url)
    if blamed:
        return _broken(original if isinstance(original, Exception) else error)
    return _broken(error, timeout=isinstance(error, requests.exceptions.Timeout))


def httpx_failure(error: httpx.TransportError, url: str) -> NoResponse:
    """Return what an exception of httpx means.

    :param url: where the request went to.
    :param error: as it was raised.
    """
    import httpx

    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
        return no_connection(error, url)
    return _broken(error, timeout=isinstance(error, httpx.TimeoutException))


def _broken(error: BaseException, *, timeout: bool = False) -> NoResponse:
    kind = type(error).__name__
    if timeout:
        return NoResponse(f"no response within the read timeout ({kind})", sent=True)
    return NoResponse(f"the connection broke before the response was complete ({kind})", sent=True)


def no_connection(error: BaseException, url: str) -> NoResponse:
    """Return why no connection was made, with what to check; nothing was sent.

    :param error: as it was raised; the operating system's own error is looked for in its causes.
    :param url: where the request went to.
    """
    host = urlsplit(url).hostname
    text = " ".join(str(part) for part in _chain(error))
    kind = type(error).__name__
    number = _errno(error)
    unknown = any(word in text for word in _NO_NAME)
    if number in _NO_FILE_LEFT or (unknown and _no_file_left()):
        return NoResponse(
            f"no connection to {host}: this process has too many open files",
            sent=False,
            hint=(
                "Raise the limit of open files (ulimit -n, LimitNOFILE) of the worker or triggerer, or let "
                "fewer tasks run at once."
            ),
        )
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return NoResponse(
            f"the TLS certificate of {host} cannot be verified",
            sent=False,
            hint="Set 'CA bundle' in the connection to the file with your company's certificates.",
        )
    if unknown:
        return NoResponse(
            f"the host name {host} cannot be resolved",
            sent=False,
            hint="Check the URL in the connection and the worker's DNS.",
        )
    if "SSL" in text:
        return NoResponse(
            f"no TLS connection to {host} ({kind})",
            sent=False,
            hint="Check that the URL's port speaks TLS.",
        )
    if "roxy" in text or "roxy" in kind:
        return NoResponse(
            f"the proxy did not connect to {host}",
            sent=False,
            hint="Check HTTPS_PROXY and NO_PROXY of the worker.",
        )
    if "imeout" in kind or "timed out" in text or number == errno.ETIMEDOUT:
        what = "timed out"
    elif number is None or number == errno.ECONNREFUSED:
        what = "was refused"
    else:
        what = f"failed: {os.strerror(number)}"
    return NoResponse(f"the connection to {host} {what} ({kind})", sent=False)


def _no_file_left() -> bool:
    """Return whether this process can open no file: the resolver does not say that it could not."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _NO_FILE_LEFT
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it was raised from, the innermost last."""
    seen: list[BaseException] = []
    left: BaseException | None = error
    while left is not None and left not in seen:
        yield left
        seen.append(left)
        left = left.__cause__ or left.__context__


def _errno(error: BaseException) -> int | None:
    """Return the number of the operating system's error that ``error`` goes back to."""
    number = None
    for part in _chain(error):
        if isinstance(part, OSError) and (part.errno or 0) > 0:  # those of name resolution are negative
            number = part.errno
        elif found := _ERRNO.search(str(part)):
            number = int(found[1])
    return number
