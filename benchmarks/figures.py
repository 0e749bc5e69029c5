# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a line about the machine, medians of ratios, and plots."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).parents[1] / "docs" / "images"

_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 40, 50


def machine() -> str:
    """Return what was measured on, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load average {load()}"


def load() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def ratio(peer: Sequence[float], ours: Sequence[float]) -> float:
    """Return how many times faster we are: the median over the rounds, each of which had its own weather.

    :param peer: seconds of each round.
    :param ours: the same.
    """
    return round(statistics.median(a / b for a, b in zip(peer, ours, strict=True)), 2)


def plot(name: str, title: str, x: str, y: str, series: Mapping[str, Mapping[float, float]]) -> Path:
    """Write curves as an SVG image with logarithmic axes.

    :param name: of the file in ``docs/images``, without its end.
    :param title: of the image.
    :param x: what the horizontal axis shows, with its unit.
    :param y: what the vertical axis shows, with its unit.
    :param series: for each curve its points.
    :returns: the file.
    """
    points = [point for curve in series.values() for point in curve.items()]
    x_low, x_high = _decades([a for a, _ in points])
    y_low, y_high = _decades([b for _, b in points])
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def at(a: float, b: float) -> tuple[float, float]:
        return (
            round(_LEFT + (math.log10(a) - x_low) / (x_high - x_low) * (right - _LEFT), 1),
            round(bottom - (math.log10(b) - y_low) / (y_high - y_low) * (bottom - _TOP), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, size=14),
        _text((_LEFT + right) / 2, _HEIGHT - 10, x, anchor="middle"),
        _text(_LEFT, _TOP - 6, y),
    ]
    for power in range(x_low, x_high + 1):
        place, _ = at(10**power, 10**y_low)
        parts += [
            _line(place, _TOP, place, bottom),
            _text(place, bottom + 18, _number(power), anchor="middle"),
        ]
    for power in range(y_low, y_high + 1):
        _, place = at(10**x_low, 10**power)
        parts += [
            _line(_LEFT, place, right, place),
            _text(_LEFT - 6, place + 4, _number(power), anchor="end"),
        ]
    for number, (label, curve) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        places = [at(*point) for point in sorted(curve.items())]
        joined = " ".join(f"{a},{b}" for a, b in places)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{color}"/>' for a, b in places]
        parts.append(_text(right + 12, _TOP + 14 + 18 * number, label, color=color))
    IMAGES.mkdir(exist_ok=True)
    file = IMAGES / f"{name}.svg"
    file.write_text("\n".join([*parts, "</svg>"]) + "\n")
    return file


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


def _number(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10**power:g}"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#dddddd"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", color: str = "#222222", size: int = 12
) -> str:
    look = f'text-anchor="{anchor}" fill="{color}" font-size="{size}"'
    return f'<text x="{x}" y="{y}" {look}>{escape(text)}</text>'
