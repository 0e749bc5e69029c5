# SPDX-License-Identifier: Apache-2.0
"""Adobe Audience Manager: groups, their permissions, users, and the legacy password grant.

What Adobe's pages state is always on: the seven group calls with their fields and statuses, the array as the
answer of a list, 400 for the permissions of a group that is not accessible, 403 for objects out of reach,
full replacement of permissions, members that leave a group when it is deleted. What they leave open is a
switch.
"""

from __future__ import annotations

import base64
import html
import itertools
import json
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from .answers import Answer, respond
from .control import json_object, with_clear_errors
from .ims import CLIENT_SECRET
from .service import Service
from .switches import ServiceSwitches
from .wire import CONTROL

if TYPE_CHECKING:
    from .core import Emulator

USERNAME = "emulator-user"
PASSWORD = "emulator-password"  # noqa: S105  a published default of a local emulator
PARTNER_ID = 1194
PREFIXES = ("/api/v1", "/v1")

Handler = Callable[[Request, str], Awaitable[Response]]

PER_OBJECT: dict[str, list[str]] = {
    "SEGMENT": ["READ", "WRITE", "CREATE", "DELETE", "MAP_TO_MODELS", "MAP_TO_DESTINATION"],
    "TRAIT": ["READ", "WRITE", "CREATE", "DELETE", "MAP_TO_SEGMENTS", "MAP_TO_MODELS", "CREATE_ALGO_TRAITS"],
    "DESTINATION": ["READ", "WRITE", "CREATE", "DELETE"],
    "DERIVED_SIGNALS": [],
    "TAGS": [],
}
WILDCARD: dict[str, list[str]] = {
    "SEGMENT": [
        "VIEW_ALL_SEGMENTS",
        "CREATE_ALL_SEGMENTS",
        "EDIT_ALL_SEGMENTS",
        "DELETE_ALL_SEGMENTS",
        "MAP_ALL_TO_DESTINATIONS",
        "MAP_ALL_SEGMENTS_TO_MODELS",
    ],
    "TRAIT": [
        "VIEW_ALL_TRAITS",
        "CREATE_ALL_TRAITS",
        "EDIT_ALL_TRAITS",
        "DELETE_ALL_TRAITS",
        "MAP_ALL_TO_SEGMENTS",
        "MAP_ALL_TRAITS_TO_MODELS",
        "CREATE_ALL_ALGO_TRAITS",
    ],
    "DESTINATION": [
        "VIEW_ALL_DESTINATIONS",
        "CREATE_DESTINATIONS",
        "EDIT_ALL_DESTINATIONS",
        "DELETE_ALL_DESTINATIONS",
    ],
    "DERIVED_SIGNALS": [
        "VIEW_DERIVED_SIGNALS",
        "CREATE_DERIVED_SIGNALS",
        "EDIT_DERIVED_SIGNALS",
        "DELETE_DERIVED_SIGNALS",
    ],
    "TAGS": ["VIEW_TAGS"],
}
#: Families that have wildcards only and are no permissionable object types.
FURTHER_WILDCARDS = ["VIEW_MODELS", "MANAGE_SEGMENT_TEST_GROUPS", "VIEW_ALL_SIGNALS"]
ALL_WILDCARDS = [token for tokens in WILDCARD.values() for token in tokens] + FURTHER_WILDCARDS


