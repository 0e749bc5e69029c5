# SPDX-License-Identifier: Apache-2.0
"""Waiting in the triggerer, for anything that is polled."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_adobe_audiences.errors import AdobeError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.waiting import MAX_CONSECUTIVE_ERRORS, Polling, Waiter

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
    from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

T = TypeVar("T")


class AdobePollTrigger(BaseTrigger):
    """Polls until there is a result, a deadline has passed, or polling failed too often in a row.

    The event is ``{"status": "done", "result": …}``, ``{"status": "timeout"}``, ``{"status":
    "execution_timeout"}`` or ``{"status": "error", "error": …}`` with everything that the error knows.

    :param adobe_conn_id: connection of type ``adobe``.
    :param deadline: when to give up, in seconds since the epoch; a restarted triggerer keeps it.
    :param execution_deadline: when the task's ``execution_timeout`` is over, in seconds since the epoch.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_errors: how many failed polls in a row end the waiting; each has its own
        retries before.
    """

    #: What is waited for, in words, for logs.
    what = "the job"

    def __init__(
        self,
        *,
        adobe_conn_id: str = DEFAULT_CONN_ID,
        deadline: float,
        execution_deadline: float | None = None,
        poll_interval: float = 30.0,
        max_consecutive_errors: int = MAX_CONSECUTIVE_ERRORS,
        **_: Any,  # arguments of other versions of this package, stored before an upgrade
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.adobe_conn_id = adobe_conn_id
        self.deadline = deadline
        self.execution_deadline = execution_deadline
        self.poll_interval = poll_interval
        self.max_consecutive_errors = max_consecutive_errors

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of this trigger's subclass, to be stored. Never a secret."""
        return {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path and the arguments, as Airflow stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "adobe_conn_id": self.adobe_conn_id,
            "deadline": self.deadline,
            "execution_deadline": self.execution_deadline,
            "poll_interval": self.poll_interval,
            "max_consecutive_errors": self.max_consecutive_errors,
            **self.arguments(),
        }

    @abstractmethod
    async def poll(self, session: AsyncAdobeSession) -> dict[str, Any] | None:
        """Poll once.

        :param session: sends calls.
        :returns: the result as JSON, or ``None`` to poll again later.
        """

    def hook(self) -> AdobeHook:
        """Return what opens the session of this trigger."""
        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        return AdobeHook(self.adobe_conn_id)

    def progress(self) -> str:
        """Return how far everything is, in a few words; it is logged when it changes."""
        return f"Waiting for {self.what}."

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is one event to fire.

        :returns: an iterator of that event.
        """
        limits = {"timeout": self.deadline, "execution_timeout": self.execution_deadline or float("inf")}
        ends_as = min(limits, key=lambda name: limits[name])
        polling = Polling(
            self.what,
            deadline=limits[ends_as],
            poll_interval=self.poll_interval,
            log=self.log,
            max_consecutive_errors=self.max_consecutive_errors,
        )
        try:
            async with self.hook().async_session() as session:
                while True:
                    try:
                        result = await self.poll(session)
                        polling.polled(self.progress(), time.time())
                    except AdobeError as error:
                        polling.failed(error)
                        result = None
                    if result is not None:
                        yield TriggerEvent({"status": "done", "result": result})
                        return
                    pause = polling.pause(time.time())
                    if pause is None:
                        yield TriggerEvent({"status": ends_as})
                        return
                    await asyncio.sleep(pause)
        except AdobeError as error:
            yield TriggerEvent({"status": "error", "error": error.as_json()})


class AdobeWaitTrigger(AdobePollTrigger, Generic[T]):
    """Waits for what a :class:`~airflow_provider_adobe_audiences.tasks.waiting.Waiter` waits for.

    A subclass sets ``waiter`` in its ``__init__`` and has :meth:`ask`.
    """

    waiter: Waiter[T]

    @property
    def what(self) -> str:  # type: ignore[override]
        """What is waited for, in words."""
        return self.waiter.what

    @abstractmethod
    async def ask(self, session: AsyncAdobeSession, key: str) -> T:
        """Return the status of one job.

        :param session: sends calls.
        :param key: one of ``waiter.pending()``.
        """

    def progress(self) -> str:
        """Return how far everything is, in a few words."""
        return self.waiter.progress()

    async def poll(self, session: AsyncAdobeSession) -> dict[str, Any] | None:
        """Poll every job that is pending.

        :param session: sends calls.
        :returns: the waiter's result, ``None`` while something is pending.
        """
        for key in self.waiter.pending():
            self.waiter.note(key, await self.ask(session, key), time.time())
        return None if self.waiter.pending() else self.waiter.result()
