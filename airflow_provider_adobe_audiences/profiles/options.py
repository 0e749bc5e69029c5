# SPDX-License-Identifier: Apache-2.0
"""The choices that a bulk profile update leaves to its user. Imported by every Dag that has one, so there is
nothing else in here.
"""

from __future__ import annotations

from typing import Literal

#: Which id identifies a profile.
Key = Literal["thirdPartyId", "pcId"]
#: What a file is.
SourceFormat = Literal["json", "csv", "parquet"]
#: How a CSV file writes a quote within quotes: twice (``'"'``, as RFC 4180 has it), or after a backslash
#: (``'\\'``, as Spark writes it).
Escape = Literal['"', "\\"]
#: What to do with a row that cannot be sent.
OnBadRow = Literal["fail", "skip"]
#: What to do when an upload was sent and its response was lost.
OnUnknownOutcome = Literal["send_again", "fail"]
