# SPDX-License-Identifier: Apache-2.0
"""Writes a loyalty tier, computed from purchases, into the profiles of Adobe Target.

Runs after each rotation of the profile token, by its asset; with `AssetOrTimeSchedule` it could run every
night as well. The operator reads the token when it needs it. The result says how many profiles Target has
updated. The file on its way lies in a private folder of this machine and is removed in the end; with workers
on several machines give a folder that all of them reach as `staging`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.operators.target import AdobeBulkProfileUpdateOperator
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.tasks.staging import remove_run_folder, run_folder

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
            None,
            type=["null", "string"],
            pattern=r"^(file|s3|gs|abfss?)://[\w.@/=-]+$",
            description="Folder that all workers reach, such as s3://conn@bucket/x; none: a private one here",
        ),
        "keep_staged_files": Param(False, type="boolean", description="Do not remove them in the end"),
    },
    tags=["adobe", "target"],
) as dag:

    @task
    def loyalty(params: Any = None, run_id: Any = None) -> str:
        import csv
        from collections import defaultdict

        spent: dict[str, float] = defaultdict(float)
        last: dict[str, str] = {}
        with PURCHASES.open(newline="") as file:
            for row in csv.DictReader(file):
                spent[row["customer_id"]] += float(row["spent_usd"])
                last[row["customer_id"]] = max(row["date"], last.get(row["customer_id"], ""))
        path = run_folder(dag.dag_id, run_id, params["staging"]) / "loyalty.csv"
        with path.open("w") as file:
            table = csv.writer(file)
            table.writerow(["customer_id", "tier", "spent", "lastPurchase"])
            for customer, dollars in sorted(spent.items()):
                tier = "gold" if dollars >= 200 else "silver" if dollars >= 50 else "bronze"
                table.writerow([customer, tier, f"{dollars:.2f}", last[customer]])
        return str(path)

    @task
    def remove_staged_files(params: Any = None, run_id: Any = None) -> None:
        if not params["keep_staged_files"]:
            remove_run_folder(dag.dag_id, run_id, params["staging"])

    tiers: Any = loyalty()

    update_profiles = AdobeBulkProfileUpdateOperator(
        task_id="update_profiles",
        source=tiers,
        file_format="csv",
        key="thirdPartyId",
        key_column="customer_id",
        store=AirflowVariableStore("adobe_target_profile_token"),
        deferrable=True,
        poll_interval=2,
        pool=os.environ.get("ADOBE_TARGET_POOL", "default_pool"),
    )

    update_profiles >> remove_staged_files().as_teardown(setups=tiers)
