# SPDX-License-Identifier: Apache-2.0
"""Tables in a page that has a marker before and after each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: Row and group -> cases tried and survived.
Counts = dict[tuple[str, str], tuple[int, int]]


def counts_of(table: str, groups: list[str]) -> Counts:
    """Return the counts that a table shows."""
    counts = {}
    for line in table.splitlines():
        label, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for group, cell in zip(groups, cells[:-1], strict=False):
            if re.match(r"[`\w]", label) and re.fullmatch(r"\d+( of \d+)?", cell):
                survived, _, tried = cell.partition(" of ")
                counts[name(label), group] = int(tried or survived), int(survived)
    return counts


def marker(name: str) -> str:
    return f"<!-- {name} -->\n"


def section(text: str, name: str) -> str:
    return text.split(marker(name))[1]


def markdown(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def label(row: str) -> str:
    operator, _, how = row.partition(" ")
    return f"`{operator}` {how}".strip()


def name(label: str) -> str:
    return label.replace("`", "")


def cell(tried: int, survived: int) -> str:
    if not tried:
        return "-"
    return str(tried) if tried == survived else f"{survived} of {tried}"


def total(places: Iterable[tuple[int, int]]) -> tuple[int, int]:
    tried, survived = 0, 0
    for one in places:
        tried, survived = tried + one[0], survived + one[1]
    return tried, survived