class AudienceManagerSwitches(ServiceSwitches):
    aam_prefix: Literal["both", "/api/v1", "/v1"] = Field(
        "both", description="path prefix that exists (Adobe's pages print both); another one: 404"
    )
    aam_trailing_slash: Literal["both", "strict"] = Field(
        "both",
        description=(
            "strict: only the exact form that Adobe's pages print, which is not consistent in itself; "
            "otherwise 404"
        ),
    )
    aam_api_key_required: bool = Field(
        True, description="an IMS token without `x-api-key` is refused with 403000 (code not documented)"
    )
    aam_caller_is_admin: bool = Field(
        True,
        description=(
            "off: the caller is no partner admin, groups and users answer 403 (status not documented)"
        ),
    )
    aam_first_self_creates_user: bool = Field(
        True, description="the first `users/self` of a technical account creates its user; off: 404"
    )
    group_create_status: Literal[200, 201] = Field(
        201, description="status of a created group (not documented)"
    )
    group_put_status: Literal[200, 201] = Field(
        200, description="status of an updated group (not documented; the general table says 201)"
    )
    group_put_without_description: Literal["refuse", "null", "unchanged"] = Field(
        "refuse",
        description=(
            "PUT of a group without `description`: 400, or read as null, or left as it is (not documented)"
        ),
    )
    group_wipe_on_put: bool = Field(
        False,
        description=(
            "PUT of a group drops members, wildcards and permissions (not documented whether it keeps them)"
        ),
    )
    group_name_taken: Literal["allow", "conflict"] = Field(
        "allow", description="a second group of the same name: allowed, or 409 (not documented)"
    )
    group_get_one: bool = Field(True, description="`GET /groups/<id>` exists (not documented); off: 404")
    group_unknown_status: Literal[403, 404] = Field(
        404, description="status for an unknown group id in GET, PUT and DELETE (not documented)"
    )
    group_list_shape: Literal["array_unless_paged", "array", "envelope"] = Field(
        "array_unless_paged",
        description=(
            "envelope `{total, page, pageSize, list}` only with paging parameters, never, or always (not "
            "documented)"
        ),
    )
    group_html_escaping: Literal["off", "unless_header", "always"] = Field(
        "off",
        description=(
            "names and descriptions come back HTML-escaped, unless `AAM-Disable-Escaping-HTML` is sent, or "
            "always (not documented)"
        ),
    )
    permissions_unknown_group_status: Literal[400, 404] = Field(
        400, description="PUT of permissions of an unknown group (not documented)"
    )
    permissions_object_id_as_string: bool = Field(
        False, description="`objectId` of traits is answered as a string, as in one sample"
    )
    bulk_delete_verb: Literal["both", "DELETE", "POST"] = Field(
        "both", description="verb of bulk deletion (pages disagree); another one: 405"
    )
    bulk_delete_unknown_id: Literal["404", "409", "partial"] = Field(
        "404",
        description=(
            "with an unknown id: nothing is deleted and 404 or 409, or the known ones are deleted and 204 "
            "(not documented)"
        ),
    )
    bulk_delete_bad_body: Literal[204, 400] = Field(
        400, description="bulk deletion with a missing, empty or wrong body (not documented)"
    )
    user_admin_as_string: bool = Field(
        False, description="`isAdmin` is answered as a string, as in Adobe's sample"
    )
    legacy_token_seconds: int = Field(
        43_200, description="life of a token of the legacy password grant; -1: for ever"
    )
    legacy_refresh_token: bool = Field(True, description="the client is provisioned for refresh tokens")


@dataclass
class Group:
    """A group as the service keeps it."""

    group_id: int
    name: str
    description: str | None = None
    wildcards: list[str] = field(default_factory=list)
    permissions: list[dict[str, Any]] = field(default_factory=list)
    #: Deleting it answers 409.
    conflicted: bool = False
    #: Its permissions answer 400, as those of a group that the caller cannot access.
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


@dataclass
class LegacyToken:
    username: str
    expires: float


