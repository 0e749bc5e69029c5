# SPDX-License-Identifier: Apache-2.0
"""Reads what is true, makes a plan true, and looks whether it is. The only part of group sync that sends
requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from airflow_provider_adobe_audiences.adobe.audience_manager import (
    Group,
    Permission,
    Send,
    all_of,
    create_group,
    delete_group,
    get_self,
    list_group_permissions,
    list_groups,
    set_group_permissions,
    update_group,
)
from airflow_provider_adobe_audiences.adobe.client.call import Call, Response
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobePermissionError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    ApplyError,
    PlanRefusedError,
    SideEffectError,
    StalePlanError,
)
from airflow_provider_adobe_audiences.groups.guards import Limits, guarded
from airflow_provider_adobe_audiences.groups.plan import (
    Change,
    CreateGroup,
    DeleteGroup,
    Live,
    Plan,
    Scope,
    SetPermissions,
    UpdateGroup,
    make,
    permissions_progress,
    permissions_to_read,
    progress,
)
from airflow_provider_adobe_audiences.groups.spec import DesiredState, canonical_name, canonical_permissions

T = TypeVar("T")
log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 8


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


def read(send: Send, desired: DesiredState, *, concurrency: int = DEFAULT_CONCURRENCY) -> Live:
    """Read all groups, and the permissions of those whose permissions are declared.

    :param send: sends a call; used by several threads at once.
    :param concurrency: most reads under way at the same time.
    :raises AmbiguousGroupsError: when it is not clear which groups are meant.
    """
    groups = all_of(send, list_groups)
    return Live(groups, read_permissions(send, permissions_to_read(desired, groups), concurrency))


def read_all(
    send: Send,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    chosen: Callable[[Group], bool] = lambda group: True,
) -> Live:
    """Read all groups, and the permissions of those that are chosen and accessible to the calling user."""
    groups = all_of(send, list_groups)
    ids = [group.group_id for group in groups if chosen(group)]
    return Live(groups, read_permissions(send, ids, concurrency, all_accessible=False))


def read_permissions(
    send: Send, group_ids: Iterable[int], concurrency: int, *, all_accessible: bool = True
) -> dict[int, tuple[Permission, ...]]:
    """Return the canonical permissions of groups, by group id.

    :param all_accessible: whether a group that Adobe does not let the calling user read is an error;
        otherwise it is left out.
    """

    def one(group_id: int) -> tuple[Permission, ...] | None:
        try:
            rows = send(list_group_permissions(group_id))
        except (AdobeValidationError, AdobePermissionError) as error:
            if not all_accessible:
                return None
            error.hint = (
                f"The calling user cannot access groupId {group_id}: give it access, or leave the "
                "permissions of that group out."
            )
            raise
        return canonical_permissions(rows)

    ids = list(group_ids)
    if not ids:
        return {}
    with ThreadPoolExecutor(
        max_workers=max(1, min(concurrency, len(ids))), thread_name_prefix="adobe-groups"
    ) as pool:
        try:
            return {
                group_id: rows
                for group_id, rows in zip(ids, pool.map(one, ids), strict=True)
                if rows is not None
            }
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def plan(
    send: Send,
    desired: DesiredState,
    *,
    target: str,
    scope: Scope,
    limits: Limits,
    concurrency: int = DEFAULT_CONCURRENCY,
) -> tuple[Plan, Live]:
    """Read what is true, plan, and ask every guard. Nothing is written.

    :raises AmbiguousGroupsError: when it is not clear which groups are meant.
    """
    live = read(send, desired, concurrency=concurrency)
    made = make(desired, live, target=target, scope=scope)
    if made.takes_away and limits.require_self:
        live = replace(live, caller=send(get_self()))
        made = make(desired, live, target=target, scope=scope)
    return guarded(made, limits), live


def still_to_do(
    send: Send, approved: Plan, *, concurrency: int = DEFAULT_CONCURRENCY
) -> tuple[list[Change], list[Result], Live]:
    """Compare an approved plan with what is true now.

    Returns the changes that are still to be made, the results of those that are true already (which is how a
    retry goes on from where it was), and what is true.

    :raises PlanRefusedError: when any change rests on something that is no longer true. Nothing was written.
    """
    live = Live(all_of(send, list_groups))
    named, existing = live.by_name, live.by_id
    ids: set[int] = set()
    for wanted in approved.permission_changes:
        if wanted.group_id is None:
            ids |= {group.group_id for group in named.get(canonical_name(wanted.name), [])}
        elif wanted.group_id in existing:
            ids.add(wanted.group_id)
    live = replace(live, permissions=read_permissions(send, sorted(ids), concurrency))
    pending: list[Change] = []
    done: list[Result] = []
    stale: list[str] = []
    for change in approved.changes:
        found = progress(change, live)
        if found.state == "pending":
            pending.append(change)
        elif found.state == "done":
            done.append(Result(change, "already", found.group_id))
        else:
            stale.append(f"{title(change)}: {found.reason}")
    if stale:
        raise PlanRefusedError("the plan is stale, nothing was changed: " + "; ".join(stale))
    return pending, done, live


def apply(
    send: Send,
    changes: Sequence[Change],
    live: Live,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    on_result: Callable[[Result], None] = lambda result: None,
) -> tuple[Result, ...]:
    """Make the changes, in order, one at a time, and verify by reading that they came true.

    A failure does not stop the changes next to it, but a failed creation stops the deletions. Permissions are
    read again right before they are replaced, and all groups right before any is deleted. A creation whose
    outcome is unknown is looked up, never repeated.

    :param send: sends a call.
    :param changes: what to do: creations, renames and updates, permissions, deletions, in that order.
    :param live: what was true when the changes were planned.
    :param concurrency: most reads under way at the same time.
    :param on_result: is told each result as it happens.
    :raises StalePlanError: when something to be overwritten has changed since it was read.
    :raises SideEffectError: when members or wildcards of a group moved although nobody asked for it.
    :raises ApplyError: when changes failed, or did not come true.
    """
    run = _Run(send, live, on_result)
    for change in changes:
        run.attempt(change)
    results = tuple(run.results)
    failed = [result for result in results if result.outcome in ("failed", "skipped")]
    if failed:
        lines = "\n".join(f"  {title(result.change)}: {result.outcome}: {result.error}" for result in failed)
        raise _failure(
            f"{len(failed)} of {len(results)} changes were not made:\n{lines}",
            results,
            transient=run.retry_helps,
        )
    if results:
        _verify(send, results, live, concurrency)
    return results


def title(change: Change) -> str:
    """Return a change in a few words."""
    group = (
        f" (groupId {change.group_id})"
        if not isinstance(change, CreateGroup) and change.group_id is not None
        else ""
    )
    return f"{change.kind.replace('_', ' ')} {change.name!r}{group}"


def create_once(send: Send, name: str, description: str | None) -> tuple[Group, str | None]:
    """Create a group that does not exist, and return it with Adobe's id of the request.

    When the answer is lost, the group is looked up by its name. It is never created a second time here.

    :raises AdobeUnknownOutcomeError: when the answer was lost and not exactly one group has the name.
    """
    try:
        return send(_with_request_id(create_group(name, description)))
    except AdobeUnknownOutcomeError as error:
        log.warning("create group %r: %s. Looking whether it exists.", name, error.message)
        found = named(send, name)
        if len(found) == 1:
            return found[0], error.request_id
        error.hint = (
            f"{len(found)} groups have this name now: remove all but one, then run again."
            if found
            else "No group has this name now. A retry looks again before it creates anything."
        )
        raise


def named(send: Send, name: str) -> list[Group]:
    """Return the live groups that have a name."""
    return [
        group for group in all_of(send, list_groups) if canonical_name(group.name) == canonical_name(name)
    ]


def update_only(send: Send, before: Group, name: str, description: str | None) -> tuple[Group, str | None]:
    """Update name and description of a group, and return it with Adobe's id of the request.

    :param before: the group as it was read shortly before.
    :raises SideEffectError: when Adobe's answer shows that members or wildcards moved as well.
    """
    after, request_id = send(_with_request_id(update_group(before.group_id, name, description)))
    moved = [
        f"{what} {was!r} -> {now!r}"
        for what, was, now in (
            ("membershipCount", before.membership_count, after.membership_count),
            ("users", sorted(before.users), sorted(after.users)),
            ("wildcards", sorted(before.wildcards), sorted(after.wildcards)),
        )
        if was != now
    ]
    if moved:
        raise SideEffectError(
            f"the update of group {before.name!r} (groupId {before.group_id}) changed more than name and "
            "description; everything after "
            f"it was left undone: {', '.join(moved)}"
        )
    return after, request_id


class _Run:
    """One pass over the changes."""

    def __init__(self, send: Send, live: Live, on_result: Callable[[Result], None]) -> None:
        self.send = send
        self.before = live.by_id
        self.on_result = on_result
        # In a retry, a group that the plan creates may be there already.
        self.ids = {name: groups[0].group_id for name, groups in live.by_name.items()}
        self.results: list[Result] = []
        self.failed_creation = False
        self.retry_helps = False
        self.before_deletes: Live | None = None

    def attempt(self, change: Change) -> None:
        try:
            result = self.make(change)
        except (StalePlanError, SideEffectError):
            raise
        except AdobeError as error:
            self.failed_creation |= isinstance(change, CreateGroup)
            self.retry_helps |= error.transient
            result = Result(change, "failed", getattr(change, "group_id", None), error.request_id, str(error))
        self.results.append(result)
        self.on_result(result)

    def make(self, change: Change) -> Result:
        match change:
            case CreateGroup():
                return self.create(change)
            case UpdateGroup():
                return self.update(change)
            case SetPermissions():
                return self.set_permissions(change)
            case DeleteGroup():
                return self.delete(change)

    def create(self, change: CreateGroup) -> Result:
        group, request_id = create_once(self.send, change.after.name, change.after.description)
        self.ids[canonical_name(change.name)] = group.group_id
        return Result(change, "applied", group.group_id, request_id)

    def update(self, change: UpdateGroup) -> Result:
        _, request_id = update_only(
            self.send, self.before[change.group_id], change.after.name, change.after.description
        )
        return Result(change, "applied", change.group_id, request_id)

    def set_permissions(self, change: SetPermissions) -> Result:
        group_id = (
            change.group_id if change.group_id is not None else self.ids.get(canonical_name(change.name))
        )
        if group_id is None:
            return Result(change, "skipped", error="the group was not created")
        rows = self.send(list_group_permissions(group_id))
        found = permissions_progress(change, group_id, rows)
        if found.state == "done":
            return Result(change, "already", group_id)
        if found.state == "stale":
            raise StalePlanError(f"{title(change)}: {found.reason}; this and all later changes were not made")
        _, request_id = self.send(_with_request_id(set_group_permissions(group_id, change.after)))
        return Result(change, "applied", group_id, request_id)

    def delete(self, change: DeleteGroup) -> Result:
        if self.failed_creation:
            return Result(
                change, "skipped", change.group_id, error="a group could not be created, so none is deleted"
            )
        if self.before_deletes is None:
            self.before_deletes = Live(all_of(self.send, list_groups))
        found = progress(change, self.before_deletes)
        if found.state == "done":
            return Result(change, "already", change.group_id)
        if found.state == "stale":
            raise StalePlanError(f"{title(change)}: {found.reason}; this and all later changes were not made")
        existed, request_id = self.send(_with_request_id(delete_group(change.group_id)))
        return Result(change, "applied" if existed else "already", change.group_id, request_id)


def _verify(send: Send, results: Sequence[Result], before: Live, concurrency: int) -> None:
    ids = [
        result.group_id
        for result in results
        if isinstance(result.change, SetPermissions) and result.group_id is not None
    ]
    live = Live(all_of(send, list_groups), read_permissions(send, ids, concurrency))
    wrong: list[str] = []
    for result in results:
        change = result.change
        if isinstance(change, SetPermissions):
            # What was created is known by its id by now.
            change = change.model_copy(update={"group_id": result.group_id})
        found = progress(change, live)
        if found.state != "done":
            wrong.append(f"{title(result.change)}: {found.reason or 'it is as it was before'}")
    if wrong:
        raise _failure(
            "Adobe accepted the changes, but they are not true: " + "; ".join(wrong),
            tuple(results),
            transient=True,
        )
    was, now = before.by_id, live.by_id
    moved = [
        f"{now[group_id].name!r} {sorted(was[group_id].wildcards)} -> {sorted(now[group_id].wildcards)}"
        for group_id in ids
        if group_id in was and set(was[group_id].wildcards) != set(now[group_id].wildcards)
    ]
    if moved:
        raise SideEffectError(f"setting permissions changed wildcards: {'; '.join(moved)}")


def _failure(message: str, results: tuple[Result, ...], *, transient: bool) -> ApplyError:
    error = ApplyError(message)
    error.results = results
    error.transient = transient
    return error


def _with_request_id(call: Call[T]) -> Call[tuple[T, str | None]]:
    def parse(response: Response) -> tuple[T, str | None]:
        return call.parse(response), response.headers.get("x-request-id")

    return replace(call, parse=parse)  # type: ignore[arg-type, return-value]
