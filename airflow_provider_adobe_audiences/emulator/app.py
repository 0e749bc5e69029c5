# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: every service's router under one roof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import ASGIApp

from . import audience_manager, control, experience_platform, ims, target
from .answers import Answer, on_answer
from .wire import Wire

if TYPE_CHECKING:
    from .core import Emulator


def create_app(emulator: Emulator) -> ASGIApp:
    """Return the application for this emulator."""
    api = FastAPI(
        title="Adobe audiences emulator",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    api.add_exception_handler(Answer, on_answer)
    api.include_router(control.router(emulator))
    for service in (ims, experience_platform, audience_manager, target):
        api.include_router(service.router(emulator))
    return Wire(api, emulator)
