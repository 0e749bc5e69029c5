# SPDX-License-Identifier: Apache-2.0
"""The endpoints of Target, one module per resource."""

from __future__ import annotations

from fastapi import APIRouter

from . import admin, batches, control, profiles

routes = APIRouter()
for module in (admin, batches, profiles, control):
    routes.include_router(module.routes)
