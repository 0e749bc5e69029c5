# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: one entry for each fault, how it is brought about at a request, and what may come of
it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests.faults import surroundings
from tests.faults.file_store import KNOCK
from tests.faults.harness import Request, Run, World, undisturbed
from tests.faults.task import Phase

if TYPE_CHECKING:
    from tests.faults.rows import Row

#: Two per operator and fault at random, always the same: a seed is part of a case's name.
SEED = 20261123
MANY = 1000
#: Paths of Target's edge, where the profile token counts instead of IMS' access token.
EDGE = ("/m2/", "/rest/")
AT_THE_EDGE = "^/(m2|rest)/"


@dataclass
class Case:
    """One fault at one place of one row's run."""

    world: World
    row: Row
    fault: str
    request: Request
    requests: list[Request]
    detail: int = 0
    facts: dict[str, Any] = field(init=False)
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.fault = self.fault
        self.world.emulator.switches.update(self.row.switches)
        self.facts = self.row.prepare(self.world)

    def run(self, **more: Any) -> Run:
        """Return a task instance that is about to begin."""
        run = Run(self.world, self.row, self.facts, **more)
        self.runs.append(run)
        return run

    def rule(self, **fields: Any) -> int:
        return self.world.emulator.faults.add(**{"nth": self.request.number, **fields})

    def lift(self) -> None:
        self.world.emulator.faults.clear()
        self.world.connection.clear()
        self.world.environment.clear()
        self.world.largest_file = None

    def finish(self, run: Run, *, alone: bool = True) -> None:
        """Let a run come to its end, clear it if it failed, and hold it to its invariant."""
        run.to_the_end()
        self.mend(run)
        self.check([run] if alone else self.runs)

    def mend(self, run: Run) -> None:
        """What a person does with a failed task: remove the cause, clear it."""
        self.lift()
        if run.state == "failed":
            run.clear()
            run.to_the_end()
        assert run.state == "success", f"{run.state} after it was cleared: {run.history[-1]}"

    def check(self, runs: list[Run]) -> None:
        for run in runs:
            for ended in run.errors:
                assert clear(ended.details), f"not a clear error: {ended.details}"
        assert not self.world.secrets_in_log(), "a secret is in the task's log"
        self.row.check(self.world, runs)


def clear(details: dict[str, Any]) -> bool:
    """Whether an error tells what to do next."""
    return "What to do: " in details["error"] and any(
        kind in ("AdobeError", "AirflowFailException", "AirflowSensorTimeout") for kind in details["kind"]
    )


Play = Callable[[Case], None]


