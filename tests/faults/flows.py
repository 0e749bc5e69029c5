# SPDX-License-Identifier: Apache-2.0
"""The shipped mapped Dag as a whole: create a batch, upload in mapped tasks, complete, wait, and a teardown
that aborts. People clear parts of it, whatever state they are in, and change what it works on.

Tasks run one after the other, in processes of their own, as :mod:`tests.faults.harness` runs them. Clearing a
task clears its set-up and its teardown, too, as Airflow does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.acts import PHASES, at
from tests.faults.cases import clear
from tests.faults.harness import OnHold, Run, World
from tests.faults.rows import find
from tests.faults.rows_experience_platform import DATASET, batches, json_lines, rows_of, sources
from tests.faults.sources import a_version

FLOW = "the mapped Dag"
FILES = 4
FOLLOWED = 3
SWITCHES = {"batch_polls": 2}
ROWS = {
    "create": "AdobeCreateBatchOperator",
    "upload": "AdobeUploadBatchFilesOperator",
    "complete": "AdobeCompleteBatchOperator",
    "wait": "AdobeBatchSensor (deferrable)",
    "abort": "AdobeAbortBatchOperator",
}
Name = tuple[str, int]
CREATE, COMPLETE, WAIT, ABORT = (("create", -1), ("complete", -1), ("wait", -1), ("abort", -1))
REFUSED = {"status": 403, "body": {"error_code": "403025", "message": "Profile is not valid"}}


@dataclass(frozen=True)
class FlowRequest:
    """One request of the undisturbed Dag run."""

    number: int
    method: str
    path: str
    task: Name


class Flow:
    """One Dag run.

    :ivar source: the files, as the task before them would return them.
    """

    def __init__(self, world: World, source: list[str], run_id: str = "run_1") -> None:
        self.world, self.source, self.run_id = world, source, run_id
        self.tasks: dict[Name, Run] = {}
        self.states: dict[Name, str | None] = {}
        self.current: Name = CREATE

    @property
    def names(self) -> list[Name]:
        uploads = [("upload", number) for number in range(len(self.source))]
        return [CREATE, *uploads, COMPLETE, WAIT, ABORT]

    @property
    def state(self) -> str:
        """Airflow's: that of the leaves; a teardown does not count."""
        return "success" if self.states.get(WAIT) == "success" else "failed"

    def run(self, on_hold: OnHold | None = None) -> str:
        """Run what has not run yet; return the state of the Dag run."""
        for name in self.names:
            if self.states.get(name) is None:
                self.current = name
                self.states[name] = self._one(name, on_hold)
        return self.state

    def _one(self, name: Name, on_hold: OnHold | None) -> str:
        if name == ABORT:
            if self.states[CREATE] != "success":
                return "skipped"
        elif any(self.states[other] != "success" for other in self._upstream(name)):
            return "upstream_failed"
        task = self.tasks.get(name)
        if task is None:
            row = find(ROWS[name[0]])
            task = self.tasks[name] = Run(
                self.world, row, {}, run_id=self.run_id, map_index=name[1], retries=1
            )
        task.facts = self._facts(name)
        return task.to_the_end(on_hold)

    def _upstream(self, name: Name) -> Iterable[Name]:
        uploads = [other for other in self.names if other[0] == "upload"]
        return {"create": [], "upload": [CREATE], "complete": uploads, "wait": [COMPLETE]}[name[0]]

    def _facts(self, name: Name) -> dict[str, Any]:
        if name == CREATE:
            return {"source": self.source}
        batch = {"batch_id": self.tasks[CREATE].result}
        if name[0] == "upload":
            return {**batch, "dataset_id": DATASET, "source": self.source[name[1]]}
        if name == COMPLETE:
            return {**batch, "uploads": [self.tasks[other].result for other in self._upstream(COMPLETE)]}
        # Somebody may call a batch complete that is not: whoever waits for it, fails in the end.
        return {**batch, "deferrable": True, "timeout": 30} if name == WAIT else batch

    # -- what people do

    def clear(self, *names: Name, downstream: bool = True) -> None:
        chosen = set(names)
        if downstream:
            order = ["create", "upload", "complete", "wait"]
            first = min((order.index(name[0]) for name in chosen if name != ABORT), default=len(order))
            chosen |= {name for name in self.names if name != ABORT and order.index(name[0]) > first}
        for name in chosen | {CREATE, ABORT}:  # what is cleared takes its set-up and its teardown along
            task = self.tasks.get(name)
            if task is not None and self.states.get(name) not in (None, "upstream_failed", "skipped"):
                task.clear()
            self.states[name] = None

    def clear_all(self) -> None:
        self.clear(*self.names)

    def failed(self) -> list[Name]:
        return [name for name in self.names if name != ABORT and self.states.get(name) == "failed"]

    def follow(self) -> Flow:
        """Do what the error of the first failed task says; return the Dag run that comes of it."""
        failed = self.failed()
        if not failed and "upstream_failed" in self.states.values():  # of a task that was cleared alone
            self.clear(COMPLETE)
            self.run()
            return self
        assert failed, f"not a success, and no task has failed: {self.states}"
        ended = self.tasks[failed[0]].history[-1]
        assert "error" in ended.details, f"failed without an error: {ended}"
        assert clear(ended.details), f"failed without a clear error: {ended}"
        advice = ended.details["error"].rpartition("What to do: ")[2]
        if re.search(r"new (Dag )?run|another run", advice):
            other = Flow(self.world, self.source, f"{self.run_id}.followed")
            other.run()
            return other
        if re.search(r"everything downstream|whole|all uploads|every upload", advice):
            self.clear_all()
        else:
            self.clear(*failed)
        self.run()
        return self

    # -- what is right

    def ends_right(self, *, strict: bool = False) -> Flow:
        """Come to an end, with a person's help unless ``strict``, and hold Adobe to the source."""
        self.world.emulator.faults.clear()
        self.run()
        flow = self
        for _ in range(0 if strict else FOLLOWED):
            if flow.state == "success":
                break
            flow = flow.follow()
        assert flow.state == "success", f"{flow.states}: {list(flow.errors())[-1:]}"
        flow.check()
        return flow

    def errors(self) -> Iterator[Any]:
        for task in self.tasks.values():
            yield from task.errors

    def check(self, texts: list[str] | None = None) -> None:
        """The Dag run is green: its batch has each row of the source once, and nothing else has any.

        :param texts: what the files held, if not what they hold now.
        """
        for ended in self.errors():
            assert clear(ended.details), f"not a clear error: {ended.details}"
        assert not self.world.secrets_in_log(), "a secret is in a task's log"
        held = {batch["id"]: batch["status"] for batch in batches(self.world)}
        mine = self.tasks[CREATE].result
        found: Counter[str] = Counter()
        for batch_id, path in self.world.emulator.platform.batches.batches[mine].paths():
            assert batch_id
            found.update(path.read_text().splitlines())
        texts = texts or [Path(file).read_text() for file in self.source]
        wanted = Counter(line for text in texts for line in text.splitlines())
        assert held[mine] == "success", held
        more, missing = (found - wanted).total(), (wanted - found).total()
        assert not more, f"green with {more} rows too many and {missing} missing"
        assert not missing, f"green with {missing} of {wanted.total()} rows missing"
        others = [status for batch_id, status in held.items() if batch_id != mine]
        if self.run_id == "run_1":
            assert set(others) <= {"aborted", "failed"}, held
        else:  # the run before this one had handed over what was there then
            assert set(others) <= {"aborted", "failed", "success"}, held


