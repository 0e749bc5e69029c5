# SPDX-License-Identifier: Apache-2.0
"""A plan and what became of it, for people (a table in the log, Markdown for the approval page) and for
programs (JSON).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from airflow_provider_adobe_audiences.adobe.audience_manager import Permission
from airflow_provider_adobe_audiences.errors import GuardError
from airflow_provider_adobe_audiences.groups.changes import (
    Change,
    CreateGroup,
    DeleteGroup,
    Grant,
    Plan,
    Result,
    SetPermissions,
    UpdateGroup,
    grants,
    takes_away,
)

MAX_MARKDOWN = 60_000
MAX_ENTRIES = 100
"""How many changes, and how many findings, go to XCom; the log holds all."""
_MAX_SAMPLES = 5
_MAX_TEXT = 200
_IDS_PER_LINE = 50
_MARKS = {"create": "+", "rename": "~", "update": "~", "set_permissions": "~", "delete": "-"}


def summary(plan: Plan) -> str:
    """Return the plan in one line.

    :param plan: a plan.
    """
    counts = plan.counts()
    return (
        f"{counts['create']} to create, {counts['rename']} to rename, {counts['update']} to update, "
        f"{counts['set_permissions']} permission changes, {counts['delete']} to delete, "
        f"{counts['unchanged']} unchanged, {counts['unmanaged']} not managed"
    )


def table(plan: Plan) -> str:
    """Return the plan as text for a log: what is created (+), changed (~), deleted (-) or only reported
    (!).

    :param plan: a plan.
    """
    lines = [f"Plan for {plan.target}: {summary(plan)}"]
    for change in plan.changes:
        lines.append(f"  {_MARKS[change.kind]} {change.kind.replace('_', ' '):<16} {_title(change)}")
        lines += [f"      {detail}" for detail in _details(change)]
    lines += [
        f"  ! {finding.kind:<16} {_plain(finding.name)}{_id(finding.group_id)}: {_plain(finding.message)}"
        for finding in plan.findings
    ]
    lines += [
        f"  {'ok     ' if guard.passed else 'STOPPED'} {guard.guard}: {_plain(guard.message)}"
        for guard in plan.guards
    ]
    if not plan.changes:
        lines.append("  Nothing to change.")
    return "\n".join(lines)


def markdown(plan: Plan, *, max_length: int = MAX_MARKDOWN) -> str:
    """Return the plan as Markdown, what takes something away first, then what grants something.

    :param plan: a plan.
    :param max_length: most characters. Creations and texts that do not fit are counted in the page.
    :raises GuardError: when not even all that is taken away or granted fits: nobody shall approve unawares.
    """
    head = [f"**{summary(plan)}**", "", f"At {_code(plan.target)}", ""]
    tail = _markdown_tail(plan)
    if not plan.changes:
        return "\n".join([*head, "Nothing to change.", *tail])
    room = max_length - sum(len(line) + 1 for line in (*head, *tail)) - 500
    shown: list[str] = []
    left = 0
    for change in sorted(plan.changes, key=_most_harmful_first):
        row = _markdown_rows(change)
        if len(row) + 1 <= room:
            shown.append(row)
            room -= len(row) + 1
        elif isinstance(change, DeleteGroup | SetPermissions):
            raise GuardError(
                f"the plan takes away or grants more than {max_length:,} characters can show, so nobody "
                "could approve all of it",
                hint="Split the desired groups into several files, or apply them with "
                "AdobeSyncGroupsOperator and its guards.",
            )
        else:
            left, room = left + 1, 0
    more = (
        [
            "",
            f"**{left} more changes are not shown here for want of room; the log of the planning task shows "
            "all. None of them takes away or grants anything.**",
        ]
        if left
        else []
    )
    return "\n".join([*head, "| Change | Group | Details |", "|---|---|---|", *shown, *more, *tail])


def _markdown_tail(plan: Plan) -> list[str]:
    findings = [
        f"- {_code(f'{_plain(finding.name)}{_id(finding.group_id)}: {_plain(finding.message)}')}"
        for finding in plan.findings
    ]
    if len(findings) > MAX_ENTRIES:
        more = f"- {len(findings) - MAX_ENTRIES} more; the log of the planning task shows all."
        findings = [*findings[:MAX_ENTRIES], more]
    guards = [
        f"- {'ok' if guard.passed else 'STOPPED'} {_code(f'{guard.guard}: {_plain(guard.message)}')}"
        for guard in plan.guards
    ]
    return [
        *(["", "Reported, not changed:", "", *findings] if findings else []),
        *(["", "Guards:", "", *guards] if guards else []),
    ]


def _markdown_rows(change: Change) -> str:
    first, *others = [_code(detail) for detail in _details(change)] or [" "]
    rows = [
        f"| {change.kind.replace('_', ' ')} | {_code(_title(change))} | {first} |",
        *(f"|  |  | {detail} |" for detail in others),
    ]
    return "\n".join(rows)


def report(plan: Plan, results: Sequence[Result] = (), *, mode: str) -> dict[str, Any]:
    """Return plan and results as small JSON, without secrets: counts and samples. The log holds all.

    :param plan: the plan.
    :param results: what became of its changes.
    :param mode: ``apply``, ``plan`` or ``check``.
    """
    made: dict[Change, Result] = {result.change: result for result in results}
    return {
        "mode": mode,
        "dry_run": mode != "apply",
        "target": plan.target,
        "counts": plan.counts(),
        "written": sum(result.outcome == "applied" for result in results),
        "drift": plan.drift,
        "groups": [_change(change, made.get(change)) for change in plan.changes[:MAX_ENTRIES]],
        "findings": [
            {**finding.model_dump(mode="json"), "message": _short(finding.message)}
            for finding in plan.findings[:MAX_ENTRIES]
        ],
        "guards": [guard.model_dump(mode="json") for guard in plan.guards],
    }


def result_line(result: Result) -> str:
    """Return what became of a change, for a log.

    :param result: what became of it.
    """
    tail = (
        f": {_plain(result.error)}"
        if result.error
        else f" (request id {result.request_id})"
        if result.request_id
        else ""
    )
    return f"{result.outcome}: {result.change.kind.replace('_', ' ')} {_title(result.change)}{tail}"


def _change(change: Change, result: Result | None) -> dict[str, Any]:
    made = result.group_id if result else None
    return {
        "name": change.name,
        "kind": change.kind,
        "group_id": getattr(change, "group_id", None) if made is None else made,
        **_facts(change),
        "outcome": result.outcome if result else "planned",
        "request_id": result.request_id if result else None,
    }


def _facts(change: Change) -> dict[str, Any]:
    match change:
        case CreateGroup(after=after):
            return {"description": _short(after.description)}
        case UpdateGroup(before=before, after=after):
            return {
                "before": {"name": before.name, "description": _short(before.description)},
                "after": {"name": after.name, "description": _short(after.description)},
            }
        case SetPermissions():
            return {
                "granted": _sample(grants(change.after) - grants(change.before)),
                "removed": _sample(change.removed),
            }
        case DeleteGroup(membership_count=count):
            return {"membership_count": count}


def _sample(found: Iterable[Grant]) -> dict[str, Any]:
    ordered = sorted(found)
    return {"count": len(ordered), "sample": [" ".join(map(str, one)) for one in ordered[:_MAX_SAMPLES]]}


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _title(change: Change) -> str:
    match change:
        case UpdateGroup(kind="rename", before=before, after=after, group_id=group_id):
            through = "" if change.through is None else f", through {_plain(change.through)}"
            return f"{_plain(before.name)} -> {_plain(after.name)}{_id(group_id)}{through}"
        case CreateGroup():
            return _plain(change.name)
        case DeleteGroup(name=name, group_id=group_id, membership_count=count):
            return f"{_plain(name)}{_id(group_id)}, {count} member{'' if count == 1 else 's'}"
        case UpdateGroup() | SetPermissions():
            return f"{_plain(change.name)}{_id(change.group_id)}"


def _details(change: Change) -> Iterator[str]:
    match change:
        case CreateGroup(after=after) if after.description:
            yield f"description: {_plain(after.description)}"
        case UpdateGroup(before=before, after=after) if (before.description or "") != (
            after.description or ""
        ):
            old, new = (_plain(group.description or "(none)") for group in (before, after))
            yield f"description: {old} -> {new}"
        case SetPermissions():
            yield from (f"- {row}" for row in _rows(change.before, change.after))
            yield from (f"+ {row}" for row in _rows(change.after, change.before))


def _rows(has: Iterable[Permission], other: Iterable[Permission]) -> Iterator[str]:
    """Spell out what is in ``has`` and not in ``other``, objects with the same permissions together."""
    known = {(row.object_type, row.object_id): set(row.permissions) for row in other}
    together: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row in has:
        there = known.get((row.object_type, row.object_id), ())
        if tokens := tuple(token for token in row.permissions if token not in there):
            together.setdefault((row.object_type, tokens), []).append(row.object_id)
    for (kind, tokens), ids in together.items():
        for start in range(0, len(ids), _IDS_PER_LINE):
            some = ids[start : start + _IDS_PER_LINE]
            yield f"{_plain(kind)} {', '.join(map(str, some))}: {', '.join(map(_plain, tokens))}"


def _most_harmful_first(change: Change) -> int:
    if isinstance(change, DeleteGroup):
        return 0
    return (1 if takes_away(change) else 2) if isinstance(change, SetPermissions) else 3


def _id(group_id: int | None) -> str:
    return f" (groupId {group_id})" if group_id is not None else ""


def _plain(text: str) -> str:
    """Return the text in one line, whatever it holds."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _code(text: str) -> str:
    """Return the text as Markdown code, also in a table: a group's name must not be able to draw a row, a
    link or a picture.
    """
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    # Backslashes before a bar are doubled, or they would take away the bar's own.
    return fence + room + re.sub(r"(\\*)\|", r"\1\1\\|", text) + room + fence
