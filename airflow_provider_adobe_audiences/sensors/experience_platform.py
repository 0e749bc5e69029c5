# SPDX-License-Identifier: Apache-2.0
"""Waiting for a batch that another task, or another system, began."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import Context, PokeReturnValue, conf

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry, with_ids
from airflow_provider_adobe_audiences.tasks.sensor import AdobeSensor
from airflow_provider_adobe_audiences.tasks.validation import Count, Template, Text
from airflow_provider_adobe_audiences.tasks.waiting import defer_until, result_of

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.batches.wait import BatchWaiter
    from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import SensorArguments


class AdobeBatchSensor(AdobeSensor):
    """Wait until Adobe has ingested a batch, and check the outcome.

    Returns ``{"batch_id", "external_id", "dataset_id", "status", "records_in", "records_ingested",
    "records_failed"}``.

    :param batch_id: the batch (templated).
    :param max_failed_rows: how many rejected rows are acceptable in a batch that succeeds; ``None`` for any
        number (templated).
    :param sandbox: another sandbox than the connection's (templated).
    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).

    ``poke_interval`` and ``timeout`` are Airflow's, in seconds.
    """

    template_fields: Sequence[str] = (*AdobeSensor.template_fields, "batch_id", "max_failed_rows", "sandbox")

    def __init__(
        self,
        *,
        batch_id: Text | Template,
        max_failed_rows: Count | Template | None = 0,
        sandbox: Text | Template | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(deferrable=deferrable, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batch_id: Any = batch_id
        self.max_failed_rows: Any = max_failed_rows
        self.sandbox: Any = sandbox
        self.check_constants()

    @cached_property
    def hook(self) -> AdobeExperiencePlatformHook:
        """The hook of this sensor's connection."""
        from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook

        return AdobeExperiencePlatformHook(self.adobe_conn_id, sandbox=self.sandbox)

    @cached_property
    def _waiter(self) -> BatchWaiter:
        from airflow_provider_adobe_audiences.batches.wait import BatchWaiter

        return BatchWaiter(self.batch_id)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :param context: the task's context.
        :returns: whether the batch has ended, and how.
        :raises AdobeJobFailedError: when it failed, or too many rows were rejected.
        """
        with fail_without_retry():
            seen = self._waiter.progress()
            self._waiter.note(self.batch_id, self.hook.get_batch(self.batch_id), time.time())
            if self._waiter.progress() != seen:
                self.log.info("%s", self._waiter.progress())
            if self._waiter.pending():
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._checked(context, self._waiter.result()))

    def wait_deferred(self, context: Context) -> None:
        """Wait in the triggerer.

        :param context: the task's context.
        """
        from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

        defer_until(
            self,
            context,
            AdobeBatchTrigger,
            timeout=self.longest_wait,
            poll_interval=self.poke_interval,
            batch_id=self.batch_id,
            sandbox=self.sandbox,
            stalled_since=self._waiter.stalled_since,
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw.

        :param context: the task's context.
        :param event: what the trigger fired.
        :returns: the batch's outcome.
        """
        with fail_without_retry():
            result = result_of(event, what=self._waiter.what, timeout=self.longest_wait, sensor=True)
            return self._checked(context, result)

    def _checked(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        from airflow_provider_adobe_audiences.batches.wait import batch_of, check_outcome, outcome

        batch = batch_of(result)
        found = with_ids(context, outcome(batch))
        check_outcome(batch, self.max_failed_rows)
        return found
