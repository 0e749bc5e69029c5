# SPDX-License-Identifier: Apache-2.0
"""Waiting for a batch that another task, or another system, began."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import Context, conf

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import with_ids
from airflow_provider_adobe_audiences.tasks.sensor import AdobeSensor
from airflow_provider_adobe_audiences.tasks.validation import Count, PathId, Template, Text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.experience_platform import Batch
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
        batch_id: PathId | Template,
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

    @property
    def what(self) -> str:
        """The batch, as messages name it."""
        return f"batch {self.batch_id}"

    def waiter(self, context: Context) -> BatchWaiter:
        """Return what is waited for: one batch.

        :param context: the task's context.
        """
        from airflow_provider_adobe_audiences.batches.wait import BatchWaiter

        return BatchWaiter(self.batch_id)

    def ask(self, session: AdobeSession, key: str) -> Batch:
        """Return the batch as Catalog shows it.

        :param session: sends the call.
        :param key: the batch's id.
        """
        from airflow_provider_adobe_audiences.adobe.experience_platform import get_batch

        return session.send(get_batch(key))

    def checked(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """Return the batch's outcome, if it is acceptable.

        :param context: the task's context.
        :param result: of the waiter.
        :raises AdobeJobFailedError: when the batch failed, or too many rows were rejected.
        """
        from airflow_provider_adobe_audiences.batches.wait import batch_of, check_outcome, outcome

        batch = batch_of(result)
        found = with_ids(context, outcome(batch))
        check_outcome(batch, self.max_failed_rows)
        return found

    def trigger(self, waiter: BatchWaiter) -> tuple[Any, dict[str, Any]]:
        """Return the trigger, and its own arguments.

        :param waiter: as it is now.
        """
        from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

        return AdobeBatchTrigger, {
            "batch_id": self.batch_id,
            "sandbox": self.sandbox,
            "stalled_since": waiter.stalled_since,
        }
