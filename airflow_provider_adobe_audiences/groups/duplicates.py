# SPDX-License-Identifier: Apache-2.0
"""Groups that share a name, and which of them nobody would miss. Pure: no request is made here."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_adobe_audiences.adobe.audience_manager import Group
from airflow_provider_adobe_audiences.groups.changes import DeleteGroup
from airflow_provider_adobe_audiences.groups.live import Live
from airflow_provider_adobe_audiences.text import counted


def duplicates(live: Live) -> list[list[Group]]:
    """Return the groups that share a name, or whose names a person cannot tell apart, by name and id.

    :param live: all groups.
    """
    found = [sorted(groups, key=lambda group: group.group_id) for groups in live.by_look.values()]
    return sorted((groups for groups in found if len(groups) > 1), key=lambda groups: groups[0].name)


def is_empty(live: Live, group: Group) -> bool:
    """Return whether a group has neither members nor wildcards nor permissions.

    :param live: with the permissions of the group; those that could not be read are not taken for none.
    :param group: one of its groups.
    """
    return (
        group.membership_count == 0
        and not group.users
        and not group.wildcards
        and live.permissions.get(group.group_id) == ()
    )


def surplus(live: Live) -> list[DeleteGroup]:
    """Return the deletions of empty groups that leave one group of each name: one that is not empty, or the
    oldest. Names that only look alike are left to a person.

    :param live: all groups, with the permissions of those that share a name.
    """
    return [
        DeleteGroup(
            name=live.names[group.group_id],
            group_id=group.group_id,
            membership_count=0,
            fingerprint=live.fingerprint(group.group_id),
        )
        for groups in live.by_name.values()
        if len(groups) > 1
        for group in _all_but_one(live, groups)
    ]


def _all_but_one(live: Live, groups: list[Group]) -> list[Group]:
    empty = sorted((group for group in groups if is_empty(live, group)), key=lambda group: group.group_id)
    return empty if len(empty) < len(groups) else empty[1:]


def lines(live: Live) -> Iterator[str]:
    """Return the groups that share a name as text, one group a line.

    :param live: all groups, with the permissions of those that share a name.
    """
    removed = {change.group_id for change in surplus(live)}
    for groups in duplicates(live):
        for group in groups:
            rows = live.permissions.get(group.group_id)
            permissions = (
                "unknown permissions" if rows is None else f"permissions on {counted(len(rows), 'object')}"
            )
            state = "empty" if is_empty(live, group) else "not empty"
            state += ", surplus" if group.group_id in removed else ""
            yield (
                f"{group.name!r} (groupId {group.group_id}): {counted(group.membership_count, 'member')}, "
                f"{permissions}, {counted(len(group.wildcards), 'wildcard')}: {state}"
            )
