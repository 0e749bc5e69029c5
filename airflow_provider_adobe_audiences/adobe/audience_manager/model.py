# SPDX-License-Identifier: Apache-2.0
"""Groups, permissions and users of Audience Manager: how they are read from Adobe's JSON, and what may be
sent as a name, a description or an id.

Source: Adobe's pages "Group Management API Methods", "User Permission API Methods" and "User Management API
Methods"; what a permission refers to follows "Administration overview" (role-based access control).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# What steers the direction of text; a name with it is not what it looks like.
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

OBJECT_PERMISSIONS: dict[str, tuple[str, ...]] = {
    "DESTINATION": ("READ", "WRITE", "CREATE", "DELETE"),
    "SEGMENT": ("READ", "WRITE", "CREATE", "DELETE", "MAP_TO_MODELS", "MAP_TO_DESTINATION"),
    "TRAIT": ("READ", "WRITE", "CREATE", "DELETE", "MAP_TO_SEGMENTS", "MAP_TO_MODELS", "CREATE_ALGO_TRAITS"),
}
"""What can be granted on one object. For ``TRAIT`` and ``SEGMENT`` the object is a data source, for
``DESTINATION`` a destination.
"""

WILDCARDS: dict[str, tuple[str, ...]] = {
    "TRAIT": (
        "VIEW_ALL_TRAITS",
        "CREATE_ALL_TRAITS",
        "EDIT_ALL_TRAITS",
        "DELETE_ALL_TRAITS",
        "MAP_ALL_TO_SEGMENTS",
        "MAP_ALL_TRAITS_TO_MODELS",
        "CREATE_ALL_ALGO_TRAITS",
    ),
    "SEGMENT": (
        "VIEW_ALL_SEGMENTS",
        "CREATE_ALL_SEGMENTS",
        "EDIT_ALL_SEGMENTS",
        "DELETE_ALL_SEGMENTS",
        "MAP_ALL_TO_DESTINATIONS",
        "MAP_ALL_SEGMENTS_TO_MODELS",
    ),
    "DESTINATION": (
        "VIEW_ALL_DESTINATIONS",
        "CREATE_DESTINATIONS",
        "EDIT_ALL_DESTINATIONS",
        "DELETE_ALL_DESTINATIONS",
    ),
    "DERIVED_SIGNALS": (
        "VIEW_DERIVED_SIGNALS",
        "CREATE_DERIVED_SIGNALS",
        "EDIT_DERIVED_SIGNALS",
        "DELETE_DERIVED_SIGNALS",
    ),
    "MODELS": ("VIEW_MODELS",),
    "TAGS": ("VIEW_TAGS",),
    "AUDIENCE_LAB": ("MANAGE_SEGMENT_TEST_GROUPS",),
    "SIGNALS": ("VIEW_ALL_SIGNALS",),
}
"""Grants of a whole group on every present and future object of a family, by family."""


@dataclass(frozen=True, slots=True)
class Group:
    """A user group.

    :param group_id: id that Adobe assigned.
    :param name: as Adobe answered it.
    :param description: ``None`` when there is none.
    :param membership_count: number of users in it.
    :param wildcards: grants on whole families of objects.
    :param users: ids of the users in it.
    :param pid: partner (company) id.
    """

    group_id: int
    name: str
    description: str | None
    membership_count: int
    wildcards: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    pid: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """What a group may do with one object.

    :param object_type: ``SEGMENT``, ``TRAIT`` or ``DESTINATION``.
    :param object_id: a data source id for ``SEGMENT`` and ``TRAIT``, a destination id for ``DESTINATION``.
    :param permissions: such as ``READ``.
    """

    object_type: str
    object_id: int
    permissions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the row as Adobe's API takes it, and as people declare it."""
        return {
            "objectType": self.object_type,
            "objectId": self.object_id,
            "permissions": list(self.permissions),
        }


@dataclass(frozen=True, slots=True)
class User:
    """A user of Audience Manager.

    :param user_id: id that Adobe assigned.
    :param username: login name.
    :param status: ``ACTIVE``, ``INACTIVE``, ``LOCKED``, or another that Adobe does not document.
    :param email: address.
    :param groups: ids of the groups that the user is in.
    :param is_admin: whether the user administers the company's account.
    """

    user_id: int
    username: str
    status: str
    email: str
    groups: tuple[int, ...]
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A list as Adobe answered it.

    :param items: what it holds.
    :param total: how many there are in all; ``None`` when Adobe sent a plain array, which is complete.
    :param page_size: size of the pages, with ``total``.
    """

    items: tuple[T, ...]
    total: int | None = None
    page_size: int | None = None


def checked_name(name: object) -> str:
    """Return a new name for a group, without surrounding blanks.

    :param name: what a user wants as a name. Any language and any emoji will do.
    :raises ValueError: when it is no text, blank, or holds control characters, line breaks or characters that
        turn the direction of text.
    """
    text = checked_text(name).strip()
    wrong = sorted({character for character in text if _breaks_a_line(character)})
    if wrong:
        raise ValueError(
            f"the name {text!r} holds characters that cannot be seen, such as line breaks and control "
            f"characters: {', '.join(f'U+{ord(character):04X}' for character in wrong[:5])}"
        )
    return text


def checked_text(name: object) -> str:
    """Return the name of a group as it is.

    :param name: as Adobe answered it, or as :func:`checked_name` returned it.
    :raises ValueError: when it is no text, or blank.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of a group must be text that is not blank, not {name!r}")
    return name


def _breaks_a_line(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def checked_description(description: object) -> str | None:
    """Return a group's description as it is.

    :param description: text, or ``None`` for none.
    :raises ValueError: when it is neither.
    """
    if not isinstance(description, str | None):
        raise ValueError(f"the description of a group must be text or None, not {description!r}")
    return description


def checked_id(value: object, what: str) -> int:
    """Return an id.

    :param value: a positive integer, or its decimal digits, as templates give them.
    :param what: name of the argument, for the message.
    :raises ValueError: for anything else, also for what Python reads as a number but people do not, such as
        ``1_000`` and ``010``.
    """
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,19}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"argument {what!r} is {value!r:.80}: must be a positive integer in decimal digits")
    return value
