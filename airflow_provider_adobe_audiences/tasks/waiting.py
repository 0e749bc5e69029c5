# SPDX-License-Identifier: Apache-2.0
"""Waiting for a job at Adobe: blocking, deferred or resumed, with one meaning, one outcome and one way to
log.

What is waited for is a :class:`Waiter`, which does no I/O. :class:`Polling` decides when to ask again. The
loop in :func:`wait_for` blocks; the one in :mod:`airflow_provider_adobe_audiences.triggers.base` does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowTaskTimeout

from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeJobTimeoutError,
    AdobeTriggerError,
    from_json,
)
from airflow_provider_adobe_audiences.text import one_line

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

T = TypeVar("T")
S = TypeVar("S", contravariant=True)

MAX_CONSECUTIVE_ERRORS = 5
_HEARTBEAT_SECONDS = 600.0


class Waiter(Protocol[S]):
    """What is waited for: one job or several, known by a key each. Pure: no clock, no network.

    :ivar what: the job in words, for logs and errors, such as ``batch 01H…``.
    """

    what: str

    def pending(self) -> Sequence[str]:
        """Return the keys of the jobs that have not ended yet."""

    def note(self, key: str, status: S, now: float) -> None:
        """Take in the status of one job.

        :param key: one of :meth:`pending`.
        :param status: what Adobe said of it.
        :param now: seconds since the epoch.
        """

    def progress(self) -> str:
        """Return how far everything is, in a few words; it is logged when it changes."""

    def result(self) -> dict[str, Any]:
        """Return what is known of the ended jobs, as JSON. Only when nothing is pending."""


class Polling:
    """Decides, without I/O, whether and when to ask again, and what is worth a line in the log.

    :param what: what is waited for, in words.
    :param deadline: when to give up, in seconds since the epoch.
    :param poll_interval: seconds between two polls.
    :param log: is told changes, and now and then that the waiting goes on.
    :param max_consecutive_errors: how many failed polls in a row end the waiting.
    """

    def __init__(
        self,
        what: str,
        *,
        deadline: float,
        poll_interval: float,
        log: Any,
        max_consecutive_errors: int = MAX_CONSECUTIVE_ERRORS,
    ) -> None:
        self.what = what
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.log = log
        self.max_consecutive_errors = max_consecutive_errors
        self._errors = 0
        self._started: float | None = None
        self._last_line = ""
        self._last_logged = 0.0

    def polled(self, progress: str, now: float) -> None:
        """Note that a poll was answered.

        :param progress: how far everything is, in a few words.
        :param now: seconds since the epoch.
        """
        self._errors = 0
        self._started = self._started or now
        if progress != self._last_line:
            self.log.info("%s", progress)
        elif now - self._last_logged < _HEARTBEAT_SECONDS:
            return
        else:
            self.log.info(
                "%s, for %s; waiting %s more at most.",
                progress.rstrip("."),
                _duration(now - self._started),
                _duration(self.deadline - now),
            )
        self._last_line, self._last_logged = progress, now

    def failed(self, error: AdobeError) -> None:
        """Note that a poll failed.

        :param error: how it failed.
        :raises AdobeError: ``error`` itself, when asking again cannot help, or too many failed in a row.
        """
        self._errors += 1
        if not error.transient or self._errors >= self.max_consecutive_errors:
            raise error
        self.log.warning(
            "Poll of %s failed (%d of %d in a row that are accepted); polling again in %g s. %s",
            self.what,
            self._errors,
            self.max_consecutive_errors - 1,
            self.poll_interval,
            error.message,
        )

    def pause(self, now: float, pace: float = 1.0) -> float | None:
        """Return how many seconds to wait before the next poll; ``None`` when the time is over.

        :param now: seconds since the epoch.
        :param pace: the share of the interval to wait, so that many do not poll in step.
        """
        left = self.deadline - now
        return None if left <= 0 else min(self.poll_interval * pace, left)


def wait_for(
    waiter: Waiter[T],
    ask: Callable[[str], T],
    *,
    poll_interval: float,
    timeout: timedelta,
    log: Any,
) -> dict[str, Any]:
    """Block until everything that ``waiter`` waits for has ended, and return its result.

    :param waiter: what is waited for.
    :param ask: asks Adobe for the status of one key.
    :param poll_interval: seconds between two polls.
    :param timeout: longest wait.
    :param log: where changes are logged.
    :returns: ``waiter.result()``.
    :raises AdobeJobTimeoutError: after ``timeout``.
    :raises AdobeError: when asking cannot help, or failed too often in a row.
    """
    polling = Polling(
        waiter.what, deadline=time.time() + timeout.total_seconds(), poll_interval=poll_interval, log=log
    )
    while True:
        try:
            for key in waiter.pending():
                waiter.note(key, ask(key), time.time())
            polling.polled(waiter.progress(), time.time())
        except AdobeError as error:
            polling.failed(error)
        if not waiter.pending():
            return waiter.result()
        pause = polling.pause(time.time())
        if pause is None:
            raise timed_out(waiter.what, timeout, waiter.progress())
        time.sleep(pause)


def defer_until(
    task: Any,
    context: Context,
    trigger: Callable[..., Any],
    *,
    timeout: timedelta,
    poll_interval: float,
    **arguments: Any,
) -> NoReturn:
    """Defer ``task`` until ``trigger`` fires, under the same limits as if it had blocked.

    Airflow forgets ``execution_timeout`` while a task is deferred, so the trigger keeps it.

    :param task: an operator or a sensor with ``adobe_conn_id`` and ``execute_complete``.
    :param context: the task's context.
    :param trigger: a subclass of ``AdobeWaitTrigger``.
    :param timeout: longest wait.
    :param poll_interval: seconds between two polls.
    :param arguments: further arguments of the trigger; never a secret.
    """
    now = time.time()
    execution_deadline = None
    if task.execution_timeout:
        started = getattr(context["ti"], "start_date", None)
        begun = started.timestamp() if started else now
        execution_deadline = begun + task.execution_timeout.total_seconds()
    task.defer(
        trigger=trigger(
            adobe_conn_id=task.adobe_conn_id,
            poll_interval=poll_interval,
            deadline=now + timeout.total_seconds(),
            execution_deadline=execution_deadline,
            **arguments,
        ),
        method_name="execute_complete",
    )
    raise AssertionError("defer() returned")


def timed_out(what: str, timeout: timedelta, progress: str) -> AdobeJobTimeoutError:
    """Return the error for a job that did not end in time.

    :param what: the job in words.
    :param timeout: how long was waited.
    :param progress: how far it had come, in words; may be empty.
    """
    message = f"{what} was not finished within {timeout}"
    return AdobeJobTimeoutError(f"{message}: {progress.removesuffix('.')}" if progress else message)


def result_of(event: Any, *, what: str, timeout: timedelta, sensor: bool = False) -> dict[str, Any]:
    """Return the result that a trigger's event carries; anything but a plain success is an error.

    :param event: what the trigger fired.
    :param what: what was waited for, in words.
    :param timeout: how long was waited at most.
    :param sensor: whether a sensor waited, whose timeout Airflow neither retries nor lets ``soft_fail`` miss.
    :raises AdobeError: the very error that the trigger met, with its class, attributes and text.
    :raises AdobeJobTimeoutError: when the time was over (a sensor: ``AirflowSensorTimeout``).
    :raises AirflowTaskTimeout: when ``execution_timeout`` was over.
    """
    status = event.get("status") if isinstance(event, Mapping) else None
    if status == "done" and isinstance(event.get("result"), Mapping):
        return dict(event["result"])
    if status == "timeout":
        error = timed_out(what, timeout, one_line(str(event.get("progress") or "")))
        raise AirflowSensorTimeout(str(error)) if sensor else error
    if status == "execution_timeout":
        raise AirflowTaskTimeout(f"execution_timeout is over while the task was deferred, waiting for {what}")
    if status == "error":
        if isinstance(event.get("error"), Mapping):
            raise from_json(event["error"])
        # An event of an earlier release.
        failed = AdobeTriggerError(str(event.get("message")))
        failed.transient = bool(event.get("transient"))
        raise failed
    raise AdobeTriggerError(f"the trigger waiting for {what} ended with an unknown event")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
