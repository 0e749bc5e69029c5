# SPDX-License-Identifier: Apache-2.0
"""The control API: watch the emulator and disturb it. Never journalled, never faulted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, get_args

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from .answers import Answer, respond
from .faults import FaultRule, Then
from .wire import CONTROL

if TYPE_CHECKING:
    from .core import Emulator

LONGEST_DOWNTIME = 600


def router(emulator: Emulator) -> APIRouter:
    routes = APIRouter(prefix=CONTROL)

    @routes.get("/health")
    async def health() -> Response:
        return respond(200, {"status": "ok", "url": emulator.url})

    @routes.post("/reset")
    async def reset() -> Response:
        emulator.reset()
        return respond(204)

    @routes.get("/state")
    async def state() -> Response:
        return respond(200, emulator.snapshot())

    @routes.get("/journal")
    async def journal(after: int = 0, method: str | None = None, path: str = "") -> Response:
        entries = [entry for entry in emulator.journal.find(method, path) if entry.sequence > after]

        async def pieces() -> AsyncIterator[str]:
            yield "["
            for number, entry in enumerate(entries):
                yield ("," if number else "") + json.dumps(entry.as_dict())
            yield "]"

        return StreamingResponse(pieces(), media_type="application/json")

    @routes.delete("/journal")
    async def clear_journal() -> Response:
        emulator.journal.clear()
        return respond(204)

    @routes.get("/switches")
    async def switches() -> Response:
        return respond(200, emulator.switches.describe())

    @routes.patch("/switches")
    async def change_switches(request: Request) -> Response:
        with_clear_errors(emulator.switches.update, await json_object(request))
        return respond(200, emulator.switches.values())

    @routes.put("/switches")
    async def replace_switches(request: Request) -> Response:
        values = await json_object(request)
        emulator.switches.reset()
        with_clear_errors(emulator.switches.update, values)
        return respond(200, emulator.switches.values())

    @routes.get("/faults")
    async def faults() -> Response:
        return respond(200, emulator.faults.as_list())

    @routes.post("/faults")
    async def add_fault(request: Request) -> Response:
        rule = with_clear_errors(FaultRule.model_validate, await json_object(request))
        return respond(201, {"id": emulator.faults.add(rule)})

    @routes.delete("/faults")
    async def clear_faults() -> Response:
        emulator.faults.clear()
        return respond(204)

    @routes.delete("/faults/{number}")
    async def remove_fault(number: int) -> Response:
        return respond(204 if emulator.faults.remove(number) else 404)

    @routes.get("/holds")
    async def holds(count: int = 0, wait: float = 0) -> Response:
        """``wait`` so many seconds for ``count`` held requests; then answer with whatever is held."""
        try:
            held = await asyncio.to_thread(emulator.holds.wait, count, wait)
        except TimeoutError:
            held = emulator.holds.as_list()
        return respond(200, held)

    @routes.post("/holds/release")
    async def release(request: Request) -> Response:
        asked = await json_object(request, default={})
        then = asked.get("then", "continue")
        if then not in get_args(Then):
            raise Answer(400, {"message": f"then: 'continue', 'drop' or 'process', not {then!r}"})
        return respond(200, {"released": emulator.holds.release(then, asked.get("id"))})

    @routes.post("/clock")
    async def clock(request: Request) -> Response:
        asked = await json_object(request)
        with_clear_errors(lambda: emulator.clock.advance(asked["advance"]))
        return respond(200, {"now": emulator.clock.now()})

    @routes.post("/tokens/expire")
    async def expire_tokens() -> Response:
        emulator.ims.expire_tokens()
        return respond(204)

    @routes.post("/credentials")
    async def add_credential(request: Request) -> Response:
        asked = await json_object(request)
        credential = with_clear_errors(lambda: emulator.ims.add_credential(**asked))
        return respond(201, {"client_id": credential.client_id, "org_id": credential.org_id})

    @routes.post("/restart")
    async def restart(request: Request) -> Response:
        """Cut all connections, stop listening for ``downtime`` seconds, then listen again on the same
        port.
        """
        downtime = (await json_object(request, default={})).get("downtime", 0)
        if not isinstance(downtime, int | float) or not 0 <= downtime <= LONGEST_DOWNTIME:
            raise Answer(400, {"message": f"downtime: 0 to {LONGEST_DOWNTIME} seconds"})
        action: Callable[[float], Awaitable[None]] | None = emulator.on_restart
        if action is None:
            raise Answer(409, {"message": "this emulator does not run on its own server"})
        emulator.restarting = asyncio.get_running_loop().create_task(_later(action, downtime))
        return respond(202)

    return routes


async def _later(action: Callable[[float], Awaitable[None]], downtime: float) -> None:
    await asyncio.sleep(0.05)  # let the answer to this very request leave first
    await action(downtime)


async def json_value(request: Request) -> Any:
    """Return the request's JSON, or raise a clear 400."""
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Answer(400, {"message": f"the body is not JSON: {error}"}) from None


async def json_object(request: Request, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the request's JSON object, or raise a clear 400."""
    if default is not None and not await request.body():
        return default
    value = await json_value(request)
    if not isinstance(value, dict):
        raise Answer(400, {"message": "the body must be a JSON object"})
    return value


def with_clear_errors(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValidationError as error:
        problems = [
            {"field": ".".join(map(str, e["loc"])), "message": e["msg"]}
            for e in error.errors(include_url=False)
        ]
        raise Answer(400, {"message": "not valid", "problems": problems}) from None
    except (KeyError, TypeError, ValueError) as error:
        raise Answer(400, {"message": str(error.args[0] if error.args else error)}) from None