class AudienceManager(Service):
    """Groups, users and who is in which, which is kept once and shown from both sides."""

    switches: AudienceManagerSwitches

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self.switches = AudienceManagerSwitches()
        self.groups: dict[int, Group] = {}
        self.users: dict[int, User] = {}
        #: Objects that the caller cannot reach, as (objectType, objectId).
        self.unreachable: set[tuple[str, int]] = set()
        self.legacy_tokens: dict[str, LegacyToken] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.legacy_token_requests: list[str] = []
        self._users_of: dict[int, set[int]] = {}
        self._groups_of: dict[int, set[int]] = {}
        self._ids = itertools.count(1001)

    def reset(self) -> None:
        self.groups.clear()
        self.users.clear()
        self.unreachable.clear()
        self.legacy_tokens.clear()
        self.refresh_tokens.clear()
        self.legacy_token_requests.clear()
        self._users_of.clear()
        self._groups_of.clear()
        self._ids = itertools.count(1001)
        self.emulator.redactor.add(PASSWORD, CLIENT_SECRET)

    def snapshot(self) -> dict[str, Any]:
        return {
            "groups": [
                {**self.group_json(group), "permissions": group.permissions} for group in self.groups.values()
            ],
            "users": [self.user_json(user) for user in self.users.values()],
        }

    def expire_token(self, token: str) -> bool:
        known = self.legacy_tokens.get(token)
        if known is not None:
            known.expires = 0
        return known is not None

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
        :param conflicted: deleting it answers 409.
        :param inaccessible: reading its permissions answers 400.
        """
        rows = self.checked_permissions(list(permissions))
        group = Group(next(self._ids), name, description, list(wildcards), rows, conflicted, inaccessible)
        self.groups[group.group_id] = group
        for user_id in users:
            self.join(user_id, group.group_id)
        return group

    def add_user(self, username: str, *, groups: Iterable[int] = (), **fields: Any) -> User:
        """Add a user as if it had always been there; ``fields`` as in :class:`User`."""
        user = User(next(self._ids), username, **fields)
        self.users[user.user_id] = user
        for group_id in groups:
            self.join(user.user_id, group_id)
        return user

    def user_of(self, username: str) -> User | None:
        return next((user for user in self.users.values() if user.username == username), None)

    # -- membership

    def join(self, user_id: int, group_id: int) -> None:
        if user_id not in self.users or group_id not in self.groups:
            raise KeyError(f"there is no user {user_id} or no group {group_id}")
        self._users_of.setdefault(group_id, set()).add(user_id)
        self._groups_of.setdefault(user_id, set()).add(group_id)

    def leave(self, user_id: int, group_id: int) -> None:
        self._users_of.get(group_id, set()).discard(user_id)
        self._groups_of.get(user_id, set()).discard(group_id)

    def members_of(self, group_id: int) -> list[int]:
        return sorted(self._users_of.get(group_id, ()))

    def groups_of(self, user_id: int) -> list[int]:
        return sorted(self._groups_of.get(user_id, ()))

    def drop_group(self, group_id: int) -> None:
        for user_id in self.members_of(group_id):
            self.leave(user_id, group_id)
        del self.groups[group_id]

    def drop_user(self, user_id: int) -> None:
        for group_id in self.groups_of(user_id):
            self.leave(user_id, group_id)
        del self.users[user_id]

    # -- what goes over the wire

    def group_json(self, group: Group, escape: bool = False) -> dict[str, Any]:
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

    def checked_permissions(self, rows: Any) -> list[dict[str, Any]]:
        """Return permission rows as they are kept, or raise the refusal; nothing has changed then."""
        if not isinstance(rows, list):
            raise refusal(400, "invalid_permissions", "the body must be an array of permission objects")
        checked = []
        for row in rows:
            if not isinstance(row, dict) or row.keys() != {"objectType", "objectId", "permissions"}:
                raise refusal(
                    400, "invalid_permissions", "a permission object has objectType, objectId and permissions"
                )
            kind, object_id, tokens = row["objectType"], row["objectId"], row["permissions"]
            known = PER_OBJECT.get(kind) if isinstance(kind, str) else None
            if not known:
                raise refusal(
                    400, "invalid_object_type", f"there are no permissions on single objects of type {kind}"
                )
            if isinstance(object_id, str) and object_id.isdigit():
                object_id = int(object_id)
            if isinstance(object_id, bool) or not isinstance(object_id, int) or object_id <= 0:
                raise refusal(400, "invalid_object_id", f"{object_id!r} is not an object id")
            if not isinstance(tokens, list) or not tokens or any(token not in known for token in tokens):
                raise refusal(400, "invalid_permission", f"invalid permission for {kind}: {tokens}")
            checked.append(
                {"objectType": kind, "objectId": object_id, "permissions": list(dict.fromkeys(tokens))}
            )
        for row in checked:
            if (row["objectType"], row["objectId"]) in self.unreachable:
                raise refusal(403, "forbidden", f"no access to {row['objectType']} {row['objectId']}")
        return checked

    # -- who is calling

    def caller(self, request: Request) -> str:
        """Return the user name of the caller, or raise the refusal. IMS tokens have dots, legacy ones do
        not.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or "." in token:
            gateway = self.emulator.gateway
            return gateway.check(request, api_key=self.switches.aam_api_key_required, org=False).client_id
        known = self.legacy_tokens.get(token)
        if known is None or (known.expires >= 0 and known.expires <= self.emulator.clock.now()):
            what = "Invalid access token" if known is None else "Access token expired"
            raise Answer(
                401,
                {"error": "invalid_token", "error_description": f"{what}: {token}"},
                {
                    "www-authenticate": 'Bearer realm="oauth", error="invalid_token", '
                    f'error_description="{what}: {token}"'
                },
            )
        return known.username

    def grant(self, request: Request, asked: dict[str, str]) -> dict[str, Any]:
        """Answer a token request of the legacy password grant, or raise the refusal."""
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
        except ValueError:
            pair = ""
        client_id, _, client_secret = pair.partition(":")
        credential = self.emulator.ims.credentials.get(client_id)
        if credential is None or not secrets.compare_digest(
            credential.client_secret.encode(), client_secret.encode()
        ):
            raise Answer(401, {"error": "invalid_client", "error_description": "Bad client credentials"})
        kind = asked.get("grant_type", "")
        self.legacy_token_requests.append(kind)
        if kind == "password":
            if (asked.get("username"), asked.get("password")) != (USERNAME, PASSWORD):
                raise Answer(400, {"error": "invalid_grant", "error_description": "Bad credentials"})
            username = USERNAME
        elif kind == "refresh_token":
            # Each one works once; the answer carries the next.
            found = self.refresh_tokens.pop(asked.get("refresh_token", ""), None)
            if found is None:
                raise Answer(400, {"error": "invalid_grant", "error_description": "Invalid refresh token"})
            username = found
        else:
            raise Answer(
                400,
                {"error": "unsupported_grant_type", "error_description": f"Unsupported grant type: {kind}"},
            )
        seconds = self.switches.legacy_token_seconds
        token = str(uuid.uuid4())
        self.legacy_tokens[token] = LegacyToken(
            username, -1 if seconds < 0 else self.emulator.clock.now() + seconds
        )
        self.emulator.redactor.add(token)
        answer: dict[str, Any] = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": seconds,
            "scope": "read write",
        }
        if self.switches.legacy_refresh_token:
            answer["refresh_token"] = refresh = str(uuid.uuid4())
            self.refresh_tokens[refresh] = username
            self.emulator.redactor.add(refresh)
        return answer


