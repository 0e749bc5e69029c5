# SPDX-License-Identifier: Apache-2.0
"""One batch, filled by many workers: create it, upload its files in mapped tasks, complete it, wait.

When anything fails before the batch is complete, the teardown aborts it, so that nothing half-finished stays
behind; the batch is completed only when every upload has gone into it. Whichever task is cleared, its batch
and its files are set up anew. Staged files are private, and removed in the end. Runs unchanged against a real
tenant: give the id of your dataset as `dataset_id`. Writes Parquet, which needs `pyarrow`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from airflow_provider_adobe_audiences.tasks.staging import remove_run_folder, run_folder

PURCHASES = Path(__file__).parent / "data" / "cdnow_sample_transactions.csv"

with DAG(
    dag_id="adobe_batch_ingestion_mapped",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "dataset_id": Param(
            "cdnow-purchases",
            type="string",
            pattern="^[A-Za-z0-9_-]{1,256}$",
            description="Dataset in Experience Platform",
        ),
        "files": Param(
            4, type="integer", minimum=1, maximum=1000, description="How many files, and upload tasks"
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
    def split_purchases(params: Any = None, run_id: Any = None) -> list[str]:
        import pyarrow.csv
        import pyarrow.parquet

        text = pyarrow.csv.ConvertOptions(
            column_types={"customer_id": pyarrow.string(), "sampled_id": pyarrow.string()}
        )
        purchases = pyarrow.csv.read_csv(PURCHASES, convert_options=text)
        folder = run_folder(dag.dag_id, run_id, params["staging"])
        rows = -(-purchases.num_rows // params["files"])
        paths = []
        for number in range(params["files"]):
            path = folder / f"purchases-{number:03}.parquet"
            with path.open("wb") as file:
                pyarrow.parquet.write_table(purchases.slice(number * rows, rows), file)
            paths.append(str(path))
        return paths

    @task
    def remove_staged_files(params: Any = None, run_id: Any = None) -> None:
        if not params["keep_staged_files"]:
            remove_run_folder(dag.dag_id, run_id, params["staging"])

    files: Any = split_purchases()

    create_batch = AdobeCreateBatchOperator(
        task_id="create_batch",
        dataset_id="{{ params.dataset_id }}",
        source=files,
        file_format="parquet",
    )

    upload = AdobeUploadBatchFilesOperator.partial(
        task_id="upload",
        batch_id=create_batch.output,
        dataset_id="{{ params.dataset_id }}",
        file_format="parquet",
    ).expand(source=files)

    complete_batch = AdobeCompleteBatchOperator(
        task_id="complete_batch", batch_id=create_batch.output, uploads=upload.output
    )

    wait = AdobeBatchSensor(
        task_id="wait", batch_id=create_batch.output, deferrable=True, poke_interval=2, timeout=7200
    )

    abort_unless_complete = AdobeAbortBatchOperator(
        task_id="abort_unless_complete", batch_id=create_batch.output
    )

    create_batch >> upload >> complete_batch >> wait >> abort_unless_complete.as_teardown(setups=create_batch)
    # The files are a set-up of the uploads: clearing one of these makes them anew.
    abort_unless_complete >> remove_staged_files().as_teardown(setups=files)
