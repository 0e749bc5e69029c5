# SPDX-License-Identifier: Apache-2.0
"""One operator for each call about groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from airflow.providers.common.compat.sdk import AirflowFailException, Context

from airflow_provider_adobe_audiences.errors import GuardError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.operators.audience_manager.base import GroupsOperator
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry, with_ids
from airflow_provider_adobe_audiences.tasks.validation import Count, Template, Text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.audience_manager import Group
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

GroupId = int | str


class AdobeCreateGroupOperator(GroupsOperator):
    """Create a group (Adobe: "Group Management API Methods", create a group), unless one of this name exists.

    A retry looks first, so it never makes a second group of the same name. Returns ``{"group_id", "name",
    "description", "membership_count", "created"}``.

    :param name: name of the group (templated).
    :param description: description, or ``None`` (templated).
    :param if_exists: ``skip`` leaves a group of this name as it is, ``update`` sets its description, ``fail``
        fails the task.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name", "description")

    def __init__(
        self,
        *,
        name: Text | Template,
        description: str | Template | None = None,
        if_exists: Literal["skip", "update", "fail"] = "skip",
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.name: Any = name
        self.description: Any = description
        self.if_exists: Any = if_exists
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the group, or find it.

        :param context: the task's context.
        :returns: the group, and whether it was created.
        """
        with fail_without_retry():
            self.check_arguments()
            group, created = self.hook.create_group(self.name, self.description, if_exists=self.if_exists)
        self.log.info(
            "Group %r %s with groupId %d.",
            group.name,
            "was created" if created else "exists already",
            group.group_id,
        )
        return with_ids(context, {**_brief(group), "created": created})


class AdobeUpdateGroupOperator(GroupsOperator):
    """Set name and description of a group (Adobe: "Group Management API Methods", update a group).

    A name that another group has, or seems to have, is refused. Adobe wants both each time, and does not say
    whether members, wildcards and permissions stay: they are compared before and after, and the task fails
    when they moved. Returns ``{"group_id", "name", "description", "membership_count"}``.

    :param group_id: which group (templated).
    :param name: its name from now on (templated).
    :param description: its description from now on, ``None`` for none (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id", "name", "description")

    def __init__(
        self,
        *,
        group_id: GroupId | Template,
        name: Text | Template,
        description: str | Template | None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_id: Any = group_id
        self.name: Any = name
        self.description: Any = description
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Update the group.

        :param context: the task's context.
        :returns: the group as it is now.
        """
        from airflow_provider_adobe_audiences.adobe.audience_manager import checked_name

        with fail_without_retry():
            self.check_arguments()
            group = self.hook.update_group(self.group_id, checked_name(self.name), self.description)
        self.log.info("Group with groupId %d is named %r.", group.group_id, group.name)
        return with_ids(context, _brief(group))


class AdobeListGroupsOperator(GroupsOperator):
    """List groups (Adobe: "Group Management API Methods", list groups).

    Returns ``{"count", "groups": [{"group_id", "name", "description", "membership_count"}]}``.

    :param name_pattern: regular expression that the whole name must match; all groups without it (templated).
    :param max_groups: the task fails rather than to put more groups than this into XCom.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name_pattern")

    def __init__(
        self,
        *,
        name_pattern: str | Template | None = None,
        max_groups: Count = 1000,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.name_pattern: Any = name_pattern
        self.max_groups = max_groups
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the groups.

        :param context: the task's context.
        :returns: how many there are, and the groups.
        :raises AirflowFailException: when they are more than ``max_groups``.
        """
        from airflow_provider_adobe_audiences.groups.live import name_pattern
        from airflow_provider_adobe_audiences.groups.names import canonical_name

        with fail_without_retry():
            self.check_arguments()
            pattern = name_pattern(".*" if self.name_pattern is None else self.name_pattern, "name_pattern")
            groups = [
                group for group in self.hook.list_groups() if pattern.fullmatch(canonical_name(group.name))
            ]
        if len(groups) > self.max_groups:
            raise AirflowFailException(
                f"{len(groups)} groups match, more than max_groups={self.max_groups}.\nWhat to do: Narrow "
                "name_pattern, or raise max_groups."
            )
        if not groups and self.name_pattern is not None:
            self.log.warning("No group has a name that matches %r as a whole.", self.name_pattern)
        return {"count": len(groups), "groups": [_brief(group) for group in groups]}


class AdobeGetGroupOperator(GroupsOperator):
    """Read one group. Adobe does not document the call; where it does not exist, the list is read instead.

    Returns ``{"group_id", "pid", "name", "description", "membership_count", "wildcards", "users"}``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(
        self,
        *,
        group_id: GroupId | Template,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_id: Any = group_id
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the group.

        :param context: the task's context.
        :returns: the group.
        """
        with fail_without_retry():
            self.check_arguments()
            group = self.hook.get_group(self.group_id)
        more = {"pid": group.pid, "wildcards": list(group.wildcards), "users": list(group.users)}
        return with_ids(context, {**_brief(group), **more})


class AdobeDeleteGroupOperator(GroupsOperator):
    """Delete a group and take its users out of it (Adobe: "Group Management API Methods", delete a group).

    A group that is gone already is no error, so that a retry succeeds. Returns ``{"group_id", "deleted"}``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(
        self,
        *,
        group_id: GroupId | Template,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_id: Any = group_id
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the group.

        :param context: the task's context.
        :returns: the id, and whether there was such a group.
        """
        from airflow_provider_adobe_audiences.adobe.audience_manager import checked_id

        with fail_without_retry():
            self.check_arguments()
            group_id = checked_id(self.group_id, "group_id")
            deleted = self.hook.delete_group(group_id)
        if deleted:
            self.log.info("Group with groupId %d was deleted.", group_id)
        else:
            self.log.warning("There was no group with groupId %d: nothing was deleted.", group_id)
        return with_ids(context, {"group_id": group_id, "deleted": deleted})


class AdobeBulkDeleteGroupsOperator(GroupsOperator):
    """Delete several groups with one request (Adobe: "Group Management API Methods", delete groups in bulk).

    Adobe documents neither the body nor what happens when one of the groups cannot be deleted. Groups that
    are gone already are left out of the request, and after an error the list tells what is left. Returns
    ``{"deleted": [ids], "missing": [ids]}``.

    :param group_ids: which groups (templated).
    :param method: ``DELETE`` as on Adobe's page, or ``POST`` as for Adobe's other resources.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_ids")

    def __init__(
        self,
        *,
        group_ids: Sequence[GroupId] | Template,
        method: Literal["DELETE", "POST"] = "DELETE",
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_ids: Any = group_ids
        self.method: Any = method
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the groups.

        :param context: the task's context.
        :returns: which were deleted, and which were missing.
        """
        from airflow_provider_adobe_audiences.adobe.audience_manager import checked_id

        with fail_without_retry():
            self.check_arguments()
            wanted = [checked_id(group_id, "group_ids") for group_id in self.group_ids]
            deleted = self.hook.bulk_delete_groups(wanted, self.method)
        missing = [group_id for group_id in dict.fromkeys(wanted) if group_id not in deleted]
        self.log.info("%d groups were deleted, %d did not exist.", len(deleted), len(missing))
        return {"deleted": list(deleted), "missing": missing}


class AdobeListGroupPermissionsOperator(GroupsOperator):
    """List what a group may do (Adobe: "Group Management API Methods", list permissions).

    Returns the rows as they are declared: ``[{"objectType", "objectId", "permissions"}]``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(
        self,
        *,
        group_id: GroupId | Template,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_id: Any = group_id
        self.check_constants()

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Read the permissions.

        :param context: the task's context.
        :returns: the rows.
        """
        with fail_without_retry():
            self.check_arguments()
            rows = self.hook.list_group_permissions(self.group_id)
        return [row.as_json() for row in rows]


class AdobeSetGroupPermissionsOperator(GroupsOperator):
    """Replace all that a group may do (Adobe: "Group Management API Methods", set permissions).

    Returns the permissions that Adobe answered, as they are declared: ``[{"objectType", "objectId",
    "permissions"}]``.

    :param group_id: which group (templated).
    :param permissions: rows of ``objectType``, ``objectId`` and ``permissions`` (templated).
    :param allow_empty: whether an empty list may take everything away.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id", "permissions")

    def __init__(
        self,
        *,
        group_id: GroupId | Template,
        permissions: Sequence[Mapping[str, Any]] | Template,
        allow_empty: bool = False,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.group_id: Any = group_id
        self.permissions: Any = permissions
        self.allow_empty = allow_empty
        self.check_constants()

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Replace the permissions.

        :param context: the task's context.
        :returns: the rows as Adobe has them now.
        :raises GuardError: when it would take everything away, and may not.
        """
        from airflow_provider_adobe_audiences.groups.spec import load_permissions

        with fail_without_retry():
            self.check_arguments()
            rows = load_permissions(self.permissions)
            if not rows and not self.allow_empty:
                raise GuardError(
                    "an empty list would take away every permission of the group (allowed by "
                    "allow_empty=True)"
                )
            has = self.hook.set_group_permissions(self.group_id, rows)
        self.log.info("Group with groupId %s has permissions on %d objects.", self.group_id, len(has))
        return [row.as_json() for row in has]


def _brief(group: Group) -> dict[str, Any]:
    return {
        "group_id": group.group_id,
        "name": group.name,
        "description": group.description,
        "membership_count": group.membership_count,
    }
