# SPDX-License-Identifier: Apache-2.0
"""Write the tables of ``docs/reliability.md`` from the matrix and the results of a full run: ``python -m
tests.faults.table FILE``.

Without a file the counts stay as they are in the page.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_provider_adobe_audiences.rotation import decision
from scripts.local_airflow import REPO
from tests.faults.faults import FAULTS
from tests.faults.rows import ROWS

PAGE = REPO / "docs" / "reliability.md"
GROUPS = list(dict.fromkeys(fault.group for fault in FAULTS.values()))
#: Row and group -> cases tried and survived.
Counts = dict[tuple[str, str], tuple[int, int]]


def counts_of_run(lines: Iterable[str]) -> Counts:
    """Return the counts of what ``--fault-results`` has written."""
    counts: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for case in map(json.loads, lines):
        if case["fault"] in ROWS[case["row"]].not_with:
            continue  # given up since
        place = case["row"], FAULTS[case["fault"]].group
        tried, survived = counts[place]
        counts[place] = tried + case["tried"], survived + case["survived"]
    return counts


def counts_of_page(text: str) -> Counts:
    """Return the counts that the page shows."""
    counts = {}
    for line in _section(text, "counts").splitlines():
        label, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for group, cell in zip(GROUPS, cells[:-1], strict=False):
            if label.startswith("`") and re.match(r"\d", cell):
                survived, _, tried = cell.partition(" of ")
                counts[_name(label), group] = int(tried or survived), int(survived)
    return counts


def page(text: str, counts: Counts) -> str:
    """Return ``text``, the page as it is, with its tables made anew."""
    tables = {
        "sum": _sum(counts),
        "counts": _counts(counts),
        "faults": _faults(),
        "not tried": _not_tried(),
        "rotation": _rotation(),
    }
    for name, table in tables.items():
        before, _, rest = text.partition(_marker(name))
        text = f"{before}{_marker(name)}\n{table}\n{_marker(name)}{rest.partition(_marker(name))[2]}"
    return text


def _marker(name: str) -> str:
    return f"<!-- {name} -->\n"


def _section(text: str, name: str) -> str:
    return text.split(_marker(name))[1]


def _markdown(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _label(row: str) -> str:
    operator, _, how = row.partition(" ")
    return f"`{operator}` {how}".strip()


def _name(label: str) -> str:
    return label.replace("`", "")


def _cell(tried: int, survived: int) -> str:
    if not tried:
        return "-"
    return str(tried) if tried == survived else f"{survived} of {tried}"


def _total(places: Iterable[tuple[int, int]]) -> tuple[int, int]:
    tried, survived = 0, 0
    for one in places:
        tried, survived = tried + one[0], survived + one[1]
    return tried, survived


def _sum(counts: Counts) -> str:
    tried, survived = _total(counts.values())
    return (
        f"**{tried:,} cases tried, {survived:,} survived**, with {len(FAULTS)} faults in {len(ROWS)} rows.\n"
    )


def _counts(counts: Counts) -> str:
    rows = []
    for name in ROWS:
        places = [counts.get((name, group), (0, 0)) for group in GROUPS]
        rows.append([_label(name), *(_cell(*place) for place in places), _cell(*_total(places))])
    totals = [_total(counts.get((name, group), (0, 0)) for name in ROWS) for group in GROUPS]
    rows.append(["**all**", *(_cell(*total) for total in totals), _cell(*_total(totals))])
    return _markdown(["", *GROUPS, "all"], rows)


def _faults() -> str:
    return _markdown(
        ["group", "faults"],
        ([group, "; ".join(f.name for f in FAULTS.values() if f.group == group)] for group in GROUPS),
    )


def _not_tried() -> str:
    why: defaultdict[str, list[str]] = defaultdict(list)
    for row in ROWS.values():
        faults: defaultdict[str, list[str]] = defaultdict(list)
        for fault, reason in row.not_with.items():
            faults[reason].append(fault)
        for reason, names in faults.items():
            why[f"{'; '.join(names)} | {reason}"].append(_label(row.name))
    return _markdown(["row", "fault", "why not"], ([", ".join(labels), what] for what, labels in why.items()))


def _rotation() -> str:
    _, table, _ = re.split(
        r"^=[= ]+\n(?=the earlier)|^=[= ]+\n\Z", decision.__doc__ or "", flags=re.MULTILINE
    )
    head, *rows = [re.split(r"\s{2,}", line) for line in table.splitlines() if not line.startswith("=")]
    return _markdown(head, rows)


if __name__ == "__main__":
    old = PAGE.read_text()
    PAGE.write_text(
        page(
            old,
            counts_of_run(Path(sys.argv[1]).read_text().splitlines())
            if sys.argv[1:]
            else counts_of_page(old),
        )
    )
