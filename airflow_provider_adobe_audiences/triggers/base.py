# SPDX-License-Identifier: Apache-2.0
"""Waiting in the triggerer, for anything that is polled."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_adobe_audiences.errors import AdobeError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.transport import AsyncAdobeSession


class AdobePollTrigger(BaseTrigger):
    """Asks until there is an answer, the deadline has passed, or asking failed too often in a row.

    The event is ``{"status": "done" | "timeout" | "error", "result": …, "message": …, "transient": …}``.

    :param adobe_conn_id: connection of type ``adobe``.
    :param deadline: when to give up, in seconds since the epoch; a restarted triggerer keeps it.
    :param poll_interval: seconds between two questions.
    :param max_consecutive_errors: how many failed questions in a row end the waiting; each has its own
        retries before.
    """

    def __init__(
        self,
        *,
        adobe_conn_id: str = DEFAULT_CONN_ID,
        deadline: float,
        poll_interval: float = 30.0,
        max_consecutive_errors: int = 5,
        **_: Any,  # arguments of other versions of this package, stored before an upgrade
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.adobe_conn_id = adobe_conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.max_consecutive_errors = max_consecutive_errors

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of this trigger's subclass, to be stored. Never a secret."""
        return {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "adobe_conn_id": self.adobe_conn_id,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "max_consecutive_errors": self.max_consecutive_errors,
            **self.arguments(),
        }

    @abstractmethod
    async def poll(self, session: AsyncAdobeSession) -> dict[str, Any] | None:
        """Ask once: return the result as JSON, or ``None`` to ask again later."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        errors = 0
        try:
            async with AdobeHook(self.adobe_conn_id).async_session() as session:
                while True:
                    try:
                        result = await self.poll(session)
                        errors = 0
                    except AdobeError as error:
                        errors += 1
                        if not error.transient or errors >= self.max_consecutive_errors:
                            raise
                        self.log.warning("Question %d failed (%s); asking again.", errors, error)
                        result = None
                    if result is not None:
                        yield TriggerEvent({"status": "done", "result": result})
                        return
                    left = self.deadline - time.time()
                    if left <= 0:
                        yield TriggerEvent({"status": "timeout"})
                        return
                    await asyncio.sleep(min(self.poll_interval, left))
        except AdobeError as error:
            yield TriggerEvent({"status": "error", "message": str(error), "transient": error.transient})
