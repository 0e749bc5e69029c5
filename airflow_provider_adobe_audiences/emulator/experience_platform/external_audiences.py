# SPDX-License-Identifier: Apache-2.0
"""External audiences: create from files, ingest, extend, delete. All of it takes time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.answers import Answer, respond
from airflow_provider_adobe_audiences.emulator.control import json_object
from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .audiences import AIS
from .bodies import Body, ExternalAudienceBody, ExternalAudienceChangeBody, RunBody, wrong_with
from .problems import ais_problem

if TYPE_CHECKING:
    from . import ExperiencePlatform

MOST_RUNS_PER_AUDIENCE = 10
MOST_RUNS_PER_DAY = 100
DAY = 86_400


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
    asked: dict[str, Any]
    work: Work
    audience: ExternalAudience | None = None


@dataclass
class Run:
    """One ingestion."""

    id: str
    asked: dict[str, Any]
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

    def __init__(self, platform: ExperiencePlatform) -> None:
        self._platform = platform
        self.operations: dict[str, Operation] = {}
        self.audiences: dict[str, ExternalAudience] = {}

    def reset(self) -> None:
        self.operations.clear()
        self.audiences.clear()

    def start(self) -> Work:
        return Work(self._platform.clock.now(), self._platform.switches.external_outcome)

    def status(self, work: Work, *, poll: bool = True) -> str:
        """Return how far the work is; asking counts when polls decide."""
        switches = self._platform.switches
        work.polls += poll
        if switches.external_polls is not None:
            done = work.polls > switches.external_polls
        else:
            done = self._platform.clock.now() >= work.started + switches.external_seconds
        return work.outcome if done else "PROCESSING"

    def settle(self, operation: Operation, status: str) -> None:
        """Let the audience exist once its creation has succeeded."""
        if status != "SUCCESS" or operation.audience is not None:
            return
        platform, asked = self._platform, operation.asked
        now = platform.clock.now()
        made = platform.audiences.add(
            operation.caller,
            name=asked["name"],
            description=asked.get("description"),
            audienceId=asked.get("customAudienceId"),
            namespace=asked.get("namespace") or "CustomerAudienceUpload",
            originName=asked["originName"],
            labels=asked.get("labels"),
            datasetId=uuid.uuid4().hex[:24],
        )
        number = made.document["audienceId"]
        document = dict(asked) | {
            "ttlInDays": int(asked.get("ttlInDays") or 30),
            "createdAt": int(now),
            "updatedAt": int(now),
        }
        operation.audience = ExternalAudience(
            number, operation.caller, document, now + document["ttlInDays"] * DAY
        )
        self.audiences[number] = operation.audience

    def find(self, caller: Caller, number: str) -> ExternalAudience:
        audience = self.audiences.get(number)
        if audience is None or (audience.caller.org_id, audience.caller.sandbox) != (
            caller.org_id,
            caller.sandbox,
        ):
            raise ais_problem("100940-404", f"There is no external audience {number}.", caller)
        return audience

    def snapshot(self) -> list[dict[str, Any]]:
        return [
            {
                "audienceId": audience.id,
                "name": audience.document["name"],
                "expires": audience.expires,
                "runs": {run.id: self.status(run.work, poll=False) for run in audience.runs.values()},
            }
            for audience in self.audiences.values()
        ]


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter()
    for base in AIS:
        for spelling in ("/external-audience", "/external-audiences"):  # Adobe's pages differ
            routes.include_router(_router(platform, base + spelling))
    return routes


def _router(platform: ExperiencePlatform, base: str) -> APIRouter:
    routes = APIRouter(prefix=base)
    state, switches = platform.external_audiences, platform.switches
    caller = Depends(platform.caller)

    async def body(request: Request, who: Caller, shape: type[Body]) -> dict[str, Any]:
        try:
            asked = await json_object(request)
        except Answer as answer:
            raise ais_problem("100910-400", answer.body["message"], who) from None
        wrong = wrong_with(shape, asked)
        if wrong:
            raise ais_problem("100910-400", wrong, who)
        return asked

    @routes.post("")
    @routes.post("/")
    async def create(request: Request, who: Caller = caller) -> Response:
        asked = await body(request, who, ExternalAudienceBody)
        namespace = asked.get("namespace") or "CustomerAudienceUpload"
        if asked.get("customAudienceId") and platform.audiences.twin(
            who, namespace, asked["customAudienceId"]
        ):
            raise ais_problem("100950-409", f"The audience {asked['customAudienceId']} exists.", who)
        operation = Operation(str(uuid.uuid4()), who, asked, state.start())
        state.operations[operation.id] = operation
        return respond(
            switches.external_create_status, {"operationId": operation.id, "operationDetails": _echo(asked)}
        )

    @routes.get("/operations/{operation_id}")
    async def creation(operation_id: str, who: Caller = caller) -> Response:
        operation = state.operations.get(operation_id)
        if operation is None or operation.caller.org_id != who.org_id:
            raise ais_problem("100940-404", f"There is no operation {operation_id}.", who)
        status = state.status(operation.work)
        state.settle(operation, status)
        answer = {"operationId": operation.id, "status": status, "operationDetails": _echo(operation.asked)}
        if operation.audience is not None:
            answer |= {"audienceName": operation.asked["name"], "audienceId": operation.audience.id}
        return respond(200, answer | {"createdBy": _user(who), "createdAt": int(operation.work.started)})

    @routes.patch("/{audience_id}")
    async def patch(request: Request, audience_id: str, who: Caller = caller) -> Response:
        audience, asked = state.find(who, audience_id), await body(request, who, ExternalAudienceChangeBody)
        document = audience.document
        document |= {name: asked[name] for name in ("description", "labels") if name in asked}
        if "ttlInDays" in asked:
            document["ttlInDays"] = int(asked["ttlInDays"])
        labels = {change["name"]: change.get("labels", []) for change in asked.get("fields", [])}
        document["fields"] = [
            one | {"labels": labels[one["name"]]} if one["name"] in labels else one
            for one in document["fields"]
        ]
        document["updatedAt"] = int(platform.clock.now())
        return respond(200, _flat(audience, who))

    @routes.post("/extend-ttl/{audience_id}")
    async def extend(audience_id: str, who: Caller = caller) -> Response:
        audience = state.find(who, audience_id)
        audience.expires += audience.document["ttlInDays"] * DAY
        return respond(200, {"audienceId": audience.id, "name": audience.document["name"]})

    @routes.delete("/{audience_id}")
    @routes.delete("/{audience_id}/")
    async def delete(audience_id: str, who: Caller = caller) -> Response:
        audience = state.find(who, audience_id)
        del state.audiences[audience.id]
        for listed in platform.audiences.of(who, hidden=True):
            if listed.document["audienceId"] == audience.id:
                del platform.audiences.audiences[listed.id]
        return respond(204)

    @routes.post("/{audience_id}/run")  # Adobe's pages differ
    @routes.post("/{audience_id}/runs")
    async def start(request: Request, audience_id: str, who: Caller = caller) -> Response:
        audience, asked = state.find(who, audience_id), await body(request, who, RunBody)
        refusal = _guardrail(audience) if switches.external_guardrails else None
        if refusal:
            raise ais_problem("100960-422", refusal, who)
        run = Run(str(uuid.uuid4()), asked, state.start(), _user(who))
        audience.runs[run.id] = run
        return respond(200, _run(audience, run))

    @routes.get("/{audience_id}/runs")
    async def runs(audience_id: str, who: Caller = caller) -> Response:
        audience = state.find(who, audience_id)
        found = [
            _run(audience, run) | {"status": word(run, poll=False)}
            for run in reversed(audience.runs.values())
        ]
        return respond(200, {"runs": found})

    @routes.get("/{audience_id}/runs/{run_id}")
    async def run_status(audience_id: str, run_id: str, who: Caller = caller) -> Response:
        audience = state.find(who, audience_id)
        if run_id not in audience.runs:
            raise ais_problem("100940-404", f"There is no run {run_id}.", who)
        run = audience.runs[run_id]
        status = word(run, poll=True)
        stages = [
            {"stage": stage, "status": status, "flowRunId": str(uuid.uuid5(uuid.UUID(run.id), stage))}
            for stage in ("DATASET_INGEST", "PROFILE_STORE_INGEST")
        ]
        return respond(200, _run(audience, run) | {"status": status, "details": stages})

    def word(run: Run, *, poll: bool) -> str:
        status = state.status(run.work, poll=poll)
        return switches.external_running_status if status == "PROCESSING" else status

    def _guardrail(audience: ExternalAudience) -> str | None:
        if any(state.status(run.work, poll=False) == "PROCESSING" for run in audience.runs.values()):
            return "A run of this audience is in progress."
        if len(audience.runs) >= MOST_RUNS_PER_AUDIENCE:  # the period is not stated
            return f"An audience is ingested at most {MOST_RUNS_PER_AUDIENCE} times."
        since = platform.clock.now() - DAY
        today = [
            run
            for other in state.audiences.values()
            for run in other.runs.values()
            if run.work.started > since
        ]
        return (
            f"At most {MOST_RUNS_PER_DAY} runs a day per sandbox."
            if len(today) >= MOST_RUNS_PER_DAY
            else None
        )

    return routes


def _user(who: Caller) -> str:
    return f"{who.client_id}@techacct.adobe.com"


def _echo(asked: dict[str, Any]) -> dict[str, Any]:
    fields = [
        one | {"identityNs": str(one["identityNs"]).capitalize()} if one.get("identityNs") else one
        for one in asked["fields"]
    ]
    return (
        asked | {"fields": fields} | ({"ttlInDays": int(asked["ttlInDays"])} if "ttlInDays" in asked else {})
    )


def _flat(audience: ExternalAudience, who: Caller) -> dict[str, Any]:
    document = audience.document
    names = (
        "description",
        "fields",
        "ttlInDays",
        "labels",
        "audienceType",
        "originName",
        "createdAt",
        "updatedAt",
    )
    shown = {name: document[name] for name in names if name in document}
    source = document["sourceSpec"].get("params", document["sourceSpec"])
    shown |= {"audienceId": audience.id, "audienceName": document["name"], "sourceSpec": source}
    return shown | {"createdBy": _user(who), "updatedBy": _user(who)}


def _run(audience: ExternalAudience, run: Run) -> dict[str, Any]:
    return {
        "audienceName": audience.document["name"],
        "audienceId": audience.id,
        "runId": run.id,
        "differentialIngestion": True,
        **{
            name: run.asked[name]
            for name in ("dataFilterStartTime", "dataFilterEndTime")
            if name in run.asked
        },
        "createdAt": int(run.work.started),
        "createdBy": run.created_by,
    }
