# SPDX-License-Identifier: Apache-2.0
"""The side of Airflow: starts the processes of a task's tries, may kill or disturb them at any request, and
retries as Airflow does.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.local_airflow import REPO, connection_to
from tests.faults.task import Order, Phase, main

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator
    from tests.faults.rows import Row

#: Every try here has to end well within this many seconds; one that does not is a failed case.
MAX_PHASE = 60.0
_LOOK = 0.005
_COPIES = itertools.count(1)

OnHold = Callable[["Run", dict[str, Any]], None]


def forkserver() -> Any:
    """Return the place that processes come from: one with Airflow and everything of ours loaded, and no
    thread or socket of ours.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.faults.preload"])
    return processes


class World:
    """Adobe, one connection to it and a folder: what one case has for itself.

    :ivar connection: changes of the connection's extra, for whoever starts from now on.
    :ivar environment: more environment variables, likewise.
    :ivar fault: what goes wrong here, by name.
    :ivar runs_after: the ``run_after`` of each Dag run.
    :ivar plans: the plan of groups that each Dag run has made.
    """

    def __init__(self, emulator: RunningEmulator, processes: Any) -> None:
        self.emulator = emulator
        self.processes = processes
        self.folder = Path(tempfile.mkdtemp(prefix="adobe-faults-"))
        self.connection: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.largest_file: int | None = None
        self.fault = ""
        self.runs_after: dict[str, str] = {}
        self.plans: dict[str, Any] = {}
        self._clock = self.folder / "clock"
        self.jump(0)
        emulator.reset()

    def jump(self, seconds: float) -> None:
        """Set the wall clock of the tasks' machine so many seconds off."""
        with self._clock.open("r+b" if self._clock.exists() else "w+b") as file:
            file.write(struct.pack("d", seconds))

    def task_environment(self, **connection: Any) -> dict[str, str]:
        """Return what a process of a task finds in its environment.

        :param connection: changes of the connection's extra for this process alone.
        """
        extra = self.connection | connection
        return {
            "AIRFLOW_CONN_ADOBE_DEFAULT": json.dumps(connection_to(self.emulator.url, **extra)),
            **self.environment,
        }

    def hold(self, request: int, phase: str = "before", **more: Any) -> int:
        """Park the request with this number, counted from now."""
        return self.emulator.faults.add(nth=request, phase=phase, hold=True, **more)

    @staticmethod
    def wait_until(true: Callable[[], bool], what: str) -> None:
        """Wait until something has come about; fail after ten seconds."""
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(_LOOK)

    def log(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*/log.txt")))

    def secrets_in_log(self) -> list[str]:
        """Return the secrets that the tasks have written to their logs."""
        text = self.log()
        profile_tokens = [token.value for tokens in self.emulator.target.issued.values() for token in tokens]
        secrets = ["emulator-client-secret", *self.emulator.ims.tokens, *profile_tokens]
        return [secret for secret in secrets if secret in text]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Ended:
    """How one process of a try ended."""

    phase: Phase
    state: str
    details: dict[str, Any] = field(default_factory=dict)


class Run:
    """One task instance, from its first try to its end.

    :param row: which operator.
    :param facts: what :attr:`Row.prepare` returned.
    :param copy: the same task instance as another :class:`Run`, but with processes of its own.
    :param again: names a task instance that Airflow does not know any more, or never knew: of a deleted run
        with the same run id, or of another deployment. It shares the names only.
    :param connection: changes of the connection's extra for this run alone.
    :param logical_date: of the Dag run, if it has one.
    :ivar history: how each process ended.
    :ivar state: Airflow's state.
    :ivar loses_outcome_of: the next process of this phase is killed when it has done its work, before it
        could say so.
    """

    def __init__(
        self,
        world: World,
        row: Row,
        facts: dict[str, Any],
        *,
        run_id: str = "run_1",
        map_index: int = -1,
        retries: int = 3,
        copy: bool = False,
        again: str = "",
        connection: dict[str, Any] | None = None,
        logical_date: str | None = None,
    ) -> None:
        self.world, self.row = world, row
        self.facts = row.for_run(world, facts, run_id) if row.for_run else facts
        self.run_id, self.map_index = run_id, map_index
        self.max_tries = retries
        self.try_number = 1
        self.state = "queued"
        self.history: list[Ended] = []
        self.xcom: dict[str, Any] = {}
        self.started = datetime.now(UTC).isoformat()
        # Airflow sets the start anew when a run is cleared, and this never.
        self.run_after = world.runs_after.setdefault(f"{run_id}{again}", self.started)
        self.connection = connection or {}
        self.logical_date = logical_date
        name = f"{row.name}.{run_id}.{map_index}{again}".replace("/", "-")
        self._folder = world.folder / (f"{name}.copy-{next(_COPIES)}" if copy else name)
        self._folder.mkdir()
        (self._folder / "task_state").symlink_to(world.folder / f"{name}.task_state")
        (self._folder / "clock").symlink_to(world.folder / "clock")
        self.loses_outcome_of: Phase | None = None
        self._process: Any = None
        self._report: Connection | None = None
        self._phase: Phase = "execute"
        self._deferred: dict[str, Any] = {}

    @property
    def result(self) -> Any:
        return self.xcom.get("return_value")

    @property
    def errors(self) -> list[Ended]:
        """What went wrong on the way, apart from being killed."""
        return [ended for ended in self.history if "error" in ended.details]

    # -- what may be done to it while a request is held

    @property
    def phase(self) -> Phase:
        return self._phase

    def kill(self) -> None:
        """SIGKILL, and wait until it has worked."""
        self._process.kill()
        self._process.join()

    def terminate(self) -> None:
        """SIGTERM, as Airflow sends when a person has ended the task."""
        os.kill(self._process.pid, signal.SIGTERM)

    def wait_until_told(self) -> None:
        """Wait until ``on_kill`` has returned in a process that got SIGTERM, or the process is gone."""
        assert self._report is not None
        assert self._report.poll(10), "on_kill has not returned"

    # -- going on

    def to_the_end(self, on_hold: OnHold | None = None) -> str:
        """Try, and retry as Airflow would; return the final state."""
        while self.state not in ("success", "failed", "skipped"):
            self.one_try(on_hold)
        return self.state

    def clear(self) -> None:
        """What a person does with a failed, or a finished, task: it may have as many tries again."""
        self.max_tries = self.try_number + self.max_tries
        self.try_number += 1
        self.started = datetime.now(UTC).isoformat()
        self.state = "queued"

    def one_try(self, on_hold: OnHold | None = None) -> str:
        """Run the next try to its end."""
        self._phase = "execute"
        while True:
            ended = self._one_process(on_hold)
            self.history.append(ended)
            match ended.state:
                case "deferred":
                    self._deferred, self._phase = ended.details, "trigger"
                    continue
                case "killed" if self._phase == "trigger":
                    continue  # a restarted triggerer takes its triggers up again
                case "event":
                    self._deferred["method_arguments"] |= {"event": ended.details["event"]}
                    self._phase = "resume"
                    continue
                case "trigger failed":
                    self._deferred |= {
                        "method": "__fail__",
                        "method_arguments": {"error": ended.details["error"]},
                    }
                    self._phase = "resume"
                    continue
                case "success":
                    self.xcom = ended.details["xcom"]
                    self.state = "success"
                case "failed" | "skipped" | "on_kill":
                    self.state = "skipped" if ended.state == "skipped" else "failed"
                case "killed" | "up_for_retry":
                    if self.try_number > self.max_tries:
                        self.state = "failed"
                    else:
                        self.try_number += 1
                        self.state = "up_for_retry"
                case other:
                    raise AssertionError(f"{other}: {ended.details}\n{self.world.log()}")
            return self.state

    def _one_process(self, on_hold: OnHold | None) -> Ended:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        loses_outcome = self.loses_outcome_of == self._phase
        if loses_outcome:
            self.loses_outcome_of = None
        order = Order(
            row=self.row.name,
            facts=self.facts,
            phase=self._phase,
            dag_id="faults",
            run_id=self.run_id,
            started=self.started,
            run_after=self.run_after,
            try_number=self.try_number,
            max_tries=self.max_tries,
            map_index=self.map_index,
            folder=self._folder,
            environment=self.world.task_environment(**self.connection),
            logical_date=self.logical_date,
            trigger=tuple(self._deferred["trigger"]) if self._phase == "trigger" else None,
            method=self._deferred.get("method"),
            method_arguments=self._deferred.get("method_arguments", {}),
            largest_file=self.world.largest_file,
            loses_outcome=loses_outcome,
        )
        self._process = process = self.world.processes.Process(target=main, args=(theirs, order), daemon=True)
        self._report = ours
        process.start()
        theirs.close()
        try:
            return self._watch(process, ours, on_hold)
        finally:
            if process.is_alive():
                process.join(1)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
            ours.close()

    def _watch(self, process: Any, report: Connection, on_hold: OnHold | None) -> Ended:
        seen: set[int] = set()
        was_told_to_end = False
        looks = int(MAX_PHASE / _LOOK)
        for _ in range(looks):
            if report.poll(_LOOK):
                try:
                    outcome = report.recv()
                except EOFError:
                    return Ended(self._phase, "on_kill" if was_told_to_end else "killed")
                if outcome["state"] == "on_kill" and self._phase != "trigger":
                    # Airflow's supervisor waits a few seconds now; what the task still does then is up to the
                    # test.
                    was_told_to_end = True
                    if on_hold is not None:
                        on_hold(self, {"phase": "on_kill"})
                    continue
                if was_told_to_end:
                    return Ended(self._phase, "on_kill", outcome)
                return Ended(self._phase, outcome.pop("state"), outcome)
            if on_hold is not None:
                for held in self.world.emulator.holds.as_list():
                    if held["id"] not in seen:
                        seen.add(held["id"])
                        on_hold(self, held)
        raise AssertionError(
            f"{self.row.name}, {self._phase}: not finished after {MAX_PHASE:.0f} s\n{self.world.log()}"
        )


@dataclass(frozen=True)
class Request:
    """One request of the undisturbed run of a row."""

    number: int
    method: str
    path: str
    query: str
    write: bool
    sends_body: bool
    gets_body: bool
    phase: Phase


def undisturbed(world: World, row: Row) -> list[Request]:
    """Run a row once with nothing in its way, check it, and return its requests."""
    run = Run(world, row, row.prepare(world))
    journal = world.emulator.journal
    requests: list[Request] = []
    ends: list[tuple[Phase, int]] = []
    one_process = run._one_process

    def counted(on_hold: OnHold | None) -> Ended:
        ended = one_process(on_hold)
        ends.append((ended.phase, len(journal.entries)))
        return ended

    run._one_process = counted  # type: ignore[method-assign]
    begin = len(journal.entries)
    state = run.to_the_end()
    assert state == "success", f"{row.name}: {state}, {run.history}\n{world.log()}"
    row.check(world, [run])
    for phase, end in ends:
        for entry in journal.entries[begin:end]:
            requests.append(
                Request(
                    number=len(requests) + 1,
                    method=entry.method,
                    path=entry.path,
                    query=entry.query,
                    write=entry.write,
                    sends_body=entry.request_bytes > 0,
                    gets_body=entry.response_bytes > 0,
                    phase=phase,
                )
            )
        begin = end
    return requests
