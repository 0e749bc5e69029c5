# SPDX-License-Identifier: Apache-2.0
"""Waiting in the same task, blocking or deferred, with one meaning of the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeJobTimeoutError,
    AdobeTriggerError,
)

T = TypeVar("T")


def check_waiting(poll_interval: float, timeout: timedelta) -> None:
    """Raise :class:`AdobeConfigurationError` unless both are positive."""
    if not isinstance(poll_interval, (int, float)) or not poll_interval > 0:
        raise AdobeConfigurationError(
            f"argument 'poll_interval' is {poll_interval!r}: should be a number of seconds greater than 0"
        )
    if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
        raise AdobeConfigurationError(
            f"argument 'timeout' is {timeout!r}: should be a timedelta greater than 0"
        )


def poll_until(ask: Callable[[], T | None], *, poll_interval: float, timeout: timedelta, what: str) -> T:
    """Ask until there is an answer; raise :class:`AdobeJobTimeoutError` after ``timeout``."""
    deadline = time.monotonic() + timeout.total_seconds()
    while (answer := ask()) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise timed_out(what, timeout)
        time.sleep(min(poll_interval, left))
    return answer


def timed_out(what: str, timeout: timedelta) -> AdobeJobTimeoutError:
    return AdobeJobTimeoutError(f"{what} was not finished within {timeout}")


def result_of(event: Any, *, what: str, timeout: timedelta) -> dict[str, Any]:
    """Return the result that a trigger's event carries; anything but a plain success is an error."""
    status = event.get("status") if isinstance(event, dict) else None
    if status == "done" and isinstance(event.get("result"), dict):
        return dict(event["result"])
    if status == "timeout":
        raise timed_out(what, timeout)
    if status == "error":
        message = str(event.get("message"))
        if not event.get("transient"):
            raise AirflowFailException(message)
        raise AdobeTriggerError(message)
    raise AdobeTriggerError(f"the trigger waiting for {what} ended with an unknown event")
