# SPDX-License-Identifier: Apache-2.0
"""When a change to the groups file was merged: make Audience Manager what it declares.

Your CI starts it through Airflow's REST API, after it has run `adobe-audiences groups validate` and shown
`adobe-audiences groups plan` to the reviewers. Groups of the managed scope that are no longer declared are
deleted, but only within the guards: at most three, none with members, never a protected one, never one that
the connection's own user is in. A tripped guard fails the task without a retry, and nothing was written then.
Running it twice writes nothing the second time.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator

GROUPS = Path(__file__).parent / "data" / "groups.yaml"

with DAG(
    dag_id="adobe_audience_manager_sync_on_merge",
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
    AdobeSyncGroupsOperator(
        task_id="sync",
        desired="{{ params.groups }}",
        mode="apply",
        prune=True,
        managed_groups="EMEA .*",
        max_deletes=3,
        max_delete_ratio=0.5,
        max_permission_removal_ratio=0.5,
    )
