# SPDX-License-Identifier: Apache-2.0
"""Waiting for a bulk profile update that another task submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, Context, PokeReturnValue, conf

from airflow_provider_adobe_audiences.adobe.target import check_outcome
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry
from airflow_provider_adobe_audiences.tasks.waiting import check_waiting, result_of


class AdobeBulkProfileUpdateSensor(BaseSensorOperator):
    """Wait until Target has taken in the batches of a bulk profile update, and check their counts.

    Returns the same as
    :class:`~airflow_provider_adobe_audiences.operators.target.AdobeBulkProfileUpdateOperator`.

    :param batches: what that operator returned with ``wait_for_completion=False``, or one status URL, or a
        list of them (templated).
    :param store: where the profile token is.
    :param max_failed_rows: how many rows may fail in all; ``None`` for any number.
    :param max_not_found: how many profiles may be unknown; ``None`` for any number.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).

    ``poke_interval`` and ``timeout`` are Airflow's, in seconds.
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "batches")
    ui_color = "#fde8e7"

    def __init__(
        self,
        *,
        batches: Mapping[str, Any] | str | Sequence[str],
        store: SecretStore | None = None,
        max_failed_rows: int | None = 0,
        max_not_found: int | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        adobe_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        from airflow_provider_adobe_audiences.operators.target import check_limits

        check_limits(max_failed_rows, max_not_found)
        check_waiting(self.poke_interval, timedelta(seconds=self.timeout))
        if deferrable and store is not None:
            store.reference()
        self.batches = batches
        self.store = store
        self.max_failed_rows = max_failed_rows
        self.max_not_found = max_not_found
        self.deferrable = deferrable
        self.adobe_conn_id = adobe_conn_id
        self._outcomes: dict[str, dict[str, Any]] = {}

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        ended = self.poke(context)
        if not ended.is_done:
            from airflow_provider_adobe_audiences.triggers.target import AdobeBulkProfileUpdateTrigger

            self.defer(
                trigger=AdobeBulkProfileUpdateTrigger(
                    adobe_conn_id=self.adobe_conn_id,
                    batches=self._batches(),
                    store=self.store.reference() if self.store is not None else None,
                    poll_interval=self.poke_interval,
                    deadline=time.time() + self.timeout,
                ),
                method_name="execute_complete",
            )
        return ended.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        with fail_without_retry():
            batches = self._batches()
            from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
            from airflow_provider_adobe_audiences.operators.target import ended_batch

            hook = AdobeTargetHook(self.adobe_conn_id, self.store)
            with hook.session() as session:
                for batch in batches:
                    if batch["status_url"] not in self._outcomes and (
                        ended := ended_batch(hook, session, batch)
                    ):
                        self._outcomes[batch["status_url"]] = ended
            if any(batch["status_url"] not in self._outcomes for batch in batches):
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(
                is_done=True,
                xcom_value=self._checked_outcome([self._outcomes[batch["status_url"]] for batch in batches]),
            )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw."""
        with fail_without_retry():
            ended = result_of(event, what="the bulk profile update", timeout=timedelta(seconds=self.timeout))
            return self._checked_outcome(ended["batches"])

    def _checked_outcome(self, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        check_outcome(outcomes, self.max_failed_rows, self.max_not_found)
        from airflow_provider_adobe_audiences.operators.target import result_of_batches

        return result_of_batches(outcomes)

    def _batches(self) -> list[dict[str, Any]]:
        given: Any = self.batches
        if isinstance(given, Mapping) and isinstance(given.get("batches"), Sequence):
            return [
                {name: batch.get(name) for name in ("batch_id", "status_url", "rows")}
                for batch in given["batches"]
            ]
        urls = [given] if isinstance(given, str) else given
        if not isinstance(urls, Sequence) or not all(isinstance(url, str) and url for url in urls):
            raise AdobeConfigurationError(
                f"batches is {given!r}: give what AdobeBulkProfileUpdateOperator returned, or the status URL "
                "of a batch"
            )
        return [
            {
                "batch_id": url.rpartition("batchId=")[2].partition("&")[0] or None,
                "status_url": url,
                "rows": None,
            }
            for url in urls
        ]
