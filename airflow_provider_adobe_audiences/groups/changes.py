# SPDX-License-Identifier: Apache-2.0
"""What a plan consists of: changes, findings, guards. As values that survive JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from airflow_provider_adobe_audiences.adobe.audience_manager import Permission

Grant = tuple[str, int, str]


def _compact(rows: Iterable[Permission]) -> list[list[Any]]:
    """Return rows with each set of permissions written once: a plan travels through XCom."""
    together: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row in rows:
        together.setdefault((row.object_type, row.permissions), []).append(row.object_id)
    return [[kind, list(tokens), ids] for (kind, tokens), ids in together.items()]


def _expanded(value: Any) -> Any:
    if all(isinstance(row, Permission) for row in value):
        return value
    return tuple(
        sorted(
            Permission(str(kind), int(object_id), tuple(map(str, tokens)))
            for kind, tokens, ids in value
            for object_id in ids
        )
    )


Rows = Annotated[tuple[Permission, ...], BeforeValidator(_expanded), PlainSerializer(_compact)]


class Model(BaseModel):
    """Base of what a plan consists of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Attributes(Model):
    """What a group's PUT replaces, as it came or as it goes: never a form made to compare.

    :param name: the name.
    :param description: the description, ``None`` for none.
    """

    name: str
    description: str | None


class CreateGroup(Model):
    """A group that does not exist.

    :param after: what it will be.
    """

    kind: Literal["create"] = "create"
    after: Attributes

    @property
    def name(self) -> str:
        """The name of the group afterwards."""
        return self.after.name


class UpdateGroup(Model):
    """Name or description of a group that exists.

    :param kind: ``rename`` when its name changes.
    :param group_id: which group.
    :param before: what it was when the plan was made.
    :param after: what it will be.
    :param through: the name that it has in between, where groups exchange their names.
    """

    kind: Literal["rename", "update"]
    group_id: int
    before: Attributes
    after: Attributes
    through: str | None = None

    @property
    def name(self) -> str:
        """The name of the group afterwards."""
        return self.after.name


class SetPermissions(Model):
    """All that a group may do.

    :param name: name of the group afterwards.
    :param group_id: which group; ``None`` for one that has yet to be created.
    :param before: what it could do when the plan was made.
    :param after: what it may do.
    """

    kind: Literal["set_permissions"] = "set_permissions"
    name: str
    group_id: int | None
    before: Rows
    after: Rows

    @property
    def removed(self) -> set[Grant]:
        """What is taken away, one entry per permission on one object."""
        return grants(self.before) - grants(self.after)


class DeleteGroup(Model):
    """A group that is not declared.

    :param name: its name.
    :param group_id: which group.
    :param membership_count: how many users it has.
    :param fingerprint: what :meth:`~.live.Live.fingerprint` was.
    """

    kind: Literal["delete"] = "delete"
    name: str
    group_id: int
    membership_count: int
    fingerprint: Mapping[str, str] = Field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.kind, self.group_id))


Change = Annotated[CreateGroup | UpdateGroup | SetPermissions | DeleteGroup, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a change.

    :param change: the change.
    :param outcome: ``applied``; ``already`` true; ``failed``; or ``skipped`` because something before it
        failed.
    :param group_id: id of the group, if it is known.
    :param request_id: Adobe's id of the request that wrote.
    :param error: why it failed or was skipped.
    """

    change: Change
    outcome: Literal["applied", "already", "failed", "skipped"]
    group_id: int | None = None
    request_id: str | None = None
    error: str | None = None


class Finding(Model):
    """Something to know that is reported and never changed.

    :param kind: what it is about.
    :param name: name of the group, or of what was declared.
    :param group_id: id of the group, if there is one.
    :param message: for people.
    """

    kind: Literal["wildcards", "users", "undeclared", "kept", "name", "scope", "protected", "notice"]
    name: str
    group_id: int | None
    message: str

    @property
    def drift(self) -> bool:
        """Whether what is declared and what is true differ, or the scope covers nothing."""
        return self.kind in ("wildcards", "users", "undeclared", "scope")


class GuardResult(Model):
    """What a guard says.

    :param guard: its name.
    :param passed: whether the plan may go on.
    :param parameter: what would allow what it stopped.
    :param message: for people.
    """

    guard: str
    passed: bool
    parameter: str
    message: str


class Plan(Model):
    """What will be changed, in order, and what was looked at to know it.

    :param target: base URL of the service that it was made for.
    :param changes: creations, renames and updates, permissions, deletions, in that order.
    :param findings: what is reported only.
    :param unchanged: number of declared groups that are as they should be.
    :param unmanaged: number of live groups that are neither declared nor in the managed scope.
    :param managed_live: number of live groups that are declared or in the managed scope.
    :param live_grants: number of live grants of groups whose permissions are declared.
    :param declared: number of declared groups.
    :param prune: whether groups that are not declared are deleted.
    :param caller_groups: ids of the groups that the calling user is in; ``None`` when that was not asked.
    :param guards: what the guards said.
    :param require_self: whether the groups of the calling user are spared, also when the plan is applied.
    """

    target: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    unchanged: int
    unmanaged: int
    managed_live: int
    live_grants: int
    declared: int
    prune: bool
    caller_groups: tuple[int, ...] | None = None
    guards: tuple[GuardResult, ...] = ()
    require_self: bool = True

    @property
    def deletes(self) -> list[DeleteGroup]:
        """The deletions."""
        return [change for change in self.changes if isinstance(change, DeleteGroup)]

    @property
    def permission_changes(self) -> list[SetPermissions]:
        """The changes of permissions."""
        return [change for change in self.changes if isinstance(change, SetPermissions)]

    @property
    def takes_away(self) -> bool:
        """Whether somebody has less afterwards."""
        return any(takes_away(change) for change in self.changes)

    @property
    def drift(self) -> bool:
        """Whether what is declared and what is true differ."""
        return bool(self.changes) or any(finding.drift for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return how many changes of each kind there are, and how many groups and findings without one."""
        kinds = dict.fromkeys(("create", "rename", "update", "set_permissions", "delete"), 0)
        for change in self.changes:
            kinds[change.kind] += 1
        return {
            **kinds,
            "unchanged": self.unchanged,
            "unmanaged": self.unmanaged,
            "findings": len(self.findings),
        }


def grants(rows: Iterable[Permission]) -> set[Grant]:
    """Return one entry per permission on one object, which is how changes are shown and counted.

    :param rows: permissions on objects.
    """
    return {(row.object_type, row.object_id, token) for row in rows for token in row.permissions}


def takes_away(change: Change) -> bool:
    """Return whether somebody has less after a change.

    :param change: a planned change.
    """
    return isinstance(change, DeleteGroup) or (isinstance(change, SetPermissions) and bool(change.removed))


def title(change: Change) -> str:
    """Return a change in a few words.

    :param change: a planned change.
    """
    group = (
        f" (groupId {change.group_id})"
        if not isinstance(change, CreateGroup) and change.group_id is not None
        else ""
    )
    return f"{change.kind.replace('_', ' ')} {change.name!r}{group}"
