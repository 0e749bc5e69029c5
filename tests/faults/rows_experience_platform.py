# SPDX-License-Identifier: Apache-2.0
"""Experience Platform: audience metadata and batches."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.batches.source import Manifest
from airflow_provider_adobe_audiences.operators.experience_platform import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateAudienceMetadataOperator,
    AdobeCreateBatchOperator,
    AdobeDownloadFailedRowsOperator,
    AdobeIngestBatchOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.sensors.experience_platform import AdobeBatchSensor
from tests.by_hand import adobe
from tests.faults.rows import Facts, row

if TYPE_CHECKING:
    from tests.faults.harness import Run, World

DATASET = "dataset-1"
IMPORT = "/data/foundation/import/batches"


def rows_of(file: int, count: int = 20) -> list[dict[str, Any]]:
    return [{"customerId": f"customer-{file}-{number}", "spent": number} for number in range(count)]


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in rows)


def sources(world: World, count: int = 2) -> list[str]:
    files = []
    for number in range(count):
        file = world.folder / f"source-{number}.jsonl"
        file.write_text(json_lines(rows_of(number)))
        files.append(str(file))
    return files


def batches(world: World) -> list[dict[str, Any]]:
    return list(world.emulator.platform.snapshot()["batches"])


def a_batch(world: World, *bodies: str, complete: bool = False, **asked: Any) -> str:
    with adobe(world.emulator) as client:
        answer = client.post(
            IMPORT, json={"datasetId": DATASET, "inputFormat": {"format": "json"}, **asked}
        ).raise_for_status()
        batch_id = str(answer.json()["id"])
        for number, body in enumerate(bodies):
            url = f"{IMPORT}/{batch_id}/datasets/{DATASET}/files/part-{number}"
            client.put(
                url, content=body, headers={"Content-Type": "application/octet-stream"}
            ).raise_for_status()
        if complete:
            client.post(f"{IMPORT}/{batch_id}", params={"action": "COMPLETE"}).raise_for_status()
    return batch_id


# ------------------------------------------------------------------------------------------------------------
# audience metadata


def audiences(world: World) -> list[dict[str, Any]]:
    return list(world.emulator.platform.snapshot()["audiences"])


def one_audience(world: World, runs: list[Run]) -> None:
    (audience,) = audiences(world)
    assert audience["audienceId"] == "buyers" or runs[0].facts["audience_id"] is None
    assert {key: audience[key] for key in ("name", "namespace", "originName")} == {
        "name": "Frequent buyers",
        "namespace": "shop",
        "originName": "Shop",
    }
    for run in runs:
        assert run.result["audience_id"] == audience["audienceId"]
        assert run.result["id"] == audience["id"]


def a_new_audience(world: World, runs: list[Run]) -> None:
    one_audience(world, runs)
    if not world.fault.startswith("409"):  # which says that it was there before
        assert any(run.result["created"] for run in runs), [run.result for run in runs]


def metadata(facts: Facts) -> Any:
    return AdobeCreateAudienceMetadataOperator(
        task_id="audience",
        name="Frequent buyers",
        namespace="shop",
        origin_name="Shop",
        description="Bought ten times",
        **facts,
    )


row(
    name="AdobeCreateAudienceMetadataOperator",
    invariant="exactly one audience with this audienceId, as declared; the try that made it says so",
    prepare=lambda world: {"audience_id": "buyers"},
    build=metadata,
    check=a_new_audience,
)
row(
    name="AdobeCreateAudienceMetadataOperator (Adobe makes the id)",
    invariant="exactly one audience of this name, namespace and origin",
    prepare=lambda world: {"audience_id": None},
    build=metadata,
    check=a_new_audience,
    not_with=dict.fromkeys(
        (
            "SIGKILL, and the write arrives later",
            "read timeout, processed later",
            "two runs at once, interleaved before the request",
            "two runs at once, interleaved after it is committed",
            "the lost process comes back, before the request",
            "the lost process comes back, after it is committed",
        ),
        "without an audience_id Adobe makes up an id for each request, so nothing tells a late one from a "
        "new one; give one",
    ),
    switches={"ais_generation": "v3"},
)


def an_old_audience(world: World) -> Facts:
    with adobe(world.emulator) as client:
        client.post(
            "/data/core/ais/audiences?createAudienceMetaOnly=true",
            json={"name": "Old name", "namespace": "shop", "originName": "Shop", "audienceId": "buyers"},
            headers={"Accept": "application/vnd.adobe.external.audiences+json; version=2"},
        ).raise_for_status()
    return {"audience_id": "buyers", "if_exists": "update"}


row(
    name="AdobeCreateAudienceMetadataOperator (update)",
    invariant="exactly one audience with this audienceId, with the new name",
    prepare=an_old_audience,
    build=metadata,
    check=one_audience,
)

# ------------------------------------------------------------------------------------------------------------
# batches


def exactly_the_source(world: World, runs: list[Run]) -> None:
    """Each run has one successful batch, which holds each row of the source once; nothing else is in the
    dataset or on its way there.
    """
    held = batches(world)
    good = {batch["id"]: batch for batch in held if batch["status"] == "success"}
    assert set(good) == {run.result["batch_id"] for run in runs}, held
    assert {batch["status"] for batch in held} <= {"success", "aborted"}, held
    expected = Counter(
        json.dumps(one, sort_keys=True)
        for file in range(runs[0].facts.get("count", 2))
        for one in rows_of(file)
    )
    found: dict[str, Counter[str]] = {batch_id: Counter() for batch_id in good}
    for batch_id, one in world.emulator.platform.rows(DATASET):
        found[batch_id][json.dumps(one, sort_keys=True)] += 1
    assert all(rows == expected for rows in found.values())
    for run in runs:
        result = dict(run.result)
        assert result.pop("external_id").startswith("faults-ingest-")
        number = sum(expected.values())
        assert result == {
            "batch_id": run.result["batch_id"],
            "dataset_id": DATASET,
            "status": "success",
            "records_in": number,
            "records_ingested": number,
            "records_failed": 0,
            "files": len(run.facts["source"]),
            "bytes": sum(len(json_lines(rows_of(file))) for file in range(len(run.facts["source"]))),
        }


def nothing_loading(world: World, runs: list[Run]) -> None:
    assert [batch for batch in batches(world) if batch["status"] == "loading"] == []


def ingest(facts: Facts) -> Any:
    return AdobeIngestBatchOperator(
        task_id="ingest",
        dataset_id=DATASET,
        source=facts["source"],
        deferrable=facts.get("deferrable", False),
        poll_interval=1,
    )


EXACTLY_ONCE = "exactly one successful batch with exactly the rows of the source"

row(
    name="AdobeIngestBatchOperator",
    invariant=EXACTLY_ONCE,
    prepare=lambda world: {"source": sources(world)},
    build=ingest,
    check=exactly_the_source,
    check_ended=nothing_loading,
    switches={"batch_polls": 2},
)
row(
    name="AdobeIngestBatchOperator (deferrable)",
    invariant=EXACTLY_ONCE,
    prepare=lambda world: {"source": sources(world), "deferrable": True},
    build=ingest,
    check=exactly_the_source,
    check_ended=nothing_loading,
    switches={"batch_polls": 3},
)


def ingest_in_parts(facts: Facts) -> Any:
    from airflow_provider_adobe_audiences.adobe import experience_platform

    experience_platform.MAX_WHOLE_FILE_BYTES = 100  # this process only: a file of 256 MB tells no more
    return AdobeIngestBatchOperator(
        task_id="ingest", dataset_id=DATASET, source=facts["source"], poll_interval=1, part_size=300
    )


row(
    name="AdobeIngestBatchOperator (in parts)",
    invariant=EXACTLY_ONCE,
    prepare=lambda world: {"source": sources(world, 1), "count": 1},
    build=ingest_in_parts,
    check=exactly_the_source,
    check_ended=nothing_loading,
    switches={"batch_polls": 1},
)


def one_batch_each(world: World, runs: list[Run]) -> None:
    assert sorted(batch["id"] for batch in batches(world)) == sorted(run.result for run in runs)
    assert nothing_but(world, "loading")


def nothing_but(world: World, status: str) -> bool:
    return {batch["status"] for batch in batches(world)} == {status}


row(
    name="AdobeCreateBatchOperator",
    invariant="exactly one batch, waiting for its files",
    prepare=lambda world: {"source": sources(world)},
    build=lambda facts: AdobeCreateBatchOperator(task_id="create", dataset_id=DATASET, **facts),
    check=one_batch_each,
)


def uploaded(world: World, runs: list[Run]) -> None:
    (batch,) = batches(world)
    assert batch["status"] == "loading"
    assert sorted(file["size"] for file in batch["files"]) == sorted(
        len(json_lines(rows_of(number))) for number in range(2)
    )
    world_batch = world.emulator.platform.batches.batches[batch["id"]]
    assert sorted(path.read_text() for _, path in world_batch.paths()) == sorted(
        json_lines(rows_of(number)) for number in range(2)
    )
    assert all(
        {name: run.result[name] for name in ("batch_id", "map_index", "files", "bytes")}
        == {
            "batch_id": batch["id"],
            "map_index": -1,
            "files": 2,
            "bytes": sum(len(json_lines(rows_of(number))) for number in range(2)),
        }
        for run in runs
    )


row(
    name="AdobeUploadBatchFilesOperator",
    invariant="the batch holds each file once, byte for byte",
    prepare=lambda world: {"batch_id": a_batch(world), "dataset_id": DATASET, "source": sources(world)},
    build=lambda facts: AdobeUploadBatchFilesOperator(task_id="upload", **facts),
    check=uploaded,
)


def an_uploaded_batch(world: World) -> Facts:
    """A batch that says what it was created for, and the result of the upload that has sent it."""
    body = json_lines(rows_of(0))
    entry = {"name": "part-0", "size": len(body), "fingerprint": hashlib.sha256(body.encode()).hexdigest()}
    batch_id = a_batch(world, body, tags=Manifest.of([entry]).tags())
    return {"batch_id": batch_id, "uploads": [{"batch_id": batch_id, "map_index": 0, "manifest": [entry]}]}


def completed(world: World, runs: list[Run]) -> None:
    (batch,) = batches(world)
    assert (batch["status"], batch["recordsOut"]) == ("success", 20)
    assert all(run.result == batch["id"] for run in runs)


row(
    name="AdobeCompleteBatchOperator",
    invariant="the batch is ingested once",
    prepare=an_uploaded_batch,
    build=lambda facts: AdobeCompleteBatchOperator(task_id="complete", **facts),
    check=completed,
    switches={"batch_seconds": 0},
)


def aborted(world: World, runs: list[Run]) -> None:
    assert nothing_but(world, "aborted")
    assert all(run.result == "aborted" for run in runs)


row(
    name="AdobeAbortBatchOperator",
    invariant="the batch is aborted",
    prepare=lambda world: {"batch_id": a_batch(world, json_lines(rows_of(0)))},
    build=lambda facts: AdobeAbortBatchOperator(task_id="abort", **facts),
    check=aborted,
)


def a_finished_batch(world: World) -> Facts:
    return {"batch_id": a_batch(world, json_lines(rows_of(0)), complete=True)}


def judged(world: World, runs: list[Run]) -> None:
    (batch,) = batches(world)
    for run in runs:
        assert run.result == {
            "batch_id": batch["id"],
            "external_id": batch["externalId"],
            "dataset_id": DATASET,
            "status": "success",
            "records_in": 20,
            "records_ingested": 20,
            "records_failed": 0,
        }


def sensor(facts: Facts) -> Any:
    return AdobeBatchSensor(task_id="wait", poke_interval=1, **facts)


row(
    name="AdobeBatchSensor",
    invariant="reads: the result is the batch's state",
    prepare=a_finished_batch,
    build=sensor,
    check=judged,
    switches={"batch_polls": 2},
)
row(
    name="AdobeBatchSensor (deferrable)",
    invariant="reads: the result is the batch's state",
    prepare=lambda world: a_finished_batch(world) | {"deferrable": True},
    build=sensor,
    check=judged,
    switches={"batch_polls": 2},
)


def bad_rows(count: int) -> list[str]:
    return [f"not json {number} {'x' * 900}" for number in range(count)]


def a_batch_with_bad_rows(world: World) -> Facts:
    count = 200 if world.fault.startswith("disk full") else 5  # more than fits on the disk then
    body = json_lines(rows_of(0, 2 * count)) + "".join(f"{line}\n" for line in bad_rows(count))
    batch_id = a_batch(world, body, complete=True, enableErrorDiagnostics=True, partialIngestionPercent=50)
    return {"batch_id": batch_id, "target": str(world.folder / "failed"), "count": count}


def downloaded(world: World, runs: list[Run]) -> None:
    folder = world.folder / "failed" / runs[0].facts["batch_id"]
    files = sorted(folder.iterdir())
    assert all(
        sorted(run.result) == sorted(f"file://{file}" if result_is_url(run) else str(file) for file in files)
        for run in runs
    )
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [one["_corrupt_record"] for one in rows] == bad_rows(runs[0].facts["count"])


def result_is_url(run: Run) -> bool:
    return bool(run.result) and run.result[0].startswith("file://")


row(
    name="AdobeDownloadFailedRowsOperator",
    invariant="reads: the files hold exactly the rejected rows",
    prepare=a_batch_with_bad_rows,
    build=lambda facts: AdobeDownloadFailedRowsOperator(
        task_id="download", batch_id=facts["batch_id"], target=facts["target"]
    ),
    check=downloaded,
    not_with={"404": "Adobe answers so when there are no failed rows"},
    switches={"batch_seconds": 0},
)
