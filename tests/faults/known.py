# SPDX-License-Identifier: Apache-2.0
"""Acts after which an operator is known to be wrong still, with the reason. Each must fail; one that passes
fails the suite, so that it leaves this list.
"""

from __future__ import annotations

KNOWN: dict[tuple[str, str], str] = {}
