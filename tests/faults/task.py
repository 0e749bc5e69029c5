# SPDX-License-Identifier: Apache-2.0
"""The side of the task: what Airflow's task runner and triggerer do with one try, in a process of its own
that may be killed.

A try is up to three processes, as in Airflow: ``execute``, then the trigger if the task defers, then the
completing method. Each is forked from a server that has Airflow and the package loaded, gets an
:class:`Order`, and reports an outcome.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

#: How much shorter every pause of the package is here. Nobody learns from waiting.
SPEED = 50.0

Phase = Literal["execute", "trigger", "resume"]


@dataclass(frozen=True)
class Order:
    """One process of one try."""

    row: str
    facts: dict[str, Any]
    phase: Phase
    dag_id: str
    run_id: str
    started: str
    run_after: str
    try_number: int
    max_tries: int
    map_index: int
    folder: Path
    environment: dict[str, str]
    trigger: tuple[str, dict[str, Any]] | None = None
    method: str | None = None
    method_arguments: dict[str, Any] = field(default_factory=dict)
    largest_file: int | None = None
    loses_outcome: bool = False
    logical_date: str | None = None


class Xcom:
    """What the task has pushed; emptied before each try, as Airflow does."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "xcom.json"

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)

    def push(self, key: str, value: Any) -> None:
        self._file.write_text(json.dumps(self.pull() | {key: value}))

    def pull(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}


class TaskStateStore:
    """Airflow 3.3's ``task_state_store``, in a file: it lasts over tries and over clearing."""

    def __init__(self, folder: Path) -> None:
        self._file = (
            folder / "task_state"
        )  # a link: processes that take themselves for the same task share it

    def _all(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}

    def _write(self, values: dict[str, Any]) -> None:
        place = self._file.resolve()
        new = place.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(values))
        new.replace(place)

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if value is None:
            raise ValueError("None is not stored")
        self._write(self._all() | {key: value})

    def delete(self, key: str) -> None:
        self._write({name: value for name, value in self._all().items() if name != key})

    def clear(self, **_: Any) -> None:
        self._write({})


class _OutletEvents:
    """Counts what Airflow would tell to those who wait for an asset, once the task has succeeded."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def __getitem__(self, key: Any) -> _OutletEvents:
        return self

    def add(self, asset: Any, extra: dict[str, Any] | None = None) -> None:
        self._events.append(json.dumps([asset.uri, extra]))


def hurry(clock: Path) -> None:
    """Make every pause short, and the wall clock one that jumps when the test says so."""
    from airflow_provider_adobe_audiences.adobe.client import limiter

    sleep, asleep, wall = time.sleep, asyncio.sleep, time.time
    time.sleep = lambda seconds: sleep(seconds / SPEED)

    async def short(delay: float, result: Any = None) -> Any:
        return await asleep(delay / SPEED, result)

    asyncio.sleep = short  # type: ignore[assignment]
    # The pause after a 429 is measured, not slept.
    limiter.time = SimpleNamespace(monotonic=lambda: time.monotonic() * SPEED)  # type: ignore[assignment]
    with clock.open("r+b") as file:
        offset = mmap.mmap(file.fileno(), 8)
    time.time = lambda: wall() + struct.unpack("d", offset[:8])[0]


def main(report: Connection, order: Order) -> None:
    """Do one process' part of a try, and report its outcome."""
    with (order.folder / "log.txt").open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, force=True)
    os.environ.update(order.environment)
    hurry(order.folder / "clock")
    if order.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.largest_file, resource.RLIM_INFINITY))
    try:
        # Not asyncio.run: it would wait for threads of the loop, which no triggerer does.
        outcome = (
            asyncio.new_event_loop().run_until_complete(_trigger(order))
            if order.phase == "trigger"
            else _task(report, order)
        )
    except BaseException as error:
        traceback.print_exc()
        outcome = {"state": "broken harness", "error": repr(error)}
    if order.loses_outcome:
        os.kill(os.getpid(), signal.SIGKILL)
    report.send(outcome)
    os._exit(0)


