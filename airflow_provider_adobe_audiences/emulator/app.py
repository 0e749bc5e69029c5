# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: the routes of every service under one roof."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from . import audience_manager, control, experience_platform, ims, target
from .core import Emulator
from .gateway import missing_reason
from .guard import ControlGuard
from .responses import ErrorResponse, on_error_response, respond
from .routing import methods_of
from .wire import Wire


def create_app(emulator: Emulator) -> ASGIApp:
    """Return the application for this emulator."""
    return Wire(ControlGuard(create_routes(emulator)), emulator)


def create_routes(emulator: Emulator) -> FastAPI:
    """Return the routes of this emulator, without what is around them."""
    api = FastAPI(
        title="Adobe audiences emulator",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    api.state.emulator = emulator
    for name, service in emulator.services.items():
        setattr(api.state, name, service)
    api.add_exception_handler(ErrorResponse, on_error_response)
    api.add_exception_handler(HTTPException, _refusing(emulator))
    for package in (control, ims, experience_platform, audience_manager, target):
        api.include_router(package.routes)
    return api


def _refusing(emulator: Emulator) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return the handler for requests that no route takes: the error has the form of the path's service."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path, status = request.scope["path"], error.status_code
        if status not in (404, 405):
            return respond(status, {"message": str(error.detail)})
        service = next((one for one in emulator.services.values() if one.paths.match(path)), None)
        if service is None:
            return respond(status, {"message": missing_reason(status)})
        left_out = methods_of(service.left_out, path)
        routes = [route for route in request.app.routes if isinstance(route, Route)]
        played = {
            method for route in routes if route.path_regex.match(path) for method in route.methods or ()
        }
        if request.method in left_out:
            status = 501
        elif played or left_out:
            status = 405
        try:
            response = service.refuse(request, status).response()
        except ErrorResponse as refusal:
            return refusal.response()
        if status == 405:
            response.headers["allow"] = ", ".join(sorted(played | left_out))
        return response

    return refuse
