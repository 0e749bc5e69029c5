# SPDX-License-Identifier: Apache-2.0
"""What the handlers of Target are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from .models import Target


async def _service(request: Request) -> Target:
    service: Target = request.app.state.target
    return service


#: The service.
TargetService = Annotated[Target, Depends(_service)]
