# SPDX-License-Identifier: Apache-2.0
"""Mistakes in users' Dags. ``mypy --strict`` has to find each: ``error: <code> <words of the message>``."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeBulkDeleteGroupsOperator,
    AdobeSyncGroupsOperator,
    AdobeUpdateGroupOperator,
)
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCreateAudienceMetadataOperator,
    AdobeIngestBatchOperator,
)
from airflow_provider_adobe_audiences.operators.target import (
    AdobeBulkProfileUpdateOperator,
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor


def misspelt_names() -> None:
    with DAG("misspelt"):
        AdobeIngestBatchOperator(  # error: call-arg "datset_id"
            task_id="ingest", datset_id="5c8c", source="a.json", dataset_id="5c8c"
        )
        AdobeIngestBatchOperator(  # error: call-arg "max_failed_row"
            task_id="optional", dataset_id="5c8c", source="a.json", max_failed_row=3
        )
        AdobeIngestBatchOperator(  # error: call-arg did you mean "retries"
            task_id="airflows", dataset_id="5c8c", source="a.json", retrys=3
        )
        AdobeBatchSensor(task_id="wait", batch_id="1", poke_intervall=3)  # error: call-arg "poke_intervall"
        AdobeSyncGroupsOperator(  # error: call-arg did you mean "max_deletes"
            task_id="sync", desired="groups.yaml", mode="plan", max_delete=1
        )


def missing() -> None:
    with DAG("missing"):
        AdobeIngestBatchOperator(task_id="ingest", source="a.json")  # error: call-arg "dataset_id"
        AdobeSyncGroupsOperator(task_id="sync", desired="groups.yaml")  # error: call-arg "mode"
        AdobeAbortBatchOperator(batch_id="1")  # error: call-arg "task_id"
        AdobeRotateProfileTokenOperator(task_id="rotate")  # error: call-arg "store"
        AdobeSetProfileAuthenticationOperator(True)  # error: call-arg "task_id" # error: call-arg positional


def mistyped() -> None:
    with DAG("mistyped"):
        AdobeSyncGroupsOperator(
            task_id="sync",
            desired="groups.yaml",
            mode="apply",
            prune="False",  # error: arg-type "prune"
            protected="EMEA Administrators",
            max_deletes="5",  # error: arg-type "max_deletes"
        )
        AdobeIngestBatchOperator(
            task_id="ingest",
            dataset_id=5,  # error: arg-type "dataset_id"
            source="a.json",
            tags={"owner": "crm"},  # error: dict-item
            timeout=3600,  # error: arg-type "timeout"
            deferrable="yes",  # error: arg-type "deferrable"
        )
        AdobeBatchSensor(task_id="wait", batch_id=["1"])  # error: arg-type "batch_id"
        AdobeBulkDeleteGroupsOperator(task_id="delete", group_ids=7)  # error: arg-type "group_ids"
        AdobeUpdateGroupOperator(
            task_id="update",
            group_id=1.5,  # error: arg-type "group_id"
            name="A",
            description=None,
        )
        AdobeCreateAudienceMetadataOperator(
            task_id="register",
            name="A",
            namespace="crm",
            origin_name="CRM",
            if_exists="overwrite",  # error: arg-type "if_exists"
        )


def stores() -> None:
    with DAG("stores"):
        AdobeRotateProfileTokenOperator(task_id="rotate", store="adobe_token")  # error: arg-type "store"
        AdobeRotateProfileTokenOperator(
            task_id="days",
            store=AirflowVariableStore("t"),
            min_remaining=14,  # error: arg-type "min_remaining"
            verify_timeout=timedelta(minutes=1),
        )
        AdobeBulkProfileUpdateOperator(
            task_id="update",
            rows=[("id", 1)],  # error: list-item
            max_not_found=-1,
        )


def wrong_results() -> None:
    with DAG("results"):
        batch = AdobeAbortBatchOperator(task_id="complete", batch_id="1")
        AdobeAbortBatchOperator(task_id="again", batch_id=batch)  # error: arg-type "batch_id"
