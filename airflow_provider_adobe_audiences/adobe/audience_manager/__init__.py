# SPDX-License-Identifier: Apache-2.0
"""Adobe Audience Manager: groups, their permissions, and users, as calls.

Source: Adobe's pages "Group Management API Methods", "User Permission API Methods" and "User Management API
Methods".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from airflow_provider_adobe_audiences.adobe.audience_manager.model import (
    OBJECT_PERMISSIONS,
    WILDCARDS,
    Group,
    Page,
    Permission,
    User,
    checked_description,
    checked_id,
    checked_name,
    checked_text,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Response, Service, path
from airflow_provider_adobe_audiences.errors import AdobeResponseError, error_at

__all__ = [
    "OBJECT_PERMISSIONS",
    "WILDCARDS",
    "BulkDeleteMethod",
    "Group",
    "Page",
    "Permission",
    "Send",
    "User",
    "all_of",
    "bulk_delete_groups",
    "checked_description",
    "checked_id",
    "checked_name",
    "create_group",
    "delete_group",
    "get_group",
    "get_permissionable_object_type",
    "get_self",
    "list_group_permissions",
    "list_groups",
    "list_permissionable_object_types",
    "list_users",
    "set_group_permissions",
    "update_group",
]

T = TypeVar("T")

# Without it, older hosts answer R&D as R&amp;D.
HEADERS = {"AAM-Disable-Escaping-HTML": "true"}

_DIGITS = re.compile("[0-9]{1,20}")

BulkDeleteMethod = Literal["DELETE", "POST"]


class Send(Protocol):
    """How calls are sent: :meth:`~.transport.AdobeSession.send`."""

    def __call__(self, call: Call[T], /) -> T:
        """Send a call, and return what it parses."""


def _as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} should be an object, not {type(value).__name__}")
    return value


def _first_of(value: Mapping[str, Any], *keys: str) -> Any:
    """Adobe's pages and Adobe's own portal spell some keys differently."""
    for key in keys:
        if value.get(key) is not None:
            return value[key]
    raise ValueError(f"the key {keys[0]!r} is missing")


def _as_integer(value: Any, what: str) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} should be an integer, not {value!r}")
    return value


def _as_list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{what} should be an array, not {type(value).__name__}")
    return value


def _group(value: Any) -> Group:
    body = _as_mapping(value, "a group")
    name = _first_of(body, "name")
    description = body.get("description")
    if not isinstance(name, str) or not isinstance(description, str | None):
        raise ValueError("name and description of a group should be text")
    users = tuple(_as_integer(user, "a user id") for user in _as_list(body.get("users"), "users"))
    wildcards = body["wildcards"] if "wildcards" in body else body.get("wildcardPermissions")
    count = body.get("membershipCount")
    pid = body.get("pid")
    return Group(
        group_id=_as_integer(_first_of(body, "groupId", "id"), "groupId"),
        name=name,
        description=description,
        membership_count=len(users) if count is None else _as_integer(count, "membershipCount"),
        wildcards=tuple(str(token) for token in _as_list(wildcards, "wildcards")),
        users=users,
        pid=None if pid is None else _as_integer(pid, "pid"),
    )


def _permission(value: Any) -> Permission:
    body = _as_mapping(value, "a permission")
    return Permission(
        object_type=str(_first_of(body, "objectType")),
        object_id=_as_integer(_first_of(body, "objectId"), "objectId"),
        permissions=tuple(str(token) for token in _as_list(body.get("permissions"), "permissions")),
    )


def _user(value: Any) -> User:
    body = _as_mapping(value, "a user")
    admin = body.get("isAdmin", body.get("admin", False))
    return User(
        user_id=_as_integer(_first_of(body, "userId", "uid"), "userId"),
        username=str(body.get("username") or ""),
        status=str(body.get("status") or ""),
        email=str(body.get("email") or body.get("emailAddress") or ""),
        groups=tuple(_as_integer(group, "a group id") for group in _as_list(body.get("groups"), "groups")),
        is_admin=admin is True or (isinstance(admin, str) and admin.lower() == "true"),
    )


def _page(item: Callable[[Any], T]) -> Callable[[Response], Page[T]]:
    def parse(response: Response) -> Page[T]:
        body = response.json()
        if isinstance(body, list):
            return Page(tuple(item(value) for value in body))
        body = _as_mapping(body, "the list")
        items = tuple(item(value) for value in _as_list(_first_of(body, "list"), "list"))
        size = body.get("pageSize")
        return Page(
            items,
            _as_integer(_first_of(body, "total"), "total"),
            None if size is None else _as_integer(size, "pageSize"),
        )

    return parse


def _array(item: Callable[[Any], T]) -> Callable[[Response], tuple[T, ...]]:
    def parse(response: Response) -> tuple[T, ...]:
        body = response.json()
        if not isinstance(body, list):
            raise ValueError(f"the response should be an array, not {type(body).__name__}")
        return tuple(item(value) for value in body)

    return parse


def _call(
    name: str,
    method: str,
    path: str,
    parse: Callable[[Response], T],
    idempotency: Idempotency = Idempotency.READ,
    **more: Any,
) -> Call[T]:
    return Call(
        name=name,
        service=Service.AUDIENCE_MANAGER,
        method=method,
        path=path,
        idempotency=idempotency,
        parse=parse,
        headers=HEADERS | ({"Content-Type": "application/json"} if "json" in more else {}),
        **more,
    )


def _paging(page: int | None, page_size: int | None) -> list[tuple[str, str]]:
    return [
        (key, str(value)) for key, value in (("page", page), ("pageSize", page_size)) if value is not None
    ]


def create_group(name: str, description: str | None = None) -> Call[Group]:
    """Create a group (``POST /groups/``).

    Source: "Group Management API Methods".

    :param name: its name, at most 255 characters.
    :param description: its description, or ``None``.
    :returns: the call.
    """
    return _call(
        "create group",
        "POST",
        "/groups/",
        lambda response: _group(response.json()),
        Idempotency.CREATE,
        json={"name": checked_name(name), "description": checked_description(description)},
    )


def update_group(group_id: int, name: str, description: str | None) -> Call[Group]:
    """Replace name and description of a group (``PUT /groups/<groupId>``). Adobe wants both each time.

    :param group_id: which group.
    :param name: sent as it is: a name that is not to be changed goes back as it came, whatever it holds.
    :param description: sent as it is.
    :returns: the call.
    """
    return _call(
        "update group",
        "PUT",
        path("/groups/{group_id}", group_id=checked_id(group_id, "group_id")),
        lambda response: _group(response.json()),
        Idempotency.IDEMPOTENT,
        json={"name": checked_text(name), "description": checked_description(description)},
    )


def list_groups(page: int | None = None, page_size: int | None = None) -> Call[Page[Group]]:
    """List groups (``GET /groups/``). Use :func:`all_of` to be sure to have all of them.

    Source: "Group Management API Methods".

    :param page: which page, from 0; the first without it.
    :param page_size: groups on a page; Adobe's default without it.
    :returns: the call.
    """
    return _call("list groups", "GET", "/groups/", _page(_group), params=_paging(page, page_size))


def get_group(group_id: int) -> Call[Group]:
    """Read one group (``GET /groups/<groupId>``). Adobe does not document it: the path may not exist.

    :param group_id: which group.
    :returns: the call.
    """
    return _call(
        "get group",
        "GET",
        path("/groups/{group_id}", group_id=checked_id(group_id, "group_id")),
        lambda response: _group(response.json()),
    )


def delete_group(group_id: int) -> Call[bool]:
    """Delete a group and the membership of its users (``DELETE /groups/<groupId>``).

    Source: "Group Management API Methods".

    :param group_id: which group.
    :returns: the call; its result is ``False`` when there was no such group, also because an earlier attempt
        has deleted it.
    """
    return _call(
        "delete group",
        "DELETE",
        path("/groups/{group_id}", group_id=checked_id(group_id, "group_id")),
        lambda response: response.status != 404,
        Idempotency.IDEMPOTENT,
        treat_as_success=(404,),
    )


def bulk_delete_groups(group_ids: Sequence[int], method: BulkDeleteMethod = "DELETE") -> Call[None]:
    """Delete several groups (``DELETE /groups/bulk-delete``).

    Adobe's page shows no body; every other bulk deletion of this API takes an array of ids, with ``POST``.
    What happens when one of the ids cannot be deleted is not documented, so an uncertain outcome is reported,
    never repeated.

    :param group_ids: what to delete; at least one.
    :param method: ``DELETE`` as Adobe's page says, or ``POST`` as for Adobe's other resources.
    :returns: the call.
    :raises ValueError: when nothing is to be deleted, or the method is another one.
    """
    if method not in ("DELETE", "POST"):
        raise ValueError(f"method must be 'DELETE' or 'POST', not {method!r}")
    ids = [checked_id(group_id, "group_ids") for group_id in group_ids]
    if not ids:
        raise ValueError("group_ids is empty: name at least one group to delete")
    return _call(
        "bulk delete groups",
        method,
        "/groups/bulk-delete",
        lambda response: None,
        Idempotency.CREATE,
        json=ids,
    )


def list_group_permissions(group_id: int) -> Call[tuple[Permission, ...]]:
    """List what a group may do (``GET /groups/<groupId>/permissions``). Adobe answers 400 when the group is
    not accessible.

    :param group_id: which group.
    :returns: the call.
    """
    return _call(
        "list group permissions",
        "GET",
        path("/groups/{group_id}/permissions", group_id=checked_id(group_id, "group_id")),
        _array(_permission),
    )


def set_group_permissions(group_id: int, permissions: Iterable[Permission]) -> Call[tuple[Permission, ...]]:
    """Replace all that a group may do (``PUT /groups/<groupId>/permissions/``). Wildcards are not part of
    it.

    Source: "Group Management API Methods".

    :param group_id: which group.
    :param permissions: all that it may do from now on.
    :returns: the call; its result is what the group may do now.
    """
    return _call(
        "set group permissions",
        "PUT",
        path("/groups/{group_id}/permissions/", group_id=checked_id(group_id, "group_id")),
        _array(_permission),
        Idempotency.IDEMPOTENT,
        json=[permission.as_json() for permission in permissions],
    )


def list_users(
    group_id: int | None = None, page: int | None = None, page_size: int | None = None
) -> Call[Page[User]]:
    """List users (``GET /users/``), all of them or those of one group.

    Source: "User Management API Methods".

    :param group_id: which group; all users without it.
    :param page: which page, from 0; the first without it.
    :param page_size: users on a page; Adobe's default without it.
    :returns: the call.
    """
    filters = [] if group_id is None else [("groupId", str(checked_id(group_id, "group_id")))]
    return _call("list users", "GET", "/users/", _page(_user), params=filters + _paging(page, page_size))


def get_self() -> Call[User]:
    """Read the calling user (``GET /users/self``). The first call of a technical account creates its user.

    Source: "User Management API Methods".

    :returns: the call.
    """
    return _call("get self", "GET", "/users/self", lambda response: _user(response.json()))


def list_permissionable_object_types() -> Call[tuple[str, ...]]:
    """List the types that permissions exist for (``GET /permissionable-object-types/``).

    Source: "User Permission API Methods".

    :returns: the call.
    """
    return _call("list permissionable object types", "GET", "/permissionable-object-types/", _array(str))


def get_permissionable_object_type(object_type: str) -> Call[dict[str, tuple[str, ...]]]:
    """Read which permissions a type has (``GET /permissionable-object-types/<objectType>/``), as ``wildcard``
    and ``perObject``.

    Source: "User Permission API Methods".

    :param object_type: which type, such as ``SEGMENT``.
    :returns: the call.
    """

    def parse(response: Response) -> dict[str, tuple[str, ...]]:
        body = _as_mapping(response.json(), "the response")
        return {
            key: tuple(str(token) for token in _as_list(body.get(key), key))
            for key in ("wildcard", "perObject")
        }

    return _call(
        "get permissionable object type",
        "GET",
        path("/permissionable-object-types/{object_type}/", object_type=object_type),
        parse,
    )


def all_of(send: Send, pages: Callable[[int | None, int | None], Call[Page[T]]]) -> tuple[T, ...]:
    """Return every item of a list, in one request when Adobe answers with a plain array, page by page when it
    does not.

    :param send: sends a call.
    :param pages: makes the call for a page and a page size, such as :func:`list_groups`.
    :raises AdobeResponseError: when fewer or other items arrive than Adobe's total says. A short list would
        make groups look deleted.
    """
    call = pages(None, None)
    first = send(call)
    if first.total is None:
        return first.items
    items, number = list(first.items), 0
    # Without a stated size, the first page tells it.
    size = first.page_size or len(first.items)
    while first.items and len(items) < first.total:
        number += 1
        page = send(pages(number, size))
        if not page.items:
            break
        items += page.items
    if len(items) != first.total or len(set(items)) != len(items):
        raise error_at(
            AdobeResponseError,
            call,
            f"the list should have {first.total} items but {len(set(items))} different ones were read",
            hint="The list may have changed while it was read: let the task retry.",
        )
    return tuple(items)
