# SPDX-License-Identifier: Apache-2.0
"""Waiting in the triggerer, for anything that is polled."""

from __future__ import annotations

import asyncio
import functools
import inspect
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
    from airflow_provider_adobe_audiences.adobe.client.call import Listing
    from airflow_provider_adobe_audiences.adobe.client.poller import Subscription
    from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

T = TypeVar("T")

# Triggers that begin together, as after a restart, ask together.
_GATHER_SECONDS = 1.0
_GATHER_SHARE = 0.1


@functools.cache
def _arguments(kind: type) -> list[str]:
    found = inspect.signature(kind).parameters.values()
    return [argument.name for argument in found if argument.kind is argument.KEYWORD_ONLY]


class AdobeWaitTrigger(BaseTrigger, Generic[T]):
    """Waits for what a :class:`~airflow_provider_adobe_audiences.tasks.waiting.Waiter` waits for: polls until
    there is a result, a deadline has passed, or polling failed too often in a row.

    All triggers of one process with the same connection and sandbox share one
    :class:`~airflow_provider_adobe_audiences.adobe.client.poller.Poller`. A subclass sets ``waiter`` in its
    ``__init__``, keeps each of its own arguments as an attribute, has :meth:`ask`, and :meth:`listing` where
    Adobe tells the status of many at once.

    The event is ``{"status": "done", "result": …}``, ``{"status": "timeout", "progress": …}``, ``{"status":
    "execution_timeout"}`` or ``{"status": "error", "error": …}`` with everything that the error knows.

    :param adobe_conn_id: connection of type ``adobe``.
    :param deadline: when to give up, in seconds since the epoch; a restarted triggerer keeps it.
    :param execution_deadline: when the task's ``execution_timeout`` is over, in seconds since the epoch.
    :param poll_interval: the most seconds between two polls.
    :param max_consecutive_errors: how many failed polls in a row end the waiting; each has its own
        retries before.
    """

    waiter: Waiter[T]

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

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path and the arguments, as Airflow stores them: for each the attribute of its
        name, as it is now. Never a secret.
        """
        names = [*_arguments(AdobeWaitTrigger), *_arguments(type(self))]
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            name: getattr(self, name) for name in names
        }

    def hook(self) -> AdobeHook:
        """Return what knows the connection of this trigger."""
        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        return AdobeHook(self.adobe_conn_id)

    @abstractmethod
    async def ask(self, session: AsyncAdobeSession, key: str) -> T:
        """Return the status of one job.

        :param session: sends calls.
        :param key: one of ``waiter.pending()``.
        """

    def listing(self) -> Listing[T] | None:
        """Return how to ask for many jobs at once; ``None`` where Adobe has no such call."""
        return None

    def result(self) -> dict[str, Any]:
        """Return the result as JSON. Only when nothing is pending."""
        return self.waiter.result()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is one event to fire.

        :returns: an iterator of that event.
        """
        try:
            event = await self._wait()
        except AdobeError as error:
            event = {"status": "error", "error": error.as_json()}
        yield TriggerEvent(event)

    async def _wait(self) -> dict[str, Any]:
        limits = {"timeout": self.deadline, "execution_timeout": self.execution_deadline or float("inf")}
        ends_as = min(limits, key=lambda name: limits[name])
        polling = Polling(
            self.waiter.what,
            deadline=limits[ends_as],
            poll_interval=self.poll_interval,
            log=self.log,
            max_consecutive_errors=self.max_consecutive_errors,
        )
        async with self.hook().subscription() as subscription:
            pause: float | None = min(_GATHER_SECONDS, self.poll_interval * _GATHER_SHARE)
            while pause is not None:
                # The last poll may take as long as one call.
                left = max(0.0, limits[ends_as] - time.time()) + subscription.settings.total_timeout
                try:
                    async with asyncio.timeout(left):
                        await self._poll(subscription, pause)
                    polling.polled(self.waiter.progress(), time.time())
                except AdobeError as error:
                    polling.failed(error)
                except TimeoutError:
                    break
                if not self.waiter.pending():
                    return {"status": "done", "result": self.result()}
                pause = polling.pause(time.time(), subscription.pace)
        return {"status": ends_as, "progress": self.waiter.progress()}

    async def _poll(self, subscription: Subscription, within: float) -> None:
        for key in self.waiter.pending():
            status = await subscription.status(key, self.ask, within=within, listing=self.listing())
            self.waiter.note(key, status, time.time())
            within = 0.0
