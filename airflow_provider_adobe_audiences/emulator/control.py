# SPDX-License-Identifier: Apache-2.0
"""The control API: watch the emulator and disturb it. Never journalled, never faulted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from .core import Emulator
from .faults import FaultRule, Then
from .openapi import document
from .requests import json_object, with_clear_errors
from .responses import ErrorResponse, respond
from .routing import CONTROL, described, object_of

MAX_DOWNTIME = 600
ENTRIES_AT_ONCE = 100


async def _emulator(request: Request) -> Emulator:
    emulator: Emulator = request.app.state.emulator
    return emulator


Watched = Annotated[Emulator, Depends(_emulator)]

RELEASE = object_of("then", id="integer")
CREDENTIAL = object_of("client_id", "client_secret", "org_id")

routes = APIRouter(prefix=CONTROL, tags=["Control"])


@routes.get("/health")
async def health(emulator: Watched) -> Response:
    """Return where the emulator listens."""
    return respond(200, {"status": "ok", "url": emulator.url})


@routes.get("/openapi.json")
async def openapi(request: Request, emulator: Watched) -> Response:
    """Return the OpenAPI description of the emulator: all services and this API."""
    left_out = {
        template: methods for one in emulator.services.values() for template, methods in one.left_out.items()
    }
    return respond(200, document(request.app, left_out, emulator.url))


@routes.post("/reset")
async def reset(emulator: Watched) -> Response:
    """Go back to the beginning: state, switches, journal, faults and clock."""
    emulator.reset()
    return respond(204)


@routes.get("/state")
async def state(emulator: Watched) -> Response:
    """Return the readable state of every service."""
    return respond(200, emulator.snapshot())


@routes.get("/journal")
async def journal(emulator: Watched, after: int = 0, method: str | None = None, path: str = "") -> Response:
    """Return the journal, as far as it matches."""
    entries = [entry for entry in emulator.journal.find(method, path) if entry.sequence > after]

    async def pieces() -> AsyncIterator[str]:
        yield "["
        for first in range(0, len(entries), ENTRIES_AT_ONCE):
            some = entries[first : first + ENTRIES_AT_ONCE]
            yield ("," if first else "") + ",".join(json.dumps(entry.as_dict()) for entry in some)
            await asyncio.sleep(0)  # others have their turn, and a client that went away is noticed
        yield "]"

    return StreamingResponse(pieces(), media_type="application/json")


@routes.delete("/journal")
async def clear_journal(emulator: Watched) -> Response:
    """Empty the journal."""
    emulator.journal.clear()
    return respond(204)


@routes.get("/switches")
async def switches(emulator: Watched) -> Response:
    """Return every switch with its values, default and meaning."""
    return respond(200, emulator.switches.describe())


@routes.patch("/switches", openapi_extra=described(body={"type": "object"}))
async def change_switches(request: Request, emulator: Watched) -> Response:
    """Set some switches; the others stay."""
    with_clear_errors(emulator.switches.update, await json_object(request))
    return respond(200, emulator.switches.values())


@routes.put("/switches", openapi_extra=described(body={"type": "object"}))
async def replace_switches(request: Request, emulator: Watched) -> Response:
    """Set some switches; the others go back to their first values."""
    values = await json_object(request)
    with_clear_errors(emulator.switches.update, values)  # what is not valid changes nothing
    emulator.switches.reset()
    with_clear_errors(emulator.switches.update, values)
    return respond(200, emulator.switches.values())


@routes.get("/faults")
async def faults(emulator: Watched) -> Response:
    """Return every fault rule with how often it matched and was applied."""
    return respond(200, emulator.faults.as_list())


@routes.post("/faults", openapi_extra=described(body=FaultRule))
async def add_fault(request: Request, emulator: Watched) -> Response:
    """Add a fault rule."""
    rule = with_clear_errors(FaultRule.model_validate, await json_object(request))
    return respond(201, {"id": emulator.faults.add(rule)})


@routes.delete("/faults")
async def clear_faults(emulator: Watched) -> Response:
    """Remove all fault rules."""
    emulator.faults.clear()
    return respond(204)


@routes.delete("/faults/{number}")
async def remove_fault(emulator: Watched, number: int) -> Response:
    """Remove a fault rule."""
    return respond(204 if emulator.faults.remove(number) else 404)


@routes.get("/holds")
async def holds(emulator: Watched, count: int = 0, wait: float = 0) -> Response:
    """``wait`` so many seconds for ``count`` held requests; then return whatever is held."""
    if not 0 <= wait <= MAX_DOWNTIME:  # nor is nan
        raise ErrorResponse(400, {"message": f"wait: 0 to {MAX_DOWNTIME} seconds"})
    try:
        held = await asyncio.to_thread(emulator.holds.wait, count, wait)
    except TimeoutError:
        held = emulator.holds.as_list()
    return respond(200, held)


@routes.post("/holds/release", openapi_extra=described(body=RELEASE, required=False))
async def release(request: Request, emulator: Watched) -> Response:
    """Let held requests go on, or drop their connections."""
    body = await json_object(request, default={})
    then = body.get("then", "continue")
    if then not in get_args(Then):
        raise ErrorResponse(400, {"message": f"then: 'continue', 'drop' or 'process', not {then!r}"})
    return respond(200, {"released": emulator.holds.release(then, body.get("id"))})


@routes.post("/clock", openapi_extra=described(body=object_of(advance="number")))
async def clock(request: Request, emulator: Watched) -> Response:
    """Move the clock."""
    body = await json_object(request)
    with_clear_errors(lambda: emulator.clock.advance(body["advance"]))
    return respond(200, {"now": emulator.clock.now()})


@routes.post("/tokens/expire")
async def expire_tokens(emulator: Watched) -> Response:
    """Let all access tokens of IMS end at once."""
    emulator.ims.expire_tokens()
    return respond(204)


@routes.post("/credentials", openapi_extra=described(body=CREDENTIAL))
async def add_credential(request: Request, emulator: Watched) -> Response:
    """Register an OAuth Server-to-Server credential."""
    body = await json_object(request)
    credential = with_clear_errors(lambda: emulator.ims.add_credential(**body))
    return respond(201, {"client_id": credential.client_id, "org_id": credential.org_id})


@routes.post("/restart", openapi_extra=described(body=object_of(downtime="number"), required=False))
async def restart(request: Request, emulator: Watched) -> Response:
    """Cut all connections, stop listening for ``downtime`` seconds, then listen again on the same
    port.
    """
    downtime = (await json_object(request, default={})).get("downtime", 0)
    if not isinstance(downtime, int | float) or not 0 <= downtime <= MAX_DOWNTIME:
        raise ErrorResponse(400, {"message": f"downtime: 0 to {MAX_DOWNTIME} seconds"})
    action: Callable[[float], Awaitable[None]] | None = emulator.on_restart
    if action is None:
        raise ErrorResponse(409, {"message": "this emulator does not run on its own server"})
    emulator.restarting = asyncio.get_running_loop().create_task(_later(action, downtime))
    return respond(202)


async def _later(action: Callable[[float], Awaitable[None]], downtime: float) -> None:
    await asyncio.sleep(0.05)  # let the response to this very request leave first
    await action(downtime)
