# SPDX-License-Identifier: Apache-2.0
"""What TLS connections are verified with: one context per process and kind of settings."""

from __future__ import annotations

import logging
import os
import ssl
import threading

from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

log = logging.getLogger(__name__)

_contexts: dict[tuple[str | None, int], ssl.SSLContext] = {}
_lock = threading.Lock()


def bundle_changed_at(settings: AdobeSettings) -> int:
    """Return when the CA bundle was changed last, in nanoseconds; 0 when there is none.

    :param settings: ``ca_bundle`` of the connection.
    """
    try:
        return os.stat(settings.ca_bundle).st_mtime_ns if settings.ca_bundle else 0
    except OSError:
        return 0


def tls_context(settings: AdobeSettings) -> ssl.SSLContext | bool:
    """Return the context of these settings, to be shared; ``False`` to verify nothing, which is told in
    the log.

    Reads files the first time: not to be called in an event loop.

    :param settings: ``ca_bundle`` and ``verify_tls`` of the connection.
    :returns: a context that all sessions of this process share; a CA bundle that was replaced gets a new one.
    :raises AdobeConfigurationError: when the CA bundle cannot be used.
    """
    if not settings.verify_tls:
        log.warning(
            "TLS certificates are NOT verified (verify_tls = false): anybody on this machine can answer in "
            "Adobe's place."
        )
        return False
    try:
        with _lock:
            key = (settings.ca_bundle, bundle_changed_at(settings))
            if key not in _contexts:
                _contexts[key] = ssl.create_default_context(cafile=settings.ca_bundle)
            return _contexts[key]
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise AdobeConfigurationError(
        f"the CA bundle {settings.ca_bundle!r} cannot be used: {reason}",
        hint=(
            "Set 'CA bundle' of the connection to a file of PEM certificates that exists on every worker and "
            "triggerer."
        ),
    )
