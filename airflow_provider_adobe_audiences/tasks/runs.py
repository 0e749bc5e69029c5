# SPDX-License-Identifier: Apache-2.0
"""What a task knows of itself: which piece of work it is, in every try, and what earlier tries remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.tasks.record import state_store

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

_CLOCK_SKEW_SECONDS = 1800.0


def derived_id(context: Context, *where: str | None) -> str:
    """Return an id that is the same in every try of one task instance, cleared or not, and another one
    anywhere else.

    :param context: the task's context.
    :param where: what else tells the work apart, such as deployment, sandbox and dataset; ``None`` is left
        out.
    :returns: a readable beginning and a hash, in letters, digits, ``-`` and ``_``.
    """
    ti = context["ti"]
    run = context.get("dag_run")
    identity = [*filter(None, where), ti.dag_id, ti.run_id, ti.task_id, ti.map_index]
    if getattr(run, "logical_date", None) is None and getattr(run, "run_after", None) is not None:
        # A run that was deleted and triggered again under its old run id is another run.
        identity.append(f"{run.run_after.timestamp():.6f}")  # type: ignore[union-attr]
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{ti.dag_id}-{ti.task_id}")[:80]
    return f"{readable}-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}"


def instance_id(context: Context) -> str | None:
    """Return the id that Airflow gives each try of a task instance, ``None`` before Airflow 3.

    A busy scheduler may take a task that resumes after its deferral for one that was killed: then Airflow
    runs it from its beginning, and calls that its first try as well.

    :param context: the task's context.
    """
    found = getattr(context["ti"], "id", None)
    return None if found is None else str(found)


def may_be_of_an_earlier_try(context: Context, created_at: float | None) -> bool:
    """Whether something can be what an earlier try of this task has made, as far as clocks tell.

    Only for an Airflow that remembers nothing: see :class:`TaskMemory`.

    :param context: the task's context.
    :param created_at: when it was made, in seconds since the epoch, by Adobe's clock.
    :returns: so or not.
    """
    run = context.get("dag_run")
    # Airflow sets start_date anew when a run is cleared, run_after never.
    begun = [getattr(run, name, None) for name in ("run_after", "start_date")]
    known = [moment.timestamp() for moment in begun if moment is not None]
    return (
        int(context["ti"].try_number) > 1
        and created_at is not None
        and bool(known)
        and created_at >= min(known) - _CLOCK_SKEW_SECONDS
    )


class TaskMemory:
    """What the tries of one task instance remember for each other, by Airflow's task state store (3.3 on).

    It is a help, never the truth: where it is missing or fails, nothing is remembered.

    :param context: the task's context.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = state_store(context)
        self._try_number = int(context["ti"].try_number)

    @property
    def is_kept(self) -> bool:
        """Whether this Airflow remembers anything."""
        return self._store is not None

    def get(self, key: str) -> Any:
        """Return what was remembered, ``None`` if nothing was.

        :param key: its name.
        """
        if self._store is None:
            return None
        try:
            return self._store.get(key, None)
        except Exception as error:  # noqa: BLE001  of Airflow's API server, of any kind
            log.warning("Airflow's task state store could not be read: %s", type(error).__name__)
            return None

    def set(self, key: str, value: Any) -> None:
        """Remember something.

        :param key: its name.
        :param value: small JSON.
        """
        if self._store is None:
            return
        try:
            self._store.set(key, value)
        except Exception as error:  # noqa: BLE001  of Airflow's API server, of any kind
            log.warning("Airflow's task state store could not be written: %s", type(error).__name__)

    @property
    def has_batch(self) -> bool:
        """Whether the task instance is known to have worked on a batch already."""
        return self.get("adobe_batch") is not None

    def take(self, batch_id: str, *, is_filled: bool | None) -> None:
        """Remember that this try works on a batch.

        :param batch_id: Adobe's id.
        :param is_filled: whether the batch holds all its files, ``None`` if nobody knows; that it does stays
            true.
        """
        is_filled = self.is_filled(batch_id) or is_filled
        self.set(
            "adobe_batch", {"batch_id": batch_id, "try_number": self._try_number, "is_filled": is_filled}
        )

    def is_filled(self, batch_id: str) -> bool | None:
        """Whether a try has sent all files of a batch.

        :param batch_id: Adobe's id.
        :returns: so or not; ``None`` if nobody knows.
        """
        is_filled = self._known(batch_id).get("is_filled")
        return is_filled if isinstance(is_filled, bool) else None

    def is_taken_over(self, batch_id: str) -> bool:
        """Whether a later try works on the batch now.

        :param batch_id: Adobe's id.
        :returns: so or not.
        """
        return int(self._known(batch_id).get("try_number") or 0) > self._try_number

    def _known(self, batch_id: str) -> dict[str, Any]:
        known = self.get("adobe_batch")
        return known if isinstance(known, dict) and known.get("batch_id") == batch_id else {}