def undisturbed(world: World) -> list[FlowRequest]:
    """Run the Dag once with nothing in its way, check it, and return its requests."""
    flow = new_flow(world)
    entries = world.emulator.journal.entries
    requests: list[FlowRequest] = []
    one = flow._one

    def counted(name: Name, on_hold: OnHold | None) -> str:
        begin = len(world.emulator.journal.entries)
        state = one(name, on_hold)
        for entry in world.emulator.journal.entries[begin:]:
            requests.append(FlowRequest(len(requests) + 1, entry.method, entry.path, name))
        return state

    flow._one = counted  # type: ignore[method-assign]
    assert len(entries) == 0
    flow.ends_right(strict=True)
    return requests


def new_flow(world: World) -> Flow:
    world.emulator.switches.update(SWITCHES)
    return Flow(world, sources(world, FILES))


# ------------------------------------------------------------------------------------------------------------
# the acts

FlowPlay = Callable[[World, FlowRequest, str], None]


@dataclass(frozen=True)
class FlowAct:
    """What people do to the Dag run.

    :param play: given the request at which it happens, and before or after that is processed.
    :param only: whether it happens at this request.
    """

    name: str
    group: str
    play: FlowPlay
    only: Callable[[FlowRequest], bool] = lambda request: True

    def places(self, requests: list[FlowRequest]) -> list[tuple[FlowRequest, str]]:
        return [(request, phase) for request in requests if self.only(request) for phase in PHASES]


