# SPDX-License-Identifier: Apache-2.0
"""What the routes of all services share."""

from __future__ import annotations

#: All of the control API is below this path; nothing of Adobe is.
CONTROL = "/_emulator"
