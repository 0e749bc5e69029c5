# SPDX-License-Identifier: Apache-2.0
"""Adobe Audience Manager from a task: one method for each thing to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from airflow_provider_adobe_audiences.adobe import audience_manager as aam
from airflow_provider_adobe_audiences.adobe.audience_manager import (
    BulkDeleteMethod,
    Group,
    Permission,
    Send,
    User,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeConflictError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    AmbiguousGroupsError,
    error_at,
)
from airflow_provider_adobe_audiences.groups.names import same_text
from airflow_provider_adobe_audiences.groups.write import create_once, free_name, named, update_only
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook


class AdobeAudienceManagerHook(AdobeHook):
    """Groups, permissions and users of the company that the connection belongs to.

    :param adobe_conn_id: connection of type ``adobe``.
    """

    hook_name = "Adobe Audience Manager"

    def create_group(
        self, name: str, description: str | None = None, *, if_exists: str = "skip"
    ) -> tuple[Group, bool]:
        """Create a group unless one of this name exists; Adobe itself may allow several.

        Looks first, and looks again when a response is lost, so that a retry never makes a duplicate.

        :param name: name of the group.
        :param description: description, or ``None``.
        :param if_exists: ``skip`` returns the group that exists, ``update`` sets its description, ``fail``
            raises.
        :returns: the group, and whether it was created.
        :raises AdobeConflictError: when it exists and ``if_exists`` is ``fail``, or several have the name.
        :raises ValueError: when ``if_exists`` is something else.
        """
        if if_exists not in ("skip", "update", "fail"):
            raise ValueError(f"argument 'if_exists' is {if_exists!r}: must be 'skip', 'update' or 'fail'")
        call = aam.create_group(name, description)
        with self.session() as session:
            found = named(session.send, name)
            if len(found) > 1:
                ids = ", ".join(str(group.group_id) for group in found)
                raise AmbiguousGroupsError(
                    f"{len(found)} groups are named {name!r} (groupId {ids})",
                    hint="`adobe-audiences groups duplicates` shows which of them is empty, and removes it.",
                )
            if not found:
                return create_once(session.send, name, description)[0], True
            if if_exists == "fail":
                raise error_at(
                    AdobeConflictError, call, f"a group named {name!r} exists (groupId {found[0].group_id})"
                )
            if if_exists == "update" and not same_text(found[0].description, description):
                return update_only(session.send, found[0], found[0].name, description)[0], False
            return found[0], False

    def update_group(self, group_id: int, name: str, description: str | None) -> Group:
        """Set name and description of a group, unless another one has that name.

        Adobe does not say whether that touches members, wildcards and permissions, so they are compared with
        what they were before.

        :param group_id: which group.
        :param name: its name from now on.
        :param description: its description from now on.
        :returns: the group afterwards.
        :raises AmbiguousGroupsError: when another group has the name, or one that a person cannot tell from
            it. Nothing was changed.
        :raises SideEffectError: when they moved.
        """
        aam.update_group(group_id, aam.checked_name(name), description)
        number = aam.checked_id(group_id, "group_id")
        with self.session() as session:
            group = free_name(session.send, number, name)
            return update_only(session.send, group or _no_such(number), name, description)[0]

    def list_groups(self) -> tuple[Group, ...]:
        """Return all groups."""
        with self.session() as session:
            return aam.all_of(session.send, aam.list_groups)

    def get_group(self, group_id: int) -> Group:
        """Return one group. Adobe does not document the call for one, so the list is asked when it does not
        exist.

        :param group_id: which group.
        :raises AdobeNotFoundError: when there is none.
        """
        call = aam.get_group(group_id)
        with self.session() as session:
            try:
                return session.send(call)
            except AdobeNotFoundError:
                return _existing(session.send, group_id)

    def delete_group(self, group_id: int) -> bool:
        """Delete a group, which also takes its users out of it (they stay users).

        :param group_id: which group.
        :returns: whether it existed.
        :raises AdobeConflictError: when Adobe refuses with 409.
        """
        call = aam.delete_group(group_id)
        with self.session() as session:
            existed = session.send(call)
            if not existed:
                # A wrong path prefix answers 404 as well: only the list tells that the group is gone.
                aam.all_of(session.send, aam.list_groups)
            return existed

    def bulk_delete_groups(
        self, group_ids: Sequence[int], method: BulkDeleteMethod = "DELETE"
    ) -> tuple[int, ...]:
        """Delete those of the groups that exist, in one request.

        What an error means for each group is not documented, so after one the list is read.

        :param group_ids: what shall be gone.
        :param method: ``DELETE`` as on Adobe's page for groups, ``POST`` as for Adobe's other resources.
        :returns: the ids of those that existed.
        :raises AdobeError: when groups are left.
        """
        aam.bulk_delete_groups(group_ids, method)
        wanted = [aam.checked_id(group_id, "group_ids") for group_id in group_ids]
        with self.session() as session:
            existing = _among(session.send, wanted)
            if not existing:
                return ()
            try:
                session.send(aam.bulk_delete_groups(existing, method))
            except (AdobeUnknownOutcomeError, AdobeConflictError, AdobeNotFoundError) as error:
                left = _among(session.send, existing)
                if left:
                    error.hint = (
                        f"{len(left)} of {len(existing)} groups are left ({', '.join(map(str, left))}): "
                        f"{error.hint}"
                    )
                    raise
            return tuple(existing)

    def list_group_permissions(self, group_id: int) -> tuple[Permission, ...]:
        """Return what a group may do.

        :param group_id: which group.
        """
        return self.send(aam.list_group_permissions(group_id))

    def set_group_permissions(
        self, group_id: int, permissions: Sequence[Permission]
    ) -> tuple[Permission, ...]:
        """Replace all that a group may do.

        :param group_id: which group.
        :param permissions: all that it may do from now on.
        :returns: what it may do then.
        """
        return self.send(aam.set_group_permissions(group_id, permissions))

    def list_users(self, group_id: int | None = None) -> tuple[User, ...]:
        """Return all users, or those of one group.

        :param group_id: which group; all users without it.
        """
        with self.session() as session:
            return aam.all_of(session.send, lambda page, size: aam.list_users(group_id, page, size))

    def get_self(self) -> User:
        """Return the calling user. The first call of a technical account makes Audience Manager create its
        user.
        """
        return self.send(aam.get_self())

    def permissionable_object_types(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return which permissions and wildcards each type has, as Audience Manager itself tells."""
        with self.session() as session:
            types = session.send(aam.list_permissionable_object_types())
            return {kind: session.send(aam.get_permissionable_object_type(kind)) for kind in types}


def _existing(send: Send, group_id: int) -> Group:
    number = aam.checked_id(group_id, "group_id")
    for group in aam.all_of(send, aam.list_groups):
        if group.group_id == number:
            return group
    return _no_such(number)


def _no_such(number: int) -> NoReturn:
    raise error_at(AdobeNotFoundError, aam.get_group(number), f"there is no group with groupId {number}")


def _among(send: Send, group_ids: Sequence[int]) -> list[int]:
    existing = {group.group_id for group in aam.all_of(send, aam.list_groups)}
    return [group_id for group_id in dict.fromkeys(group_ids) if group_id in existing]