FLOW_ACTS: dict[str, FlowAct] = {}


def flow_act(name: str, group: str, play: FlowPlay, only: Any = lambda request: True) -> None:
    assert name not in FLOW_ACTS
    FLOW_ACTS[name] = FlowAct(name, group, play, only)


def first(request: FlowRequest) -> bool:
    return request.number == 1


def of_an_upload(request: FlowRequest) -> bool:
    return request.task[0] == "upload"


def before_the_teardown(request: FlowRequest) -> bool:
    return request.task != ABORT


def failed_there(world: World, request: FlowRequest, phase: str) -> Flow:
    """A Dag run in which the task of this request has failed, with what that brings about downstream."""
    flow = new_flow(world)
    world.emulator.faults.add(nth=request.number, phase=phase, **REFUSED)
    flow.run()
    return flow


def one_with_downstream(world: World, request: FlowRequest, phase: str) -> None:
    flow = failed_there(world, request, phase)
    flow.clear(request.task)
    flow.ends_right()


def one_alone(world: World, request: FlowRequest, phase: str) -> None:
    flow = failed_there(world, request, phase)
    flow.clear(request.task, downstream=False)
    flow.ends_right()


def whole_failed(world: World, request: FlowRequest, phase: str) -> None:
    flow = failed_there(world, request, phase)
    flow.clear_all()
    flow.ends_right(strict=True)


def whole_succeeded(world: World, request: FlowRequest, phase: str) -> None:
    flow = new_flow(world).ends_right(strict=True)
    flow.clear_all()
    flow.ends_right(strict=True)


def one_succeeded(world: World, request: FlowRequest, phase: str) -> None:
    flow = new_flow(world).ends_right(strict=True)
    flow.clear(request.task)
    flow.ends_right()


def told_to_end(world: World, request: FlowRequest, phase: str, *, goes_on: bool) -> Flow:
    """The task of this request is told to end."""
    flow = new_flow(world)
    holds = world.emulator.holds
    world.hold(request.number, phase)

    def told(run: Run) -> None:
        if goes_on:
            holds.release("continue")
        else:
            run.kill()
            holds.release("drop")

    flow.run(at(lambda run, held: run.terminate(), told=told))
    holds.release("drop")
    return flow


def cleared_while_it_runs(world: World, request: FlowRequest, phase: str) -> None:
    flow = told_to_end(world, request, phase, goes_on=False)
    flow.clear(request.task)
    flow.ends_right()


def whole_while_it_runs(world: World, request: FlowRequest, phase: str) -> None:
    flow = told_to_end(world, request, phase, goes_on=True)
    flow.clear_all()
    flow.ends_right(strict=True)


