# SPDX-License-Identifier: Apache-2.0
"""One group at a time, so that nothing else moves: looked at right before a write, and right after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from airflow_provider_adobe_audiences.adobe.audience_manager import (
    Group,
    Permission,
    Send,
    all_of,
    create_group,
    get_group,
    list_group_permissions,
    list_groups,
    set_group_permissions,
    update_group,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    AmbiguousGroupsError,
    SideEffectError,
)
from airflow_provider_adobe_audiences.groups.changes import grants
from airflow_provider_adobe_audiences.groups.live import Live
from airflow_provider_adobe_audiences.groups.names import (
    canonical_name,
    canonical_permissions,
    look_alike,
    unescaped,
)
from airflow_provider_adobe_audiences.text import counted

T = TypeVar("T")
log = logging.getLogger(__name__)


def named(send: Send, name: str) -> list[Group]:
    """Return the live groups that have a name.

    :param send: sends a call.
    :param name: in whatever form.
    :raises AmbiguousGroupsError: when none has it, but one has a name that a person cannot tell from it.
    """
    groups = all_of(send, list_groups)
    found = [group for group in groups if canonical_name(group.name) == canonical_name(name)]
    alike = [group for group in groups if look_alike(group.name) == look_alike(name)]
    if alike and not found:
        raise AmbiguousGroupsError(
            f"{name!r} is not {alike[0].name!r} (groupId {alike[0].group_id}), but a person cannot tell them "
            "apart"
        )
    return found


def free_name(send: Send, group_id: int, name: str) -> Group | None:
    """Return a group as it is now, ``None`` when there is none, after looking whether it may have a name.

    :param send: sends a call.
    :param group_id: the group.
    :param name: what it shall be called. The name that it has is always its own.
    :raises AmbiguousGroupsError: when another group has the name, or one that a person cannot tell from it.
    """
    live = Live(all_of(send, list_groups))
    group = live.by_id.get(group_id)
    if group is None or canonical_name(group.name) == canonical_name(name):
        return group
    for other in live.others_like(name, [group_id]):
        same = canonical_name(other.name) == canonical_name(name)
        has = "has that name" if same else f"is named {other.name!r}, which a person cannot tell from it"
        raise AmbiguousGroupsError(
            f"groupId {group_id} cannot be renamed to {name!r}: groupId {other.group_id} {has}",
            hint="Choose another name, or rename or delete that group first; nothing was changed.",
        )
    return group


def create_once(send: Send, name: str, description: str | None) -> tuple[Group, str | None]:
    """Create a group that does not exist.

    When the response is lost, the group is looked up by its name. It is never created a second time here.

    :param send: sends a call.
    :param name: name of the group.
    :param description: description, or ``None``.
    :returns: the group, and Adobe's id of the request.
    :raises AdobeUnknownOutcomeError: when the response was lost and not exactly one group has the name.
    """
    try:
        return send(with_request_id(create_group(name, description)))
    except AdobeUnknownOutcomeError as error:
        log.warning("create group %r: %s. Looking whether it exists.", name, error.message)
        found = named(send, name)
        if len(found) == 1:
            return found[0], error.request_id
        error.hint = (
            f"{len(found)} groups have this name now: remove all but one, then run again. "
            "`adobe-audiences groups duplicates` shows them."
            if found
            else "No group has this name now. A retry looks again before it creates anything."
        )
        raise


def look(send: Send, expected: Group) -> Group | None:
    """Return a group as it is now, ``None`` when it is gone.

    Adobe documents no call that reads one group, so only the list is believed when something seems to differ.

    :param send: sends a call.
    :param expected: the group as it was read before.
    """
    try:
        if send(get_group(expected.group_id)) == expected:
            return expected
    except (AdobeNotFoundError, AdobePermissionError, AdobeValidationError, AdobeResponseError):
        pass
    return next((one for one in all_of(send, list_groups) if one.group_id == expected.group_id), None)


def permissions_of(send: Send, group_id: int) -> tuple[Permission, ...] | None:
    """Return what a group may do, ``None`` when the calling user may not know that.

    :param send: sends a call.
    :param group_id: the group.
    """
    try:
        return send(list_group_permissions(group_id))
    except (AdobeValidationError, AdobePermissionError, AdobeNotFoundError):
        return None


def update_only(send: Send, before: Group, name: str, description: str | None) -> tuple[Group, str | None]:
    """Set name and description of a group, and nothing else.

    Adobe does not say whether that touches members, wildcards and permissions: they are compared before and
    after. Lost permissions are put back. A text that was to stay and comes back escaped once more is sent
    again as it was meant.

    :param send: sends a call.
    :param before: the group as it was read right before.
    :param name: its name from now on.
    :param description: its description from now on.
    :returns: the group afterwards, and Adobe's id of the request.
    :raises SideEffectError: when members, wildcards or permissions moved as well.
    """
    had = permissions_of(send, before.group_id)
    after, request_id = send(with_request_id(update_group(before.group_id, name, description)))
    if _escaped_again(before, name, description, after):
        name = unescaped(name) if name == before.name else name
        if description is not None and description == before.description:
            description = unescaped(description)
        after, request_id = send(with_request_id(update_group(before.group_id, name, description)))
    moved = _moved(before, after) + _lost(send, before, had)
    if moved:
        raise SideEffectError(
            f"the update of group {before.name!r} (groupId {before.group_id}) changed more than name and "
            f"description; everything after it was left undone: {', '.join(moved)}"
        )
    return after, request_id


def _escaped_again(before: Group, name: str, description: str | None, after: Group) -> bool:
    """Return whether the host escapes what it answers: what went back as it came is another text now."""
    pairs = (
        (before.name, name, after.name),
        (before.description or "", description or "", after.description or ""),
    )
    return any(was == sent != now and unescaped(now) == sent for was, sent, now in pairs)


def _moved(before: Group, after: Group) -> list[str]:
    return [
        f"{what} {was!r} -> {now!r}"
        for what, was, now in (
            ("membershipCount", before.membership_count, after.membership_count),
            ("users", sorted(before.users), sorted(after.users)),
            ("wildcards", sorted(before.wildcards), sorted(after.wildcards)),
        )
        if was != now
    ]


def _lost(send: Send, group: Group, had: Sequence[Permission] | None) -> list[str]:
    """Return what became of the permissions, if anything, after putting back what was lost."""
    if not had:
        return []
    has = permissions_of(send, group.group_id)
    if has is None:
        return ["its permissions, which could be read before and cannot be read any more"]
    lost = grants(canonical_permissions(had)) - grants(canonical_permissions(has))
    if not lost:
        return []
    try:
        send(set_group_permissions(group.group_id, had))
    except AdobeError as error:
        return [f"{counted(len(lost), 'permission')} lost, which could not be put back: {error}"]
    return [f"{counted(len(lost), 'permission')} lost, and put back"]


def with_request_id(call: Call[T]) -> Call[tuple[T, str | None]]:
    """Return the call with Adobe's id of the request beside its result.

    :param call: any call.
    """

    def parse(response: Response) -> tuple[T, str | None]:
        return call.parse(response), response.headers.get("x-request-id")

    return replace(call, parse=parse)  # type: ignore[arg-type, return-value]