def every_moment(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        yield request, 0


def every_request(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith(KNOCK))


def with_body(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.sends_body)


def answered_with_body(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request, _ in every_request(requests) if request.gets_body)


def of_the_task(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.phase != "trigger")


def of_the_triggerer(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.phase == "trigger")


def with_an_ims_token(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith((*EDGE, "/ims/", KNOCK)))


def not_to_the_edge(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if not request.path.startswith((*EDGE, KNOCK)))


def to_the_edge(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.path.startswith(EDGE))


def downloads(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return (
        (request, 0) for request in requests if request.path.endswith("/failed") and "path=" in request.query
    )


PHASES: tuple[Phase, ...] = ("execute", "trigger", "resume")


def each_process(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    """Yield the number of each process that the run needs, in :data:`PHASES`."""
    defers = any(request.phase == "trigger" for request in requests)
    return ((requests[0], number) for number in range(len(PHASES) if defers else 1))


def to_ims(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    return ((request, 0) for request in requests if request.path.startswith("/ims/"))


def first_request(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    yield requests[0], 0


def each_write_with_each_later_moment(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        if request.write:
            for moment in range(1, len(requests) + 2):
                yield request, moment


def each_write_with_the_next_moments(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    for request in requests:
        if request.write:
            for moment in range(1, 5):
                yield request, moment


def pairs_at_random(requests: list[Request]) -> Iterator[tuple[Request, int]]:
    chance = random.Random(SEED)
    for _ in range(min(12, len(requests) ** 2)):
        yield chance.choice(requests), chance.randrange(1 << 16)


@dataclass(frozen=True)
class Fault:
    """A way to fail.

    :param name: for the table.
    :param group: the column of the table.
    :param play: brings it about, and checks what came of it.
    :param places: at which requests it is tried (with a detail that some faults use).
    """

    name: str
    group: str
    play: Play
    places: Callable[[list[Request]], Iterator[tuple[Request, int]]] = every_request


FAULTS: dict[str, Fault] = {}


def fault(name: str, group: str, play: Play, places: Any = every_request) -> None:
    assert name not in FAULTS
    FAULTS[name] = Fault(name, group, play, places)


# ---------------------------------------------------------------------------------------------- what the
# plays are made of


def survives(connection: dict[str, Any] | None = None, **rule: Any) -> Play:
    """The fault strikes once; Airflow's retries are all the help that is needed."""

    def play(case: Case) -> None:
        case.world.connection.update(connection or {})
        case.rule(**rule)
        run = case.run()
        run.to_the_end()
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        case.check([run])

    return play


def survives_or_says_so(**rule: Any) -> Play:
    """The fault strikes once; the task may fail, with a clear error, and then clearing it is enough."""

    def play(case: Case) -> None:
        case.rule(**rule)
        case.finish(case.run())

    return play


def lasts(retried: bool | None = None, **rule: Any) -> Play:
    """The fault strikes from this request on. The task fails with a clear error, and clearing it mends it
    when the cause is gone.

    :param retried: whether the task is worth retrying; ``None``: that depends.
    """

    def play(case: Case) -> None:
        matching = [request for request in case.requests if re.search(rule.get("path", ""), request.path)]
        first = matching.index(case.request) + 1
        case.rule(nth=list(range(first, first + MANY)), **rule)
        case.world.connection.update({"max_attempts": 3})
        run = case.run(retries=1)
        run.to_the_end()
        assert run.state == "failed", f"{run.state} although the fault lasts"
        if retried is not None:
            assert run.try_number == (2 if retried else 1), f"{run.try_number} tries: {run.errors}"
        case.mend(run)
        case.check([run])

    return play


def killed(phase: str) -> Play:
    """SIGKILL to the process of the task, or to the triggerer, at this very moment."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()
        run.to_the_end(lambda run, held: kill_now(case, run))
        assert any(ended.state == "killed" for ended in run.history), "nothing was killed"
        case.finish(run)

    return play


def kill_now(case: Case, run: Run) -> None:
    run.kill()
    case.world.emulator.holds.release("drop")


def killed_twice(case: Case) -> None:
    """SIGKILL in the first try and again in the second."""
    chance = random.Random(case.detail)
    phases = [chance.choice(["before", "after"]) for _ in range(2)]
    case.rule(phase=phases[0], hold=True)
    run = case.run()

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        kill_now(case, run)
        if len([ended for ended in run.history if ended.state == "killed"]) == 0:
            case.rule(nth=chance.randint(1, len(case.requests)), phase=phases[1], hold=True)

    run.to_the_end(on_hold)
    case.finish(run)


def killed_at_the_very_end(case: Case) -> None:
    """SIGKILL when all is done, but before Airflow has noted so."""
    run = case.run()
    run.loses_outcome_of = PHASES[case.detail]
    run.to_the_end()
    assert any(ended.state == "killed" for ended in run.history), "nothing was killed"
    case.finish(run)


def ended_by_a_person(phase: str) -> Play:
    """Mark failed: Airflow sends SIGTERM, ``on_kill`` runs, and the interrupted work goes on for some
    seconds.
    """

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            if held["phase"] == "on_kill":
                case.world.emulator.holds.release("continue")
            else:
                run.terminate()

        run.to_the_end(on_hold)
        case.world.emulator.holds.release("drop")
        assert run.history[-1].state == "on_kill", run.history
        case.row.check_ended(case.world, [run])
        case.finish(run)

    return play


def another_run(phase: str) -> Play:
    """Another run of the same Dag does all its work while this one waits for this request."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        run = case.run()
        other = case.run(run_id="run_2")

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            other.to_the_end()
            case.world.emulator.holds.release("continue")

        run.to_the_end(on_hold)
        case.mend(other)
        case.mend(run)
        case.check(case.runs)

    return play


def zombie(phase: str) -> Play:
    """Airflow took the task for dead and started it again; then the first process comes back to life."""

    def play(case: Case) -> None:
        case.rule(phase=phase, hold=True)
        lost = case.run()
        second = case.run(copy=True)
        second.try_number = 2

        def on_hold(lost: Run, held: dict[str, Any]) -> None:
            second.to_the_end()
            case.world.emulator.holds.release("continue")

        lost.one_try(on_hold)
        case.mend(second)
        case.check([second])

    return play


def arrives_late(case: Case) -> None:
    """The task is killed while a write is on its way, and Adobe processes it only when the next try has come
    to this moment.
    """
    late = case.rule(phase="before", hold=True)
    run = case.run()
    number: list[int] = []

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        if not number:
            number.append(held["id"])
            run.kill()
            case.world.emulator.faults.remove(late)
            case.rule(nth=case.detail, phase="before", hold=True)
        elif held["id"] != number[0]:
            process_now(case, number[0])
            case.world.emulator.holds.release("continue")

    run.to_the_end(on_hold)
    if number:
        process_at_last(case, number[0])
    case.finish(run, alone=False)


def processed_late(case: Case) -> None:
    """Adobe is slow: the client gives the write up, goes on, and only then it is processed."""
    case.world.connection["read_timeout"] = SHORT
    case.rule(phase="before", hold=True)
    late: list[int] = []

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        if not late:
            late.append(held["id"])
            case.rule(nth=case.detail, phase="before", hold=True)
        elif held["id"] != late[0]:
            process_now(case, late[0])
            case.world.emulator.holds.release("continue")

    run = case.run()
    run.to_the_end(on_hold)
    if late:
        process_at_last(case, late[0])
    case.finish(run, alone=False)


def process_now(case: Case, number: int) -> bool:
    """Let the held request with this number be processed, wait until it has been, and return whether it was
    still held.
    """
    holds = case.world.emulator.holds
    sequence = next((held["sequence"] for held in holds.as_list() if held["id"] == number), None)
    if sequence is None:
        return False
    entry = next(entry for entry in case.world.emulator.journal.entries if entry.sequence == sequence)
    holds.release("process", number)
    case.world.wait_until(lambda: entry.status is not None, "the late request to be processed")
    return True


def process_at_last(case: Case, number: int) -> None:
    """The task is over when Adobe processes the request; for some operators it takes the Dag's next run to
    notice.
    """
    if process_now(case, number) and case.row.needs_next_run:
        case.lift()
        case.run(run_id="run_2").to_the_end()


def restarted(downtime: float) -> Play:
    """Adobe's side of all connections breaks, and for a while nobody listens."""

    def play(case: Case) -> None:
        case.rule(phase="before", hold=True)
        run = case.run()
        run.to_the_end(lambda run, held: case.world.emulator.restart(downtime))
        assert run.state == "success", run.history[-1]
        case.check([run])

    return play


def jumps(seconds: float) -> Play:
    """The worker's wall clock jumps in the middle."""

    def play(case: Case) -> None:
        case.rule(phase="before", hold=True)
        run = case.run()

        def on_hold(run: Run, held: dict[str, Any]) -> None:
            case.world.jump(seconds)
            case.world.emulator.holds.release("continue")

        run.to_the_end(on_hold)
        case.finish(run)

    return play


def hours_pass(case: Case) -> None:
    """All access tokens run out while this request is on its way."""
    case.rule(phase="before", hold=True)
    run = case.run()

    def on_hold(run: Run, held: dict[str, Any]) -> None:
        case.world.emulator.ims.expire_tokens()
        case.world.emulator.holds.release("continue")

    run.to_the_end(on_hold)
    assert run.state == "success", run.history[-1]
    case.check([run])


def profile_token_expires(case: Case) -> None:
    """Target's profile token runs out while this request is on its way. Only a rotation helps: the task says
    so, and has it.
    """
    case.rule(expire_token=True)
    run = case.run()
    run.to_the_end()
    if run.state == "failed":
        assert "rotate" in run.history[-1].details["error"], run.history[-1]
        (case.world.folder / "token").write_text(case.world.emulator.target.issue().value)
    case.finish(run)


def through_a_proxy(phase: str) -> Play:
    """A company's proxy leads to Adobe, and one of its connections breaks."""

    def play(case: Case) -> None:
        case.rule(drop=True, phase=phase)
        run = case.run()
        with elsewhere(case, surroundings.behind_a_proxy, run):
            run.to_the_end()
        assert run.state == "success", f"{run.state}: {run.history[-1]}"
        case.check([run])

    return play


def cleared_and_rerun(case: Case) -> None:
    """The task succeeded; a person clears it all the same."""
    run = case.run()
    run.to_the_end()
    case.check([run])
    run.clear()
    case.finish(run)


Surroundings = Callable[[World], AbstractContextManager[str]]


@contextmanager
def elsewhere(case: Case, place: Surroundings, run: Run) -> Iterator[None]:
    """Let the run find Adobe in these surroundings."""
    own = case.world.emulator.url
    with place(case.world) as url:
        if url != own:
            case.world.connection.update(surroundings.everything_at(url))
        run.facts = surroundings.facts_at(url, own, case.facts)
        yield
        run.facts = case.facts


def first_try_in(place: Surroundings) -> Play:
    """The first try runs in hostile surroundings, the next in good ones."""

    def play(case: Case) -> None:
        run = case.run()
        case.world.connection["max_attempts"] = 2
        with elsewhere(case, place, run):
            run.one_try()
        assert run.state != "success", "the surroundings did no harm"
        assert run.errors, run.history
        case.lift()
        case.finish(run)

    return play


# ------------------------------------------------------------------------------------------------------------
# the faults

SHORT = 0.3
HTML = {"content-type": "text/html"}
LOGIN_PAGE = "<html><head><title>Log in to the guest network</title></head><body>Welcome</body></html>"
GATEWAY = {"error_code": "503000", "message": "upstream request failed"}

fault("SIGKILL before the request is processed", "SIGKILL", killed("before"), of_the_task)
fault("SIGKILL after it is committed", "SIGKILL", killed("after"), of_the_task)
fault("SIGKILL in the middle of the body", "SIGKILL", killed("body"), with_body)
fault("SIGKILL in two tries in a row", "SIGKILL", killed_twice, pairs_at_random)
fault("SIGKILL, and the write arrives later", "SIGKILL", arrives_late, each_write_with_each_later_moment)

fault("SIGKILL before Airflow notes the outcome", "SIGKILL", killed_at_the_very_end, each_process)
fault("restart before the request is processed", "triggerer restart", killed("before"), of_the_triggerer)
fault("restart after it is processed", "triggerer restart", killed("after"), of_the_triggerer)

fault(
    "SIGTERM before the request is processed", "SIGTERM (on_kill)", ended_by_a_person("before"), every_moment
)
fault("SIGTERM after it is committed", "SIGTERM (on_kill)", ended_by_a_person("after"), every_moment)

fault("reset before the request is processed", "connection", survives(drop=True))
fault("reset after it is committed", "connection", survives(drop=True, phase="after"))
fault("reset in the middle of the body", "connection", survives(drop=True, phase="body"), with_body)
fault("closed without an answer", "connection", survives(drop="close"))
fault("closed without an answer after it is committed", "connection", survives(drop="close", phase="after"))
fault("restart of the service", "connection", restarted(0.0))
fault("restart, refused for a while", "connection", restarted(0.15))

fault("refused for a whole try", "network", first_try_in(surroundings.nobody_listens), first_request)
fault("connect timeout", "network", first_try_in(surroundings.connect_times_out), first_request)
fault("DNS failure", "network", first_try_in(surroundings.name_not_resolved), first_request)
fault(
    "TLS: certificate of a stranger",
    "network",
    first_try_in(surroundings.stranger_with_a_certificate),
    first_request,
)
fault("TLS: plain text instead", "network", first_try_in(surroundings.plain_text_for_tls), first_request)
fault("a proxy that refuses", "network", first_try_in(surroundings.proxy_refuses), first_request)
fault("a proxy, reset before the request is processed", "network", through_a_proxy("before"))
fault("a proxy, reset after it is committed", "network", through_a_proxy("after"))
fault("disk full while downloading", "disk full", first_try_in(surroundings.disk_full), downloads)

fault(
    "read timeout before the request is processed",
    "timeouts",
    survives({"read_timeout": SHORT}, delay=2 * SHORT, drop=True),
)
fault(
    "read timeout after it is committed",
    "timeouts",
    survives({"read_timeout": SHORT}, delay=2 * SHORT, phase="after", drop=True),
)
fault("read timeout, processed later", "timeouts", processed_late, each_write_with_the_next_moments)

fault("slow drip within the deadline", "answers", survives(drip=0.0001), answered_with_body)
fault(
    "slow drip beyond the deadline",
    "answers",
    survives({"total_timeout": 0.4}, drip=0.02),
    answered_with_body,
)
fault("truncated answer", "answers", survives(truncate=5), answered_with_body)
fault(
    "HTML instead of JSON, not processed",
    "answers",
    survives_or_says_so(status=200, headers=HTML, body=LOGIN_PAGE),
)
fault(
    "HTML instead of JSON, committed",
    "answers",
    survives_or_says_so(status=200, headers=HTML, body=LOGIN_PAGE, phase="after"),
)
fault(
    "another JSON than documented",
    "answers",
    survives_or_says_so(status=200, body=["unexpected"]),
    answered_with_body,
)
fault("an empty 200", "answers", survives_or_says_so(status=200, body=""), answered_with_body)
fault(
    "a redirect to another host",
    "answers",
    survives_or_says_so(status=302, headers={"location": "https://attacker.example/"}),
)

NO_TOKEN = {"error_code": "401013", "message": "Oauth token is not valid"}
NO_RIGHT = {"error_code": "403025", "message": "Profile is not valid"}
fault("401 once", "401 and 403", survives(status=401, body=NO_TOKEN), with_an_ims_token)
fault("401 once from the edge", "401 and 403", survives(status=401, body=NO_TOKEN), to_the_edge)
fault("401 for ever", "401 and 403", lasts(False, status=401, body=NO_TOKEN), not_to_the_edge)
# A rotation may be under way, so this is worth a retry.
fault(
    "401 for ever from the edge",
    "401 and 403",
    lasts(True, path=AT_THE_EDGE, status=401, body=NO_TOKEN),
    to_the_edge,
)
fault("403 once", "401 and 403", survives_or_says_so(status=403, body=NO_RIGHT))
fault("403 for ever", "401 and 403", lasts(False, status=403, body=NO_RIGHT), not_to_the_edge)
fault(
    "403 for ever from the edge",
    "401 and 403",
    lasts(True, path=AT_THE_EDGE, status=403, body={"message": "Forbidden"}),
    to_the_edge,
)
fault(
    "IMS refuses once",
    "401 and 403",
    survives_or_says_so(status=400, body={"error": "invalid_client"}),
    to_ims,
)
fault("IMS token expires in the middle", "tokens expire", survives(expire_token=True), with_an_ims_token)
fault("all IMS tokens expire in the middle", "tokens expire", hours_pass)
fault("profile token expires in the middle", "tokens expire", profile_token_expires, to_the_edge)

fault("400", "4xx", survives_or_says_so(status=400, body={"title": "BadRequestError", "detail": "no"}))
fault("404", "4xx", survives_or_says_so(status=404, body={"title": "NotFoundError", "detail": "no"}))
fault("408", "4xx", survives(status=408, body="", headers=HTML))
fault("409", "4xx", survives_or_says_so(status=409, body={"title": "ConflictError", "detail": "no"}))
fault(
    "409 after it is committed",
    "4xx",
    survives_or_says_so(status=409, body={"title": "ConflictError", "detail": "no"}, phase="after"),
)

TOO_MANY = {"error_code": "429050", "message": "Too many requests"}
fault("429", "429", survives(status=429, body=TOO_MANY))
fault("429 with seconds", "429", survives(status=429, body=TOO_MANY, headers={"retry-after": "2"}))
fault(
    "429 with a date",
    "429",
    survives(status=429, body=TOO_MANY, headers={"retry-after": formatdate(0, usegmt=True)}),
)
fault(
    "429 with an absurd wait",
    "429",
    survives(status=429, body=TOO_MANY, headers={"retry-after": "99999999999999999999"}),
)
fault("429 with nonsense", "429", survives(status=429, body=TOO_MANY, headers={"retry-after": "-soon"}))
fault("429 for ever", "429", lasts(True, status=429, body=TOO_MANY, headers={"retry-after": "1"}))
IMS_IS_BUSY = {"error": "too_many_requests", "error_description": "Try again later"}
fault("IMS throttles", "429", survives(status=429, body=IMS_IS_BUSY, headers={"retry-after": "2"}), to_ims)
fault("IMS throttles for ever", "429", lasts(True, path="^/ims/", status=429, body=IMS_IS_BUSY), to_ims)

for _status in (500, 502, 503, 504):
    fault(f"{_status}", "5xx", survives(status=_status, body=GATEWAY))
    fault(
        f"{_status} after it is committed",
        "5xx",
        survives(status=_status, body=LOGIN_PAGE, headers=HTML, phase="after"),
    )
fault("503 in the middle of the body", "5xx", survives(status=503, body=GATEWAY, phase="body"), with_body)
fault("500 for ever", "5xx", lasts(None, status=500, body=GATEWAY))

fault("clock jumps an hour forward", "clock", jumps(3600), every_moment)
fault("clock jumps an hour back", "clock", jumps(-3600), every_moment)

fault("two runs at once, interleaved before the request", "two at once", another_run("before"), every_moment)
fault(
    "two runs at once, interleaved after it is committed", "two at once", another_run("after"), every_moment
)
fault("the lost process comes back, before the request", "two at once", zombie("before"), every_moment)
fault("the lost process comes back, after it is committed", "two at once", zombie("after"), every_moment)

fault("cleared and run again", "clear", cleared_and_rerun, first_request)


__all__ = ["FAULTS", "SEED", "Case", "Fault", "first_try_in", "undisturbed"]
