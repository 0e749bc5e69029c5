# SPDX-License-Identifier: Apache-2.0
"""The tables of the acts of people in ``docs/reliability.md``; see :mod:`tests.faults.table`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

import tests.faults.deployments  # noqa: F401  its acts
from tests.faults.acts import ACTS
from tests.faults.editors import NOT_EDITED
from tests.faults.flows import FLOW, FLOW_ACTS
from tests.faults.known import KNOWN
from tests.faults.markdown import Counts, cell, counts_of, label, markdown, section, total
from tests.faults.rows import ROWS, ROWS_OF_PEOPLE
from tests.faults.sources import NO_SOURCE_CHANGES

GROUPS = [*dict.fromkeys(act.group for act in ACTS.values())]
LABELS = [*ROWS, *ROWS_OF_PEOPLE, FLOW]
GROUP_OF = {name: act.group for name, act in ACTS.items()}
GROUP_OF_FLOW = {name: act.group for name, act in FLOW_ACTS.items()}


def counts_of_run(lines: Iterable[str]) -> Counts:
    """Return the counts of what ``--fault-results`` has written."""
    counts: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for case in map(json.loads, lines):
        group = (GROUP_OF_FLOW if case["row"] == FLOW else GROUP_OF).get(case["fault"])
        if case["row"] in LABELS and group is not None:
            tried, survived = counts[case["row"], group]
            counts[case["row"], group] = tried + case["tried"], survived + case["survived"]
    return counts


def counts_of_page(text: str) -> Counts:
    """Return the counts that the page shows."""
    return counts_of(section(text, "people counts"), GROUPS)


def tables(counts: Counts) -> dict[str, str]:
    """Return each table by the name of its markers."""
    tried, survived = total(counts.values())
    acts = len(ACTS) + len(FLOW_ACTS)
    return {
        "people sum": (
            f"**{tried:,} cases tried, {survived:,} ended right**, with {acts} acts in {len(LABELS)} rows.\n"
        ),
        "people counts": _counts(counts),
        "people acts": _acts(),
        "people not tried": _not_tried(),
        "people known": _known(),
    }


def _counts(counts: Counts) -> str:
    rows = []
    for name in LABELS:
        places = [counts.get((name, group), (0, 0)) for group in GROUPS]
        shown = name if name == FLOW else label(name)
        rows.append([shown, *(cell(*place) for place in places), cell(*total(places))])
    totals = [total(counts.get((name, group), (0, 0)) for name in LABELS) for group in GROUPS]
    rows.append(["**all**", *(cell(*one) for one in totals), cell(*total(totals))])
    return markdown(["", *GROUPS, "all"], rows)


def _acts() -> str:
    def of(group: str) -> str:
        names = [name for name, act in ACTS.items() if act.group == group]
        flow = [name for name, act in FLOW_ACTS.items() if act.group == group]
        return "; ".join(names) + (f". In the mapped Dag: {'; '.join(flow)}" if flow else "")

    return markdown(["group", "acts"], ([group, of(group)] for group in GROUPS))


def _not_tried() -> str:
    why: defaultdict[str, list[str]] = defaultdict(list)
    for row, reason in NOT_EDITED.items():
        why[f"other editors | {reason}"].append(label(row))
    for name, act in ACTS.items():
        for row, reason in act.not_with.items():
            why[f"{name} | {reason}"].append(label(row))
    for row, reason in NO_SOURCE_CHANGES.items():
        why[f"source | {reason}"].append(label(row))
    return markdown(["row", "act", "why not"], ([", ".join(labels), what] for what, labels in why.items()))


def _known() -> str:
    if not KNOWN:
        return "None.\n"
    return markdown(
        ["row", "act", "fault"], ([label(row), name, reason] for (row, name), reason in KNOWN.items())
    )
