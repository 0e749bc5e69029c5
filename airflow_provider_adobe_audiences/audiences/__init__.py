# SPDX-License-Identifier: Apache-2.0
"""An external audience's metadata exists, once, and is what it shall be."""

from typing import Literal

#: What to do with an audience that exists already.
IfExists = Literal["skip", "fail", "update"]
