# SPDX-License-Identifier: Apache-2.0
"""Reads what is true, makes a plan true, and looks whether it is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.adobe.audience_manager import (
    Group,
    Permission,
    Send,
    all_of,
    delete_group,
    get_self,
    list_group_permissions,
    list_groups,
    set_group_permissions,
)
from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY, in_parallel
from airflow_provider_adobe_audiences.errors import (
    AdobeError,
    AdobePermissionError,
    AdobeValidationError,
    ApplyError,
    GuardError,
    PlanRefusedError,
    SideEffectError,
    StalePlanError,
)
from airflow_provider_adobe_audiences.groups.changes import (
    Change,
    CreateGroup,
    DeleteGroup,
    Plan,
    Result,
    SetPermissions,
    UpdateGroup,
    takes_away,
    title,
)
from airflow_provider_adobe_audiences.groups.guards import guarded
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.live import Live, Scope
from airflow_provider_adobe_audiences.groups.names import canonical_name, canonical_permissions
from airflow_provider_adobe_audiences.groups.plan import make, permissions_to_read
from airflow_provider_adobe_audiences.groups.progress import Progress, permissions_progress, progress
from airflow_provider_adobe_audiences.groups.write import (
    create_once,
    look,
    permissions_of,
    update_only,
    with_request_id,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.groups.spec import DesiredState


def read_all(
    send: Send,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    chosen: Callable[[Group], bool] = lambda group: True,
) -> Live:
    """Read all groups, and the permissions of those that are chosen and accessible to the calling user.

    :param send: sends a call; used by several threads at once.
    :param concurrency: most requests under way at the same time.
    :param chosen: tells whose permissions to read.
    :returns: what is true.
    """
    groups = all_of(send, list_groups)
    ids = [group.group_id for group in groups if chosen(group)]
    return Live(groups, _read_permissions(send, ids, concurrency, all_accessible=False))


def _read_permissions(
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
    found = zip(ids, in_parallel(one, ids, concurrency), strict=True)
    return {group_id: rows for group_id, rows in found if rows is not None}


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

    :param send: sends a call; used by several threads at once.
    :param desired: the declared groups.
    :param target: base URL of the service.
    :param scope: what else belongs to the desired state.
    :param limits: how much may be taken away.
    :param concurrency: most requests under way at the same time.
    :returns: the plan, and what it rests on.
    :raises AmbiguousGroupsError: when it is not clear which groups are meant.
    """
    groups = all_of(send, list_groups)
    live = Live(groups, _read_permissions(send, permissions_to_read(desired, groups), concurrency))
    made = make(desired, live, target=target, scope=scope)
    if made.deletes:
        # What is deleted is looked at as a whole, to see later whether it is still what was meant.
        ids = [change.group_id for change in made.deletes]
        more = _read_permissions(send, ids, concurrency, all_accessible=False)
        live = replace(live, permissions={**live.permissions, **more})
        made = make(desired, live, target=target, scope=scope)
    if made.takes_away and limits.require_self:
        caller = send(get_self())
        live = replace(live, caller=caller)
        made = made.model_copy(update={"caller_groups": caller.groups})
    return guarded(made, limits), live


def still_to_do(
    send: Send, approved: Plan, *, concurrency: int = DEFAULT_CONCURRENCY
) -> tuple[list[Change], list[Result], Live]:
    """Compare an approved plan with what is true now.

    :param send: sends a call; used by several threads at once.
    :param approved: the plan.
    :param concurrency: most requests under way at the same time.
    :returns: the changes that are still to be made, the results of those that are true already (which is how
        a retry goes on from where it was), and what is true.
    :raises PlanRefusedError: when any change rests on something that is no longer true. Nothing was written.
    :raises GuardError: when the calling user would lose access. Nothing was written.
    """
    live = Live(all_of(send, list_groups))
    ids = _ids_to_read(approved, live)
    deleted = [change.group_id for change in approved.deletes if change.group_id in live.by_id]
    live = replace(
        live,
        permissions=_read_permissions(send, sorted(ids), concurrency)
        | _read_permissions(send, deleted, concurrency, all_accessible=False),
    )
    pending: list[Change] = []
    done: list[Result] = []
    stale: list[str] = []
    renamed = _renamed(approved.changes)
    for change in approved.changes:
        found = progress(change, live, renamed)
        if found.state == "pending":
            pending.append(change)
        elif found.state == "done":
            done.append(Result(change, "already", found.group_id))
        else:
            stale.append(f"{title(change)}: {found.reason}")
    if stale:
        raise PlanRefusedError("the plan is stale, nothing was changed: " + "; ".join(stale))
    _spare_own_groups(send, approved, pending)
    return pending, done, live


