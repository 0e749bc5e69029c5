# SPDX-License-Identifier: Apache-2.0
"""Audience Manager's groups in memory, fast enough for thousands of generated cases. It understands calls,
not HTTP.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.audience_manager import OBJECT_PERMISSIONS, Group, Permission
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.adobe.client.problems import error_of
from airflow_provider_adobe_audiences.groups.live import Scope
from airflow_provider_adobe_audiences.groups.names import canonical_permissions
from airflow_provider_adobe_audiences.groups.spec import DesiredState, load_value

T = TypeVar("T")

READS = {"GET"}


@dataclass
class Stored:
    group: dict[str, Any]
    permissions: list[dict[str, Any]] = field(default_factory=list)


class FastAdobe:
    """Stands where a session stands: ``send(call)``. ``log`` holds method and path of each call.

    :param escapes: whether names and descriptions are answered HTML-escaped, although every call asks for the
        contrary.
    """

    def __init__(self, *, escapes: bool = False) -> None:
        self.escapes = escapes
        self.stored: dict[int, Stored] = {}
        self.log: list[tuple[str, str]] = []
        self.ids = itertools.count(1)
        self.caller_groups: list[int] = []

    def add(
        self,
        name: str,
        description: str | None = None,
        permissions: Iterable[Permission] = (),
        *,
        users: Iterable[int] = (),
        wildcards: Iterable[str] = (),
    ) -> int:
        group_id = next(self.ids)
        members = list(users)
        self.stored[group_id] = Stored(
            {
                "groupId": group_id,
                "pid": 1,
                "name": name,
                "description": description,
                "membershipCount": len(members),
                "wildcards": list(wildcards),
                "users": members,
            },
            [row.as_json() for row in permissions],
        )
        return group_id

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [entry for entry in self.log if entry[0] not in READS]

    def group(self, name: str) -> dict[str, Any]:
        (found,) = [stored.group for stored in self.stored.values() if stored.group["name"] == name]
        return found

    def permissions(self, name: str) -> tuple[Permission, ...]:
        rows = self.stored[self.group(name)["groupId"]].permissions
        return canonical_permissions(
            Permission(row["objectType"], row["objectId"], tuple(row["permissions"])) for row in rows
        )

    def frozen(self, group_id: int) -> str:
        """Everything about a group, to see whether it changed."""
        stored = self.stored.get(group_id)
        return json.dumps([stored.group, stored.permissions], sort_keys=True) if stored else "gone"

    def send(self, call: Call[T], /) -> T:
        self.log.append((call.method, call.path))
        status, body = self._answer(call)
        response = Response(
            status,
            {"x-request-id": f"request-{len(self.log)}"},
            b"" if body is None else json.dumps(self._escaped(body)).encode(),
        )
        if status >= 300 and status not in call.treat_as_success:
            raise error_of(call, response)
        return call.parse(response)

    def _escaped(self, body: Any) -> Any:
        if self.escapes and isinstance(body, list):
            return [self._escaped(each) for each in body]
        if self.escapes and isinstance(body, dict):
            texts = {key: html.escape(body[key]) for key in ("name", "description") if body.get(key)}
            return {**body, **texts}
        return body

    def _answer(self, call: Call[Any]) -> tuple[int, Any]:
        numbers = re.findall(r"/groups/(\d+)", call.path)
        group_id = int(numbers[0]) if numbers else 0
        stored = self.stored.get(group_id)
        match call.method, re.sub(r"\d+", "N", call.path).rstrip("/"):
            case "GET", "/groups":
                return 200, [stored.group for stored in self.stored.values()]
            case "POST", "/groups":
                return 201, self.stored[self.add(call.json["name"], call.json["description"])].group
            case "GET", "/users/self":
                return 200, {"userId": 1, "username": "me", "groups": self.caller_groups}
            case _ if stored is None:
                return 404, {"code": "not_found", "message": "no such group"}
            case "PUT", "/groups/N":
                stored.group.update(call.json)
                return 200, stored.group
            case "GET", "/groups/N":
                return 200, stored.group
            case "DELETE", "/groups/N":
                del self.stored[group_id]
                return 204, None
            case "GET", "/groups/N/permissions":
                return 200, stored.permissions
            case "PUT", "/groups/N/permissions":
                stored.permissions = call.json
                return 200, stored.permissions
        raise AssertionError(f"the model does not know {call.method} {call.path}")


def group(group_id: int, name: str, description: str | None = None, **more: Any) -> Group:
    return Group(
        group_id, name, description, more.pop("membership_count", len(more.get("users", ()))), **more
    )


# -- generated worlds

NAMES = [f"{prefix} {letter}" for prefix in ("EMEA", "R&D", "<Sales>", "営業") for letter in "abc"]


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    kinds = draw(st.lists(st.sampled_from(sorted(OBJECT_PERMISSIONS)), max_size=4))
    return [
        {
            "objectType": kind,
            "objectId": draw(st.integers(1, 5)),
            "permissions": draw(st.lists(st.sampled_from(OBJECT_PERMISSIONS[kind]), min_size=1, max_size=4)),
        }
        for kind in kinds
    ]


descriptions = st.one_of(
    st.none(),
    st.sampled_from(["", "read only", "R&D & more", " blanks ", "<b>", "多", "😀"]),
    st.text(max_size=6),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[FastAdobe, DesiredState, Scope]:
    adobe = FastAdobe()
    names = draw(st.permutations(NAMES))
    live = draw(st.lists(st.sampled_from(names), unique=True, max_size=8))
    for name in live:
        permissions = [
            Permission(row["objectType"], row["objectId"], tuple(row["permissions"])) for row in draw(rows())
        ]
        members = draw(st.lists(st.integers(1, 9), unique=True, max_size=3))
        adobe.add(
            name,
            draw(descriptions),
            permissions,
            users=members,
            wildcards=draw(st.sampled_from([[], ["VIEW_TAGS"], ["PTRREPORTS"]])),
        )
    declared = draw(st.lists(st.sampled_from(names), unique=True, max_size=6))
    former = [name for name in names if name not in declared]
    groups = []
    for name in declared:
        group: dict[str, Any] = {"name": name}
        if former and draw(st.booleans()):
            group["previously"] = [former.pop()]
        if draw(st.booleans()):
            group["description"] = draw(descriptions)
        if draw(st.booleans()):
            group["permissions"] = draw(rows())
        groups.append(group)
    prune = draw(st.booleans())
    managed = draw(st.sampled_from(["EMEA.*", ".*", "[^E].*"])) if prune or draw(st.booleans()) else None
    protected = draw(
        st.lists(st.sampled_from([name for name in NAMES if name not in declared] or ["none"]), max_size=2)
    )
    return adobe, load_value({"groups": groups}), Scope(prune, managed, protected)
