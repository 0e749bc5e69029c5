# SPDX-License-Identifier: Apache-2.0
"""Adobe Audience Manager: groups, their permissions, users, and the legacy password grant."""

from __future__ import annotations

from .models import AudienceManager, Group, User
from .permissions import ALL_WILDCARDS, PER_OBJECT
from .routes import routes

__all__ = ["ALL_WILDCARDS", "PER_OBJECT", "AudienceManager", "Group", "User", "routes"]