def _ids_to_read(approved: Plan, live: Live) -> set[int]:
    ids: set[int] = set()
    for wanted in approved.permission_changes:
        if wanted.group_id is None:
            ids |= {group.group_id for group in live.by_name.get(canonical_name(wanted.name), [])}
        elif wanted.group_id in live.by_id:
            ids.add(wanted.group_id)
    return ids


def _spare_own_groups(send: Send, approved: Plan, pending: Iterable[Change]) -> None:
    """Ask again whose groups the calling user is in: that may have changed, and so may the user."""
    losing = [change for change in pending if takes_away(change)]
    if not losing or not approved.require_self:
        return
    own = set(send(get_self()).groups)
    names = [change.name for change in losing if getattr(change, "group_id", None) in own]
    if names:
        raise GuardError(
            f"{', '.join(names)} hold the calling user now, who would lose access (allowed by "
            "require_self=False of the planning task); nothing was changed"
        )


def apply(
    send: Send,
    changes: Sequence[Change],
    live: Live,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    on_result: Callable[[Result], None] = lambda result: None,
) -> tuple[Result, ...]:
    """Make the changes, in order, and verify by reading that they came true. Changes next to each other that
    are each about one group alone (its description, its permissions) are made several at a time.

    A failure does not stop the changes next to it, but a failed creation stops the deletions. Each group is
    read again right before it is written to, and all groups before the first one is created. A creation whose
    outcome is unknown is looked up, never repeated.

    :param send: sends a call.
    :param changes: what to do: creations, renames and updates, permissions, deletions, in that order.
    :param live: what was true when the changes were planned.
    :param concurrency: most requests under way at the same time.
    :param on_result: is told each result as it happens, by one thread at a time.
    :returns: what became of each change, in order.
    :raises StalePlanError: when something to be overwritten has changed since it was read.
    :raises SideEffectError: when members, wildcards or permissions of a group moved although nobody asked for
        it.
    :raises ApplyError: when changes failed, or did not come true.
    """
    run = _Run(send, live, on_result, _renamed(changes))
    for change in changes:
        if isinstance(change, UpdateGroup) and change.through is not None:
            run.step_aside(change, change.through)
    for kind, some in itertools.groupby(changes, _independent_kind):
        run.attempt(list(some), 1 if kind is None else concurrency)
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


def _renamed(changes: Iterable[Change]) -> set[int]:
    """Return the ids of the groups that get another name."""
    return {
        change.group_id for change in changes if isinstance(change, UpdateGroup) and change.kind == "rename"
    }


def _independent_kind(change: Change) -> str | None:
    """Return the kind of a change that is about one group alone: no name that another may wait for, nothing
    that is lost. ``None`` for any other. Each kind has its turn: what one does to a group, another looks at.
    """
    return None if change.kind in ("rename", "delete") else change.kind


