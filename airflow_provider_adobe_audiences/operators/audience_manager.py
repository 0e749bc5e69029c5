# SPDX-License-Identifier: Apache-2.0
"""Groups of Adobe Audience Manager: one operator per call, and the sync of declared groups in one task or
with an approval between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_adobe_audiences.adobe.audience_manager import (
    BulkDeleteMethod,
    Permission,
    checked_id,
    checked_name,
)
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.errors import DesiredStateError, GuardError, PlanRefusedError
from airflow_provider_adobe_audiences.groups import apply as run
from airflow_provider_adobe_audiences.groups.guards import Limits, check
from airflow_provider_adobe_audiences.groups.plan import Plan, Scope, name_pattern
from airflow_provider_adobe_audiences.groups.report import markdown, report, result_line, table
from airflow_provider_adobe_audiences.groups.spec import (
    DesiredState,
    canonical_name,
    load_file,
    load_permissions,
    load_value,
)
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
    from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook

Desired = str | Mapping[str, Any]
Mode = Literal["apply", "plan", "check"]


class _GroupsOperator(AdobeOperator):
    @property
    def hook(self) -> AdobeAudienceManagerHook:
        from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook

        return AdobeAudienceManagerHook(self.adobe_conn_id)


class AdobeCreateGroupOperator(_GroupsOperator):
    """Create a group (Adobe: "Group Management API Methods", create a group), unless one of this name exists.

    A retry looks first, so it never makes a second group of the same name. Returns ``{"groupId", "name",
    "description", "membershipCount", "created"}``.

    :param name: name of the group (templated).
    :param description: description, or ``None`` (templated).
    :param if_exists: ``skip`` leaves a group of this name as it is, ``update`` sets its description, ``fail``
        fails the task.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name", "description")

    def __init__(
        self,
        *,
        name: str,
        description: str | None = None,
        if_exists: Literal["skip", "update", "fail"] = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.description = description
        self.if_exists = if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            group, created = self.hook.create_group(self.name, self.description, if_exists=self.if_exists)
        self.log.info(
            "Group %r %s with groupId %d.",
            group.name,
            "was created" if created else "exists already",
            group.group_id,
        )
        return {**_brief(group.as_json()), "created": created}


class AdobeUpdateGroupOperator(_GroupsOperator):
    """Set name and description of a group (Adobe: "Group Management API Methods", update a group).

    Adobe wants both each time, and does not say whether members and wildcards stay: they are compared before
    and after, and the task fails when they moved. Returns ``{"groupId", "name", "description",
    "membershipCount"}``.

    :param group_id: which group (templated).
    :param name: its name from now on (templated).
    :param description: its description from now on, ``None`` for none (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id", "name", "description")

    def __init__(self, *, group_id: int | str, name: str, description: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id
        self.name = name
        self.description = description

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            group = self.hook.update_group(
                checked_id(self.group_id, "group_id"), checked_name(self.name), self.description
            )
        return _brief(group.as_json())


class AdobeListGroupsOperator(_GroupsOperator):
    """List groups (Adobe: "Group Management API Methods", list groups).

    Returns ``{"count", "groups": [{"groupId", "name", "description", "membershipCount"}]}``.

    :param name_pattern: regular expression that the whole name must match; all groups without it (templated).
    :param max_groups: the task fails rather than to put more groups than this into XCom.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name_pattern")

    def __init__(self, *, name_pattern: str | None = None, max_groups: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name_pattern = name_pattern
        self.max_groups = max_groups

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            pattern = name_pattern(self.name_pattern or ".*", "name_pattern")
            groups = [
                group for group in self.hook.list_groups() if pattern.fullmatch(canonical_name(group.name))
            ]
        if len(groups) > self.max_groups:
            raise AirflowFailException(
                f"{len(groups)} groups match, more than max_groups={self.max_groups}. What to do: narrow "
                "name_pattern, or raise max_groups."
            )
        return {"count": len(groups), "groups": [_brief(group.as_json()) for group in groups]}


class AdobeGetGroupOperator(_GroupsOperator):
    """Read one group. Adobe does not document the call; where it does not exist, the list is read instead.

    Returns ``{"groupId", "pid", "name", "description", "membershipCount", "wildcards", "users"}``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(self, *, group_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            return self.hook.get_group(checked_id(self.group_id, "group_id")).as_json()


class AdobeDeleteGroupOperator(_GroupsOperator):
    """Delete a group and take its users out of it (Adobe: "Group Management API Methods", delete a group).

    A group that is gone already is no error, so that a retry succeeds. Returns ``{"groupId", "deleted"}``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(self, *, group_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            group_id = checked_id(self.group_id, "group_id")
            deleted = self.hook.delete_group(group_id)
        if not deleted:
            self.log.warning("There was no group with groupId %d: nothing was deleted.", group_id)
        return {"groupId": group_id, "deleted": deleted}


class AdobeBulkDeleteGroupsOperator(_GroupsOperator):
    """Delete several groups with one request (Adobe: "Group Management API Methods", delete groups in bulk).

    Adobe documents neither the body nor what happens when one of the groups cannot be deleted. Groups that
    are gone already are left out of the request, and after an error the list tells what is left. Returns
    ``{"deleted": [ids], "missing": [ids]}``.

    :param group_ids: which groups (templated).
    :param method: ``DELETE`` as on Adobe's page, or ``POST`` as for Adobe's other resources.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_ids")

    def __init__(
        self, *, group_ids: Sequence[int | str], method: BulkDeleteMethod = "DELETE", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.group_ids = group_ids
        self.method = method

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            if isinstance(self.group_ids, str):
                raise ValueError(f"group_ids must be a list, not the text {self.group_ids!r}")
            wanted = [checked_id(group_id, "group_ids") for group_id in self.group_ids]
            deleted = self.hook.bulk_delete_groups(wanted, self.method)
        return {
            "deleted": list(deleted),
            "missing": [group_id for group_id in dict.fromkeys(wanted) if group_id not in deleted],
        }


class AdobeListGroupPermissionsOperator(_GroupsOperator):
    """List what a group may do (Adobe: "Group Management API Methods", list permissions).

    Returns ``[{"objectType", "objectId", "permissions"}]``.

    :param group_id: which group (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id")

    def __init__(self, *, group_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with fail_without_retry():
            return [
                row.as_json()
                for row in self.hook.list_group_permissions(checked_id(self.group_id, "group_id"))
            ]


class AdobeSetGroupPermissionsOperator(_GroupsOperator):
    """Replace all that a group may do (Adobe: "Group Management API Methods", set permissions).

    Returns the permissions that Adobe answered, ``[{"objectType", "objectId", "permissions"}]``.

    :param group_id: which group (templated).
    :param permissions: rows of ``objectType``, ``objectId`` and ``permissions`` (templated).
    :param allow_empty: whether an empty list may take everything away.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "group_id", "permissions")

    def __init__(
        self,
        *,
        group_id: int | str,
        permissions: Sequence[Mapping[str, Any]],
        allow_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id
        self.permissions = permissions
        self.allow_empty = allow_empty

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with fail_without_retry():
            rows: tuple[Permission, ...] = load_permissions(self.permissions)
            if not rows and not self.allow_empty:
                raise GuardError(
                    "an empty list would take away every permission of the group (allowed by "
                    "allow_empty=True)"
                )
            return [
                row.as_json()
                for row in self.hook.set_group_permissions(checked_id(self.group_id, "group_id"), rows)
            ]


class _PlanningOperator(_GroupsOperator):
    """What plans: the desired groups, the scope and the guards."""

    template_fields: Sequence[str] = ("adobe_conn_id", "desired", "managed_groups", "protected")

    def __init__(
        self,
        *,
        desired: Desired,
        prune: bool = False,
        managed_groups: str | Sequence[int | str] | None = None,
        protected: Sequence[str] = (),
        max_deletes: int = 5,
        max_delete_ratio: float = 0.25,
        max_permission_removal_ratio: float = 0.25,
        allow_empty: bool = False,
        allow_empty_desired: bool = False,
        allow_non_empty_delete: bool = False,
        require_self: bool = True,
        concurrency: int = run.DEFAULT_CONCURRENCY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.desired = desired
        self.prune = prune
        self.managed_groups = managed_groups
        self.protected = protected
        self.max_deletes = max_deletes
        self.max_delete_ratio = max_delete_ratio
        self.max_permission_removal_ratio = max_permission_removal_ratio
        self.allow_empty = allow_empty
        self.allow_empty_desired = allow_empty_desired
        self.allow_non_empty_delete = allow_non_empty_delete
        self.require_self = require_self
        self.concurrency = concurrency

    def _checked(self) -> tuple[DesiredState, Scope, Limits]:
        """Return the arguments, checked without any request."""
        scope = Scope(prune=self.prune, managed=self.managed_groups, protected=self.protected)
        limits = Limits(
            max_deletes=self.max_deletes,
            max_delete_ratio=self.max_delete_ratio,
            max_permission_removal_ratio=self.max_permission_removal_ratio,
            allow_empty=self.allow_empty,
            allow_empty_desired=self.allow_empty_desired,
            allow_non_empty_delete=self.allow_non_empty_delete,
            require_self=self.require_self,
            protected=self.protected,
        )
        _check_concurrency(self.concurrency)
        return load_desired(self.desired), scope, limits


class AdobeSyncGroupsOperator(_PlanningOperator):
    """Make the groups of Audience Manager what a file (or a value) declares: plan, guard, apply, verify, in
    one task.

    Groups are matched by name; what is not declared is not touched unless ``prune`` says so; nothing is
    written when any guard trips, and the task then fails without a retry. A retry plans again from what is
    true, so a half-applied first try is finished by the next. A second run writes nothing. Returns small
    JSON: ``mode``, ``counts``, ``groups`` (each change with before, after, outcome and request id),
    ``findings``, ``guards``, ``drift``.

    :param desired: a path or URL that :class:`ObjectStoragePath` reads (YAML or JSON), or the value itself:
        ``{"groups": [...]}`` (templated).
    :param mode: ``apply`` writes. ``plan`` shows what would be written. ``check`` looks for drift. There is
        no default: whether a task writes is said in the DAG (templated).
    :param on_drift: with ``check``, what to do when something differs: ``fail``, ``skip`` or ``succeed``.
    :param prune: whether to delete groups of the managed scope that are not declared.
    :param managed_groups: the managed scope: a regular expression for whole names, or a list of ids. Needed
        to prune (templated).
    :param protected: names of groups that are never changed or deleted (templated).
    :param max_deletes: most groups that may be deleted.
    :param max_delete_ratio: largest share (0 to 1) of the declared or managed live groups that may be
        deleted.
    :param max_permission_removal_ratio: largest share (0 to 1) of the live grants of groups with declared
        permissions that may be removed.
    :param allow_empty: whether a group may lose all permissions.
    :param allow_empty_desired: whether pruning may run although nothing is declared.
    :param allow_non_empty_delete: whether groups with members may be deleted.
    :param require_self: whether the groups of the calling user are spared from deletion and from loss of
        permissions.
    :param concurrency: most reads under way at the same time.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*_PlanningOperator.template_fields, "mode")

    def __init__(
        self, *, mode: Mode, on_drift: Literal["fail", "skip", "succeed"] = "fail", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.on_drift = on_drift

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            if self.mode not in ("apply", "plan", "check"):
                raise ValueError(f"mode must be 'apply', 'plan' or 'check', not {self.mode!r}")
            if self.on_drift not in ("fail", "skip", "succeed"):
                raise ValueError(f"on_drift must be 'fail', 'skip' or 'succeed', not {self.on_drift!r}")
            desired, scope, limits = self._checked()
            hook = self.hook
            with hook.session() as session:
                plan, live = run.plan(
                    session.send,
                    desired,
                    target=target_of(hook.settings),
                    scope=scope,
                    limits=limits,
                    concurrency=self.concurrency,
                )
                self.log.info("%s", table(plan))
                if self.mode == "check":
                    return self._checked_outcome(plan)
                check(plan)
                if self.mode == "plan":
                    return report(plan, mode="plan")
                results = run.apply(
                    session.send,
                    plan.changes,
                    live,
                    concurrency=self.concurrency,
                    on_result=lambda result: self.log.info("%s", result_line(result)),
                )
        return report(plan, results, mode="apply")

    def _checked_outcome(self, plan: Plan) -> dict[str, Any]:
        found = report(plan, mode="check")
        if plan.drift and self.on_drift != "succeed":
            drifted = sum(finding.drift for finding in plan.findings)
            message = (
                f"drift: {len(plan.changes)} changes would be made and {drifted} differences can only be "
                "reported; the log shows them"
            )
            raise (AirflowFailException if self.on_drift == "fail" else AirflowSkipException)(message)
        return found


class AdobePlanGroupsOperator(_PlanningOperator):
    """Plan what :class:`AdobeSyncGroupsOperator` would do, for a person to approve and
    :class:`AdobeApplyGroupsPlanOperator` to apply.

    Returns ``{"plan", "markdown", "counts", "changes"}``: the applying task takes it as it is, ``markdown``
    is the text to approve. A tripped guard fails the task without a retry.

    :param desired: as in :class:`AdobeSyncGroupsOperator`, like all parameters that are not named here.
    :param skip_if_unchanged: whether to skip the task (and with it the approval) when there is nothing to
        change.
    """

    def __init__(self, *, desired: Desired, skip_if_unchanged: bool = True, **kwargs: Any) -> None:
        super().__init__(desired=desired, **kwargs)
        self.skip_if_unchanged = skip_if_unchanged

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            desired, scope, limits = self._checked()
            hook = self.hook
            with hook.session() as session:
                plan, _ = run.plan(
                    session.send,
                    desired,
                    target=target_of(hook.settings),
                    scope=scope,
                    limits=limits,
                    concurrency=self.concurrency,
                )
            self.log.info("%s", table(plan))
            check(plan)
            if not plan.changes and self.skip_if_unchanged:
                raise AirflowSkipException("nothing to change")
            signed = plan.sign(_key(hook.settings))
        return {
            "plan": signed,
            "markdown": markdown(plan),
            "counts": plan.counts(),
            "changes": len(plan.changes),
        }


class AdobeApplyGroupsPlanOperator(_GroupsOperator):
    """Apply exactly the plan of :class:`AdobePlanGroupsOperator`, or nothing.

    The plan is refused, without a retry, when it was altered, was made for another Audience Manager or with
    another credential, or when anything that it changes is no longer as it was planned. A retry goes on with
    what is left. Returns the same as :class:`AdobeSyncGroupsOperator`.

    :param plan: the result of the planning task, as in ``plan=plan.output``, or what is below ``plan`` in it
        (templated).
    :param concurrency: most reads under way at the same time.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "plan")

    def __init__(
        self, *, plan: Mapping[str, Any], concurrency: int = run.DEFAULT_CONCURRENCY, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.concurrency = concurrency

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            _check_concurrency(self.concurrency)
            hook = self.hook
            given = self.plan
            plan = Plan.verify(
                given["plan"] if isinstance(given, Mapping) and "plan" in given else given,
                _key(hook.settings),
            )
            if plan.target != target_of(hook.settings):
                raise PlanRefusedError(
                    f"the plan was made for {plan.target}, but the connection leads to "
                    f"{target_of(hook.settings)}"
                )
            check(plan)
            self.log.info("%s", table(plan))
            with hook.session() as session:
                pending, done, live = run.still_to_do(session.send, plan, concurrency=self.concurrency)
                for result in done:
                    self.log.info("%s", result_line(result))
                results = run.apply(
                    session.send,
                    pending,
                    live,
                    concurrency=self.concurrency,
                    on_result=lambda result: self.log.info("%s", result_line(result)),
                )
        return report(plan, [*done, *results], mode="apply")


def load_desired(desired: Desired) -> DesiredState:
    """Return the declared groups from a path, a URL or a value.

    :raises DesiredStateError: when it cannot be used.
    """
    if isinstance(desired, Mapping):
        return load_value(desired)
    if not isinstance(desired, str) or not desired.strip():
        raise DesiredStateError(
            f"desired must be a path, a URL, or a mapping with the key 'groups', not {desired!r:.80}"
        )
    if desired.lstrip()[:1] in ("{", "[") or "\n" in desired:
        raise DesiredStateError(
            "desired is a text with the groups in it, where a path or a mapping is expected",
            hint="Pass the value itself, as in desired=upstream.output; templates turn "
            "values into text unless the DAG has "
            "render_template_as_native_obj=True.",
        )
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        file = ObjectStoragePath(desired).open("rb")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        why = {FileNotFoundError: "it does not exist", IsADirectoryError: "it is a folder"}.get(
            type(error), "access is denied"
        )
        raise DesiredStateError(f"{desired} cannot be read: {why}") from None
    except (ImportError, ValueError) as error:
        # A scheme that no installed provider knows.
        raise DesiredStateError(
            f"{desired} cannot be read: {error}", hint="Install the provider of that storage."
        ) from None
    with file:
        return load_file(file, desired)


def target_of(settings: AdobeSettings) -> str:
    """Return the address that a plan is made for."""
    return settings.base_url(Service.AUDIENCE_MANAGER)


def _key(settings: AdobeSettings) -> str:
    # An access token lives shorter than an approval may take, so it cannot be part of the sign.
    return "" if settings.authentication == "access_token" else settings.client_secret.get_secret_value()


def _check_concurrency(concurrency: int) -> None:
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 64:
        raise ValueError(f"concurrency must be a whole number from 1 to 64, not {concurrency!r}")


def _brief(group: dict[str, Any]) -> dict[str, Any]:
    return {key: group[key] for key in ("groupId", "name", "description", "membershipCount")}
