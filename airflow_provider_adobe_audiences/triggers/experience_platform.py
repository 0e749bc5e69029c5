# SPDX-License-Identifier: Apache-2.0
"""Waiting for a batch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.batches.ingest import BatchWait, outcome
from airflow_provider_adobe_audiences.errors import AdobeError
from airflow_provider_adobe_audiences.triggers.base import AdobePollTrigger

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.transport import AsyncAdobeSession


class AdobeBatchTrigger(AdobePollTrigger):
    """Waits until Adobe has ingested a batch or given it up.

    :param batch_id: the batch.
    :param abort_on_kill: abort the batch when a person ends the waiting task (Airflow 3.3 and later tell a
        trigger so).
    :param sent: what the task already knows of its result, given back with it. Not left to
        ``defer(kwargs=…)``, which ``dag.test()`` drops.
    """

    def __init__(
        self, *, batch_id: str, abort_on_kill: bool = False, sent: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.abort_on_kill = abort_on_kill
        self.sent = sent or {}
        self._wait = BatchWait()

    def arguments(self) -> dict[str, Any]:
        return {"batch_id": self.batch_id, "abort_on_kill": self.abort_on_kill, "sent": self.sent}

    async def poll(self, session: AsyncAdobeSession) -> dict[str, Any] | None:
        batch = await session.send(platform.get_batch(self.batch_id))
        if not self._wait.is_over(batch):
            self.log.info("Batch %s is %s.", batch.id, batch.status)
            return None
        return {**outcome(batch), "errors": list(batch.errors[:5]), "sent": self.sent}

    async def on_kill(self) -> None:
        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        if not self.abort_on_kill:
            return
        try:
            async with asyncio.timeout(25), AdobeHook(self.adobe_conn_id).async_session() as session:
                await session.send(platform.abort_batch(self.batch_id))
                self.log.info("Batch %s is aborted.", self.batch_id)
        except (AdobeError, TimeoutError) as error:
            self.log.warning("Batch %s could not be aborted: %s", self.batch_id, error)
