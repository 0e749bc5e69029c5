# SPDX-License-Identifier: Apache-2.0
"""What has to change so that the declared groups are true. Pure: no request is made here."""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission, User, checked_id
from airflow_provider_adobe_audiences.errors import (
    AmbiguousGroupsError,
    PlanRefusedError,
)
from airflow_provider_adobe_audiences.groups.spec import (
    DesiredGroup,
    DesiredState,
    canonical_description,
    canonical_name,
    canonical_permissions,
)

Grant = tuple[str, int, str]


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
        return {group.group_id: group for group in self.groups}

    @cached_property
    def by_name(self) -> dict[str, list[Group]]:
        """The groups of each canonical name."""
        named: dict[str, list[Group]] = defaultdict(list)
        for group in self.groups:
            named[canonical_name(group.name)].append(group)
        return named


def name_pattern(pattern: str, what: str) -> re.Pattern[str]:
    """Return a compiled pattern for names; raise :class:`ValueError` when it is none."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{what} is not a regular expression: {error}") from None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which groups belong to this desired state although it does not name them.

    :param prune: whether to delete those of them that are not declared.
    :param managed: a regular expression that the whole name must match, or ids of groups. Needed to prune.
    :param protected: names that are never changed or deleted.
    """

    prune: bool = False
    managed: str | Collection[int | str] | None = None
    protected: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.prune and self.managed is None:
            raise ValueError(
                "prune=True needs managed_groups: a regular expression for the names, or the ids, of groups "
                "that may be deleted"
            )
        if isinstance(self.managed, str):
            name_pattern(self.managed, "managed_groups")
        elif isinstance(self.managed, Collection) and not isinstance(self.managed, Mapping):
            # Templates turn ids into text, which would match no group.
            object.__setattr__(
                self,
                "managed",
                frozenset(checked_id(group_id, "managed_groups") for group_id in self.managed),
            )
        elif self.managed is not None:
            raise ValueError(
                f"managed_groups must be a regular expression or a list of ids, not {self.managed!r}"
            )
        wrong = isinstance(self.protected, str) or not isinstance(self.protected, Collection)
        if wrong or not all(isinstance(name, str) for name in self.protected):
            raise ValueError(f"protected must be a list of names, not {self.protected!r}")
        if not isinstance(self.prune, bool):
            raise ValueError(f"prune must be True or False, not {self.prune!r}")

    def covers(self, group: Group) -> bool:
        if self.managed is None:
            return False
        if isinstance(self.managed, str):
            return (
                name_pattern(self.managed, "managed_groups").fullmatch(canonical_name(group.name)) is not None
            )
        return group.group_id in self.managed

    def protects(self, name: str) -> bool:
        return canonical_name(name) in {canonical_name(protected) for protected in self.protected}


