# SPDX-License-Identifier: Apache-2.0
"""What the handlers of Experience Platform are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .service import ExperiencePlatform


async def _service(request: Request) -> ExperiencePlatform:
    platform: ExperiencePlatform = request.app.state.experience_platform
    return platform


#: The service.
Platform = Annotated[ExperiencePlatform, Depends(_service)]


async def _caller(request: Request, platform: Platform) -> Caller:
    caller = platform.authenticate(request)
    platform.external_audiences.settle()
    return caller


#: Who is calling; whoever may not is refused before the handler runs.
PlatformCaller = Annotated[Caller, Depends(_caller)]
