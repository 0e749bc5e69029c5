# SPDX-License-Identifier: Apache-2.0
"""Files become one ingested batch, exactly once."""

from typing import Literal

#: What the files of a batch are, in Adobe's words.
FileFormat = Literal["json", "csv", "parquet"]
