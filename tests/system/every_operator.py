# SPDX-License-Identifier: Apache-2.0
"""The Dags of ``test_nothing_leaks.py``: each operator and sensor, in each mode, over each connection.

Over the first connection everything works. Over the others everything is refused, so each task has arguments
of its own, and no order.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_adobe_audiences.operators import audience_manager as groups
from airflow_provider_adobe_audiences.operators import experience_platform as platform
from airflow_provider_adobe_audiences.operators import target
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from airflow_provider_adobe_audiences.sensors.target import AdobeBulkProfileUpdateSensor

# The hosts, by the id of the connection to them.
HOSTS: dict[str, str] = json.loads(os.environ["LEAKS_HOSTS"])
FOLDER = Path(os.environ["LEAKS_FOLDER"])
ROWS = str(FOLDER / "rows.jsonl")
PROFILES = str(FOLDER / "profiles.csv")
MODES = {"": False, "_deferred": True}
GRANT = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}
DESIRED = {"groups": [{"name": "declared", "permissions": [GRANT]}]}


def batches(works: bool, after: str, deferrable: bool) -> None:
    platform.AdobeIngestBatchOperator(
        task_id=f"ingest{after}", dataset_id="d", source=ROWS, tags={"a": ["b"]}, poll_interval=0.5,
        deferrable=deferrable,
    )  # fmt: skip
    if works:
        made = platform.AdobeCreateBatchOperator(task_id=f"create_batch{after}", dataset_id="e", source=ROWS)
        batch: Any = made.output
    else:
        batch = "01HBATCH"
        platform.AdobeCreateBatchOperator(task_id=f"create_batch{after}", dataset_id="e", source=ROWS)
    sent = platform.AdobeUploadBatchFilesOperator(
        task_id=f"upload{after}", batch_id=batch, dataset_id="e", source=ROWS
    )
    uploads: Any = sent.output if works else [{"batch_id": batch, "files": [{"name": "a.json", "size": 1}]}]
    complete = platform.AdobeCompleteBatchOperator(
        task_id=f"complete{after}", batch_id=batch, uploads=uploads
    )
    wait = AdobeBatchSensor(
        task_id=f"wait{after}", batch_id=batch, poke_interval=0.5, timeout=300, deferrable=deferrable
    )
    rejected = platform.AdobeDownloadFailedRowsOperator(
        task_id=f"failed_rows{after}", batch_id=batch, target=str(FOLDER / f"rejected{after}")
    )
    abort = platform.AdobeAbortBatchOperator(task_id=f"abort{after}", batch_id=batch)
    if works:
        complete >> wait >> rejected >> abort


def calls_of_groups(works: bool) -> None:
    create = groups.AdobeCreateGroupOperator(task_id="create_group", name="made by hand", description="d")
    group: Any = create.output["group_id"] if works else 7
    update = groups.AdobeUpdateGroupOperator(
        task_id="update_group", group_id=group, name="renamed", description="e"
    )
    grant = groups.AdobeSetGroupPermissionsOperator(task_id="grant", group_id=group, permissions=[GRANT])
    reads = [
        groups.AdobeListGroupsOperator(task_id="list_groups"),
        groups.AdobeGetGroupOperator(task_id="get_group", group_id=group),
        groups.AdobeListGroupPermissionsOperator(task_id="list_permissions", group_id=group),
    ]
    delete = groups.AdobeDeleteGroupOperator(task_id="delete_group", group_id=group)
    another = groups.AdobeCreateGroupOperator(task_id="create_another", name="another")
    delete_all = groups.AdobeBulkDeleteGroupsOperator(
        task_id="delete_groups", group_ids=[another.output["group_id"]] if works else [8, 9]
    )
    sync = groups.AdobeSyncGroupsOperator(task_id="sync", desired=DESIRED, mode="apply")
    plan = groups.AdobePlanGroupsOperator(
        task_id="plan", desired={"groups": [{"name": "planned"}]}, skip_if_unchanged=False
    )
    apply = groups.AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan.output)
    if works:
        create >> update >> grant >> reads >> delete >> another >> delete_all >> sync >> plan >> apply


def profiles(works: bool, connection: str) -> None:
    store = AirflowVariableStore(f"profile_token_{connection if works else 'that_nobody_accepts'}")
    switch = target.AdobeSetProfileAuthenticationOperator(task_id="switch", enabled=True)
    rotate = target.AdobeRotateProfileTokenOperator(
        task_id="rotate",
        store=store if works else AirflowVariableStore(f"profile_token_{connection}"),
        announce=False,
    )
    updates = [
        target.AdobeBulkProfileUpdateOperator(
            task_id=f"update{after}", source=PROFILES, key_column="email", store=store, poll_interval=0.5,
            deferrable=deferrable,
        )
        for after, deferrable in MODES.items()
    ]  # fmt: skip
    sent = target.AdobeBulkProfileUpdateOperator(
        task_id="send", source=PROFILES, key_column="email", store=store, wait_for_completion=False
    )
    url = f"{HOSTS[connection]}/m2/client/v2/profile/batchStatus?batchId=client-1"
    waits = [
        AdobeBulkProfileUpdateSensor(
            task_id=f"wait_for_update{after}", batches=sent.output if works else [url], store=store,
            poke_interval=0.5, timeout=300, deferrable=deferrable,
        )
        for after, deferrable in MODES.items()
    ]  # fmt: skip
    if works:
        switch >> rotate >> updates >> sent >> waits


for number, connection in enumerate(HOSTS):
    with DAG(
        f"over_{connection}",
        schedule="@once",
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        # Where all works, a task that a busy machine has let down may try again.
        default_args={
            "adobe_conn_id": connection,
            "retries": 0 if number else 3,
            "retry_delay": timedelta(seconds=1),
        },
    ) as dag:
        works = number == 0
        for after, deferrable in MODES.items():
            batches(works, after, deferrable)
        platform.AdobeCreateAudienceMetadataOperator(
            task_id="audience", name="A", namespace="email", origin_name="CRM", if_exists="update"
        )
        calls_of_groups(works)
        profiles(works, connection)
    globals()[dag.dag_id] = dag
