# SPDX-License-Identifier: Apache-2.0
"""Frequent buyers go from a CSV into Experience Platform, and their audience's metadata is registered next to
them.

The audience is registered only after its members have been ingested, and its description names the batch:
metadata and members stay paired. Runs unchanged against a real tenant: give the id of your dataset as
`dataset_id`; its schema needs the fields that `select_frequent_buyers` writes.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeCreateAudienceMetadataOperator,
    AdobeIngestBatchOperator,
)
from airflow_provider_adobe_audiences.tasks.staging import remove_run_folder, run_folder

PURCHASES = Path(__file__).parent / "data" / "cdnow_sample_transactions.csv"

with DAG(
    dag_id="adobe_batch_ingestion_with_audience_metadata",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "dataset_id": Param(
            "cdnow-frequent-buyers",
            type="string",
            pattern="^[A-Za-z0-9_-]{1,256}$",
            description="Dataset in Experience Platform",
        ),
        "minimum_purchases": Param(
            5, type="integer", minimum=1, description="Purchases that make a buyer frequent"
        ),
        "staging": Param(
            None,
            type=["null", "string"],
            pattern=r"^(file|s3|gs|abfss?)://[\w.@/=-]+$",
            description="Folder that all workers reach, such as s3://conn@bucket/x; none: a private one here",
        ),
        "keep_staged_files": Param(False, type="boolean", description="Do not remove them in the end"),
    },
    tags=["adobe", "experience-platform"],
) as dag:

    @task
    def select_frequent_buyers(params: Any = None, run_id: Any = None) -> str:
        import csv
        import json

        buyers: dict[str, list[dict[str, str]]] = defaultdict(list)
        with PURCHASES.open(newline="") as file:
            for purchase in csv.DictReader(file):
                buyers[purchase["customer_id"]].append(purchase)
        folder = run_folder(dag.dag_id, run_id, params["staging"])
        with (folder / "frequent_buyers.jsonl").open("w") as file:
            for customer_id, purchases in sorted(buyers.items()):
                if len(purchases) >= params["minimum_purchases"]:
                    record = {
                        "customerId": customer_id,
                        "purchases": len(purchases),
                        "cds": sum(int(purchase["cds"]) for purchase in purchases),
                        "spentUsd": round(sum(float(purchase["spent_usd"]) for purchase in purchases), 2),
                        "lastPurchase": max(purchase["date"] for purchase in purchases),
                    }
                    file.write(json.dumps(record) + "\n")
        return str(folder / "frequent_buyers.jsonl")

    @task
    def remove_staged_files(params: Any = None, run_id: Any = None) -> None:
        if not params["keep_staged_files"]:
            remove_run_folder(dag.dag_id, run_id, params["staging"])

    buyers: Any = select_frequent_buyers()

    ingest = AdobeIngestBatchOperator(
        task_id="ingest",
        dataset_id="{{ params.dataset_id }}",
        source=buyers,
        file_format="json",
        tags={"source": ["cdnow"]},
        deferrable=True,
        poll_interval=2,
        timeout=timedelta(hours=2),
    )

    register_audience = AdobeCreateAudienceMetadataOperator(
        task_id="register_audience",
        name="CDNOW frequent buyers",
        namespace="cdnow",
        origin_name="CDNOW_Purchases",
        audience_id="cdnow-frequent-buyers",
        description="Members were ingested by batch {{ ti.xcom_pull(task_ids='ingest', key='batch_id') }}.",
        if_exists="update",
    )

    ingest >> register_audience
    ingest >> remove_staged_files().as_teardown(setups=buyers)
