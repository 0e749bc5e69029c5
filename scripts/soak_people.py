# SPDX-License-Identifier: Apache-2.0
"""What people do during ``make soak``: once a minute somebody clears, marks or kills something at random."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from scripts.local_airflow import LocalAirflow

#: Seconds between two acts.
EVERY = 60.0


@dataclass
class People:
    """Disturbs the newest run of a Dag, so that no older one is repeated after it.

    :ivar touched: Dag and run id of all runs that are not to be judged by how they end by themselves.
    """

    airflow: LocalAirflow
    server: int
    say: Callable[[str], None]
    seed: int
    touched: set[tuple[str, str]] = field(default_factory=set)
    acts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._next = EVERY

    def act(self, now: float, newest: Sequence[tuple[str, str]]) -> None:
        """Do something if it is time.

        :param now: seconds since the beginning.
        :param newest: Dag and run id of the newest run of each Dag.
        """
        if now < self._next or not newest:
            return
        self._next += EVERY
        dag_id, run_id = self._chance.choice(newest)
        kinds = [self.clear_run, self.clear_task, self.mark_failed, self.mark_success, self.kill]
        try:
            what = self._chance.choice(kinds)(dag_id, run_id)
        except httpx.HTTPError as error:
            what = f"could do nothing with {dag_id}: {error}"
        self.say(f"somebody {what}")

    def _one_task(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        tasks = [task for task in self.airflow.task_instances(dag_id, run_id) if task["state"] is not None]
        active = [task for task in tasks if task["state"] in ("running", "deferred", "up_for_retry")]
        return self._chance.choice(active or tasks) if tasks else None

    def clear_run(self, dag_id: str, run_id: str) -> str:
        self.airflow.clear(dag_id, run_id)
        self._note("clear a run", dag_id, run_id)
        return f"clears {dag_id}, {run_id}"

    def clear_task(self, dag_id: str, run_id: str) -> str:
        task = self._one_task(dag_id, run_id)
        if task is None:
            return f"finds nothing to clear in {dag_id}"
        self.airflow.clear(dag_id, run_id, task["task_id"])
        self._note(f"clear a task, {task['state']}", dag_id, run_id)
        return f"clears {task['task_id']} ({task['state']}) with downstream in {dag_id}, {run_id}"

    def mark_failed(self, dag_id: str, run_id: str) -> str:
        return self._mark(dag_id, run_id, "failed")

    def mark_success(self, dag_id: str, run_id: str) -> str:
        return self._mark(dag_id, run_id, "success")

    def _mark(self, dag_id: str, run_id: str, state: str) -> str:
        task = self._one_task(dag_id, run_id)
        if task is None:
            return f"finds nothing to mark in {dag_id}"
        self.airflow.mark(dag_id, run_id, task["task_id"], state, task["map_index"])
        self._note(f"mark {state}, {task['state']}", dag_id, run_id)
        return f"marks {task['task_id']} ({task['state']}) as {state} in {dag_id}, {run_id}"

    def kill(self, dag_id: str, run_id: str) -> str:
        """SIGKILL to the process of a task, whichever it is."""
        victims = [one for one in psutil.Process(self.server).children(recursive=True) if is_task(one)]
        if not victims:
            return "finds no task to kill"
        victim = self._chance.choice(victims)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return "comes too late to kill a task"
        self.acts["kill a task"] += 1
        return f"kills the task process {victim.pid}"

    def _note(self, what: str, dag_id: str, run_id: str) -> None:
        self.touched.add((dag_id, run_id))
        self.acts[what] += 1


def is_task(process: Any) -> bool:
    """Whether it runs a task, as its title says."""
    title = _title(process)
    return "airflow worker -- " in title and "LocalExecutor" not in title


def is_worker(process: Any) -> bool:
    """Whether it is a worker of the executor, which lives as long as Airflow does."""
    return "LocalExecutor" in _title(process)


def _title(process: Any) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
