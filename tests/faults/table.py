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

from airflow_provider_adobe_audiences.rotation import decision
from scripts.local_airflow import REPO
from tests.faults import people_table
from tests.faults.faults import FAULTS
from tests.faults.markdown import Counts, cell, counts_of, label, markdown, marker, section, total
from tests.faults.rows import ROWS

PAGE = REPO / "docs" / "reliability.md"
GROUPS = list(dict.fromkeys(fault.group for fault in FAULTS.values()))


def counts_of_run(lines: Iterable[str]) -> Counts:
    """Return the counts of what ``--fault-results`` has written."""
    counts: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for case in map(json.loads, lines):
        if case["row"] not in ROWS or case["fault"] not in FAULTS:
            continue  # an act of people
        if case["fault"] in ROWS[case["row"]].not_with:
            continue  # given up since
        place = case["row"], FAULTS[case["fault"]].group
        tried, survived = counts[place]
        counts[place] = tried + case["tried"], survived + case["survived"]
    return counts


def counts_of_page(text: str) -> Counts:
    """Return the counts that the page shows."""
    return counts_of(section(text, "counts"), GROUPS)


def page(text: str, counts: Counts, people: Counts) -> str:
    """Return ``text``, the page as it is, with its tables made anew.

    :param counts: of the matrix of faults.
    :param people: of the acts of people.
    """
    tables = {
        "sum": _sum(counts),
        "counts": _counts(counts),
        "faults": _faults(),
        "not tried": _not_tried(),
        "rotation": _rotation(),
        **people_table.tables(people),
    }
    for name, table in tables.items():
        before, _, rest = text.partition(marker(name))
        text = f"{before}{marker(name)}\n{table}\n{marker(name)}{rest.partition(marker(name))[2]}"
    return text


def _sum(counts: Counts) -> str:
    tried, survived = total(counts.values())
    return (
        f"**{tried:,} cases tried, {survived:,} survived**, with {len(FAULTS)} faults in {len(ROWS)} rows.\n"
    )


def _counts(counts: Counts) -> str:
    rows = []
    for name in ROWS:
        places = [counts.get((name, group), (0, 0)) for group in GROUPS]
        rows.append([label(name), *(cell(*place) for place in places), cell(*total(places))])
    totals = [total(counts.get((name, group), (0, 0)) for name in ROWS) for group in GROUPS]
    rows.append(["**all**", *(cell(*total) for total in totals), cell(*total(totals))])
    return markdown(["", *GROUPS, "all"], rows)


def _faults() -> str:
    return markdown(
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
            why[f"{'; '.join(names)} | {reason}"].append(label(row.name))
    return markdown(["row", "fault", "why not"], ([", ".join(labels), what] for what, labels in why.items()))


def _rotation() -> str:
    _, table, _ = re.split(
        r"^=[= ]+\n(?=the earlier)|^=[= ]+\n\Z", decision.__doc__ or "", flags=re.MULTILINE
    )
    head, *rows = [re.split(r"\s{2,}", line) for line in table.splitlines() if not line.startswith("=")]
    return markdown(head, rows)


def main(files: list[str]) -> None:
    text = PAGE.read_text()
    counts, people = counts_of_page(text), people_table.counts_of_page(text)
    for file in files:
        lines = Path(file).read_text().splitlines()
        counts, people = counts_of_run(lines) or counts, people_table.counts_of_run(lines) or people
    PAGE.write_text(page(text, counts, people))


if __name__ == "__main__":
    main(sys.argv[1:])