def refusal(status: int, code: str, message: str) -> Answer:
    """Return an error as Audience Manager's own user interface expects it (Adobe documents no error body)."""
    return Answer(status, {"code": code, "message": message})


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise refusal(400, "malformed_request", "the body is not valid JSON") from None


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) for one in value
    )


def _description(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise refusal(400, "invalid_description", "description must be a string or null")
    return value


def router(emulator: Emulator) -> APIRouter:
    routes = APIRouter()
    aam = emulator.audience_manager
    switches = aam.switches

    def endpoint(method: str, printed: str, *, self_service: bool = False) -> Callable[[Handler], Handler]:
        """Register a handler under both prefixes, with and without a slash at the end.

        :param printed: the path as Adobe's page prints it.
        :param self_service: may be called by anybody, not only by admins.
        """

        def register(handler: Handler) -> Handler:
            def variant(prefix: str, exact: bool) -> Callable[[Request], Awaitable[Response]]:
                async def handle(request: Request) -> Response:
                    if switches.aam_prefix not in ("both", prefix) or not (
                        exact or switches.aam_trailing_slash == "both"
                    ):
                        raise refusal(404, "not_found", "there is no resource at this path")
                    caller = aam.caller(request)
                    if not self_service and not switches.aam_caller_is_admin:
                        raise refusal(403, "forbidden", "only partner admins may do this")
                    return await handler(request, caller)

                return handle

            bare = printed.rstrip("/")
            for prefix in PREFIXES:
                for form in (bare, f"{bare}/"):
                    routes.add_route(prefix + form, variant(prefix, form == printed), methods=[method])
            return handler

        return register

    def shown(request: Request, group: Group) -> dict[str, Any]:
        mode = switches.group_html_escaping
        asked = request.headers.get("aam-disable-escaping-html", "").lower() == "true"
        return aam.group_json(group, mode == "always" or (mode == "unless_header" and not asked))

    def listed(request: Request, items: list[Any], show: Callable[[Any], dict[str, Any]]) -> Response:
        paged = "page" in request.query_params or "pageSize" in request.query_params
        if switches.group_list_shape == "array" or (
            switches.group_list_shape == "array_unless_paged" and not paged
        ):
            return respond(200, [show(item) for item in items])
        try:
            page, size = (
                int(request.query_params.get("page", 0)),
                int(request.query_params.get("pageSize", 10)),
            )
        except ValueError:
            page = size = -1
        if page < 0 or size < 1:
            raise refusal(400, "invalid_page", "page and pageSize must be numbers")
        chosen = [show(item) for item in items[page * size : (page + 1) * size]]
        return respond(200, {"total": len(items), "page": page, "pageSize": size, "list": chosen})

    def known_group(request: Request) -> Group:
        group = aam.groups.get(request.path_params["group_id"])
        if group is None:
            raise refusal(switches.group_unknown_status, "group_not_found", "there is no such group")
        return group

    def checked_name(body: Any, other_than: int | None) -> str:
        if not isinstance(body, dict) or body.keys() - {"name", "description"}:
            raise refusal(400, "malformed_request", "the body must be an object with name and description")
        name = body.get("name")
        if not isinstance(name, str) or not name.strip():
            raise refusal(400, "invalid_name", "name must be a string that is not blank")
        taken = switches.group_name_taken == "conflict" and any(
            group.name == name and group.group_id != other_than for group in aam.groups.values()
        )
        if taken:
            raise refusal(409, "group_name_taken", "a group of this name exists")
        return name

    @endpoint("GET", "/groups/")
    async def list_groups(request: Request, caller: str) -> Response:
        return listed(request, list(aam.groups.values()), lambda group: shown(request, group))

    @endpoint("POST", "/groups/")
    async def create_group(request: Request, caller: str) -> Response:
        body = await _body(request)
        name = checked_name(body, None)
        if "description" not in body:
            raise refusal(400, "invalid_description", "description is required, and may be null")
        group = aam.add_group(name, _description(body["description"]))
        return respond(switches.group_create_status, shown(request, group))

    @endpoint("DELETE", "/groups/bulk-delete")
    async def bulk_delete(request: Request, caller: str) -> Response:
        return await bulk("DELETE", request)

    @endpoint("POST", "/groups/bulk-delete")
    async def bulk_delete_by_post(request: Request, caller: str) -> Response:
        return await bulk("POST", request)

    async def bulk(method: str, request: Request) -> Response:
        if switches.bulk_delete_verb not in ("both", method):
            raise refusal(405, "method_not_allowed", f"{method} is not allowed here")
        try:
            ids = json.loads(await request.body())
        except (ValueError, RecursionError):
            ids = None
        if not ids or not _are_ids(ids):
            if switches.bulk_delete_bad_body == 400:
                raise refusal(400, "malformed_request", "the body must be an array of group ids")
            return respond(204)
        known = [one for one in dict.fromkeys(ids) if one in aam.groups]
        if any(aam.groups[one].conflicted for one in known):
            raise refusal(409, "conflict", "a group cannot be deleted in its present state")
        if len(known) < len(set(ids)) and switches.bulk_delete_unknown_id != "partial":
            raise refusal(
                int(switches.bulk_delete_unknown_id),
                "group_not_found",
                "at least one of the groups does not exist",
            )
        for one in known:
            aam.drop_group(one)
        return respond(204)

    @endpoint("GET", "/groups/{group_id:int}")
    async def get_group(request: Request, caller: str) -> Response:
        if not switches.group_get_one:
            raise refusal(404, "not_found", "there is no resource at this path")
        return respond(200, shown(request, known_group(request)))

    @endpoint("PUT", "/groups/{group_id:int}")
    async def update_group(request: Request, caller: str) -> Response:
        group = known_group(request)
        body = await _body(request)
        name = checked_name(body, group.group_id)
        if "description" not in body and switches.group_put_without_description == "refuse":
            raise refusal(400, "invalid_description", "description is required, and may be null")
        keeps = "description" not in body and switches.group_put_without_description == "unchanged"
        group.description = group.description if keeps else _description(body.get("description"))
        group.name = name
        if switches.group_wipe_on_put:
            group.wildcards, group.permissions = [], []
            for user_id in aam.members_of(group.group_id):
                aam.leave(user_id, group.group_id)
        return respond(switches.group_put_status, shown(request, group))

    @endpoint("DELETE", "/groups/{group_id:int}")
    async def delete_group(request: Request, caller: str) -> Response:
        group = known_group(request)
        if group.conflicted:
            raise refusal(409, "conflict", "the group cannot be deleted in its present state")
        aam.drop_group(group.group_id)
        return respond(204)

    @endpoint("GET", "/groups/{group_id:int}/permissions")
    async def list_permissions(request: Request, caller: str) -> Response:
        group = aam.groups.get(request.path_params["group_id"])
        if group is None or group.inaccessible:
            raise refusal(400, "group_inaccessible", "the group is not accessible")
        return respond(200, aam.permissions_json(group))

    @endpoint("PUT", "/groups/{group_id:int}/permissions/")
    async def set_permissions(request: Request, caller: str) -> Response:
        group = aam.groups.get(request.path_params["group_id"])
        if group is None or group.inaccessible:
            raise refusal(
                switches.permissions_unknown_group_status, "group_inaccessible", "the group is not accessible"
            )
        group.permissions = aam.checked_permissions(await _body(request))
        return respond(200, aam.permissions_json(group))

    @endpoint("GET", "/permissionable-object-types/")
    async def object_types(request: Request, caller: str) -> Response:
        return respond(200, list(PER_OBJECT))

    @endpoint("GET", "/permissionable-object-types/{object_type}/")
    async def object_type(request: Request, caller: str) -> Response:
        kind = request.path_params["object_type"]
        if kind not in PER_OBJECT:
            raise refusal(404, "not_found", f"there is no object type {kind}")
        return respond(200, {"wildcard": WILDCARD[kind], "perObject": PER_OBJECT[kind]})

    def known_user(request: Request) -> User:
        user = aam.users.get(request.path_params["user_id"])
        if user is None:
            raise refusal(404, "user_not_found", "there is no such user")
        return user

    def checked_user(body: Any, other_than: int | None) -> tuple[dict[str, Any], list[int]]:
        if (
            not isinstance(body, dict)
            or not isinstance(body.get("username"), str)
            or not body["username"].strip()
        ):
            raise refusal(400, "malformed_request", "username is required")
        taken = aam.user_of(body["username"])
        if taken is not None and taken.user_id != other_than:
            raise refusal(409, "username_taken", "the user name is taken")
        groups = body.get("groups", [])
        if not _are_ids(groups) or any(group not in aam.groups for group in groups):
            raise refusal(400, "invalid_groups", "groups must be an array of existing group ids")
        keys = {
            "username": "username",
            "status": "status",
            "first_name": "firstName",
            "last_name": "lastName",
            "email": "email",
            "title": "title",
            "phone_number": "phoneNumber",
        }
        return {name: body[key] for name, key in keys.items() if key in body}, groups

    @endpoint("GET", "/users/")
    async def list_users(request: Request, caller: str) -> Response:
        wanted = {
            value for key, value in request.query_params.multi_items() if key in ("groupId", "groupdId")
        }
        users = [
            user
            for user in aam.users.values()
            if not wanted or wanted & {str(group) for group in aam.groups_of(user.user_id)}
        ]
        return listed(request, users, aam.user_json)

    @endpoint("POST", "/users/")
    async def create_user(request: Request, caller: str) -> Response:
        body = await _body(request)
        fields, groups = checked_user(body, None)
        user = aam.add_user(
            **fields, groups=groups, is_admin=str(body.get("isAdmin", False)).lower() == "true"
        )
        return respond(201, aam.user_json(user))

    @endpoint("GET", "/users/self", self_service=True)
    async def get_self(request: Request, caller: str) -> Response:
        user = aam.user_of(caller)
        if user is None:
            if not switches.aam_first_self_creates_user:
                raise refusal(404, "user_not_found", "there is no such user")
            user = aam.add_user(
                caller, email=f"{caller}@techacct.adobe.com", is_admin=switches.aam_caller_is_admin
            )
        return respond(200, aam.user_json(user))

    @endpoint("POST", "/users/bulk-delete")
    async def bulk_delete_users(request: Request, caller: str) -> Response:
        ids = await _body(request)
        if not _are_ids(ids) or any(one not in aam.users for one in ids):
            raise refusal(400, "malformed_request", "the body must be an array of ids of users")
        for one in dict.fromkeys(ids):
            aam.drop_user(one)
        return respond(204)

    @endpoint("GET", "/users/{user_id:int}")
    async def get_user(request: Request, caller: str) -> Response:
        return respond(200, aam.user_json(known_user(request)))

    @endpoint("PUT", "/users/{user_id:int}")
    async def update_user(request: Request, caller: str) -> Response:
        user = known_user(request)
        fields, groups = checked_user(await _body(request), user.user_id)
        for name, value in fields.items():
            setattr(user, name, value)
        for group_id in set(aam.groups_of(user.user_id)) - set(groups):
            aam.leave(user.user_id, group_id)
        for group_id in groups:
            aam.join(user.user_id, group_id)
        return respond(
            200,
            {key: value for key, value in aam.user_json(user).items() if key not in ("title", "phoneNumber")},
        )

    @endpoint("DELETE", "/users/{user_id:int}")
    async def delete_user(request: Request, caller: str) -> Response:
        aam.drop_user(known_user(request).user_id)
        return respond(204)

    @routes.post("/oauth/token")
    async def legacy_token(request: Request) -> Response:
        form = await request.form()
        asked = {name: value for name, value in form.items() if isinstance(value, str)}
        return respond(200, aam.grant(request, asked), {"cache-control": "no-store", "pragma": "no-cache"})

    @routes.post(f"{CONTROL}/audience_manager/groups")
    async def set_up_group(request: Request) -> Response:
        """Add a group with all that the API cannot set: members, wildcards, permissions, conflict."""
        asked = await json_object(request)
        return respond(201, aam.group_json(with_clear_errors(lambda: aam.add_group(**asked))))

    @routes.post(f"{CONTROL}/audience_manager/users")
    async def set_up_user(request: Request) -> Response:
        asked = await json_object(request)
        return respond(201, aam.user_json(with_clear_errors(lambda: aam.add_user(**asked))))

    @routes.put(f"{CONTROL}/audience_manager/unreachable")
    async def set_unreachable(request: Request) -> Response:
        """Replace the objects that the caller cannot reach: ``{"TRAIT": [1, 2]}``."""
        asked = await json_object(request)
        aam.unreachable = {(kind, int(one)) for kind, ids in asked.items() for one in ids}
        return respond(204)

    return routes
