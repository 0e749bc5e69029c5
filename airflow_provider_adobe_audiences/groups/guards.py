# SPDX-License-Identifier: Apache-2.0
"""What a plan may not do unless somebody says so. All guards are evaluated before the first write, and all
are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from airflow_provider_adobe_audiences.errors import GuardError
from airflow_provider_adobe_audiences.groups.changes import GuardResult, Plan, UpdateGroup
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.names import look_alike
from airflow_provider_adobe_audiences.text import counted


def guarded(plan: Plan, limits: Limits) -> Plan:
    """Return the plan with what every guard says about it.

    :param plan: a plan.
    :param limits: how much it may take away.
    """
    guards = (
        *_of_deletions(plan, limits),
        *_of_permissions(plan, limits),
        *_of_scope(plan, limits),
        *_of_groups_to_spare(plan, limits),
    )
    return plan.model_copy(update={"guards": guards, "require_self": limits.require_self})


def check(plan: Plan) -> None:
    """Raise :class:`GuardError`, listing every guard that was tripped.

    :param plan: a plan of :func:`guarded`.
    """
    tripped = [guard for guard in plan.guards if not guard.passed]
    if tripped:
        lines = "\n".join(
            f"  {guard.guard}: {guard.message} (allowed by {guard.parameter})" for guard in tripped
        )
        raise GuardError(f"{len(tripped)} guard(s) stopped the plan, nothing was changed:\n{lines}")


def _of_deletions(plan: Plan, limits: Limits) -> Iterator[GuardResult]:
    deletes = plan.deletes
    yield GuardResult(
        guard="number of deletions",
        passed=len(deletes) <= limits.max_deletes,
        parameter=f"max_deletes={len(deletes)}",
        message=f"{len(deletes)} to delete, at most {limits.max_deletes} allowed",
    )
    # Without a live group nothing can be deleted, so the share is never 0/0.
    share = len(deletes) / plan.managed_live if deletes else 0.0
    of = counted(plan.managed_live, "managed group")
    yield _ratio("share of deletions", len(deletes), of, share, "max_delete_ratio", limits.max_delete_ratio)
    inhabited = [
        f"{change.name} ({change.membership_count})" for change in deletes if change.membership_count > 0
    ]
    yield _names(
        "deletion of groups with members",
        inhabited,
        limits.allow_non_empty_delete,
        "allow_non_empty_delete=True",
        "would be deleted with members in them",
    )


def _of_permissions(plan: Plan, limits: Limits) -> Iterator[GuardResult]:
    removed = sum(len(change.removed) for change in plan.permission_changes)
    share = removed / plan.live_grants if removed else 0.0
    name, maximum = "max_permission_removal_ratio", limits.max_permission_removal_ratio
    yield _ratio(
        "share of removed permissions", removed, counted(plan.live_grants, "grant"), share, name, maximum
    )
    emptied = [change.name for change in plan.permission_changes if change.before and not change.after]
    yield _names(
        "emptied permissions", emptied, limits.allow_empty, "allow_empty=True", "would lose all permissions"
    )


def _of_scope(plan: Plan, limits: Limits) -> Iterator[GuardResult]:
    yield GuardResult(
        guard="empty desired state",
        passed=limits.allow_empty_desired or not plan.prune or plan.declared > 0,
        parameter="allow_empty_desired=True",
        message=f"{counted(plan.declared, 'group')} declared, pruning is {'on' if plan.prune else 'off'}",
    )
    # Pruning nothing, not even what is declared, is a slip in the pattern.
    nothing = [finding.message for finding in plan.findings if finding.kind == "scope"]
    yield GuardResult(
        guard="scope that covers nothing",
        passed=not (nothing and plan.prune and plan.declared > 0),
        parameter="prune=False",
        message=nothing[0] if nothing else "none",
    )
    # Nor does a name that protects nothing: the group that it means would be deleted.
    in_vain = [finding for finding in plan.findings if finding.kind == "protected"]
    yield GuardResult(
        guard="protected names that no group has",
        passed=not in_vain,
        parameter="protected=[…] without these names",
        message="; ".join(f"{finding.name}: {finding.message}" for finding in in_vain[:10]) or "none",
    )


def _of_groups_to_spare(plan: Plan, limits: Limits) -> Iterator[GuardResult]:
    own = set(plan.caller_groups or ())
    losing = [change.name for change in plan.deletes if change.group_id in own]
    losing += [change.name for change in plan.permission_changes if change.group_id in own and change.removed]
    yield _names(
        "groups of the calling user",
        losing,
        not limits.require_self,
        "require_self=False",
        "hold the calling user and would lose access",
    )
    protected = {look_alike(name) for name in limits.protected}
    touched = sorted({name for name in _touched(plan) if look_alike(name) in protected})
    yield _names(
        "protected groups",
        touched,
        False,
        "protected=[…] without these names",
        "would be changed although protected",
    )


def _touched(plan: Plan) -> Iterator[str]:
    for change in plan.changes:
        if isinstance(change, UpdateGroup):
            yield change.before.name
        yield change.name


def _ratio(guard: str, number: int, of: str, share: float, parameter: str, maximum: float) -> GuardResult:
    # Rounded up to two digits, so that the suggested value does allow it.
    enough = min(1.0, math.ceil(share * 100) / 100)
    message = f"{number} of {of} ({share:.0%}) to remove, at most {maximum:.0%} allowed"
    return GuardResult(
        guard=guard, passed=share <= maximum, parameter=f"{parameter}={enough:.2f}", message=message
    )


def _names(guard: str, names: Sequence[str], allowed: bool, parameter: str, what: str) -> GuardResult:
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return GuardResult(
        guard=guard,
        passed=allowed or not names,
        parameter=parameter,
        message=f"{listed} {what}" if names else "none",
    )
