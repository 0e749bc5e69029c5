# SPDX-License-Identifier: Apache-2.0
"""External audiences: created from files, ingested, extended, deleted. All of it takes time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_adobe_audiences.emulator.experience_platform.errors import ais_error
from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.service import Environment

from .audiences import Audiences

MAX_RUNS_PER_AUDIENCE = 10
MAX_RUNS_PER_DAY = 100
DAY = 86_400
#: Symbols of the standard identity namespaces, by their lower-case spelling.
NAMESPACES = {
    symbol.lower(): symbol
    for symbol in (
        *("AAID", "AdCloud", "CORE", "ECID", "Email", "Email_LC_SHA256", "GAID", "IDFA", "Phone"),
        *("Phone_E.164", "Phone_SHA256", "TNTID", "WAID"),
    )
}


@dataclass
class Work:
    """Something that is done after a while."""

    started: float
    outcome: str
    polls: int = 0


@dataclass
class Operation:
    """The creation of an external audience."""

    id: str
    caller: Caller
    body: dict[str, Any]
    work: Work
    audience: ExternalAudience | None = None
    finished: int | None = None


@dataclass
class Run:
    """One ingestion."""

    id: str
    body: dict[str, Any]
    work: Work
    created_by: str


@dataclass
class ExternalAudience:
    """An external audience that exists."""

    id: str
    caller: Caller
    document: dict[str, Any]
    expires: float
    runs: dict[str, Run] = field(default_factory=dict)


class ExternalAudiences:
    """All external audiences, the operations that create them and their runs."""

    def __init__(
        self, environment: Environment, switches: ExperiencePlatformSwitches, audiences: Audiences
    ) -> None:
        self._environment, self._switches, self._audiences = environment, switches, audiences
        self.operations: dict[str, Operation] = {}
        #: By organisation, sandbox and id.
        self.audiences: dict[tuple[str, str, str], ExternalAudience] = {}

    def reset(self) -> None:
        """Forget everything."""
        self.operations.clear()
        self.audiences.clear()

    def start(self) -> Work:
        """Begin something that takes time."""
        return Work(self._environment.clock.now(), self._switches.external_outcome)

    def status(self, work: Work, *, poll: bool = True) -> str:
        """Return how far the work is; asking counts when polls decide."""
        switches = self._switches
        if switches.external_polls is not None:
            done = work.polls >= switches.external_polls
        else:
            done = self._environment.clock.now() >= work.started + switches.external_seconds
        work.polls += poll
        return work.outcome if done else "PROCESSING"

    def create(self, caller: Caller, body: dict[str, Any]) -> Operation:
        """Begin to create an external audience.

        :raises ErrorResponse: 409 when there is an audience with this id, or one is being created.
        """
        self.settle()
        audience_id = body.get("customAudienceId")
        if audience_id and self._is_taken(caller, _namespace(body), audience_id):
            raise ais_error("100950-409", f"The audience {audience_id} exists.", caller)
        operation = Operation(str(uuid.uuid4()), caller, body, self.start())
        self.operations[operation.id] = operation
        return operation

    def _is_taken(self, caller: Caller, namespace: str, audience_id: str) -> bool:
        if self._audiences.duplicate(caller, namespace, audience_id):
            return True
        return any(
            operation.caller.place == caller.place
            and operation.audience is None
            and operation.work.outcome == "SUCCESS"
            and (_namespace(operation.body), operation.body.get("customAudienceId"))
            == (namespace, audience_id)
            for operation in self.operations.values()
        )

    def operation(self, caller: Caller, number: str) -> Operation:
        """Return the creation with this id.

        :raises ErrorResponse: 404 when there is none in the caller's sandbox.
        """
        operation = self.operations.get(number)
        if operation is None or operation.caller.place != caller.place:
            raise ais_error("100940-404", f"There is no operation {number}.", caller)
        return operation

    def settle(self) -> None:
        """Let every external audience exist whose creation has succeeded, whether or not anybody asked."""
        for operation in self.operations.values():
            if operation.audience is None and self.status(operation.work, poll=False) == "SUCCESS":
                self._add(operation)

    def _add(self, operation: Operation) -> None:
        body = operation.body
        now = self._environment.clock.now()
        made = self._audiences.add(
            operation.caller,
            name=body["name"],
            description=body.get("description"),
            audienceId=body.get("customAudienceId"),
            namespace=_namespace(body),
            originName=body["originName"],
            labels=body.get("labels"),
            datasetId=uuid.uuid4().hex[:24],
        )
        number = made.document["audienceId"]
        document = dict(body) | {
            "ttlInDays": int(body.get("ttlInDays") or 30),
            "fields": shown_fields(body["fields"]),
            "createdAt": int(now),
            "createdBy": operation.caller.user,
            "updatedAt": int(now),
            "updatedBy": operation.caller.user,
        }
        expires = now + document["ttlInDays"] * DAY
        operation.audience = ExternalAudience(number, operation.caller, document, expires)
        operation.finished = int(now)
        self.audiences[(*operation.caller.place, number)] = operation.audience

    def find(self, caller: Caller, number: str) -> ExternalAudience:
        """Return the external audience with this id.

        :raises ErrorResponse: 404 when there is none in the caller's sandbox.
        """
        self.settle()
        audience = self.audiences.get((*caller.place, number))
        if audience is None:
            raise ais_error("100940-404", f"There is no external audience {number}.", caller)
        return audience

    def remove(self, audience: ExternalAudience) -> None:
        """Remove an external audience from here and from the audiences."""
        del self.audiences[(*audience.caller.place, audience.id)]
        for listed in self._audiences.of(audience.caller, hidden=True):
            if listed.document["audienceId"] == audience.id:
                del self._audiences.audiences[listed.id]

    def run_status(self, run: Run, *, poll: bool) -> str:
        """Return how far a run is, in the status of the API."""
        status = self.status(run.work, poll=poll)
        return self._switches.external_running_status if status == "PROCESSING" else status

    def guardrail(self, audience: ExternalAudience) -> str | None:
        """Return the guardrail that one more run would break, if any."""
        if any(self.status(run.work, poll=False) == "PROCESSING" for run in audience.runs.values()):
            return "A run of this audience is in progress."
        if len(audience.runs) >= MAX_RUNS_PER_AUDIENCE:  # the period is not stated
            return f"An audience is ingested at most {MAX_RUNS_PER_AUDIENCE} times."
        since = self._environment.clock.now() - DAY
        place = audience.caller.place
        others = [other for other in self.audiences.values() if other.caller.place == place]
        runs = [run for other in others for run in other.runs.values()]
        if sum(run.work.started > since for run in runs) >= MAX_RUNS_PER_DAY:
            return f"At most {MAX_RUNS_PER_DAY} runs a day per sandbox."
        return None

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all external audiences."""
        self.settle()
        return [
            {
                "audienceId": audience.id,
                "name": audience.document["name"],
                "expires": audience.expires,
                "runs": {run.id: self.status(run.work, poll=False) for run in audience.runs.values()},
            }
            for audience in self.audiences.values()
        ]


def _namespace(body: dict[str, Any]) -> str:
    return body.get("namespace") or "CustomerAudienceUpload"


def shown_fields(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return columns as the API shows them: with Adobe's spelling of its own identity namespaces."""
    return [
        one | {"identityNs": NAMESPACES.get(one["identityNs"].lower(), one["identityNs"])}
        if one.get("identityNs")
        else one
        for one in fields
    ]
