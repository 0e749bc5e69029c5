# SPDX-License-Identifier: Apache-2.0
"""How far a change has come: still to be made, made, or resting on something that is no longer true."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission
from airflow_provider_adobe_audiences.groups.changes import (
    Change,
    CreateGroup,
    DeleteGroup,
    Grant,
    SetPermissions,
    UpdateGroup,
    grants,
)
from airflow_provider_adobe_audiences.groups.live import Live
from airflow_provider_adobe_audiences.groups.names import (
    canonical_name,
    canonical_permissions,
    same_text,
)
from airflow_provider_adobe_audiences.text import counted


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change has come.

    :param state: ``pending``: still to do. ``done``. ``stale``: the world has moved and it must not be done.
    :param group_id: id of the group, once it exists.
    :param reason: why it must not be done.
    """

    state: Literal["pending", "done", "stale"]
    group_id: int | None = None
    reason: str = ""


def progress(change: Change, live: Live, renamed: Collection[int] = ()) -> Progress:
    """Return how far a change has come.

    :param change: a planned change.
    :param live: what is true now; for :class:`SetPermissions` and :class:`DeleteGroup` with the permissions
        of the group.
    :param renamed: ids of groups that get another name in the same plan.
    """
    found = _alone(change, live)
    if found.state != "stale" and (taken := _taken(change, live, renamed)):
        return Progress("stale", found.group_id, taken)
    return found


def _taken(change: Change, live: Live, renamed: Collection[int]) -> str:
    """Return which other group has, or seems to have, the name that a group gets."""
    if not isinstance(change, CreateGroup | UpdateGroup) or change.kind == "update":
        return ""
    own = {change.group_id} if isinstance(change, UpdateGroup) else _created(change, live)
    for other in live.others_like(change.name, {*own, *renamed}):
        return f"groupId {other.group_id} is named {other.name!r} now, which a person cannot tell from it"
    return ""


def _created(change: CreateGroup, live: Live) -> set[int]:
    return {group.group_id for group in live.by_name.get(canonical_name(change.name), [])}


def _alone(change: Change, live: Live) -> Progress:
    match change:
        case CreateGroup():
            return _of_creation(change, live)
        case UpdateGroup():
            return _of_update(change, live.by_id.get(change.group_id))
        case SetPermissions(name=name, group_id=group_id):
            if group_id is None:
                named = live.by_name.get(canonical_name(name), [])
                if not named:
                    return Progress("pending")
                group_id = named[0].group_id
            elif group_id not in live.by_id:
                return Progress("stale", reason="the group no longer exists")
            return permissions_progress(change, group_id, live.permissions[group_id])
        case DeleteGroup():
            return _of_deletion(change, live)


def _of_creation(change: CreateGroup, live: Live) -> Progress:
    named = live.by_name.get(canonical_name(change.name), [])
    if not named:
        return Progress("pending")
    if len(named) == 1 and same_text(named[0].description, change.after.description):
        return Progress("done", named[0].group_id)
    return Progress(
        "stale", reason=f"{len(named)} group(s) with this name exist now, and differ from the plan"
    )


def _of_update(change: UpdateGroup, group: Group | None) -> Progress:
    if group is None:
        return Progress("stale", reason="the group no longer exists")
    before, after = change.before, change.after
    same_name = canonical_name(group.name) == canonical_name(after.name)
    if same_name and same_text(group.description, after.description):
        return Progress("done", group.group_id)
    if group.name in (before.name, change.through) and (group.description or "") == (
        before.description or ""
    ):
        return Progress("pending", group.group_id)
    return Progress(
        "stale", group.group_id, f"name or description is now {group.name!r}, {group.description!r}"
    )


def _of_deletion(change: DeleteGroup, live: Live) -> Progress:
    group = live.by_id.get(change.group_id)
    if group is None:
        return Progress("done", change.group_id)
    if live.names[group.group_id] != change.name:
        return Progress("stale", group.group_id, f"the group is now named {group.name!r}")
    if group.membership_count != change.membership_count:
        reason = (
            f"the group has {counted(group.membership_count, 'member')} now, not {change.membership_count}"
        )
        return Progress("stale", group.group_id, reason)
    now = live.fingerprint(group.group_id)
    moved = [what for what, value in change.fingerprint.items() if now[what] != value]
    if moved:
        return Progress("stale", group.group_id, f"changed since it was planned: its {', '.join(moved)}")
    return Progress("pending", group.group_id)


def permissions_progress(
    change: SetPermissions, group_id: int, permissions: Iterable[Permission]
) -> Progress:
    """As :func:`progress`, for permissions that were just read.

    :param change: a planned change.
    :param group_id: the group.
    :param permissions: what it may do now.
    :returns: how far the change has come.
    """
    has = canonical_permissions(permissions)
    if has == change.after:
        return Progress("done", group_id)
    if has == change.before:
        return Progress("pending", group_id)
    lost, gained = grants(change.before) - grants(has), grants(has) - grants(change.before)
    moved = ", ".join(
        [f"+{_spelled(grant)}" for grant in sorted(gained)[:5]]
        + [f"-{_spelled(grant)}" for grant in sorted(lost)[:5]]
    )
    return Progress("stale", group_id, f"its permissions have changed since they were read ({moved})")


def _spelled(grant: Grant) -> str:
    return " ".join(str(part) for part in grant)
