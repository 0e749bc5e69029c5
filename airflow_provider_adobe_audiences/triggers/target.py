# SPDX-License-Identifier: Apache-2.0
"""Waiting for bulk profile updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.profiles.wait import BatchesWait
from airflow_provider_adobe_audiences.rotation.stores.base import store_of
from airflow_provider_adobe_audiences.triggers.base import AdobeWaitTrigger

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
    from airflow_provider_adobe_audiences.adobe.target import ProfileBatchStatus
    from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook


class AdobeBulkProfileUpdateTrigger(AdobeWaitTrigger["ProfileBatchStatus"]):
    """Waits until Target has taken in every batch, or given it up. Target knows no way to cancel one.

    :param batches: ``batch_id``, ``status_url`` and ``rows`` of each.
    :param ended: what is known already of those that have ended, by status URL.
    :param store: reference of the store that has the profile token (:meth:`SecretStore.reference`), never the
        token; ``None`` for none.
    :param show_values: keep the ids of profiles that failed.
    :param known: what the task already knows of its result, given back with it. Not left to
        ``defer(kwargs=…)``, which ``dag.test()`` drops.
    """

    def __init__(
        self,
        *,
        batches: Sequence[Mapping[str, Any]],
        ended: Mapping[str, Mapping[str, Any]] | None = None,
        store: Sequence[Any] | None = None,
        show_values: bool = False,
        known: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batches = [dict(batch) for batch in batches]
        self.store = list(store) if store is not None else None
        self.show_values = show_values
        self.known = dict(known or {})
        self.ended = {url: dict(outcome) for url, outcome in (ended or {}).items()}
        self.waiter = BatchesWait(self.batches, self.ended, show_values=show_values)

    def hook(self) -> AdobeTargetHook:
        """Return the hook of the connection, with the store of the profile token."""
        from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook

        return AdobeTargetHook(self.adobe_conn_id, store_of(self.store) if self.store is not None else None)

    async def ask(self, session: AsyncAdobeSession, key: str) -> ProfileBatchStatus:
        """Return the status of one batch.

        :param session: sends calls.
        :param key: its status URL.
        """
        return await self.hook().get_profile_batch_status_async(session, key)

    def result(self) -> dict[str, Any]:
        """Return what is known of all batches, and of the task's result."""
        return {**super().result(), "known": self.known}
