# SPDX-License-Identifier: Apache-2.0
"""Permissions: which there are, and which rows a group can be given."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from .errors import error

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


def checked_permissions(rows: Any, unreachable: AbstractSet[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return permission rows as they are kept.

    :param rows: the body of a request.
    :param unreachable: objects that the caller cannot reach, as (objectType, objectId).
    :raises ErrorResponse: 400 or 403 when one of the rows is refused.
    """
    if not isinstance(rows, list):
        raise error(400, "invalid_permissions", "the body must be an array of permission objects")
    checked = [_checked(row) for row in rows]
    for row in checked:
        if (row["objectType"], row["objectId"]) in unreachable:
            raise error(403, "forbidden", f"no access to {row['objectType']} {row['objectId']}")
    return checked


def _checked(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict) or row.keys() != {"objectType", "objectId", "permissions"}:
        raise error(
            400, "invalid_permissions", "a permission object has objectType, objectId and permissions"
        )
    kind, object_id, tokens = row["objectType"], row["objectId"], row["permissions"]
    known = PER_OBJECT.get(kind) if isinstance(kind, str) else None
    if not known:
        raise error(400, "invalid_object_type", f"there are no permissions on single objects of type {kind}")
    if isinstance(object_id, str) and object_id.isascii() and object_id.isdigit() and len(object_id) < 19:
        object_id = int(object_id)
    if isinstance(object_id, bool) or not isinstance(object_id, int) or object_id <= 0:
        raise error(400, "invalid_object_id", f"{object_id!r} is not an object id")
    if not isinstance(tokens, list) or not tokens or any(token not in known for token in tokens):
        raise error(400, "invalid_permission", f"invalid permission for {kind}: {tokens}")
    return {"objectType": kind, "objectId": object_id, "permissions": list(dict.fromkeys(tokens))}
