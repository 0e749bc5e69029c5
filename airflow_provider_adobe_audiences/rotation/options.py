# SPDX-License-Identifier: Apache-2.0
"""The choices that a rotation leaves to its user. Imported by every Dag that has one, so there is nothing
else in here.
"""

from __future__ import annotations

from typing import Literal

#: What may be done: everything, only putting Target's token into the store, or nothing.
Mode = Literal["rotate", "adopt", "check"]
#: What to do when Target has another token than the store.
OnDrift = Literal["adopt", "fail"]
