# SPDX-License-Identifier: Apache-2.0
"""Which live group each declared one means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.adobe.audience_manager import Group
from airflow_provider_adobe_audiences.errors import AmbiguousGroupsError
from airflow_provider_adobe_audiences.groups.live import Live
from airflow_provider_adobe_audiences.groups.names import canonical_name, look_alike

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.groups.spec import DesiredGroup, DesiredState


def match(desired: DesiredState, live: Live) -> list[Group | None]:
    """Return the live group of each declared group, ``None`` for those that do not exist.

    A ``groupId`` decides; otherwise the name does, otherwise a former name. A name that one declared group
    hands on to another goes to the one that has it from now on.

    :param desired: the declared groups.
    :param live: all groups.
    :raises AmbiguousGroupsError: listing all cases in which it is not clear which group is meant.
    """
    matcher = _Matcher(desired.groups, live)
    matcher.run()
    if matcher.problems:
        raise AmbiguousGroupsError(
            "it is not clear which groups are meant: " + "; ".join(dict.fromkeys(matcher.problems)),
            hint=(
                "Name the group that is meant with groupId, or tidy up in Audience Manager; `adobe-audiences "
                "groups duplicates` shows groups that share a name. Nothing was changed."
            ),
        )
    return [matcher.found.get(number) for number in range(len(desired.groups))]


class _Matcher:
    """One pass over the declared groups; ``found`` and ``problems`` hold the result."""

    def __init__(self, wanted: Sequence[DesiredGroup], live: Live) -> None:
        self.wanted = wanted
        self.live = live
        self.pinned = {group.group_id for group in wanted if group.group_id is not None}
        self.found: dict[int, Group] = {}
        self.owner: dict[int, int] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        numbers = range(len(self.wanted))
        unclear = {number for number in numbers if self._by_id_or_name(number)}
        for number in numbers:
            if number not in self.found and number not in unclear and self.wanted[number].group_id is None:
                self._by_former_name(number)
        for number in numbers:
            if number not in unclear:
                self._look_around(number)

    def _claim(self, number: int, group: Group) -> None:
        self.found[number] = group
        self.owner[group.group_id] = number

    def _by_id_or_name(self, number: int) -> bool:
        """Return whether it is not clear what is meant. What is claimed by an id is not found by its name."""
        wanted = self.wanted[number]
        if wanted.group_id is not None:
            group = self.live.by_id.get(wanted.group_id)
            if group is None:
                self.problems.append(
                    f"{wanted.name!r} has the groupId {wanted.group_id}, which does not exist"
                )
                return True
            self._claim(number, group)
            return False
        named = [group for group in self._named(wanted.name) if group.group_id not in self.pinned]
        if len(named) > 1:
            self._several(wanted, named)
            return True
        if named:
            self._claim(number, named[0])
        return False

    def _by_former_name(self, number: int) -> None:
        wanted = self.wanted[number]
        candidates = [group for former in wanted.previously for group in self._named(former)]
        if len(candidates) > 1:
            self._several(wanted, candidates)
        elif candidates and not self._give_way(candidates[0], {number}):
            self._both(wanted, candidates[0])
        elif candidates:
            self._claim(number, candidates[0])
        elif taken := self._named(wanted.name):
            self._both(wanted, taken[0])

    def _give_way(self, group: Group, asking: set[int]) -> bool:
        """Return whether a group is free, or its present owner can be found under a former name instead."""
        owner = self.owner.get(group.group_id)
        if owner is None:
            return True
        if owner in asking or self.wanted[owner].group_id is not None:
            return False
        others = [
            other
            for former in self.wanted[owner].previously
            for other in self._named(former)
            if other is not group
        ]
        if len(others) != 1 or not self._give_way(others[0], asking | {owner}):
            return False
        del self.owner[group.group_id]
        self._claim(owner, others[0])
        return True

    def _look_around(self, number: int) -> None:
        """Refuse to make a name that another group has, or seems to have."""
        wanted, found = self.wanted[number], self.found.get(number)
        if found is not None and self.live.names[found.group_id] == canonical_name(wanted.name):
            return
        for other in self.live.by_look.get(look_alike(wanted.name), []):
            if other is found or self._moves_away(other, wanted):
                continue
            same = self.live.names[other.group_id] == canonical_name(wanted.name)
            if found is not None and same:
                self.problems.append(
                    f"groupId {found.group_id} cannot be renamed to {wanted.name!r}: groupId "
                    f"{other.group_id} has that name"
                )
            elif not same:
                self.problems.append(
                    f"{wanted.name!r} is not {other.name!r} (groupId {other.group_id}), but a person cannot "
                    "tell them apart: write that name, or list it below previously to rename the group"
                )

    def _moves_away(self, group: Group, wanted: DesiredGroup) -> bool:
        owner = self.owner.get(group.group_id)
        return owner is not None and look_alike(self.wanted[owner].name) != look_alike(wanted.name)

    def _named(self, name: str) -> list[Group]:
        return self.live.by_name.get(canonical_name(name), [])

    def _several(self, wanted: DesiredGroup, candidates: Iterable[Group]) -> None:
        listed = [f"{group.name!r} (groupId {group.group_id})" for group in candidates]
        self.problems.append(f"{wanted.name!r} can be any of {len(listed)} live groups: {', '.join(listed)}")

    def _both(self, wanted: DesiredGroup, group: Group) -> None:
        first, second = sorted((self.wanted.index(wanted), self.owner[group.group_id]))
        self.problems.append(
            f"{self.wanted[first].name!r} and {self.wanted[second].name!r} both mean the live group "
            f"{group.name!r} (groupId {group.group_id})"
        )
