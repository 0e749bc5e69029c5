# SPDX-License-Identifier: Apache-2.0
"""The fixtures that the other suites stand on, on every supported Airflow."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task


def test_a_dag_runs_and_its_xcom_can_be_read(run_dag, xcom):
    with DAG("fixtures_two_tasks", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:

        @task
        def one():
            return {"rows": 3}

        @task
        def two(answer):
            return answer["rows"] + 1

        two(one())

    run = run_dag(dag)

    assert run.state == "success"
    assert xcom(run, "two") == 4
    assert xcom(run, "one", key="nothing") is None


def test_a_failing_task_fails_the_run(run_dag):
    with DAG("fixtures_failure", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:

        @task
        def boom():
            raise ValueError("on purpose")

        boom()

    assert run_dag(dag).state == "failed"
