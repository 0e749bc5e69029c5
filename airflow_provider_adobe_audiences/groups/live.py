# SPDX-License-Identifier: Apache-2.0
"""What is true at Adobe, and which part of it a desired state may touch."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission, User, checked_id
from airflow_provider_adobe_audiences.groups.names import canonical_name, look_alike

# A list that a template has turned into text, such as "[1001, 1002]". As a pattern it would be a class of
# characters.
_LIST_AS_TEXT = re.compile(r"""[\[(]\s*(['"]?[^'"\[\](),]*['"]?\s*,?\s*)*[\])]""")
_ITEM = re.compile(r"""\d+|'.*'|".*"|""")


@dataclass(frozen=True)
class Live:
    """What is true at Adobe.

    :param groups: all groups.
    :param permissions: canonical permissions, by group id, of those groups whose permissions were read.
    :param caller: the calling user, when it was read.
    """

    groups: tuple[Group, ...]
    permissions: Mapping[int, tuple[Permission, ...]] = field(default_factory=dict)
    caller: User | None = None

    @cached_property
    def by_id(self) -> dict[int, Group]:
        """The groups by their ids."""
        return {group.group_id: group for group in self.groups}

    @cached_property
    def by_name(self) -> dict[str, list[Group]]:
        """The groups of each canonical name."""
        return _grouped(self.groups, self.names)

    @cached_property
    def by_look(self) -> dict[str, list[Group]]:
        """The groups that a person cannot tell apart by their names."""
        return _grouped(self.groups, {group.group_id: look_alike(group.name) for group in self.groups})

    @cached_property
    def names(self) -> dict[int, str]:
        """The canonical name of each group."""
        return {group.group_id: canonical_name(group.name) for group in self.groups}

    def others_like(self, name: str, own: Collection[int]) -> list[Group]:
        """Return the groups whose names a person cannot tell from a name.

        :param name: of a group, now or later.
        :param own: ids of groups that may have it.
        """
        return [group for group in self.by_look.get(look_alike(name), []) if group.group_id not in own]

    def fingerprint(self, group_id: int) -> dict[str, str]:
        """Return a short hash of each thing that is known of a group: equal now and later only when nobody
        has changed it.

        :param group_id: a group that exists.
        """
        group = self.by_id[group_id]
        permissions = self.permissions.get(group_id)
        known = {
            "name": group.name,
            "description": group.description or "",
            "wildcards": sorted(group.wildcards),
            "users": sorted(group.users),
            "permissions": None if permissions is None else [row.as_json() for row in permissions],
        }
        return {what: _short_hash(value) for what, value in known.items()}


def _grouped(groups: Iterable[Group], keys: Mapping[int, str]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        found[keys[group.group_id]].append(group)
    return found


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[
        :16
    ]


def name_pattern(pattern: str, argument: str) -> re.Pattern[str]:
    """Return a compiled pattern for names.

    :param pattern: a regular expression.
    :param argument: where it was given, for the message.
    :raises ValueError: when it is no regular expression, or a list (or nothing) that became text on its way.
    """
    items = [item.strip() for item in pattern.strip()[1:-1].strip().rstrip(",").split(",")]
    if pattern.strip() in ("", "None", "null") or (
        _LIST_AS_TEXT.fullmatch(pattern.strip()) and all(_ITEM.fullmatch(item) for item in items)
    ):
        raise ValueError(
            f"argument {argument!r} is {pattern!r:.120}: a list, or nothing, that became text: pass the "
            "value itself, as in upstream.output, or set render_template_as_native_obj=True on the Dag"
        )
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"argument {argument!r} is {pattern!r}: not a regular expression: {error}") from None


@dataclass(frozen=True)
class Scope:
    """Which groups belong to this desired state although it does not name them.

    :param prune: whether to delete those of them that are not declared.
    :param managed_groups: a regular expression that the whole name must match, or ids of groups. Needed to
        prune.
    :param protected: names that are never changed or deleted, nor what a person cannot tell from them.
    :raises ValueError: when they cannot work together.
    """

    prune: bool = False
    managed_groups: str | Collection[int | str] | None = None
    protected: Collection[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.prune, bool):
            raise ValueError(f"argument 'prune' is {self.prune!r}: must be True or False")
        if self.prune and self.managed_groups is None:
            raise ValueError(
                "argument 'prune' is True: needs argument 'managed_groups', a regular expression for the "
                "names, or the ids, of groups that may be deleted"
            )
        given = self.managed_groups
        if isinstance(given, str):
            name_pattern(given, "managed_groups")
        elif isinstance(given, Collection) and not isinstance(given, Mapping):
            # Templates turn ids into text, which would match no group.
            ids = frozenset(checked_id(group_id, "managed_groups") for group_id in given)
            object.__setattr__(self, "managed_groups", ids)
        elif given is not None:
            raise ValueError(
                f"argument 'managed_groups' is {given!r:.120}: must be a regular expression or a list of ids"
            )
        wrong = isinstance(self.protected, str) or not isinstance(self.protected, Collection)
        if wrong or not all(isinstance(name, str) for name in self.protected):
            raise ValueError(f"argument 'protected' is {self.protected!r:.120}: must be a list of names")
        if not all(look_alike(name) for name in self.protected):
            raise ValueError(
                f"argument 'protected' is {self.protected!r:.120}: must be a list of names, "
                "none of them blank"
            )

    @cached_property
    def _protected(self) -> dict[str, str]:
        return {look_alike(name): name for name in self.protected}

    def covers(self, name: str, group_id: int | None = None) -> bool:
        """Return whether a group is in the managed scope.

        :param name: its canonical name.
        :param group_id: its id, if it exists.
        """
        if isinstance(self.managed_groups, str):
            return name_pattern(self.managed_groups, "managed_groups").fullmatch(name) is not None
        return self.managed_groups is not None and group_id in self.managed_groups

    def protects(self, name: str) -> bool:
        """Return whether a name is protected, or cannot be told from one that is.

        :param name: name of a group.
        """
        return look_alike(name) in self._protected

    def without_effect(self, live: Live, declared: Iterable[str]) -> tuple[str | None, list[str]]:
        """Return what the scope says in vain, which is how a slip looks.

        :param live: all groups.
        :param declared: canonical names of the declared groups.
        :returns: a sentence about ``managed_groups``, if it covers nothing, and the protected names that no
            group has.
        """
        looks = set(live.by_look) | {look_alike(name) for name in declared}
        protected = [name for look, name in self._protected.items() if look not in looks]
        if isinstance(self.managed_groups, str):
            names = [*live.by_name, *declared]
            if names and not any(self.covers(name) for name in names):
                return (
                    f"managed_groups={self.managed_groups!r} matches the whole name of no group, live or "
                    "declared",
                    protected,
                )
        elif self.managed_groups is not None:
            missing = sorted(int(one) for one in self.managed_groups if one not in live.by_id)
            if missing:
                return (
                    f"managed_groups names ids that no group has: {', '.join(map(str, missing[:20]))}",
                    protected,
                )
        return None, protected
