# SPDX-License-Identifier: Apache-2.0
"""What all sensors share."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    conf,
)

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import CheckedArguments, Template, Text
from airflow_provider_adobe_audiences.tasks.waiting import Waiter, defer_until, result_of

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import SensorArguments


class AdobeSensor(CheckedArguments, BaseSensorOperator):
    """Base of the sensors. A subclass has ``hook``, :meth:`waiter`, :meth:`ask`, :meth:`checked` and
    :meth:`trigger`.

    ``poke_interval``, ``timeout``, ``soft_fail`` and ``execution_timeout`` are Airflow's, and mean the same
    whether the sensor pokes, is rescheduled or is deferred.

    :param deferrable: wait in the triggerer, without a worker slot.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id",)
    ui_color = "#fde8e7"
    hook: Any
    _waiting: Any = None

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
            self._defer(context)
        return getattr(ended, "xcom_value", None)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask for everything that has not ended.

        :param context: the task's context.
        :returns: whether all has ended, and then the result.
        :raises AdobeError: when asking failed, or the outcome is not acceptable.
        """
        with fail_without_retry():
            # A sensor that is rescheduled is another process each time.
            waiter = self._waiting = self._waiting or self.waiter(context)
            told = waiter.progress()
            with self.hook.session() as session:
                for key in waiter.pending():
                    waiter.note(key, self.ask(session, key), time.time())
            if waiter.progress() != told:
                self.log.info("%s", waiter.progress())
            self.remember(context, waiter)
            if waiter.pending():
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self.checked(context, waiter.result()))

    def _defer(self, context: Context) -> None:
        trigger, arguments = self.trigger(self._waiting)
        defer_until(
            self,
            context,
            trigger,
            timeout=self.longest_wait,
            poll_interval=self.poke_interval,
            **arguments,
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw.

        :param context: the task's context.
        :param event: what the trigger fired.
        :returns: what ``poke`` gives to XCom.
        """
        with fail_without_retry():
            result = result_of(event, what=self.what, timeout=self.longest_wait, sensor=True)
            return self.checked(context, result)

    @property
    @abstractmethod
    def what(self) -> str:
        """What is waited for, for messages."""

    @abstractmethod
    def waiter(self, context: Context) -> Waiter[Any]:
        """Return what is waited for.

        :param context: the task's context.
        """

    @abstractmethod
    def ask(self, session: AdobeSession, key: str) -> Any:
        """Return the status of one job.

        :param session: sends calls.
        :param key: one of ``waiter.pending()``.
        """

    def remember(self, context: Context, waiter: Any) -> None:
        """Keep what the next process needs; by default nothing.

        :param context: the task's context.
        :param waiter: what :meth:`waiter` returned, as it is now.
        """

    @abstractmethod
    def checked(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """Return what goes to XCom, if the outcome is acceptable.

        :param context: the task's context.
        :param result: of the waiter.
        :raises AdobeJobFailedError: when it is not.
        """

    @abstractmethod
    def trigger(self, waiter: Any) -> tuple[Any, dict[str, Any]]:
        """Return the trigger that goes on waiting: its class, and its own arguments.

        :param waiter: what :meth:`waiter` returned, as it is now.
        """
