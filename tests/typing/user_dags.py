# SPDX-License-Identifier: Apache-2.0
"""Dags as users write them, for ``mypy --strict``: every templated parameter takes what an upstream task
returns, and everything can be mapped. Airflow loads this file, too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, TaskGroup, chain, task

from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobeBulkDeleteGroupsOperator,
    AdobeCreateGroupOperator,
    AdobeDeleteGroupOperator,
    AdobeGetGroupOperator,
    AdobeListGroupPermissionsOperator,
    AdobeListGroupsOperator,
    AdobePlanGroupsOperator,
    AdobeSetGroupPermissionsOperator,
    AdobeSyncGroupsOperator,
    AdobeUpdateGroupOperator,
)
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateAudienceMetadataOperator,
    AdobeCreateBatchOperator,
    AdobeDownloadFailedRowsOperator,
    AdobeIngestBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore, VaultStore
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor

START = pendulum.datetime(2026, 1, 1, tz="UTC")
TOKEN = AirflowVariableStore("adobe_target_profile_token")


@task
def value() -> str:
    return "a value"


@task
def values() -> list[str]:
    return ["one", "two"]


@task
def document() -> dict[str, Any]:
    return {"groups": []}


with DAG("nightly_ingestion", schedule="@daily", start_date=START, default_args={"retries": 2}):
    AdobeIngestBatchOperator(
        task_id="ingest",
        dataset_id="5c8c3c555033b814b69f947f",
        source="s3://warehouse@exports/members-*.parquet",
        file_format="parquet",
        tags={"owner": ["crm"]},
        max_failed_rows=10,
        deferrable=True,
        poll_interval=15,
        timeout=timedelta(hours=3),
        execution_timeout=timedelta(hours=4),
        retry_delay=timedelta(minutes=1),
    )

with DAG("ingestion_from_upstream", schedule=None):
    AdobeIngestBatchOperator(
        task_id="ingest",
        dataset_id=value(),
        source=values(),
        external_id=value(),
        tags=document(),
        adobe_conn_id=value(),
    )

with DAG("one_ingestion_per_file", schedule=None):
    AdobeIngestBatchOperator.partial(task_id="ingest", dataset_id="5c8c", max_failed_rows=None).expand(
        source=values()
    )

with DAG("spread_over_workers", schedule=None):
    batch = AdobeCreateBatchOperator(
        task_id="create", dataset_id=value(), source=values(), external_id=value(), tags=document()
    )
    upload = AdobeUploadBatchFilesOperator.partial(
        task_id="upload", batch_id=batch.output, dataset_id="5c8c"
    ).expand(source=values())
    complete = AdobeCompleteBatchOperator(
        task_id="complete", batch_id=batch.output, uploads=upload.output, adobe_conn_id=value()
    )
    wait = AdobeBatchSensor(
        task_id="wait",
        batch_id=batch.output,
        max_failed_rows=5,
        mode="reschedule",
        poke_interval=60,
        timeout=3600.0,
        soft_fail=True,
    )
    rejected = AdobeDownloadFailedRowsOperator(task_id="rejected", batch_id=batch.output, target=value())
    abort = AdobeAbortBatchOperator(task_id="abort", batch_id=batch.output)
    chain(batch, upload, complete, wait, rejected)
    wait >> abort.as_teardown(setups=batch)

with DAG("upload_from_upstream", schedule=None):
    AdobeUploadBatchFilesOperator(
        task_id="upload", batch_id=value(), dataset_id=value(), source=values(), part_size=10_000_000
    )

with DAG("audiences", schedule="@weekly", start_date=START):
    audience = AdobeCreateAudienceMetadataOperator(
        task_id="register",
        name=value(),
        namespace=value(),
        origin_name=value(),
        audience_id=value(),
        description=value(),
        if_exists="update",
        adobe_conn_id="adobe_{{ var.value.region }}",
    )
    AdobeCreateAudienceMetadataOperator.partial(
        task_id="register_all", namespace="crm", origin_name="CRM", if_exists="skip"
    ).expand(name=values())

with DAG("groups_as_code", schedule="@hourly", start_date=START, max_active_runs=1):
    AdobeSyncGroupsOperator(
        task_id="sync",
        desired="s3://config@iam/groups.yaml",
        mode="apply",
        prune=True,
        managed_groups="EMEA .*",
        protected=["EMEA Administrators"],
        max_deletes=3,
        max_delete_ratio=0.1,
        concurrency=4,
        on_failure_callback=lambda context: None,
    )

with DAG("groups_from_upstream", schedule=None):
    AdobeSyncGroupsOperator(
        task_id="sync", desired=document(), mode=value(), managed_groups=values(), protected=values()
    )
    AdobeSyncGroupsOperator(
        task_id="drift", desired={"groups": [{"name": "Analysts"}]}, mode="check", on_drift="skip"
    )

with DAG("approved_groups", schedule=None):
    plan = AdobePlanGroupsOperator(
        task_id="plan",
        desired=document(),
        managed_groups=values(),
        protected=values(),
        skip_if_unchanged=False,
    )
    AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan.output, concurrency=2)

with DAG("single_groups", schedule=None):
    group = AdobeCreateGroupOperator(task_id="create", name=value(), description=value(), if_exists="fail")
    with TaskGroup("later"):
        AdobeUpdateGroupOperator(task_id="update", group_id=value(), name=value(), description=value())
        AdobeGetGroupOperator(task_id="get", group_id=value())
        AdobeListGroupPermissionsOperator(task_id="list", group_id=1234)
        AdobeSetGroupPermissionsOperator(task_id="set", group_id=value(), permissions=document())
        AdobeDeleteGroupOperator(
            task_id="delete", group_id="{{ params.group_id }}", pool="adobe", pool_slots=2
        )
    AdobeGetGroupOperator.partial(task_id="get_all", retries=3).expand(group_id=[1, 2, 3])

with DAG("tidy_groups", schedule=None):
    found = AdobeListGroupsOperator(task_id="list", name_pattern=value(), max_groups=50)
    AdobeBulkDeleteGroupsOperator(task_id="delete", group_ids=values(), method="POST")
    AdobeBulkDeleteGroupsOperator(task_id="delete_these", group_ids=[1, "2"])

with DAG("token", schedule="@monthly", start_date=START):
    AdobeRotateProfileTokenOperator(
        task_id="rotate", store=TOKEN, min_remaining=timedelta(days=30), on_drift="fail", retries=5
    )
    AdobeRotateProfileTokenOperator(task_id="look", store=VaultStore("adobe/target"), mode="check")
    AdobeSetProfileAuthenticationOperator(task_id="require", enabled=True)

with DAG("profiles", schedule=None):
    AdobeBulkProfileUpdateOperator(
        task_id="files",
        source=values(),
        key_column=value(),
        parameters=values(),
        store=TOKEN,
        max_not_found=100,
    )
    AdobeBulkProfileUpdateOperator(
        task_id="mappings",
        rows=document(),
        parameters={"score": "crm_score"},
        key="pcId",
        delimiter=";",
        wait_for_completion=False,
    )
    AdobeBulkProfileUpdateOperator.partial(task_id="each", file_format="json", store=TOKEN).expand(
        source=values()
    )

with DAG("profiles_elsewhere", schedule=None):
    submitted = AdobeBulkProfileUpdateOperator(
        task_id="submit", source="gs://gcp@crm/scores.csv", wait_for_completion=False, deferrable=False
    )
    ended = AdobeBulkProfileUpdateSensor(
        task_id="wait", batches=submitted.output, max_failed_rows=0, deferrable=True, poke_interval=30
    )
    submitted >> ended
