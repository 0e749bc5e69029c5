# SPDX-License-Identifier: Apache-2.0
"""What all sensors share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    conf,
)

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import CheckedArguments, Template, Text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import SensorArguments


class AdobeSensor(CheckedArguments, BaseSensorOperator):
    """Base of the sensors. A subclass has ``poke``, ``wait_deferred`` and ``execute_complete``.

    ``poke_interval``, ``timeout``, ``soft_fail`` and ``execution_timeout`` are Airflow's, and mean the same
    whether the sensor pokes, is rescheduled or is deferred.

    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id",)
    ui_color = "#fde8e7"

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.adobe_conn_id: Any = adobe_conn_id

    @property
    def longest_wait(self) -> timedelta:
        """How long Airflow lets the sensor wait."""
        return timedelta(seconds=self.timeout)

    def execute(self, context: Context) -> Any:
        """Wait, in the way that the arguments say.

        :param context: the task's context.
        :returns: what ``poke`` gives to XCom.
        :raises AirflowSkipException: with ``soft_fail``, for what else would fail the task.
        """
        try:
            with fail_without_retry():
                self.check_arguments()
            if not self.deferrable:
                return super().execute(context)
            ended = self.poke(context)
        except AirflowFailException as error:
            # As Airflow's own loop does.
            if self.soft_fail or getattr(self, "never_fail", False):
                raise AirflowSkipException("Skipping due to soft_fail is set to True.") from error
            raise
        if not getattr(ended, "is_done", ended):
            self.wait_deferred(context)
        return getattr(ended, "xcom_value", None)

    def wait_deferred(self, context: Context) -> None:
        """Defer the task with :func:`~airflow_provider_adobe_audiences.tasks.waiting.defer_until`.

        :param context: the task's context.
        """
        raise NotImplementedError
