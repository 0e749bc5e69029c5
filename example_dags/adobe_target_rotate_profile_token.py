# SPDX-License-Identifier: Apache-2.0
"""Rotates the profile authentication token of Adobe Target every month, and complains when little is left of
it.

A new token kills the old one at once. What uses the token shares a pool with the rotation, so that no upload
is under way meanwhile:

    airflow pools set adobe_target 4 "Adobe Target's profile API" --include-deferred
    export ADOBE_TARGET_POOL=adobe_target ADOBE_TARGET_POOL_SLOTS=4

Without these two lines Airflow's default pool is used. The token is kept in the Airflow Variable
`adobe_target_profile_token`; the module `airflow_provider_adobe_audiences.rotation.stores` has stores for
Vault and for the clouds' secret managers. Runs unchanged against a real tenant: the credential needs Target's
role Approver or Admin.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_adobe_audiences.operators.target import AdobeRotateProfileTokenOperator
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore

STORE = AirflowVariableStore("adobe_target_profile_token")
# A token lives for 90 days (in Adobe's example), so there are less than these left after a month, and two
# months may fail.
MIN_REMAINING = timedelta(days=65)
# Longer than a month, which is when this looks next.
MIN_DAYS_LEFT = 35

with DAG(
    dag_id="adobe_target_rotate_profile_token",
    doc_md=__doc__,
    schedule="0 3 1 * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["adobe", "target"],
):
    rotate = AdobeRotateProfileTokenOperator(
        task_id="rotate",
        store=STORE,
        min_remaining=MIN_REMAINING,
        pool=os.environ.get("ADOBE_TARGET_POOL", "default_pool"),
        pool_slots=int(os.environ.get("ADOBE_TARGET_POOL_SLOTS", "1")),
    )

    look = AdobeRotateProfileTokenOperator(
        task_id="look", store=STORE, mode="check", min_remaining=MIN_REMAINING, trigger_rule="all_done"
    )

    @task
    def complain_when_little_is_left(found: Any) -> str:
        if found["needed"] == "adopt":
            raise ValueError(f"the store does not hold the token that Target accepts: {found['reason']}")
        left = (
            datetime.fromisoformat(found["expires_at"]) - datetime.now(UTC)
            if found["expires_at"]
            else timedelta(0)
        )
        if left < timedelta(days=MIN_DAYS_LEFT):
            raise ValueError(f"only {left} of the profile token are left: {found['reason']}")
        return f"{left.days} days left"

    @task(trigger_rule="one_failed", retries=0)
    def fail_with_the_rotation() -> None:
        raise RuntimeError("the rotation failed; its log says what to do")

    # Without it the Dag run would succeed when only `rotate` fails: the last tasks decide.
    rotate >> [look, fail_with_the_rotation()]
    complain_when_little_is_left(look.output)
