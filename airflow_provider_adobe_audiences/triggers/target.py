# SPDX-License-Identifier: Apache-2.0
"""Waiting for bulk profile updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.adobe.target import outcome
from airflow_provider_adobe_audiences.rotation.stores.base import store_of
from airflow_provider_adobe_audiences.triggers.base import AdobePollTrigger

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession


class AdobeBulkProfileUpdateTrigger(AdobePollTrigger):
    """Waits until Target has taken in every batch, or given it up. Target knows no way to cancel one.

    :param batches: ``batch_id``, ``status_url`` and ``rows`` of each.
    :param store: reference of the store that has the profile token (:meth:`SecretStore.reference`), never the
        token; ``None`` for none.
    """

    def __init__(
        self, *, batches: Sequence[Mapping[str, Any]], store: Sequence[Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.batches = [dict(batch) for batch in batches]
        self.store = list(store) if store is not None else None
        self._ended: dict[str, dict[str, Any]] = {}

    def arguments(self) -> dict[str, Any]:
        return {"batches": self.batches, "store": self.store}

    async def poll(self, session: AsyncAdobeSession) -> dict[str, Any] | None:
        from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook

        hook = AdobeTargetHook(self.adobe_conn_id, store_of(self.store) if self.store is not None else None)
        for batch in self.batches:
            url = batch["status_url"]
            if url in self._ended:
                continue
            status = await hook.get_profile_batch_status_async(session, url)
            if status.state.is_terminal:
                self._ended[url] = outcome(batch, status)
            else:
                self.log.info("Batch %s is %s.", batch["batch_id"], status.status)
        if len(self._ended) < len({batch["status_url"] for batch in self.batches}):
            return None
        return {"batches": [self._ended[batch["status_url"]] for batch in self.batches]}
