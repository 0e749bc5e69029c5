# SPDX-License-Identifier: Apache-2.0
"""Every night: is Audience Manager still what the reviewed file declares?

Writes nothing. Fails, and so alerts, when somebody changed a declared group by hand, created an undeclared
one in the managed scope, or gave it wildcards; the log shows the differences as a table.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator

GROUPS = Path(__file__).parent / "data" / "groups.yaml"

with DAG(
    dag_id="adobe_audience_manager_drift_check",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
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
        task_id="check",
        desired="{{ params.groups }}",
        mode="check",
        on_drift="fail",
        managed_groups="EMEA .*",
    )
