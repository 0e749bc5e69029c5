# SPDX-License-Identifier: Apache-2.0
"""A plan and what became of it, for people (a table in the log, Markdown for the approval page) and for
programs (JSON).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_adobe_audiences.adobe.audience_manager import Permission
from airflow_provider_adobe_audiences.groups.apply import Result
from airflow_provider_adobe_audiences.groups.plan import (
    Change,
    CreateGroup,
    DeleteGroup,
    Plan,
    SetPermissions,
    UpdateGroup,
)

MAX_MARKDOWN = 60_000
_SIGNS = {"create": "+", "rename": "~", "update": "~", "set_permissions": "~", "delete": "-"}


def summary(plan: Plan) -> str:
    """Return the plan in one line."""
    counts = plan.counts()
    parts = [
        f"{counts['create']} to create",
        f"{counts['rename']} to rename",
        f"{counts['update']} to update",
        f"{counts['set_permissions']} permission changes",
        f"{counts['delete']} to delete",
        f"{counts['unchanged']} unchanged",
        f"{counts['unmanaged']} not managed",
    ]
    return ", ".join(parts)


def table(plan: Plan) -> str:
    """Return the plan as text for a log: what is created (+), changed (~), deleted (-) or only reported
    (!).
    """
    lines = [f"Plan for {plan.target}: {summary(plan)}"]
    for change in plan.changes:
        lines.append(f"  {_SIGNS[change.kind]} {change.kind.replace('_', ' '):<16} {_title(change)}")
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


def markdown(plan: Plan, *, longest: int = MAX_MARKDOWN) -> str:
    """Return the plan as Markdown, what takes something away first.

    :param longest: most characters; what is left out is counted in the text, so that nobody approves what is
        not shown unawares.
    """
    head = [f"**{summary(plan)}**", "", f"At {_code(plan.target)}", ""]
    if not plan.changes:
        return "\n".join([*head, "Nothing to change."])
    rows = [_markdown_rows(change) for change in sorted(plan.changes, key=_least_harmless_first)]
    tail = [
        f"- {_code(f'{_plain(finding.name)}{_id(finding.group_id)}: {_plain(finding.message)}')}"
        for finding in plan.findings
    ]
    tail = ["", "Reported, not changed:", "", *tail] if tail else []
    room = longest - sum(map(len, head)) - sum(map(len, tail)) - 500
    shown: list[str] = []
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            break
        shown.append(row)
    left = len(rows) - len(shown)
    more = (
        [
            "",
            f"**{left} more changes are not shown here for want of room; the log of the planning task shows "
            "all.**",
        ]
        if left
        else []
    )
    return "\n".join([*head, "| Change | Group | Details |", "|---|---|---|", *shown, *more, *tail])


def _markdown_rows(change: Change) -> str:
    first, *others = [_code(detail) for detail in _details(change)] or [" "]
    rows = [
        f"| {change.kind.replace('_', ' ')} | {_code(_title(change))} | {first} |",
        *(f"|  |  | {detail} |" for detail in others),
    ]
    return "\n".join(rows)


def report(plan: Plan, results: Sequence[Result] = (), *, mode: str) -> dict[str, Any]:
    """Return plan and results as small JSON, without secrets.

    :param mode: ``apply``, ``plan`` or ``check``.
    """
    made: dict[Change, Result] = {result.change: result for result in results}
    return {
        "mode": mode,
        "dryRun": mode != "apply",
        "target": plan.target,
        "counts": plan.counts(),
        "written": sum(result.outcome == "applied" for result in results),
        "drift": plan.drift,
        "groups": [_change(change, made.get(change)) for change in plan.changes],
        "findings": [finding.model_dump(mode="json", by_alias=True) for finding in plan.findings],
        "guards": [guard.model_dump(mode="json", by_alias=True) for guard in plan.guards],
    }


def result_line(result: Result) -> str:
    """Return what became of a change, for a log."""
    tail = (
        f": {_plain(result.error)}"
        if result.error
        else f" (request id {result.request_id})"
        if result.request_id
        else ""
    )
    return f"{result.outcome}: {result.change.kind.replace('_', ' ')} {_title(result.change)}{tail}"


def _change(change: Change, result: Result | None) -> dict[str, Any]:
    described = change.model_dump(mode="json", by_alias=True, exclude={"name"})
    made = (
        {"outcome": result.outcome, "requestId": result.request_id}
        if result
        else {"outcome": "planned", "requestId": None}
    )
    group_id = result.group_id if result and result.group_id is not None else described.get("groupId")
    return {"name": change.name, **described, "groupId": group_id, **made}


def _title(change: Change) -> str:
    match change:
        case UpdateGroup(kind="rename", before=before, after=after, group_id=group_id):
            return f"{_plain(before.name)} -> {_plain(after.name)}{_id(group_id)}"
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


def _rows(has: Sequence[Permission], other: Sequence[Permission]) -> Iterator[str]:
    """Spell out what is in ``has`` and not in ``other``, one object per row."""
    known = {(row.object_type, row.object_id): set(row.permissions) for row in other}
    for row in has:
        if tokens := [
            token for token in row.permissions if token not in known.get((row.object_type, row.object_id), ())
        ]:
            yield f"{_plain(row.object_type)} {row.object_id}: {', '.join(map(_plain, tokens))}"


def _least_harmless_first(change: Change) -> int:
    if isinstance(change, DeleteGroup):
        return 0
    return 1 if isinstance(change, SetPermissions) and change.removed else 2


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
