# SPDX-License-Identifier: Apache-2.0
"""Plan the groups of Audience Manager, let a person approve the plan in Airflow's own pages, apply exactly
that plan.

The plan is shown under "Required actions". After a rejection, or when nothing would change, nothing is
applied. A plan that was altered, or that no longer fits what is true at Adobe, is refused as a whole. Needs
Airflow 3.1 for the approval.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobePlanGroupsOperator,
)

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    CAN_APPROVE = True
except Exception:  # noqa: BLE001  Airflow before 3.1 raises an exception of its own
    CAN_APPROVE = False

GROUPS = Path(__file__).parent / "data" / "groups.yaml"


@task
def nobody_can_approve() -> None:
    raise RuntimeError(
        "Approvals need Airflow 3.1 or later: upgrade, or use AdobeSyncGroupsOperator with its guards."
    )


with DAG(
    dag_id="adobe_audience_manager_plan_approve_apply",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "groups": Param(
            str(GROUPS),
            type="string",
            # A path is read with the rights of the worker: nothing but lists of groups.
            pattern=r"\.(ya?ml|json)$",
            description="File or URL with the declared groups, such as s3://conn@bucket/x.yaml",
        )
    },
    tags=["adobe", "audience-manager"],
):
    plan = AdobePlanGroupsOperator(
        task_id="plan",
        desired="{{ params.groups }}",
        prune=True,
        managed_groups="EMEA .*",
        max_delete_ratio=0.5,
        max_permission_removal_ratio=0.5,
    )
    approve: Any
    if not CAN_APPROVE:
        approve = nobody_can_approve()
    else:
        approve = ApprovalOperator(
            task_id="approve",
            subject=(
                "Change groups of Audience Manager? {{ ti.xcom_pull(task_ids='plan')['changes'] }} changes"
            ),
            body="{{ ti.xcom_pull(task_ids='plan')['markdown'] }}",
        )
    apply = AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan.output)

    plan >> approve >> apply
