# SPDX-License-Identifier: Apache-2.0
"""The sync of declared groups, in one task or with an approval between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, Context

from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.operators.audience_manager.base import GroupsOperator
from airflow_provider_adobe_audiences.operators.audience_manager.calls import GroupId
from airflow_provider_adobe_audiences.operators.audience_manager.desired import Desired, load_desired
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import (
    Concurrency,
    Count,
    PositiveDuration,
    Ratio,
    Template,
    Text,
)
from airflow_provider_adobe_audiences.text import counted

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
    from airflow_provider_adobe_audiences.groups.approval import Origin
    from airflow_provider_adobe_audiences.groups.changes import Plan
    from airflow_provider_adobe_audiences.groups.live import Live
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

Mode = Literal["apply", "plan", "check"]


class _PlanningOperator(GroupsOperator):
    """What plans: the desired groups, the scope and the guards, which :class:`Limits` defines."""

    template_fields: Sequence[str] = ("adobe_conn_id", "desired", "managed_groups", "protected")
    desired: Any
    managed_groups: Any
    protected: Any
    allowed_sources: Sequence[str] | None
    prune: bool
    concurrency: int

    def _planned(self) -> tuple[Plan, Live]:
        """Check the arguments, read and plan. Nothing is written."""
        from airflow_provider_adobe_audiences.groups import sync
        from airflow_provider_adobe_audiences.groups.live import Scope

        self.check_arguments()
        desired = load_desired(self.desired, self.allowed_sources)
        scope = Scope(self.prune, self.managed_groups, self.protected)
        limits = Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})
        with self.hook.session() as session:
            return sync.plan(
                session.send,
                desired,
                target=target_of(self.hook.settings),
                scope=scope,
                limits=limits,
                concurrency=self.concurrency,
            )


class AdobeSyncGroupsOperator(_PlanningOperator):
    """Make the groups of Audience Manager what a file (or a value) declares: plan, guard, apply, verify, in
    one task.

    Groups are matched by name; what is not declared is not touched unless ``prune`` says so; nothing is
    written when any guard trips, and the task then fails without a retry. A retry plans again from what is
    true, so a half-applied first try is finished by the next. A second run writes nothing. Returns small
    JSON: ``mode``, ``counts``, ``groups`` (each change with its outcome and request id, at most 100),
    ``findings``, ``guards``, ``drift``; the log shows all.

    One sync at a time: two that run at once may both create a group. Airflow's ``max_active_tis_per_dag``,
    which is 1 here unless another is given, sees to that within a Dag; several Dags share an Airflow pool of
    one slot (``pool=``).

    :param desired: a path or URL that :class:`ObjectStoragePath` reads (YAML or JSON), or the value itself:
        ``{"groups": [...]}`` (templated).
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``, that the path in ``desired`` may
        lie in; by default any. A path that comes from a Param is read with the worker's rights.
    :param mode: ``apply`` writes. ``plan`` shows what would be written. ``check`` looks for drift. There is
        no default: whether a task writes is said in the Dag (templated).
    :param on_drift: with ``check``, what to do when something differs: ``fail``, ``skip`` or ``succeed``.
    :param prune: whether to delete groups of the managed scope that are not declared.
    :param managed_groups: the managed scope: a regular expression for whole names, or a list of ids. Needed
        to prune (templated).
    :param protected: whole names of groups that are never changed or deleted; with ``prune``, one that no
        group has stops the task (templated).
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
    :param concurrency: most requests under way at the same time, from 1 to 64.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*_PlanningOperator.template_fields, "mode")

    def __init__(
        self,
        *,
        desired: Desired | Template,
        allowed_sources: Sequence[str] | None = None,
        mode: Mode | Template,
        on_drift: Literal["fail", "skip", "succeed"] = "fail",
        prune: bool = False,
        managed_groups: str | Sequence[GroupId] | Template | None = None,
        protected: Sequence[str] | Template = (),
        max_deletes: Count = Limits.max_deletes,
        max_delete_ratio: Ratio = Limits.max_delete_ratio,
        max_permission_removal_ratio: Ratio = Limits.max_permission_removal_ratio,
        allow_empty: bool = Limits.allow_empty,
        allow_empty_desired: bool = Limits.allow_empty_desired,
        allow_non_empty_delete: bool = Limits.allow_non_empty_delete,
        require_self: bool = Limits.require_self,
        concurrency: Concurrency = DEFAULT_CONCURRENCY,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        # Two at once may both create a group.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.desired = desired
        self.allowed_sources = allowed_sources
        self.mode: Any = mode
        self.on_drift: Any = on_drift
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
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and write what the plan says, if ``mode`` says so.

        :param context: the task's context.
        :returns: the report.
        """
        from airflow_provider_adobe_audiences.groups import sync
        from airflow_provider_adobe_audiences.groups.guards import check
        from airflow_provider_adobe_audiences.groups.report import report, table

        with fail_without_retry():
            plan, live = self._planned()
            self.log.info("%s", table(plan))
            if self.mode == "check":
                return self._drift(plan)
            check(plan)
            if self.mode == "plan":
                return report(plan, mode="plan")
            with self.hook.session() as session:
                results = sync.apply(
                    session.send,
                    plan.changes,
                    live,
                    concurrency=self.concurrency,
                    on_result=self.log_result,
                )
        return report(plan, results, mode="apply")

    def _drift(self, plan: Plan) -> dict[str, Any]:
        from airflow_provider_adobe_audiences.groups.report import report

        if plan.drift and self.on_drift != "succeed":
            drifted = sum(finding.drift for finding in plan.findings)
            message = (
                f"drift: {counted(len(plan.changes), 'change')} would be made and "
                f"{counted(drifted, 'difference')} can only be reported; the log shows them"
            )
            raise (AirflowFailException if self.on_drift == "fail" else AirflowSkipException)(message)
        return report(plan, mode="check")


class AdobePlanGroupsOperator(_PlanningOperator):
    """Plan what :class:`AdobeSyncGroupsOperator` would do, for a person to approve and
    :class:`AdobeApplyGroupsPlanOperator` to apply.

    Returns ``{"plan", "markdown", "counts", "changes"}``: the applying task takes it as it is, ``markdown``
    is the text to approve. A tripped guard fails the task without a retry, and so does a plan that takes away
    or grants more than the text can show.

    :param desired: a path or URL that :class:`ObjectStoragePath` reads (YAML or JSON), or the value itself:
        ``{"groups": [...]}`` (templated).
    :param allowed_sources: folders, local or ``s3://conn@bucket/prefix``, that the path in ``desired`` may
        lie in; by default any. A path that comes from a Param is read with the worker's rights.
    :param skip_if_unchanged: whether to skip the task (and with it the approval) when there is nothing to
        change.
    :param prune: whether to delete groups of the managed scope that are not declared.
    :param managed_groups: the managed scope: a regular expression for whole names, or a list of ids. Needed
        to prune (templated).
    :param protected: whole names of groups that are never changed or deleted; with ``prune``, one that no
        group has stops the task (templated).
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
    :param concurrency: most requests under way at the same time, from 1 to 64.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    def __init__(
        self,
        *,
        desired: Desired | Template,
        allowed_sources: Sequence[str] | None = None,
        skip_if_unchanged: bool = True,
        prune: bool = False,
        managed_groups: str | Sequence[GroupId] | Template | None = None,
        protected: Sequence[str] | Template = (),
        max_deletes: Count = Limits.max_deletes,
        max_delete_ratio: Ratio = Limits.max_delete_ratio,
        max_permission_removal_ratio: Ratio = Limits.max_permission_removal_ratio,
        allow_empty: bool = Limits.allow_empty,
        allow_empty_desired: bool = Limits.allow_empty_desired,
        allow_non_empty_delete: bool = Limits.allow_non_empty_delete,
        require_self: bool = Limits.require_self,
        concurrency: Concurrency = DEFAULT_CONCURRENCY,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.desired = desired
        self.allowed_sources = allowed_sources
        self.skip_if_unchanged = skip_if_unchanged
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
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and sign the plan.

        :param context: the task's context.
        :returns: the plan, and the text to approve.
        :raises AirflowSkipException: when nothing is to be changed and ``skip_if_unchanged`` says so.
        """
        from airflow_provider_adobe_audiences.groups.approval import Signed, digest_of, sign
        from airflow_provider_adobe_audiences.groups.guards import check
        from airflow_provider_adobe_audiences.groups.report import markdown, table

        with fail_without_retry():
            plan, _ = self._planned()
            self.log.info("%s", table(plan))
            check(plan)
            if not plan.changes and self.skip_if_unchanged:
                raise AirflowSkipException("nothing to change")
            shown = markdown(plan)
            settings = self.hook.settings
            managed = self.managed_groups
            signed = Signed(
                plan=plan,
                origin=_origin(context, self.adobe_conn_id, settings),
                task_id=self.task_id,
                made_at=datetime.now(UTC),
                scope={
                    "prune": self.prune,
                    "managed_groups": managed if isinstance(managed, str | None) else list(managed),
                    "protected": list(self.protected),
                },
                markdown=digest_of(shown),
            )
        return {
            "plan": sign(signed, _key(settings)),
            "markdown": shown,
            "counts": plan.counts(),
            "changes": len(plan.changes),
        }


class AdobeApplyGroupsPlanOperator(GroupsOperator):
    """Apply exactly the plan of :class:`AdobePlanGroupsOperator`, or nothing.

    The plan is refused, without a retry, when it was altered, was made in another run, with another
    connection, credential or user, for another Audience Manager, is older than ``max_age``, is not what was
    shown, or when anything that it changes is no longer as it was planned. Whose groups the calling user is
    in is asked again. A retry goes on with what is left. Returns the same as
    :class:`AdobeSyncGroupsOperator`.

    :param plan: the result of the planning task, as in ``plan=plan.output``, or what is below ``plan`` in it
        (templated).
    :param max_age: how old the plan may be, as a ``timedelta`` or in ISO 8601 (templated).
    :param concurrency: most requests under way at the same time, from 1 to 64.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "plan", "max_age")

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | Template,
        max_age: PositiveDuration | Template = timedelta(days=7),
        concurrency: Concurrency = DEFAULT_CONCURRENCY,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        # Two at once may both create a group.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.plan: Any = plan
        self.max_age: Any = max_age
        self.concurrency = concurrency
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply the plan.

        :param context: the task's context.
        :returns: the report.
        """
        from airflow_provider_adobe_audiences.groups import sync
        from airflow_provider_adobe_audiences.groups.guards import check
        from airflow_provider_adobe_audiences.groups.report import report, table

        with fail_without_retry():
            self.check_arguments()
            plan = self._approved(context)
            check(plan)
            self.log.info("%s", table(plan))
            with self.hook.session() as session:
                pending, done, live = sync.still_to_do(session.send, plan, concurrency=self.concurrency)
                for result in done:
                    self.log_result(result)
                results = sync.apply(
                    session.send,
                    pending,
                    live,
                    concurrency=self.concurrency,
                    on_result=self.log_result,
                )
        return report(plan, [*done, *results], mode="apply")

    def _approved(self, context: Context) -> Plan:
        from airflow_provider_adobe_audiences.groups.approval import check_origin, verify
        from airflow_provider_adobe_audiences.groups.report import markdown

        settings = self.hook.settings
        whole = "plan" in self.plan
        signed = verify(self.plan["plan"] if whole else self.plan, _key(settings))
        shown = self.plan.get("markdown") if whole else None
        check_origin(
            signed,
            origin=_origin(context, self.adobe_conn_id, settings),
            target=target_of(settings),
            markdown=shown if isinstance(shown, str) else markdown(signed.plan),
            now=datetime.now(UTC),
            max_age=self.max_age,
        )
        return signed.plan


def target_of(settings: AdobeSettings) -> str:
    """Return the address that a plan is made for.

    :param settings: of the connection.
    """
    from airflow_provider_adobe_audiences.adobe.client.call import Service

    return settings.base_url(Service.AUDIENCE_MANAGER)


def _origin(context: Context, conn_id: str, settings: AdobeSettings) -> Origin:
    from airflow_provider_adobe_audiences.groups.approval import Origin

    task = context.get("ti")
    return Origin(
        dag_id=str(getattr(task, "dag_id", "")),
        run_id=str(getattr(task, "run_id", "")),
        conn_id=conn_id,
        user={
            "authentication": settings.authentication,
            "username": settings.username,
            "client_id": settings.client_id,
        },
    )


def _key(settings: AdobeSettings) -> str:
    # An access token lives shorter than an approval may take, so it cannot be part of the signature.
    return "" if settings.authentication == "access_token" else settings.client_secret.get_secret_value()
