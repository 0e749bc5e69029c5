# SPDX-License-Identifier: Apache-2.0
"""What becomes of a batch: its rows are read, counted and judged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .records import BrokenFileError, InputFormat, as_json, count_lines, parquet_rows, records

CORRUPT = "The row has corrupted data and cannot be read or parsed. Fix the corrupted data and try again."
REQUIRED = (
    "A required field is either missing or has a value of null. Add the required field to the input row and "
    "try again."
)
MAX_ROW_RANGES = 100
SAMPLE = 20


@dataclass(frozen=True)
class Judgement:
    """How strictly a batch is judged."""

    percent: int
    diagnostics: bool
    required: tuple[str, ...] = ()
    check_rows: bool = True


@dataclass
class Outcome:
    """The result of reading all files of a batch."""

    failed: bool = False
    records_in: int = 0
    records_out: int = 0
    bytes_in: int = 0
    files: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many rows were not taken."""
        return self.records_in - self.records_out


class _Errors:
    """Counts rejected rows by their code, with ranges of row numbers."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.ranges: dict[str, list[list[int]]] = {}

    def add(self, code: str, row: int) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1
        ranges = self.ranges.setdefault(code, [])
        if ranges and ranges[-1][1] == row - 1:
            ranges[-1][1] = row
        elif len(ranges) < MAX_ROW_RANGES:
            ranges.append([row, row])

    def as_list(self) -> list[dict[str, Any]]:
        descriptions = {"INGEST-1401-400": CORRUPT, "INGEST-1555-400": REQUIRED}
        return [
            {
                "code": code,
                "description": descriptions[code],
                "recordCount": count,
                "rows": [
                    str(first) if first == last else f"{first}-{last}" for first, last in self.ranges[code]
                ],
            }
            for code, count in self.counts.items()
        ]


def ingest(
    files: Sequence[tuple[str, Path]], written: InputFormat, judgement: Judgement, rejected: Path
) -> Outcome:
    """Read the files of a batch and judge them.

    :param files: name and place of each file.
    :param rejected: where to write the rejected rows, with their errors.
    """
    outcome = Outcome(files=len(files), bytes_in=sum(path.stat().st_size for _, path in files))
    errors = _Errors()
    try:
        with rejected.open("w", encoding="utf-8") as bad:
            for name, path in files:
                if not judgement.check_rows and path.stat().st_size:
                    count = parquet_rows(path) if written.format == "parquet" else count_lines(path)
                    outcome.records_in += count
                    outcome.records_out += count
                    continue
                for row, record in enumerate(records(path, written), 1):
                    outcome.records_in += 1
                    code = _fault(record.value, judgement.required)
                    if code is None:
                        outcome.records_out += 1
                        continue
                    errors.add(code, row)
                    value = {"_corrupt_record": record.raw} if record.value is None else dict(record.value)
                    message = CORRUPT if code == "INGEST-1401-400" else REQUIRED
                    value |= {
                        "_errors": [{"code": code.split("-")[1], "message": message}],
                        "_filename": name,
                    }
                    bad.write(as_json(value) + "\n")
                    if len(outcome.sample) < SAMPLE:
                        outcome.sample.append(json.loads(as_json(value)))
    except BrokenFileError as broken:
        outcome.failed, outcome.records_out = True, 0
        outcome.errors = [{"code": broken.code, "description": broken.description}]
        return outcome
    if outcome.rejected:
        _judge(outcome, errors, judgement)
    elif not outcome.records_in and written.format != "parquet":
        outcome.failed = True
        outcome.errors = [{"code": "106", "description": "Dataset file is empty."}]
    return outcome


def _judge(outcome: Outcome, errors: _Errors, judgement: Judgement) -> None:
    outcome.failed = outcome.rejected * 100 > judgement.percent * outcome.records_in
    kept = 0 if outcome.failed else outcome.records_out
    summary = f"Encountered {outcome.rejected} errors in the data. Successfully ingested {kept} rows."
    if judgement.diagnostics:
        outcome.errors = [
            {
                "code": "INGEST-1212-400",
                "description": f"{summary} Please review the associated diagnostic files for more details.",
            },
            *errors.as_list(),
        ]
    else:
        description = "Encountered errors while parsing, converting or otherwise preparing the data."
        outcome.errors = [
            {
                "code": "INGEST-1211-400",
                "description": f"{description} {summary} Enable error diagnostics to learn which rows.",
            }
        ]


def _fault(value: dict[str, Any] | None, required: Sequence[str]) -> str | None:
    if value is None:
        return "INGEST-1401-400"
    if any(_look_up(value, name) is None for name in required):
        return "INGEST-1555-400"
    return None


def _look_up(value: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def accepted(
    files: Sequence[tuple[str, Path]], written: InputFormat, required: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch that were not rejected."""
    for _, path in files:
        for record in records(path, written):
            if _fault(record.value, required) is None and record.value is not None:
                yield record.value
