# SPDX-License-Identifier: Apache-2.0
"""Writes a loyalty tier, computed from purchases, into the profiles of Adobe Target.

Runs after each rotation of the profile token, by its asset; with `AssetOrTimeSchedule` it could run every
night as well. The operator reads the token when it needs it. The result says how many profiles Target has
updated. Runs unchanged against a real tenant; then give a folder that all workers reach as `staging`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.operators.target import AdobeBulkProfileUpdateOperator
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore

PURCHASES = Path(__file__).parent / "data" / "cdnow_sample_transactions.csv"

with DAG(
    dag_id="adobe_target_bulk_profile_update",
    doc_md=__doc__,
    schedule=[profile_token_asset()],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "staging": Param(
            "file:///tmp/adobe-audiences", type="string", description="Folder that all workers reach"
        )
    },
    tags=["adobe", "target"],
):

    @task
    def loyalty(params: Any = None, run_id: Any = None) -> str:
        import csv
        import hashlib
        from collections import defaultdict

        spent: dict[str, float] = defaultdict(float)
        last: dict[str, str] = {}
        with PURCHASES.open(newline="") as file:
            for row in csv.DictReader(file):
                spent[row["customer_id"]] += float(row["spent_usd"])
                last[row["customer_id"]] = max(row["date"], last.get(row["customer_id"], ""))
        folder = ObjectStoragePath(params["staging"]) / hashlib.sha256(run_id.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "loyalty.csv"
        with path.open("w") as file:
            table = csv.writer(file)
            table.writerow(["customer_id", "tier", "spent", "lastPurchase"])
            for customer, dollars in sorted(spent.items()):
                tier = "gold" if dollars >= 200 else "silver" if dollars >= 50 else "bronze"
                table.writerow([customer, tier, f"{dollars:.2f}", last[customer]])
        return str(path)

    AdobeBulkProfileUpdateOperator(
        task_id="update_profiles",
        source=loyalty(),
        file_format="csv",
        key="thirdPartyId",
        key_column="customer_id",
        store=AirflowVariableStore("adobe_target_profile_token"),
        deferrable=True,
        poll_interval=2,
        pool=os.environ.get("ADOBE_TARGET_POOL", "default_pool"),
    )
