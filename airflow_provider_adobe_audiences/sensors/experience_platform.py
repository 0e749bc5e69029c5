# SPDX-License-Identifier: Apache-2.0
"""Waiting for a batch that another task, or another system, began."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, Context, PokeReturnValue, conf

from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch
from airflow_provider_adobe_audiences.batches.ingest import BatchWait, check_outcome, outcome
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.operators.experience_platform import batch_of
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry


class AdobeBatchSensor(BaseSensorOperator):
    """Wait until Adobe has ingested a batch, and check the outcome.

    Returns ``{"batch_id", "external_id", "dataset_id", "status", "records_in", "records_ingested",
    "records_failed"}``.

    :param batch_id: the batch (templated).
    :param max_failed_rows: how many rejected rows are acceptable in a batch that succeeds; ``None`` for any
        number.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).

    ``poke_interval`` and ``timeout`` are Airflow's, in seconds.
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "batch_id")
    ui_color = "#fde8e7"

    def __init__(
        self,
        *,
        batch_id: str,
        max_failed_rows: int | None = 0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        adobe_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.max_failed_rows = max_failed_rows
        self.deferrable = deferrable
        self.adobe_conn_id = adobe_conn_id
        self._wait = BatchWait()

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        ended = self.poke(context)
        if not ended.is_done:
            from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

            self.defer(
                trigger=AdobeBatchTrigger(
                    adobe_conn_id=self.adobe_conn_id,
                    batch_id=self.batch_id,
                    poll_interval=self.poke_interval,
                    deadline=time.time() + self.timeout,
                ),
                method_name="execute_complete",
            )
        return ended.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook

        with fail_without_retry():
            batch = AdobeExperiencePlatformHook(self.adobe_conn_id).send(get_batch(self.batch_id))
            self.log.info("Batch %s is %s.", batch.id, batch.status)
            if not self._wait.is_over(batch):
                return PokeReturnValue(is_done=False)
            check_outcome(batch, self.max_failed_rows)
            return PokeReturnValue(is_done=True, xcom_value=outcome(batch))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw."""
        with fail_without_retry():
            batch = batch_of(event, timedelta(seconds=self.timeout))
            check_outcome(batch, self.max_failed_rows)
            return outcome(batch)
