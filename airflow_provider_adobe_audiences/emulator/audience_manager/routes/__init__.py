# SPDX-License-Identifier: Apache-2.0
"""The endpoints of Audience Manager, one module per resource."""

from __future__ import annotations

from fastapi import APIRouter

from . import control, groups, permissions, tokens, users

routes = APIRouter()
for module in (groups, permissions, users, tokens, control):
    routes.include_router(module.routes)
