# SPDX-License-Identifier: Apache-2.0
"""Waiting for a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.triggers.base import AdobeWaitTrigger

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
    from airflow_provider_adobe_audiences.adobe.client.call import Listing
    from airflow_provider_adobe_audiences.adobe.experience_platform import Batch
    from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook


class AdobeBatchTrigger(AdobeWaitTrigger["Batch"]):
    """Waits until Adobe has ingested a batch or given it up.

    A batch that is waited for was handed over: whatever becomes of the task, its rows are Adobe's, and
    nothing is aborted. So there is nothing to do when a person clears, fails or succeeds the waiting task.

    :param batch_id: the batch.
    :param sandbox: another sandbox than the connection's.
    :param sent: what the task already knows of its result, given back with it. Not left to
        ``defer(kwargs=…)``, which ``dag.test()`` drops.
    :param stalled_since: since when the batch is known to be stalled, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        batch_id: str,
        sandbox: str | None = None,
        sent: dict[str, Any] | None = None,
        stalled_since: float | None = None,
        **kwargs: Any,
    ) -> None:
        from airflow_provider_adobe_audiences.batches.wait import BatchWaiter

        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.sandbox = sandbox
        self.sent = sent or {}
        self.waiter: BatchWaiter = BatchWaiter(batch_id, stalled_since)

    def hook(self) -> AdobeHook:
        """Return what knows the connection of this trigger."""
        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        return AdobeHook(self.adobe_conn_id, sandbox=self.sandbox)

    @property
    def stalled_since(self) -> float | None:
        """Since when the batch is known to be stalled by now."""
        return self.waiter.stalled_since

    async def ask(self, session: AsyncAdobeSession, key: str) -> Batch:
        """Return the batch as Catalog shows it.

        :param session: sends the call.
        :param key: the batch's id.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch

        return await session.send(get_batch(key))

    def listing(self) -> Listing[Batch]:
        """Return how to ask Catalog for many batches at once."""
        from airflow_provider_adobe_audiences.adobe.experience_platform import BATCH_LISTING

        return BATCH_LISTING

    def result(self) -> dict[str, Any]:
        """Return the ended batch and what the task knew of its result."""
        return {**super().result(), "sent": self.sent}
