# SPDX-License-Identifier: Apache-2.0
"""Tries of tasks of one Dag run, in this process, as Airflow's task runner would make them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum

from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateBatchOperator,
    AdobeIngestBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.operators.target import AdobeBulkProfileUpdateOperator
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor

Row = dict[str, Any]


class Store(dict[str, Any]):
    """Airflow 3.3's task state store, as far as it is used."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Tasks:
    """Runs tries of tasks of one Dag run in this process, as Airflow's task runner would."""

    def __init__(self, emulator: Any, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.pushed: dict[str, Any] = {}
        self.tries: dict[tuple[str, int], int] = {}
        self.store: Store | None = None

    def context(self, operator: Any, try_number: int, map_index: int = -1, **run: Any) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="d",
            run_id="run",
            task_id=operator.task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=run.pop("max_tries", 2),
            start_date=pendulum.now("UTC"),
            xcom_push=lambda key, value: self.pushed.__setitem__(key, value),
        )
        dag_run = SimpleNamespace(start_date=pendulum.now("UTC"), logical_date=None, **run)
        context = {"ti": ti, "dag_run": dag_run}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def run(self, operator: Any, map_index: int = -1, **run: Any) -> Any:
        """Run the next try of a task."""
        key = (operator.task_id, map_index)
        self.tries[key] = self.tries.get(key, 0) + 1
        return operator.execute(self.context(operator, self.tries[key], map_index, **run))

    def file(self, name: str, rows: list[Row]) -> str:
        file = self.folder / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(file)

    def rows(self) -> list[Row]:
        return sorted((row for _, row in self.emulator.platform.rows("ds")), key=lambda row: row["n"])

    def states(self) -> list[str]:
        return [batch["status"] for batch in self.emulator.platform.snapshot()["batches"]]

    def abort(self, batch_id: str) -> None:
        """What a person does at Adobe."""
        batches = self.emulator.platform.batches
        batches.set_state(batches.batches[batch_id], "aborted")


def numbers(first: int, end: int) -> list[Row]:
    return [{"n": n} for n in range(first, end)]


def ingest(source: Any, **more: Any) -> AdobeIngestBatchOperator:
    return AdobeIngestBatchOperator(
        **{"task_id": "ingest", "dataset_id": "ds", "source": source, "poll_interval": 0.05, **more}
    )


def update(**arguments: Any) -> AdobeBulkProfileUpdateOperator:
    return AdobeBulkProfileUpdateOperator(task_id="update", poll_interval=0.01, **arguments)


@contextmanager
def while_held(emulator: Any, act: Callable[[], Any], **rule: Any) -> Iterator[list[Any]]:
    """``act`` while the next request that matches ``rule`` is parked."""
    emulator.faults.add(hold=True, times=1, **rule)
    done: list[Any] = []

    def wait_and_act() -> None:
        emulator.holds.wait()
        try:
            done.append(act())
        finally:
            emulator.holds.release("continue")

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield done
    finally:
        thread.join()


class Mapped:
    """create >> upload (mapped) >> complete >> wait, with an abort as teardown."""

    def __init__(self, tasks: Tasks, files: list[str]) -> None:
        self.tasks = tasks
        self.files = files
        self.uploads: dict[int, Any] = {}
        self.batch_id = ""

    def create(self) -> None:
        operator = AdobeCreateBatchOperator(task_id="create", dataset_id="ds", source=self.files)
        self.batch_id = self.tasks.run(operator)

    def upload(self, *indexes: int) -> None:
        for index in indexes:
            operator = AdobeUploadBatchFilesOperator(
                task_id="upload", batch_id=self.batch_id, dataset_id="ds", source=self.files[index]
            )
            self.uploads[index] = self.tasks.run(operator, index)

    def complete(self) -> None:
        operator = AdobeCompleteBatchOperator(
            task_id="complete", batch_id=self.batch_id, uploads=list(self.uploads.values())
        )
        self.tasks.run(operator)

    def wait(self) -> Any:
        return self.tasks.run(AdobeBatchSensor(task_id="wait", batch_id=self.batch_id, poke_interval=0.05))

    def abort(self) -> None:
        self.tasks.run(AdobeAbortBatchOperator(task_id="abort", batch_id=self.batch_id))