def _task(report: Connection, order: Order) -> dict[str, Any]:
    """What Airflow's task runner does: render, execute (or resume), and tell states apart."""
    from airflow.providers.common.compat.sdk import (
        DAG,
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
        TaskDeferred,
    )

    try:
        from airflow.sdk.bases.operator import ExecutorSafeguard
        from airflow.sdk.exceptions import AirflowSensorTimeout
    except ImportError:  # Airflow 2.11 and the first of 3
        from airflow.exceptions import AirflowSensorTimeout
        from airflow.models.baseoperator import ExecutorSafeguard

    from tests.faults.rows import find

    with DAG(order.dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = find(order.row).build(order.facts)
    xcom = Xcom(order.folder)
    events: list[str] = []
    context = _context(order, task, xcom) | {"outlet_events": _OutletEvents(events)}
    ExecutorSafeguard.test_mode = True  # it asks whether it is Airflow's task runner that calls execute

    def on_term(*_: object) -> None:
        # As Airflow 3 does: the interrupted work goes on afterwards, until the supervisor's SIGKILL.
        task.on_kill()
        report.send({"state": "on_kill"})

    signal.signal(signal.SIGTERM, on_term)
    if order.phase == "execute":
        xcom.clear()
    task.render_template_fields(context)
    try:
        result = (
            task.execute(context)
            if order.phase == "execute"
            else task.resume_execution(order.method, order.method_arguments, context)
        )
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        return {
            "state": "deferred",
            "trigger": [path, json.loads(json.dumps(arguments))],
            "method": deferred.method_name,
            "method_arguments": json.loads(json.dumps(deferred.kwargs or {})),
        }
    except AirflowSkipException:
        return {"state": "skipped"}
    except (AirflowFailException, AirflowSensorTimeout) as error:
        return _failure("failed", error)
    except (AirflowException, Exception) as error:
        return _failure("up_for_retry", error)
    if result is not None:
        xcom.push("return_value", result)
    if events:
        xcom.push("events", events)
    return {"state": "success", "xcom": xcom.pull()}


def _failure(state: str, error: BaseException) -> dict[str, Any]:
    traceback.print_exception(error)
    return {"state": state, "error": str(error), "kind": [kind.__name__ for kind in type(error).__mro__]}


def _context(order: Order, task: Any, xcom: Xcom) -> Any:
    identity = {
        "dag_id": order.dag_id,
        "run_id": order.run_id,
        "task_id": task.task_id,
        "map_index": order.map_index,
    }
    dag_run = SimpleNamespace(
        dag_id=order.dag_id,
        run_id=order.run_id,
        start_date=datetime.fromisoformat(order.started),
        run_after=datetime.fromisoformat(order.run_after),
        queued_at=datetime.fromisoformat(order.run_after),
        run_type="backfill" if order.run_id.startswith("backfill__") else "manual",
        logical_date=order.logical_date and datetime.fromisoformat(order.logical_date),
        conf={},
    )
    ti = SimpleNamespace(
        **identity,
        try_number=order.try_number,
        max_tries=order.max_tries,
        task=task,
        key=tuple(identity.values()),
        xcom_push=xcom.push,
        xcom_pull=lambda *, key="return_value", **_: xcom.pull().get(key),
    )
    context = {
        "ti": ti,
        "task_instance": ti,
        "dag_run": dag_run,
        "run_id": order.run_id,
        "task": task,
        "dag": task.dag,
        "params": {},
    }
    if _has_task_state_store():
        context["task_state_store"] = TaskStateStore(order.folder)
    return context


def _has_task_state_store() -> bool:
    try:
        from airflow.sdk.execution_time.context import TaskStateStoreAccessor  # noqa: F401
    except ImportError:
        return False
    return True


async def _trigger(order: Order) -> dict[str, Any]:
    """What the triggerer does: run the trigger from what was stored of it, until its first event."""
    assert order.trigger is not None
    path, arguments = order.trigger
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)

    async def first_event() -> Any:
        try:
            async for event in trigger.run():
                return {"state": "event", "event": json.loads(json.dumps(event.payload))}
            return {"state": "trigger failed", "error": "the trigger ended without an event"}
        finally:
            await trigger.cleanup()

    running = asyncio.create_task(first_event())
    ended_by_a_person = False

    def on_term() -> None:
        nonlocal ended_by_a_person
        ended_by_a_person = True
        running.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
    try:
        return dict(await running)
    except asyncio.CancelledError:
        if ended_by_a_person and hasattr(trigger, "on_kill"):
            await trigger.on_kill()
        return {"state": "on_kill"}
    except Exception as error:
        return _failure("trigger failed", error)
