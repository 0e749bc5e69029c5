# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: the routes of every service under one roof."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

from . import audience_manager, control, experience_platform, ims, target
from .core import Emulator
from .responses import ErrorResponse, on_error_response
from .wire import Wire


def create_app(emulator: Emulator) -> ASGIApp:
    """Return the application for this emulator."""
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
    for package in (control, ims, experience_platform, audience_manager, target):
        api.include_router(package.routes)
    return Wire(api, emulator)
