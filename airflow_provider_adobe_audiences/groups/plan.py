# SPDX-License-Identifier: Apache-2.0
"""What has to change so that the declared groups are true. Pure: no request is made here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_adobe_audiences.adobe.audience_manager import Group
from airflow_provider_adobe_audiences.groups.changes import (
    Attributes,
    CreateGroup,
    DeleteGroup,
    Finding,
    Plan,
    SetPermissions,
    UpdateGroup,
    grants,
)
from airflow_provider_adobe_audiences.groups.live import Live, Scope
from airflow_provider_adobe_audiences.groups.match import match
from airflow_provider_adobe_audiences.groups.names import canonical_name, look_alike, same_text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.groups.spec import DesiredGroup, DesiredState

# What regular expressions have, and few names.
_OF_PATTERNS = re.compile(r"[\\^$*+?|\[\]{}]")

Pairs = Sequence[tuple["DesiredGroup", Group | None]]


def permissions_to_read(desired: DesiredState, groups: Sequence[Group]) -> list[int]:
    """Return the ids of the groups whose permissions a plan needs to know: those that exist and whose
    permissions are declared.

    :param desired: the declared groups.
    :param groups: all live groups.
    :raises AmbiguousGroupsError: see :func:`~.match.match`.
    """
    pairs = zip(desired.groups, match(desired, Live(tuple(groups))), strict=True)
    return [found.group_id for wanted, found in pairs if found is not None and wanted.permissions is not None]


def make(desired: DesiredState, live: Live, *, target: str, scope: Scope | None = None) -> Plan:
    """Compare what is declared with what is true.

    :param desired: the declared groups.
    :param live: what is true; with the permissions of :func:`permissions_to_read`.
    :param target: base URL of the service, to apply the plan nowhere else.
    :param scope: what else belongs to the desired state.
    :returns: the plan, not guarded yet.
    :raises AmbiguousGroupsError: when it is not clear which groups are meant.
    """
    scope = scope or Scope()
    pairs = list(zip(desired.groups, match(desired, live), strict=True))
    creates = [
        CreateGroup(after=Attributes(name=wanted.name, description=_text(wanted.description)))
        for wanted, found in pairs
        if found is None
    ]
    updates = [
        change
        for wanted, found in pairs
        if found is not None and (change := _update(wanted, found, live)) is not None
    ]
    sets = [grant for pair in pairs if (grant := _permissions(*pair, live)) is not None]
    changed = {one.name for one in creates} | {one.name for one in updates} | {one.name for one in sets}
    declared = {found.group_id for _, found in pairs if found is not None}
    in_scope = [
        group
        for group in live.groups
        if group.group_id not in declared and scope.covers(live.names[group.group_id], group.group_id)
    ]
    deletes, kept = _undeclared(desired, in_scope, live, scope)
    findings = (*_differences(pairs), *_same_names(live, declared), *kept, *_in_vain(desired, live, scope))
    pinned = {group.group_id for group in desired.groups if group.group_id is not None}
    return Plan(
        target=target,
        changes=(*creates, *_in_order(updates, pinned), *sets, *deletes),
        findings=findings,
        unchanged=sum(_name_sent(*pair, live) not in changed for pair in pairs),
        unmanaged=len(live.groups) - len(declared) - len(in_scope),
        managed_live=len(declared) + len(in_scope),
        live_grants=sum(
            len(grants(live.permissions[found.group_id]))
            for wanted, found in pairs
            if found is not None and wanted.permissions is not None
        ),
        declared=len(desired.groups),
        prune=scope.prune,
        caller_groups=live.caller.groups if live.caller else None,
    )


def _name_sent(wanted: DesiredGroup, found: Group | None, live: Live) -> str:
    """Return the declared name, or the live one as it came, when that is the same name."""
    same = found is not None and live.names[found.group_id] == canonical_name(wanted.name)
    return found.name if found is not None and same else wanted.name


def _update(wanted: DesiredGroup, found: Group, live: Live) -> UpdateGroup | None:
    name = _name_sent(wanted, found, live)
    managed = wanted.manages_description
    described = managed and not same_text(found.description, wanted.description)
    renamed = name != found.name
    if not renamed and not described:
        return None
    # A PUT replaces both: what nobody asked to change goes back as it came, to the last character.
    return UpdateGroup(
        kind="rename" if renamed else "update",
        group_id=found.group_id,
        before=Attributes(name=found.name, description=found.description),
        after=Attributes(
            name=name, description=_text(wanted.description) if described else found.description
        ),
    )


def _permissions(wanted: DesiredGroup, found: Group | None, live: Live) -> SetPermissions | None:
    rows = wanted.rows
    if rows is None:
        return None
    has = live.permissions[found.group_id] if found else ()
    if has == rows:
        return None
    return SetPermissions(
        name=_name_sent(wanted, found, live),
        group_id=found.group_id if found else None,
        before=has,
        after=rows,
    )


def _text(description: str | None) -> str | None:
    return (description or "").strip() or None


def temporary_name(name: str, group_id: int) -> str:
    """Return the name that a group has while another one gives its name up.

    :param name: the name that the group shall have.
    :param group_id: the group, which makes the name its own.
    """
    return f"{name} (being renamed, groupId {group_id})"


def _in_order(updates: Iterable[UpdateGroup], pinned: Collection[int]) -> list[UpdateGroup]:
    """Return the updates so that each name is free when a group takes it; where groups exchange their names,
    one of them steps aside for a moment. That one is pinned by its id, so a task that dies halfway finds it
    again.
    """
    updates = list(updates)
    holders = {canonical_name(one.before.name): one for one in updates if one.kind == "rename"}
    ordered: list[UpdateGroup] = []
    placed: set[int] = set()
    for update in updates:
        chain: list[UpdateGroup] = []
        one: UpdateGroup | None = update
        while one is not None and one.group_id not in placed and one not in chain:
            chain.append(one)
            one = holders.get(canonical_name(one.after.name)) if one.kind == "rename" else None
        if one is not None and one in chain:
            start = chain.index(one)
            circle = chain[start:]
            turn = next((place for place, each in enumerate(circle) if each.group_id in pinned), 0)
            circle = [*circle[turn:], *circle[:turn]]
            aside = circle[0]
            through = temporary_name(aside.after.name, aside.group_id)
            chain = [*chain[:start], aside.model_copy(update={"through": through}), *circle[1:]]
        ordered += reversed(chain)
        placed |= {each.group_id for each in chain}
    return ordered


def _differences(pairs: Pairs) -> Iterator[Finding]:
    for wanted, found in pairs:
        if found is None:
            yield from _missing_in_new(wanted)
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


def _missing_in_new(wanted: DesiredGroup) -> Iterator[Finding]:
    if wanted.wildcards:
        missing = ", ".join(sorted(wanted.wildcards))
        message = (
            f"a new group has no wildcards; declared are: {missing} (set them in Audience Manager's user "
            "interface)"
        )
        yield Finding(kind="wildcards", name=wanted.name, group_id=None, message=message)
    if wanted.users:
        message = "the new group has none of its declared users"
        yield Finding(kind="users", name=wanted.name, group_id=None, message=message)


def _same_names(live: Live, declared: Collection[int]) -> Iterator[Finding]:
    """Tell of other groups that have the name of a declared one, or one that nobody can tell from it."""
    for groups in live.by_look.values():
        if len(groups) < 2 or not any(group.group_id in declared for group in groups):
            continue
        chosen = next(group for group in groups if group.group_id in declared)
        others = [group for group in groups if group.group_id not in declared]
        for same, message in (
            (True, "other groups have the same name: groupId {}"),
            (False, "other groups have names that a person cannot tell from it: groupId {}"),
        ):
            ids = [
                str(group.group_id)
                for group in others
                if (live.names[group.group_id] == live.names[chosen.group_id]) is same
            ]
            if ids:
                yield Finding(
                    kind="name",
                    name=live.names[chosen.group_id],
                    group_id=chosen.group_id,
                    message=message.format(", ".join(ids)),
                )


def _undeclared(
    desired: DesiredState, groups: Iterable[Group], live: Live, scope: Scope
) -> tuple[list[DeleteGroup], list[Finding]]:
    """Return what pruning deletes, and what it leaves alone although it is in the scope."""
    current = {look_alike(wanted.name) for wanted in desired.groups}
    former = {look_alike(name) for wanted in desired.groups for name in wanted.previously}
    deletes: list[DeleteGroup] = []
    findings: list[Finding] = []
    for group in groups:
        name = live.names[group.group_id]
        look = look_alike(name)
        kept = (
            "it is protected"
            if scope.protects(name)
            else "a declared group had this name before"
            if look in former
            else "a declared group has the same name"
            if look in current
            else None
        )
        if kept is None and scope.prune:
            deletes.append(
                DeleteGroup(
                    name=name,
                    group_id=group.group_id,
                    membership_count=group.membership_count,
                    fingerprint=live.fingerprint(group.group_id),
                )
            )
            continue
        findings.append(
            Finding(
                kind="kept" if kept else "undeclared",
                name=name,
                group_id=group.group_id,
                message=f"not declared, but kept: {kept}" if kept else "not declared (prune is off)",
            )
        )
    return deletes, findings


def _in_vain(desired: DesiredState, live: Live, scope: Scope) -> Iterator[Finding]:
    nothing, protected = scope.without_effect(live, [canonical_name(group.name) for group in desired.groups])
    if nothing:
        # Ids of groups that were deleted are no slip: the second run of the same Dag sees them gone.
        kind: Literal["scope", "notice"] = "scope" if isinstance(scope.managed_groups, str) else "notice"
        yield Finding(kind=kind, name="managed_groups", group_id=None, message=nothing)
    for name in protected:
        message = "no group has this protected name, nor one that looks like it"
        if _OF_PATTERNS.search(name):
            message += "; it looks like a regular expression, and protected takes whole names"
        yield Finding(
            kind="protected" if scope.prune else "notice", name=name, group_id=None, message=message
        )
