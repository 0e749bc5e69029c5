# SPDX-License-Identifier: Apache-2.0
"""What the tries of one task tell each other, where Airflow keeps it: from 3.3 on, in clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import Context


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
    states = context.get("task_state_store")
    return None if states is None else TaskRecord(states, key)
