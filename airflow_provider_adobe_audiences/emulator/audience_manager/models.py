# SPDX-License-Identifier: Apache-2.0
"""Groups, users, and who is in which.

What Adobe's pages state is always on: the seven group calls with their fields and statuses, the array as the
response to a list, 400 for the permissions of a group that is not accessible, 403 for objects out of reach,
full replacement of permissions, members that leave a group when it is deleted. What they leave open is a
switch.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.gateway import Gateway, missing_reason
from airflow_provider_adobe_audiences.emulator.ims import Ims
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse
from airflow_provider_adobe_audiences.emulator.service import Environment, Service

from .errors import error
from .permissions import checked_permissions
from .switches import AudienceManagerSwitches
from .tokens import LegacyTokens

PARTNER_ID = 1194
FIRST_ID = 1001


@dataclass
class Group:
    """A group as the service keeps it."""

    group_id: int
    name: str
    description: str | None = None
    wildcards: list[str] = field(default_factory=list)
    permissions: list[dict[str, Any]] = field(default_factory=list)
    #: Deleting it gives 409.
    conflicted: bool = False
    #: Its permissions give 400, as those of a group that the caller cannot access.
    inaccessible: bool = False


@dataclass
class User:
    """A user as the service keeps it."""

    user_id: int
    username: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    title: str | None = None
    phone_number: str | None = None
    status: str = "ACTIVE"
    is_admin: bool = False


class AudienceManager(Service):
    """Groups, users and who is in which, which is kept once and shown from both sides."""

    switches: AudienceManagerSwitches
    paths = re.compile("(/api)?/v1/|/oauth/")

    def __init__(self, environment: Environment, gateway: Gateway, ims: Ims) -> None:
        super().__init__(environment)
        self._gateway = gateway
        self.switches = AudienceManagerSwitches()
        self.tokens = LegacyTokens(environment, ims, self.switches)
        self.groups: dict[int, Group] = {}
        self.users: dict[int, User] = {}
        #: Objects that the caller cannot reach, as (objectType, objectId).
        self.unreachable: set[tuple[str, int]] = set()
        self._users_of: dict[int, set[int]] = {}
        self._groups_of: dict[int, set[int]] = {}
        self._ids = itertools.count(FIRST_ID)

    def reset(self) -> None:
        """Forget everything but the switches."""
        self.groups.clear()
        self.users.clear()
        self.unreachable.clear()
        self.tokens.reset()
        self._users_of.clear()
        self._groups_of.clear()
        self._ids = itertools.count(FIRST_ID)

    def snapshot(self) -> dict[str, Any]:
        """Return all groups and users."""
        return {
            "groups": [
                {**self.group_json(group), "permissions": group.permissions} for group in self.groups.values()
            ],
            "users": [self.user_json(user) for user in self.users.values()],
        }

    def expire_token(self, token: str) -> bool:
        """Let a legacy access token end at once; return whether it is one."""
        return self.tokens.expire(token)

    # -- what tests and demos set up

    def add_group(
        self,
        name: str,
        description: str | None = None,
        *,
        wildcards: Iterable[str] = (),
        permissions: Iterable[dict[str, Any]] = (),
        users: Iterable[int] = (),
        conflicted: bool = False,
        inaccessible: bool = False,
    ) -> Group:
        """Add a group as if it had always been there.

        :param permissions: as ``{"objectType", "objectId", "permissions"}``.
        :param users: ids of users to put into it.
        :param conflicted: deleting it gives 409.
        :param inaccessible: reading its permissions gives 400.
        :raises TypeError: when name or description is no text.
        :raises KeyError: when there is no such user; nothing was added then.
        """
        if not isinstance(name, str) or not isinstance(description, str | None):
            raise TypeError("name and description are texts")
        users = self._known(users, self.users)
        rows = checked_permissions(list(permissions), self.unreachable)
        group = Group(next(self._ids), name, description, list(wildcards), rows, conflicted, inaccessible)
        self.groups[group.group_id] = group
        for user_id in users:
            self.join(user_id, group.group_id)
        return group

    def add_user(self, username: str, *, groups: Iterable[int] = (), **fields: Any) -> User:
        """Add a user as if it had always been there; ``fields`` as in :class:`User`.

        :raises TypeError: when the name is no text.
        :raises KeyError: when there is no such group; nothing was added then.
        """
        if not isinstance(username, str):
            raise TypeError("username is a text")
        groups = self._known(groups, self.groups)
        user = User(next(self._ids), username, **fields)
        self.users[user.user_id] = user
        for group_id in groups:
            self.join(user.user_id, group_id)
        return user

    @staticmethod
    def _known(ids: Iterable[int], among: Mapping[int, object]) -> list[int]:
        """Return ids, all of which have to be known."""
        ids = list(ids)
        unknown = [one for one in ids if one not in among]
        if unknown:
            raise KeyError(f"these do not exist: {unknown}")
        return ids

    def user_of(self, username: str) -> User | None:
        """Return the user of this name."""
        return next((user for user in self.users.values() if user.username == username), None)

    # -- membership

    def join(self, user_id: int, group_id: int) -> None:
        """Put a user into a group.

        :raises KeyError: when there is no such user or group.
        """
        if user_id not in self.users or group_id not in self.groups:
            raise KeyError(f"there is no user {user_id} or no group {group_id}")
        self._users_of.setdefault(group_id, set()).add(user_id)
        self._groups_of.setdefault(user_id, set()).add(group_id)

    def leave(self, user_id: int, group_id: int) -> None:
        """Take a user out of a group."""
        self._users_of.get(group_id, set()).discard(user_id)
        self._groups_of.get(user_id, set()).discard(group_id)

    def members_of(self, group_id: int) -> list[int]:
        """Return the ids of the users of a group."""
        return sorted(self._users_of.get(group_id, ()))

    def groups_of(self, user_id: int) -> list[int]:
        """Return the ids of the groups of a user."""
        return sorted(self._groups_of.get(user_id, ()))

    def drop_group(self, group_id: int) -> None:
        """Delete a group; its members leave it."""
        for user_id in self.members_of(group_id):
            self.leave(user_id, group_id)
        del self.groups[group_id]

    def drop_user(self, user_id: int) -> None:
        """Delete a user, who leaves all groups."""
        for group_id in self.groups_of(user_id):
            self.leave(user_id, group_id)
        del self.users[user_id]

    # -- what goes over the wire

    def group_json(self, group: Group, escape: bool = False) -> dict[str, Any]:
        """Return a group as the API shows it."""
        users = self.members_of(group.group_id)
        return {
            "groupId": group.group_id,
            "pid": PARTNER_ID,
            "name": html.escape(group.name) if escape else group.name,
            "description": html.escape(group.description)
            if escape and group.description
            else group.description,
            "membershipCount": len(users),
            "wildcards": list(group.wildcards),
            "users": users,
        }

    def user_json(self, user: User) -> dict[str, Any]:
        """Return a user as the API shows one."""
        admin: bool | str = (
            str(user.is_admin).lower() if self.switches.user_admin_as_string else user.is_admin
        )
        return {
            "pid": PARTNER_ID,
            "userId": user.user_id,
            "username": user.username,
            "status": user.status,
            "firstName": user.first_name,
            "lastName": user.last_name,
            "email": user.email,
            "title": user.title,
            "phoneNumber": user.phone_number,
            "groups": self.groups_of(user.user_id),
            "isAdmin": admin,
        }

    def permissions_json(self, group: Group) -> list[dict[str, Any]]:
        """Return the permissions of a group as the API shows them."""
        as_string = self.switches.permissions_object_id_as_string
        return [
            {
                **row,
                "objectId": str(row["objectId"])
                if as_string and row["objectType"] == "TRAIT"
                else row["objectId"],
            }
            for row in group.permissions
        ]

    def authenticate(self, request: Request) -> str:
        """Return the user name of the caller. IMS tokens have dots, legacy ones do not.

        :raises ErrorResponse: when the request is refused.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or "." in token:
            key = self.switches.aam_api_key_required
            return self._gateway.check(request, api_key=key, org=False).client_id
        return self.tokens.username_of(token)

    def refuse(self, request: Request, status: int) -> ErrorResponse:
        """Return the error for a request that no handler takes."""
        if not request.url.path.startswith("/oauth/"):
            self.authenticate(request)
        codes = {404: "not_found", 405: "method_not_allowed", 501: "not_implemented"}
        return error(status, codes[status], missing_reason(status))