def marked_success(world: World, request: FlowRequest, phase: str) -> None:
    """Somebody says that this task has succeeded; the rest goes on from there."""
    flow = new_flow(world)
    holds = world.emulator.holds
    world.hold(request.number, phase)

    def told(run: Run) -> None:
        run.kill()
        holds.release("drop")
        run.loses_outcome_of = None

    one = flow._one

    def marked(name: Name, on_hold: OnHold | None) -> str:
        state = one(name, on_hold)
        return "success" if name == request.task and state == "failed" else state

    flow._one = marked  # type: ignore[method-assign]
    flow.run(at(lambda run, held: run.terminate(), told=told))
    flow._one = one  # type: ignore[method-assign]
    if flow.state == "success" and request.task not in (WAIT, ABORT):
        flow.check()  # what follows a task that was marked must not be green with less
    flow.clear_all()
    flow.ends_right(strict=True)


def aborted_by_somebody(world: World, request: FlowRequest, phase: str) -> None:
    from tests.faults.edits_experience_platform import acts_on_batches

    _while_held(world, request, phase, lambda flow: acts_on_batches("ABORT")(world, {})).ends_right()


def file_changes(how: str) -> FlowPlay:
    def play(world: World, request: FlowRequest, phase: str) -> None:
        old: list[str] = []

        def change(flow: Flow) -> None:
            old.extend(Path(file).read_text() for file in flow.source)
            Path(flow.source[0]).write_text(a_version(how))

        flow = _while_held(world, request, phase, change)
        if flow.state == "success":
            # A batch is what its files were when it was created: either version is right, a mixture is not.
            sent = flow.tasks[("upload", 0)].result["bytes"]
            versions = {len(old[0]): old, len(a_version(how)): None}
            if how == "same size":
                uploaded = _uploaded(world, flow)
                versions = {sent: old if old[0].splitlines()[0] in uploaded else None}
            flow.check(versions[sent])
        flow.clear_all()
        flow.ends_right()

    return play


def _uploaded(world: World, flow: Flow) -> list[str]:
    batch = world.emulator.platform.batches.batches[flow.tasks[CREATE].result]
    return [line for _, path in batch.paths() for line in path.read_text().splitlines()]


def list_changes(count: int) -> FlowPlay:
    """The task before returns another list, and the whole Dag run is cleared."""

    def play(world: World, request: FlowRequest, phase: str) -> None:
        flow = failed_there(world, request, phase)
        extra = world.folder / "source-extra.jsonl"
        extra.write_text(json_lines(rows_of(9)))
        flow.source = [*flow.source[1:], str(extra)][:count] if count <= FILES else [*flow.source, str(extra)]
        for name in set(flow.states) - set(flow.names):  # Airflow removes what is mapped no more
            del flow.states[name]
        flow.clear_all()
        flow.ends_right()

    return play


def _while_held(world: World, request: FlowRequest, phase: str, do: Callable[[Flow], None]) -> Flow:
    flow = new_flow(world)
    world.hold(request.number, phase)

    def act(run: Run, held: dict[str, Any]) -> None:
        do(flow)
        world.emulator.holds.release("continue", held["id"])

    flow.run(at(act))
    return flow


flow_act("a failed task cleared with downstream", "clear", one_with_downstream)
flow_act("a failed task cleared alone", "clear", one_alone, of_an_upload)
flow_act("the failed Dag run cleared", "clear", whole_failed)
flow_act("the successful Dag run cleared", "clear", whole_succeeded, first)
flow_act("a successful task cleared with downstream", "clear", one_succeeded, before_the_teardown)
flow_act("a running task cleared with downstream", "clear", cleared_while_it_runs, before_the_teardown)
flow_act("the running Dag run cleared", "clear", whole_while_it_runs)
flow_act("a running task marked success", "mark", marked_success, before_the_teardown)
flow_act("somebody aborts the batch", "other editors", aborted_by_somebody)
for _how in ("same size", "smaller", "larger"):
    flow_act(f"source: {_how}", "source", file_changes(_how))
flow_act("another list, cleared", "source", list_changes(FILES))
flow_act("a shorter list, cleared", "source", list_changes(FILES - 2))
flow_act("a longer list, cleared", "source", list_changes(FILES + 1))
