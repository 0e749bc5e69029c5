# SPDX-License-Identifier: Apache-2.0
"""Run all benchmarks, or those that are named; print a table and write ``build/benchmarks.json``.

    python -m benchmarks [bulk_profile_body] [calls] [groups_sync] [imports] [uploads] [waits]

Every benchmark measures a peer in the same run: compare ratios, never seconds of two machines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import bulk_profile_body, calls, groups_sync, imports, uploads, waits

BULK_ROWS = int(os.environ.get("BENCH_ROWS", "500000"))
BENCHMARKS: dict[str, tuple[ModuleType, Callable[[], dict[str, Any]]]] = {
    "bulk_profile_body": (bulk_profile_body, lambda: bulk_profile_body.measure(BULK_ROWS)),
    "calls": (calls, calls.run),
    "groups_sync": (groups_sync, groups_sync.run),
    "imports": (imports, imports.run),
    "uploads": (uploads, uploads.run),
    "waits": (waits, waits.run),
}
RESULT = Path(__file__).parents[1] / "build" / "benchmarks.json"


def lines(figures: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each single figure with its full name."""
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield from lines(value, f"{name}.{key}" if name else key)
    elif isinstance(figures, list) and any(isinstance(value, dict) for value in figures):
        for number, value in enumerate(figures, 1):
            yield from lines(value, f"{name}[{number}]")
    else:
        yield name, figures


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="all of them by default")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    # One that runs alone leaves the figures of the others as they are.
    results: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in names:
        module, measure = BENCHMARKS[name]
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        results[name] = {"at": at, "python": platform.python_version(), "cores": os.cpu_count(), **measure()}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(results, indent=2) + "\n")
        for figure, value in lines(results[name]):
            print(f"  {figure:<55} {value}", flush=True)
    print(f"\nWritten to {RESULT.relative_to(Path.cwd()) if RESULT.is_relative_to(Path.cwd()) else RESULT}")


if __name__ == "__main__":
    main()
