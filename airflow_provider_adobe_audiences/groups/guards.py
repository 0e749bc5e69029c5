# SPDX-License-Identifier: Apache-2.0
"""What a plan may not do unless somebody says so. All guards are evaluated before the first write, and all
are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_adobe_audiences.errors import GuardError
from airflow_provider_adobe_audiences.groups.plan import GuardResult, Plan, UpdateGroup
from airflow_provider_adobe_audiences.groups.spec import canonical_name


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a plan may take away.

    A grant is one permission on one object.

    :param max_deletes: most groups that may be deleted.
    :param max_delete_ratio: largest share (0 to 1) of the live groups that are declared or in the managed
        scope that may be deleted.
    :param max_permission_removal_ratio: largest share (0 to 1) of the live grants of groups with declared
        permissions that may be removed.
    :param allow_empty: whether a group may lose all its permissions (``permissions: []``).
    :param allow_empty_desired: whether pruning may run although no group is declared at all.
    :param allow_non_empty_delete: whether groups with members may be deleted.
    :param require_self: whether groups that the calling user is in are spared from deletion and from loss of
        permissions.
    :param protected: names of groups that may not be changed.
    """

    max_deletes: int = 5
    max_delete_ratio: float = 0.25
    max_permission_removal_ratio: float = 0.25
    allow_empty: bool = False
    allow_empty_desired: bool = False
    allow_non_empty_delete: bool = False
    require_self: bool = True
    protected: Sequence[str] = ()

    def __post_init__(self) -> None:
        if (
            isinstance(self.max_deletes, bool)
            or not isinstance(self.max_deletes, int)
            or self.max_deletes < 0
        ):
            raise ValueError(f"max_deletes must be a whole number from 0, not {self.max_deletes!r}")
        for name in ("max_delete_ratio", "max_permission_removal_ratio"):
            value = getattr(self, name)
            # Written this way, a NaN is refused as well.
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 (nothing) to 1 (everything), not {value!r}")
        for name in ("allow_empty", "allow_empty_desired", "allow_non_empty_delete", "require_self"):
            # Text such as "False" would count as true.
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {getattr(self, name)!r}")


def guarded(plan: Plan, limits: Limits) -> Plan:
    """Return the plan with what every guard says about it."""
    return plan.model_copy(update={"guards": tuple(_evaluate(plan, limits))})


def check(plan: Plan) -> None:
    """Raise :class:`GuardError`, listing every guard that was tripped."""
    tripped = [guard for guard in plan.guards if not guard.passed]
    if tripped:
        lines = "\n".join(
            f"  {guard.guard}: {guard.message} (allowed by {guard.parameter})" for guard in tripped
        )
        raise GuardError(f"{len(tripped)} guard(s) stopped the plan, nothing was changed:\n{lines}")


def _evaluate(plan: Plan, limits: Limits) -> Iterator[GuardResult]:
    deletes = plan.deletes
    yield GuardResult(
        guard="number of deletions",
        passed=len(deletes) <= limits.max_deletes,
        parameter=f"max_deletes={len(deletes)}",
        message=f"{len(deletes)} to delete, at most {limits.max_deletes} allowed",
    )
    # Without a live group nothing can be deleted, so the share is never 0/0.
    share = len(deletes) / plan.managed_live if deletes else 0.0
    yield _ratio(
        "share of deletions",
        len(deletes),
        f"{plan.managed_live} managed groups",
        share,
        "max_delete_ratio",
        limits.max_delete_ratio,
    )
    removed = sum(len(change.removed) for change in plan.permission_changes)
    share = removed / plan.live_grants if removed else 0.0
    name, most = "max_permission_removal_ratio", limits.max_permission_removal_ratio
    yield _ratio("share of removed permissions", removed, f"{plan.live_grants} grants", share, name, most)
    emptied = [change.name for change in plan.permission_changes if change.before and not change.after]
    yield _names(
        "emptied permissions", emptied, limits.allow_empty, "allow_empty=True", "would lose all permissions"
    )
    yield GuardResult(
        guard="empty desired state",
        passed=limits.allow_empty_desired or not plan.prune or plan.declared > 0,
        parameter="allow_empty_desired=True",
        message=f"{plan.declared} groups are declared, pruning is {'on' if plan.prune else 'off'}",
    )
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
    own = set(plan.caller_groups or ())
    losing = [change.name for change in deletes if change.group_id in own]
    losing += [change.name for change in plan.permission_changes if change.group_id in own and change.removed]
    yield _names(
        "groups of the calling user",
        losing,
        not limits.require_self,
        "require_self=False",
        "hold the calling user and would lose access",
    )
    protected = {canonical_name(name) for name in limits.protected}
    touched = sorted({name for name in _touched(plan) if canonical_name(name) in protected})
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


def _ratio(guard: str, number: int, of: str, share: float, parameter: str, most: float) -> GuardResult:
    # Rounded up to two digits, so that the suggested value does allow it.
    enough = min(1.0, math.ceil(share * 100) / 100)
    message = f"{number} of {of} ({share:.0%}) to remove, at most {most:.0%} allowed"
    return GuardResult(
        guard=guard, passed=share <= most, parameter=f"{parameter}={enough:.2f}", message=message
    )


def _names(guard: str, names: Sequence[str], allowed: bool, parameter: str, what: str) -> GuardResult:
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return GuardResult(
        guard=guard,
        passed=allowed or not names,
        parameter=parameter,
        message=f"{listed} {what}" if names else "none",
    )
