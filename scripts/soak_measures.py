# SPDX-License-Identifier: Apache-2.0
"""Memory and open files of the servers during ``make soak``, and how they move."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]

from scripts.soak_people import is_worker

Sample = dict[str, tuple[float, int]]
WARM_UP = 600.0


def sample(emulator: int, airflow: int) -> Sample:
    """Return resident memory in MB and open files of each server, without the processes that live for one
    task or one parsing only.
    """
    found: Sample = {"emulator": _use([psutil.Process(emulator)])}
    for child in psutil.Process(airflow).children():
        name = next(
            (
                word
                for word in ("scheduler", "triggerer", "api_server", "dag-processor")
                if word in _command(child)
            ),
            None,
        )
        if name == "triggerer":
            # Its event loop is a process of its own.
            found[name] = _use([child, *(one for one in child.children() if "triggerer" in _command(one))])
        elif name is not None:
            found[name] = _use([child])
        if name == "scheduler":
            workers = [one for one in child.children() if is_worker(one)]
            if workers:
                memory, files = _use(workers)
                found["worker, on average"] = memory / len(workers), files // len(workers)
    return found


def _command(process: Any) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        # Airflow leaves the servers of logs that found their port taken as zombies.
        return ""


def _use(processes: list[Any]) -> tuple[float, int]:
    memory, files = 0.0, 0
    for process in processes:
        try:
            memory += process.memory_info().rss / 1e6
            files += process.num_fds()
        except psutil.NoSuchProcess:
            pass
    return memory, files


def growth(samples: list[tuple[float, Sample]], seconds: float) -> list[tuple[str, ...]]:
    """Compare the medians of two windows, each a sixth of the time: the one after warm-up and the last."""
    windows = [
        [one for at, one in samples if first * seconds <= at <= last * seconds]
        for first, last in ((1 / 6, 1 / 3), (5 / 6, 1))
    ]
    lines: list[tuple[str, ...]] = [
        ("process", "samples", "MB early", "MB late", "MB most", "files early", "files late", "files most")
    ]
    for name in sorted({name for _, one in samples for name in one}):
        early, late = ([one[name] for one in window if name in one] for window in windows)
        every = [one[name] for _, one in samples if name in one]
        if early and late:
            memory = [f"{statistics.median(use[0] for use in window):.1f}" for window in (early, late)]
            files = [f"{statistics.median(use[1] for use in window):.0f}" for window in (early, late)]
            most = [f"{max(use[0] for use in every):.1f}", str(max(use[1] for use in every))]
            lines.append((name, str(len(every)), *memory, most[0], *files, most[1]))
    return lines


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Fit a straight line; return its slope and the standard error of that, per hour.

    :param points: seconds and values.
    """
    count = len(points)
    if count < 3:
        return None
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return None
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    return rise * 3600, math.sqrt(rest / (count - 2) / spread) * 3600


def slopes(samples: Sequence[tuple[float, Sample]]) -> list[tuple[str, ...]]:
    """Return lines of a table: how memory moves after the first ten minutes, or after the first third of a
    shorter soak.
    """
    warm_up = min(WARM_UP, samples[-1][0] / 3) if samples else WARM_UP
    lines: list[tuple[str, ...]] = [
        (f"process, after {warm_up / 60:.0f} minutes", "samples", "MB/h", "error")
    ]
    for name in sorted({name for _, one in samples for name in one}):
        points = [(at, one[name][0]) for at, one in samples if at >= warm_up and name in one]
        found = slope(points)
        if found is not None:
            lines.append((name, str(len(points)), f"{found[0]:+.1f}", f"{found[1]:.1f}"))
    return lines