class _Run:
    """One pass over the changes."""

    def __init__(
        self, send: Send, live: Live, on_result: Callable[[Result], None], renamed: Collection[int]
    ) -> None:
        self.send = send
        self.renamed = renamed
        self.lock = threading.Lock()
        self.ended_by: AdobeError | None = None
        self.before = live.by_id
        self.on_result = on_result
        # In a retry, a group that the plan creates may be there already.
        self.ids = {name: groups[0].group_id for name, groups in live.by_name.items()}
        self.results: list[Result] = []
        self.failed_creation = False
        self.retry_helps = False
        self.before_creations: Live | None = None

    def attempt(self, changes: Sequence[Change], concurrency: int) -> None:
        """Make changes that do not depend on each other. What would end the task lets those finish that are
        under way, and begins no other.
        """
        at_once = concurrency > 1
        results = in_parallel(self.one, changes, concurrency) if at_once else list(map(self.one, changes))
        self.results += [result for result in results if result is not None]
        if self.ended_by is not None:
            raise self.ended_by

    def one(self, change: Change) -> Result | None:
        if self.ended_by is not None:
            return None
        try:
            result = self.make(change)
        except (StalePlanError, SideEffectError) as error:
            self.ended_by = self.ended_by or error
            return None
        except AdobeError as error:
            self.failed_creation |= isinstance(change, CreateGroup)
            self.retry_helps |= error.transient
            result = Result(change, "failed", getattr(change, "group_id", None), error.request_id, str(error))
        with self.lock:
            self.on_result(result)
        return result

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
        with self.lock:
            if self.before_creations is None:
                self.before_creations = Live(all_of(self.send, list_groups))
        found = self.still_pending(change, progress(change, self.before_creations, self.renamed))
        if found.state == "done":
            self.ids[canonical_name(change.name)] = found.group_id or 0
            return Result(change, "already", found.group_id)
        group, request_id = create_once(self.send, change.after.name, change.after.description)
        self.ids[canonical_name(change.name)] = group.group_id
        return Result(change, "applied", group.group_id, request_id)

    def step_aside(self, change: UpdateGroup, name: str) -> None:
        """Give up a name that another group waits for."""
        group = self.look(change)
        if group is not None and group.name == change.before.name:
            # A stale plan is found out when the change itself is made; here, only the name is given up.
            self.before[group.group_id] = update_only(self.send, group, name, group.description)[0]

    def update(self, change: UpdateGroup) -> Result:
        group = self.look(change)
        found = self.still_pending(change, progress(change, Live((group,) if group else ())))
        if group is None or found.state == "done":
            return Result(change, "already", change.group_id)
        _, request_id = update_only(self.send, group, change.after.name, change.after.description)
        return Result(change, "applied", change.group_id, request_id)

    def set_permissions(self, change: SetPermissions) -> Result:
        group_id = (
            change.group_id if change.group_id is not None else self.ids.get(canonical_name(change.name))
        )
        if group_id is None:
            return Result(change, "skipped", error="the group was not created")
        rows = self.send(list_group_permissions(group_id))
        if self.still_pending(change, permissions_progress(change, group_id, rows)).state == "done":
            return Result(change, "already", group_id)
        _, request_id = self.send(with_request_id(set_group_permissions(group_id, change.after)))
        return Result(change, "applied", group_id, request_id)

    def delete(self, change: DeleteGroup) -> Result:
        if self.failed_creation:
            return Result(
                change, "skipped", change.group_id, error="a group could not be created, so none is deleted"
            )
        rows = permissions_of(self.send, change.group_id)
        group = self.look(change)
        now = Live(
            (group,) if group else (),
            {} if rows is None else {change.group_id: canonical_permissions(rows)},
        )
        if self.still_pending(change, progress(change, now)).state == "done":
            return Result(change, "already", change.group_id)
        existed, request_id = self.send(with_request_id(delete_group(change.group_id)))
        return Result(change, "applied" if existed else "already", change.group_id, request_id)

    def look(self, change: UpdateGroup | DeleteGroup) -> Group | None:
        """Read a group again, right before it is written to."""
        return look(self.send, self.before[change.group_id])

    def still_pending(self, change: Change, found: Progress) -> Progress:
        if found.state == "stale":
            raise StalePlanError(
                f"{title(change)}: {found.reason}; it was not made, and no other was begun after it"
            )
        return found


def _verify(send: Send, results: Sequence[Result], before: Live, concurrency: int) -> None:
    ids = [
        result.group_id
        for result in results
        if isinstance(result.change, SetPermissions) and result.group_id is not None
    ]
    live = Live(all_of(send, list_groups), _read_permissions(send, ids, concurrency))
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