def _as_permission(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Permission(str(value["objectType"]), int(value["objectId"]), tuple(value["permissions"]))
    return value


Row = Annotated[Permission, BeforeValidator(_as_permission), PlainSerializer(Permission.as_json)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Attributes(_Model):
    """What a group's PUT replaces."""

    name: str
    description: str | None


class CreateGroup(_Model):
    kind: Literal["create"] = "create"
    after: Attributes

    @property
    def name(self) -> str:
        return self.after.name


class UpdateGroup(_Model):
    kind: Literal["rename", "update"]
    group_id: int
    before: Attributes
    after: Attributes

    @property
    def name(self) -> str:
        return self.after.name


class SetPermissions(_Model):
    """``group_id`` is ``None`` for a group that has yet to be created."""

    kind: Literal["set_permissions"] = "set_permissions"
    name: str
    group_id: int | None
    before: tuple[Row, ...]
    after: tuple[Row, ...]

    @property
    def added(self) -> list[Grant]:
        return sorted(grants(self.after) - grants(self.before))

    @property
    def removed(self) -> list[Grant]:
        return sorted(grants(self.before) - grants(self.after))


class DeleteGroup(_Model):
    kind: Literal["delete"] = "delete"
    name: str
    group_id: int
    membership_count: int


Change = Annotated[CreateGroup | UpdateGroup | SetPermissions | DeleteGroup, Field(discriminator="kind")]


class Finding(_Model):
    """Something to know that is reported and never changed."""

    kind: Literal["wildcards", "users", "undeclared", "kept", "name"]
    name: str
    group_id: int | None
    message: str

    @property
    def drift(self) -> bool:
        """Whether what is declared and what is true differ."""
        return self.kind in ("wildcards", "users", "undeclared")


class GuardResult(_Model):
    """What a guard says. ``parameter`` would allow what it stopped."""

    guard: str
    passed: bool
    parameter: str
    message: str


class Plan(_Model):
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

    @property
    def deletes(self) -> list[DeleteGroup]:
        return [change for change in self.changes if isinstance(change, DeleteGroup)]

    @property
    def permission_changes(self) -> list[SetPermissions]:
        return [change for change in self.changes if isinstance(change, SetPermissions)]

    @property
    def takes_away(self) -> bool:
        """Whether somebody has less afterwards."""
        return bool(self.deletes) or any(change.removed for change in self.permission_changes)

    @property
    def drift(self) -> bool:
        """Whether what is declared and what is true differ."""
        return bool(self.changes) or any(finding.drift for finding in self.findings)

    def counts(self) -> dict[str, int]:
        kinds = dict.fromkeys(("create", "rename", "update", "set_permissions", "delete"), 0)
        for change in self.changes:
            kinds[change.kind] += 1
        return {
            **kinds,
            "unchanged": self.unchanged,
            "unmanaged": self.unmanaged,
            "findings": len(self.findings),
        }

    def sign(self, key: str) -> dict[str, Any]:
        """Return the plan as JSON that :meth:`verify` recognises.

        :param key: what only the two tasks know. It cannot be found from the result.
        """
        content = self.model_dump(mode="json", by_alias=True)
        return {"hash": _digest(content, key), "content": content}

    @classmethod
    def verify(cls, signed: Any, key: str) -> Self:
        """Return the plan that was signed.

        :raises PlanRefusedError: when it is not exactly that plan.
        """
        if not isinstance(signed, Mapping) or not {"hash", "content"} <= signed.keys():
            raise PlanRefusedError(
                f"this is not a plan: {type(signed).__name__}",
                hint="Pass the output of AdobePlanGroupsOperator, as in plan=plan.output.",
            )
        if not hmac.compare_digest(str(signed["hash"]), _digest(signed["content"], key)):
            raise PlanRefusedError(
                "the plan is not the one that was made: it was altered, or made with another credential"
            )
        try:
            return cls.model_validate(signed["content"])
        except ValidationError as error:
            raise PlanRefusedError(
                f"the plan was made by another version of this package ({error.error_count()} differences)"
            ) from None


def _digest(content: Any, key: str) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def grants(rows: Iterable[Permission]) -> set[Grant]:
    """Return one entry per permission on one object, which is how changes are shown and counted."""
    return {(row.object_type, row.object_id, token) for row in rows for token in row.permissions}


def match(desired: DesiredState, groups: Sequence[Group]) -> list[Group | None]:
    """Return the live group of each declared group, ``None`` for those that do not exist.

    A ``groupId`` decides; otherwise the name does, otherwise a former name.

    :raises AmbiguousGroupsError: listing all cases in which it is not clear which group is meant.
    """
    live = Live(tuple(groups))
    by_id, by_name = live.by_id, live.by_name
    problems: list[str] = []
    matched: list[Group | None] = []
    claimed: dict[int, str] = {}
    for wanted in desired.groups:
        try:
            found = _match(wanted, by_id, by_name)
        except AmbiguousGroupsError as error:
            problems.append(error.message)
            found = None
        matched.append(found)
        if found is not None and (other := claimed.setdefault(found.group_id, wanted.name)) != wanted.name:
            problems.append(
                f"{other!r} and {wanted.name!r} both mean the live group {found.name!r} (groupId "
                f"{found.group_id})"
            )
    if problems:
        raise AmbiguousGroupsError("it is not clear which groups are meant: " + "; ".join(problems))
    return matched


def _match(
    wanted: DesiredGroup, by_id: Mapping[int, Group], by_name: Mapping[str, list[Group]]
) -> Group | None:
    named = by_name.get(canonical_name(wanted.name), [])
    if wanted.group_id is not None:
        found = by_id.get(wanted.group_id)
        if found is None:
            raise AmbiguousGroupsError(
                f"{wanted.name!r} has the groupId {wanted.group_id}, which does not exist"
            )
        others = [group.group_id for group in named if group is not found]
        if others and canonical_name(found.name) != canonical_name(wanted.name):
            raise AmbiguousGroupsError(
                f"groupId {wanted.group_id} cannot be renamed to {wanted.name!r}: groupId {others[0]} has "
                "that name"
            )
        return found
    candidates = named or [
        group for former in wanted.previously for group in by_name.get(canonical_name(former), [])
    ]
    if len(candidates) > 1:
        listed = ", ".join(f"{group.name!r} (groupId {group.group_id})" for group in candidates)
        raise AmbiguousGroupsError(f"{wanted.name!r} can be any of {len(candidates)} live groups: {listed}")
    return candidates[0] if candidates else None


def permissions_to_read(desired: DesiredState, groups: Sequence[Group]) -> list[int]:
    """Return the ids of the groups whose permissions a plan needs to know: those that exist and whose
    permissions are declared.

    :raises AmbiguousGroupsError: see :func:`match`.
    """
    pairs = zip(desired.groups, match(desired, groups), strict=True)
    return [found.group_id for wanted, found in pairs if found is not None and wanted.permissions is not None]


def make(desired: DesiredState, live: Live, *, target: str, scope: Scope | None = None) -> Plan:
    """Compare what is declared with what is true.

    :param desired: the declared groups.
    :param live: what is true; with the permissions of :func:`permissions_to_read`.
    :param target: base URL of the service, to apply the plan nowhere else.
    :param scope: what else belongs to the desired state.
    :raises AmbiguousGroupsError: when it is not clear which groups are meant.
    """
    scope = scope or Scope()
    matched = match(desired, live.groups)
    creates: list[CreateGroup] = []
    updates: list[UpdateGroup] = []
    sets: list[SetPermissions] = []
    unchanged = 0
    for wanted, found in zip(desired.groups, matched, strict=True):
        before = len(creates) + len(updates) + len(sets)
        if found is None:
            creates.append(
                CreateGroup(after=Attributes(name=wanted.name, description=_text(wanted.description)))
            )
        elif (update := _update(wanted, found)) is not None:
            updates.append(update)
        if wanted.rows is not None:
            has = live.permissions[found.group_id] if found else ()
            if has != wanted.rows:
                sets.append(
                    SetPermissions(
                        name=wanted.name,
                        group_id=found.group_id if found else None,
                        before=has,
                        after=wanted.rows,
                    )
                )
        unchanged += before == len(creates) + len(updates) + len(sets)
    declared = {found.group_id for found in matched if found is not None}
    in_scope = [group for group in live.groups if group.group_id not in declared and scope.covers(group)]
    deletes, findings = _undeclared(desired, in_scope, scope)
    findings = [*_differences(desired, matched), *_twins(live, declared), *findings]
    return Plan(
        target=target,
        changes=(*creates, *updates, *sets, *deletes),
        findings=tuple(findings),
        unchanged=unchanged,
        unmanaged=len(live.groups) - len(declared) - len(in_scope),
        managed_live=len(declared) + len(in_scope),
        live_grants=sum(
            len(grants(live.permissions[found.group_id]))
            for wanted, found in zip(desired.groups, matched, strict=True)
            if found is not None and wanted.permissions is not None
        ),
        declared=len(desired.groups),
        prune=scope.prune,
        caller_groups=live.caller.groups if live.caller else None,
    )


def _update(wanted: DesiredGroup, found: Group) -> UpdateGroup | None:
    before = Attributes(name=canonical_name(found.name), description=canonical_description(found.description))
    # What is not managed goes back as it came: a PUT replaces both.
    description = (
        _text(wanted.description)
        if wanted.manages_description
        else html.unescape(found.description or "") or None
    )
    renamed = before.name != canonical_name(wanted.name)
    if not renamed and canonical_description(description) == before.description:
        return None
    return UpdateGroup(
        kind="rename" if renamed else "update",
        group_id=found.group_id,
        before=before,
        after=Attributes(name=wanted.name, description=description),
    )


def _text(description: str | None) -> str | None:
    return (description or "").strip() or None


def _differences(desired: DesiredState, matched: Iterable[Group | None]) -> Iterator[Finding]:
    for wanted, found in zip(desired.groups, matched, strict=True):
        if found is None:
            if wanted.wildcards:
                missing = ", ".join(sorted(wanted.wildcards))
                message = (
                    f"a new group has no wildcards; declared are: {missing} (set them in Audience Manager's "
                    "user interface)"
                )
                yield Finding(kind="wildcards", name=wanted.name, group_id=None, message=message)
            if wanted.users:
                yield Finding(
                    kind="users",
                    name=wanted.name,
                    group_id=None,
                    message="the new group has none of its declared users",
                )
            continue
        kinds: list[tuple[Literal["wildcards", "users"], Any, Any]] = [
            ("wildcards", wanted.wildcards, found.wildcards),
            ("users", wanted.users, found.users),
        ]
        for kind, declared, has in kinds:
            if declared is not None and set(declared) != set(has):
                missing = ", ".join(str(value) for value in sorted(set(declared) - set(has)))
                surplus = ", ".join(str(value) for value in sorted(set(has) - set(declared)))
                parts = ([f"declared but missing: {missing}"] if missing else []) + (
                    [f"not declared: {surplus}"] if surplus else []
                )
                yield Finding(kind=kind, name=wanted.name, group_id=found.group_id, message="; ".join(parts))


def _twins(live: Live, declared: Collection[int]) -> Iterator[Finding]:
    for named in live.by_name.values():
        if len(named) > 1 and any(group.group_id in declared for group in named):
            others = ", ".join(str(group.group_id) for group in named if group.group_id not in declared)
            chosen = next(group for group in named if group.group_id in declared)
            message = f"other groups have the same name: groupId {others}"
            yield Finding(
                kind="name", name=canonical_name(chosen.name), group_id=chosen.group_id, message=message
            )


def _undeclared(
    desired: DesiredState, groups: Iterable[Group], scope: Scope
) -> tuple[list[DeleteGroup], list[Finding]]:
    """Return what pruning deletes, and what it leaves alone although it is in the scope."""
    current = {canonical_name(wanted.name) for wanted in desired.groups}
    former = {canonical_name(name) for wanted in desired.groups for name in wanted.previously}
    deletes: list[DeleteGroup] = []
    findings: list[Finding] = []
    for group in groups:
        name = canonical_name(group.name)
        kept = (
            "it is protected"
            if scope.protects(name)
            else "a declared group had this name before"
            if name in former
            else "a declared group has the same name"
            if name in current
            else None
        )
        if kept:
            findings.append(
                Finding(
                    kind="kept", name=name, group_id=group.group_id, message=f"not declared, but kept: {kept}"
                )
            )
        elif scope.prune:
            deletes.append(
                DeleteGroup(name=name, group_id=group.group_id, membership_count=group.membership_count)
            )
        else:
            findings.append(
                Finding(
                    kind="undeclared",
                    name=name,
                    group_id=group.group_id,
                    message="not declared (prune is off)",
                )
            )
    return deletes, findings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change has come: still to do, done, or the world has moved and it must not be done.

    :param state: which of them.
    :param group_id: id of the group, once it exists.
    :param reason: why it must not be done.
    """

    state: Literal["pending", "done", "stale"]
    group_id: int | None = None
    reason: str = ""


def progress(change: Change, live: Live) -> Progress:
    """Return whether ``change`` is still to be made, or was made, or rests on something that is no longer
    true.

    For :class:`SetPermissions` the group's permissions must have been read.
    """
    match change:
        case CreateGroup(after=after):
            named = live.by_name.get(canonical_name(after.name), [])
            if not named:
                return Progress("pending")
            if len(named) == 1 and canonical_description(named[0].description) == canonical_description(
                after.description
            ):
                return Progress("done", named[0].group_id)
            return Progress(
                "stale", reason=f"{len(named)} group(s) with this name exist now, and differ from the plan"
            )
        case UpdateGroup(group_id=group_id, before=before, after=after):
            group = live.by_id.get(group_id)
            if group is None:
                return Progress("stale", reason="the group no longer exists")
            has = (canonical_name(group.name), canonical_description(group.description))
            if has == (canonical_name(after.name), canonical_description(after.description)):
                return Progress("done", group_id)
            if has == (before.name, before.description):
                return Progress("pending", group_id)
            return Progress("stale", group_id, f"name or description is now {has[0]!r}, {has[1]!r}")
        case SetPermissions(name=name, group_id=group_id):
            if group_id is None:
                named = live.by_name.get(canonical_name(name), [])
                if not named:
                    return Progress("pending")
                group_id = named[0].group_id
            elif group_id not in live.by_id:
                return Progress("stale", reason="the group no longer exists")
            return permissions_progress(change, group_id, live.permissions[group_id])
        case DeleteGroup(group_id=group_id, name=name, membership_count=count):
            group = live.by_id.get(group_id)
            if group is None:
                return Progress("done", group_id)
            if canonical_name(group.name) != name:
                return Progress("stale", group_id, f"the group is now named {group.name!r}")
            if group.membership_count != count:
                return Progress(
                    "stale", group_id, f"the group has {group.membership_count} members now, not {count}"
                )
            return Progress("pending", group_id)


def permissions_progress(
    change: SetPermissions, group_id: int, permissions: Iterable[Permission]
) -> Progress:
    """As :func:`progress`, for permissions that were just read."""
    has = canonical_permissions(permissions)
    if has == change.after:
        return Progress("done", group_id)
    if has == change.before:
        return Progress("pending", group_id)
    lost, gained = grants(change.before) - grants(has), grants(has) - grants(change.before)
    moved = ", ".join(
        [f"+{_spelled(grant)}" for grant in sorted(gained)[:5]]
        + [f"-{_spelled(grant)}" for grant in sorted(lost)[:5]]
    )
    return Progress("stale", group_id, f"its permissions have changed since they were read ({moved})")


def _spelled(grant: Grant) -> str:
    return " ".join(str(part) for part in grant)
