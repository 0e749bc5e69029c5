# SPDX-License-Identifier: Apache-2.0
"""What the tries of one task tell each other, where Airflow keeps it: from 3.3 on, in clear."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


class TaskRecord:
    """One JSON object in Airflow's task state store. It outlives tries, deferrals and reschedules of one
    task. Never a secret.

    :param states: Airflow's store.
    :param key: under which the object is kept.
    """

    def __init__(self, states: Any, key: str) -> None:
        self._states, self._key = states, key

    def load(self) -> dict[str, Any] | None:
        """Return what was saved, ``None`` for nothing."""
        found = self._states.get(self._key)
        return dict(found) if isinstance(found, Mapping) else None

    def save(self, record: Mapping[str, Any]) -> None:
        """Replace what was saved.

        :param record: JSON.
        """
        self._states.set(self._key, dict(record))

    def clear(self) -> None:
        """Forget what was saved."""
        self._states.delete(self._key)


def task_record(context: Context, key: str) -> TaskRecord | None:
    """Return the record of the task that runs.

    :param context: the task's.
    :param key: under which the object is kept.
    :returns: the record; ``None`` before Airflow 3.3, which has none.
    """
    states = state_store(context)
    return None if states is None else TaskRecord(states, key)


def state_store(context: Context) -> Any:
    """Return where the tries of the task that runs leave word for each other; a retry without it says so.

    :param context: the task's.
    :returns: Airflow's task state store; ``None`` before Airflow 3.3, which has none.
    """
    states = context.get("task_state_store")
    ti = context["ti"]
    if states is None and int(ti.try_number) > 1:
        _say_that_nothing_is_kept(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number)
    return states


@lru_cache(maxsize=64)
def _say_that_nothing_is_kept(*_: object) -> None:
    log.info(
        "Airflow before 3.3 keeps nothing between the tries of a task: this one looks at what Adobe has, and "
        "goes on from there."
    )
