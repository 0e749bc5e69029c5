# SPDX-License-Identifier: Apache-2.0
"""Waiting for a bulk profile update that another task submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import Context, conf

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.sensor import AdobeSensor
from airflow_provider_adobe_audiences.tasks.validation import Count, Template, Text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.adobe.target import ProfileBatchStatus
    from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
    from airflow_provider_adobe_audiences.profiles.wait import BatchesWait
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import SensorArguments
    from airflow_provider_adobe_audiences.tasks.record import TaskRecord


class AdobeBulkProfileUpdateSensor(AdobeSensor):
    """Wait until Target has taken in the batches of a bulk profile update, and check their counts.

    Returns the same as
    :class:`~airflow_provider_adobe_audiences.operators.target.AdobeBulkProfileUpdateOperator`.

    .. seealso:: Adobe's page "Bulk profile update API".

    :param batches: what that operator returned with ``wait_for_completion=False``, or one status URL, or a
        list of them (templated).
    :param store: where the profile token is.
    :param max_failed_rows: how many rows may fail in all; ``None`` for any number (templated).
    :param max_not_found: how many profiles may be unknown; ``None`` for any number (templated).
    :param show_values: let the result, and messages, carry ids of profiles that failed.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).

    ``poke_interval`` and ``timeout`` are Airflow's, in seconds.
    """

    template_fields: Sequence[str] = (
        *AdobeSensor.template_fields,
        "batches",
        "max_failed_rows",
        "max_not_found",
    )

    def __init__(
        self,
        *,
        batches: Mapping[str, Any] | str | Sequence[str] | Template,
        store: SecretStore | None = None,
        max_failed_rows: Count | Template | None = 0,
        max_not_found: Count | Template | None = None,
        show_values: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(deferrable=deferrable, adobe_conn_id=adobe_conn_id, **kwargs)
        self.batches: Any = batches
        self.store = store
        self.max_failed_rows: Any = max_failed_rows
        self.max_not_found: Any = max_not_found
        self.show_values = show_values
        self.check_constants()
        if self.deferrable and store is not None:
            store.reference()  # a store that the triggerer could not use is found out now

    @cached_property
    def hook(self) -> AdobeTargetHook:
        """The hook of the connection, with the store of the profile token."""
        from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook

        return AdobeTargetHook(self.adobe_conn_id, self.store)

    @property
    def what(self) -> str:
        """The update, as messages name it."""
        from airflow_provider_adobe_audiences.profiles.wait import WHAT

        return WHAT

    def waiter(self, context: Context) -> BatchesWait:
        """Return what is waited for: those batches that are not remembered to have ended.

        :param context: the task's.
        """
        from airflow_provider_adobe_audiences.profiles.wait import BatchesWait

        memory = self._memory(context)
        return BatchesWait(self._batches(), memory.load() if memory else None, show_values=self.show_values)

    def ask(self, session: AdobeSession, key: str) -> ProfileBatchStatus:
        """Return the status of one batch.

        :param session: sends the call.
        :param key: its status URL.
        """
        return self.hook.get_profile_batch_status(session, key)

    def remember(self, context: Context, waiter: BatchesWait) -> None:
        """Keep which batches have ended, until all have.

        :param context: the task's.
        :param waiter: as it is now.
        """
        if memory := self._memory(context):
            if waiter.pending():
                memory.save(waiter.ended)
            else:
                memory.clear()

    def _memory(self, context: Context) -> TaskRecord | None:
        from airflow_provider_adobe_audiences.tasks.record import task_record

        return task_record(context, "adobe_target_bulk_wait")

    def checked(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """Return the sums, and each batch, if they are acceptable.

        :param context: the task's context.
        :param result: of the waiter.
        :raises AdobeJobFailedError: when they are not.
        """
        from airflow_provider_adobe_audiences.profiles.wait import check_outcome, summary

        check_outcome(result["batches"], self.max_failed_rows, self.max_not_found)
        return summary(result["batches"])

    def trigger(self, waiter: BatchesWait) -> tuple[Any, dict[str, Any]]:
        """Return the trigger, and its own arguments.

        :param waiter: as it is now.
        """
        from airflow_provider_adobe_audiences.triggers.target import AdobeBulkProfileUpdateTrigger

        return AdobeBulkProfileUpdateTrigger, {
            "batches": self._batches(),
            "ended": waiter.ended,
            "store": self.store.reference() if self.store is not None else None,
            "show_values": self.show_values,
        }

    def _batches(self) -> list[dict[str, Any]]:
        from airflow_provider_adobe_audiences.adobe.target.profiles import batch_id_of

        given: Any = self.batches
        listed = given.get("batches") if isinstance(given, Mapping) else None
        if isinstance(listed, Sequence):
            urls: Any = [batch.get("status_url") if isinstance(batch, Mapping) else None for batch in listed]
        else:
            urls = [given] if isinstance(given, str) else given
        if not isinstance(urls, Sequence) or not all(map(_is_url, urls)):
            what = repr(given[:100]) if isinstance(given, str) else f"of type {type(given).__name__}"
            raise AdobeConfigurationError(
                f"argument 'batches' is {what}: should be what AdobeBulkProfileUpdateOperator returned, or "
                "the status URL of a batch, or a list of them"
            )
        if listed is not None:
            return [
                {name: batch.get(name) for name in ("batch_id", "status_url", "rows")} for batch in listed
            ]
        return [{"batch_id": batch_id_of(url), "status_url": url, "rows": None} for url in urls]


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))
