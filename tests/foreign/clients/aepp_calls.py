# SPDX-License-Identifier: Apache-2.0
"""All that aepp has on audiences, external audiences, batches, files and Catalog, against the emulator.

Run by the Python that has aepp: ``python aepp_calls.py URL``; prints one JSON line per call. Nothing
of aepp is changed but the hosts that it calls.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aepp
import requests
from aepp import catalog, dataaccess, ingestion, segmentation

URL = sys.argv[1]
HOSTS = {"platform.adobe.io", "ims-na1.adobelogin.com"}
STATUSES: list[int] = []
_send = requests.Session.send


def send(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
    """Send what goes to Adobe to the emulator."""
    parts = urlsplit(str(request.url))
    if parts.hostname in HOSTS:
        request.url = URL + str(request.url).partition(parts.netloc)[2]
    response = _send(session, request, **kwargs)
    STATUSES.append(response.status_code)
    return response


def report(name: str, call: Callable[[], Any], is_right: Callable[[Any], bool]) -> Any:
    """Make a call and print what came of it: right, wrong, or refused with a status."""
    STATUSES.clear()
    result, problem = None, ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            result = call()
        right = bool(is_right(result))
    except Exception as error:
        right, problem = False, f"{type(error).__name__}: {error}"[:200]
    line = {"call": name, "right": right, "statuses": STATUSES.copy(), "problem": problem}
    if not right and not problem:
        line["problem"] = str(result)[:200]
    print(json.dumps(line), flush=True)
    return result


def has(*names: str) -> Callable[[Any], bool]:
    return lambda result: isinstance(result, dict) and all(name in result for name in names)


def is_list(*, at_least: int = 1) -> Callable[[Any], bool]:
    return lambda result: isinstance(result, list) and len(result) >= at_least


def is_frame(*, at_least: int = 1) -> Callable[[Any], bool]:
    return lambda result: hasattr(result, "columns") and len(result) >= at_least


def is_path_of(number: str) -> Callable[[Any], bool]:
    return lambda result: result == [f"@/dataSets/{number}"]


def wait_for(batch: str, word: str = "success") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if CATALOG.getBatch(batch)[batch]["status"] == word:
            return
        time.sleep(0.02)
    raise SystemExit(f"{batch} is not {word}")


def audiences() -> None:
    segments = segmentation.Segmentation()
    platform = {
        "name": "Frequent buyers",
        "profileInstanceId": "ups",
        "description": "Twelve orders",
        "type": "SegmentDefinition",
        "expression": {"type": "PQL", "format": "pql/text", "value": 'homeAddress.countryISO = "CA"'},
        "schema": {"name": "_xdm.context.profile"},
        "labels": ["core/C1"],
        "ttlInDays": 60,
    }
    outside = {
        "name": "From outside",
        "audienceId": "outside-1",
        "namespace": "agora",
        "type": "ExternalSegment",
        "originName": "Agora_Collaboration",
        "lifecycleState": "published",
    }
    made = report("createAudience (platform)", lambda: segments.createAudience(platform), has("id", "name"))
    other = report(
        "createAudience (external)",
        lambda: segments.createAudience(outside),
        lambda result: (result["audienceId"], result["namespace"]) == ("outside-1", "agora"),
    )
    for number in range(3):
        segments.createAudience(platform | {"name": f"n{number}"})
    report("getAudiences", segments.getAudiences, is_list(at_least=5))
    report("getAudiences (pages)", lambda: segments.getAudiences(limit=2), is_list(at_least=5))
    report("getAudiences (name)", lambda: segments.getAudiences(name="FREQ"), lambda found: len(found) == 1)
    report(
        "getAudiences (property)",
        lambda: segments.getAudiences(prop="audienceId==outside-1"),
        lambda found: [one["id"] for one in found] == [other["id"]],
    )
    report(
        "getAudiences (sort, description)",
        lambda: segments.getAudiences(sort="updateTime:desc", description="twelve"),
        is_list(at_least=4),
    )
    report("getAudience", lambda: segments.getAudience(made["id"]), has("id", "name", "_etag"))
    operations = [{"op": "add", "path": "/description", "value": "new"}]
    report(
        "patchAudience",
        lambda: segments.patchAudience(made["id"], operations),
        lambda result: result["description"] == "new",
    )
    report(
        "putAudience",
        lambda: segments.putAudience(made["id"], platform | {"name": "Renamed"}),
        lambda result: result["name"] == "Renamed",
    )
    report("deleteAudience", lambda: segments.deleteAudience(made["id"]), lambda result: result == 204)
    report("getAudience (deleted)", lambda: segments.getAudience(made["id"]), has("errors", "title"))
    report(
        "getResource (Segmentation)",
        lambda: segments.getResource(f"{segments.endpoint}/audiences", params={"limit": 1}),
        has("children"),
    )
    external_audiences(segments)


def external_audiences(segments: Any) -> None:
    body = {
        "name": "Uploaded",
        "customAudienceId": "uploaded-1",
        "fields": [
            {"name": "ecid", "type": "string", "identityNs": "ECID"},
            {"name": "age", "type": "integer"},
        ],
        "sourceSpec": {"params": {"path": "people.csv", "type": "file", "cloudType": "DLZ"}},
        "ttlInDays": 30,
        "originName": "CUSTOM_UPLOAD",
    }
    operation = report(
        "createExtenalAudience", lambda: segments.createExtenalAudience(body), has("operationId")
    )
    number = operation["operationId"]
    status = report(
        "getExternalAudienceStatus",
        lambda: segments.getExternalAudienceStatus(number),
        lambda result: result["status"] == "SUCCESS" and result["audienceId"] == "uploaded-1",
    )
    audience = status["audienceId"]
    run = report("runExternalAudienceJob", lambda: segments.runExternalAudienceJob(audience), has("runId"))
    report(
        "runExternalAudienceJob (start, end)",
        lambda: segments.runExternalAudienceJob(audience, startTime=1, endTime=2),
        has("runId", "dataFilterEndTime"),
    )
    report(
        "getExternalAudienceJob",
        lambda: segments.getExternalAudienceJob(audience, run["runId"]),
        lambda result: result["status"] == "SUCCESS" and len(result["details"]) == 2,
    )


def ingest(
    client: Any, dataset: str, rows: Any, *, multiline: bool = False, final: str = "success", **kwargs: Any
) -> str:
    batch = str(client.createBatch(dataset, multiline=multiline, **kwargs)["id"])
    client.uploadSmallFile(batch, dataset, "rows.json", rows)
    client.uploadSmallFileFinish(batch)
    wait_for(batch, final)
    return batch


def batches(dataset: str) -> tuple[str, str]:
    client = ingestion.DataIngestion()
    created = report(
        "createBatch", lambda: client.createBatch(dataset), has("id", "imsOrg", "relatedObjects")
    )
    batch = created["id"]
    report(
        "uploadSmallFile (object)",
        lambda: client.uploadSmallFile(batch, dataset, "a.json", {"a": 1}),
        lambda _: STATUSES == [200],
    )
    report(
        "getPreviewBatchDataset",
        lambda: client.getPreviewBatchDataset(batch, dataset),
        has("preview"),
    )
    report("uploadSmallFileFinish", lambda: client.uploadSmallFileFinish(batch), lambda _: STATUSES == [200])
    wait_for(batch)
    array = report(
        "createBatch (multiline, tags)",
        lambda: client.createBatch(dataset, multiline=True, tags={"mine": ["x"]}),
        lambda result: result["tags"] == {"mine": ["x"]},
    )["id"]
    report(
        "uploadSmallFile (list)",
        lambda: client.uploadSmallFile(array, dataset, "a.json", [{"a": 2}, {"a": 3}]),
        lambda _: STATUSES == [200],
    )
    client.uploadSmallFileFinish(array)
    wait_for(array)
    report(
        "createBatch (diagnostics)",
        lambda: client.createBatch(dataset, enableDiagnostic=True, partialIngestionPercentage=50),
        has("id"),
    )
    end(client, client.createBatch(dataset)["id"], "ABORT", "aborted")
    end(client, client.createBatch(dataset)["id"], "FAIL", "failed")
    replay = {"predecessors": [f"${array}"], "reason": "replace"}
    replacing = report(
        "createBatch (replay)",
        lambda: client.createBatch(dataset, replay=replay),
        lambda result: result["replay"]["predecessors"] == [array],
    )["id"]
    client.uploadSmallFile(replacing, dataset, "a.json", {"a": 4})
    client.uploadSmallFileFinish(replacing)
    wait_for(replacing)
    report("replayBatch", lambda: client.replayBatch(dataset, [batch]), has("id"))
    large_file(client, dataset)
    bad = ingest(client, dataset, [{"a": 1}], final="failed", enableDiagnostic=True)
    report(
        "deleteBatch",
        lambda: client.deleteBatch(replacing),
        lambda _: CATALOG.getBatch(replacing)[replacing]["status"] == "inactive",
    )
    return batch, bad


def end(client: Any, batch: str, action: str, final: str) -> None:
    report(
        f"uploadSmallFileFinish ({action})",
        lambda: client.uploadSmallFileFinish(batch, action),
        lambda _: CATALOG.getBatch(batch)[batch]["status"] == final,
    )


def large_file(client: Any, dataset: str) -> None:
    batch, rows = client.createBatch(dataset)["id"], b'{"a": 5}\n{"a": 6}\n'
    path = "large.json"
    report(
        "uploadLargeFileStartEnd (INITIALIZE)",
        lambda: client.uploadLargeFileStartEnd(batch, dataset, path),
        lambda _: STATUSES[-1] in (200, 201),
    )
    report(
        "uploadLargeFilePart",
        lambda: client.uploadLargeFilePart(batch, dataset, path, rows, f"bytes 0-{len(rows) - 1}"),
        has("name"),
    )
    report("headFileStatus", lambda: client.headFileStatus(batch, dataset, path), lambda _: STATUSES == [200])
    report(
        "uploadLargeFileStartEnd (COMPLETE)",
        lambda: client.uploadLargeFileStartEnd(batch, dataset, path, "COMPLETE"),
        lambda _: STATUSES[-1] in (200, 201),
    )
    client.uploadSmallFileFinish(batch)
    wait_for(batch)


def batches_in_catalog(dataset: str, good: str, bad: str) -> None:
    report("getBatch", lambda: CATALOG.getBatch(good), has(good))
    report("getBatches", CATALOG.getBatches, has(good, bad))
    report("getBatches (all)", lambda: CATALOG.getBatches(limit=2, n_results="inf"), has(good, bad))
    report("getBatches (dataframe)", lambda: CATALOG.getBatches(output="dataframe"), is_frame(at_least=5))
    report(
        "getBatches (filters)",
        lambda: CATALOG.getBatches(
            status="success,active", dataSet=dataset, orderBy="asc:created", limit=100
        ),
        lambda found: good in found and bad not in found,
    )
    report(
        "getBatches (properties)",
        lambda: CATALOG.getBatches(properties="status,created", createdAfter=1),
        lambda found: set(found[good]) == {"status", "created"},
    )
    report(
        "getFailedBatchesDF",
        CATALOG.getFailedBatchesDF,
        lambda frame: bad in frame.index and len(frame.loc[bad, "sandbox"]) == 36,
    )
    report("getMapperErrors", CATALOG.getMapperErrors, is_frame(at_least=0))
    report("findActiveBatch", lambda: CATALOG.findActiveBatch(good), lambda found: found == good)
    report("getLastBatches", CATALOG.getLastBatches, has(dataset))
    report(
        "getLastBatches (dataset)",
        lambda: CATALOG.getLastBatches(dataset, orderBy="desc:created"),
        lambda found: set(found) == {dataset} and found[dataset]["lastFailedBatchId"],
    )
    report(
        "createBatch (Catalog)",
        lambda: CATALOG.createBatch({"status": "processing"}),
        lambda result: isinstance(result, list),
    )


def new_datasets() -> str:
    schema = "https://ns.adobe.com/emulator/schemas/1"
    made = report(
        "createDataSet",
        lambda: CATALOG.createDataSet(name="People", schemaId=schema, profileEnabled=True),
        is_list(),
    )
    report(
        "createDataSet (upsert, identity)",
        lambda: CATALOG.createDataSet(name="Upsert", schemaId=schema, upsert=True, identityEnabled=True),
        is_list(),
    )
    report("createDataSet (object)", lambda: CATALOG.createDataSet({"name": "Object"}), is_list())
    report("createUnionProfileDataset", CATALOG.createUnionProfileDataset, is_list())
    return str(made[0].rpartition("/")[2])


def datasets(dataset: str) -> None:
    report("getDataSets", CATALOG.getDataSets, has(dataset))
    report("getDataSets (dataframe)", lambda: CATALOG.getDataSets(output="df"), is_frame(at_least=4))
    report("getDataSets (pages)", lambda: CATALOG.getDataSets(limit=1), lambda found: len(found) >= 4)
    report("getDataSet", lambda: CATALOG.getDataSet(dataset), has(dataset))
    report(
        "getDataSetObservableSchema",
        lambda: CATALOG.getDataSetObservableSchema(dataset, appendDatasetInfo=True),
        has("datasetId", "observableSchema"),
    )
    report("getDatasetsInfos", CATALOG.getDatasetsInfos, is_frame())
    report("getProfileSnapshotDatasets", CATALOG.getProfileSnapshotDatasets, lambda found: found is not None)
    right = is_path_of(dataset)
    report("enableDatasetProfile", lambda: CATALOG.enableDatasetProfile(dataset, upsert=True), right)
    report("enableDatasetUpsert", lambda: CATALOG.enableDatasetUpsert(dataset), right)
    report("enableDatasetIdentity", lambda: CATALOG.enableDatasetIdentity(dataset), right)
    report("disableDatasetProfile", lambda: CATALOG.disableDatasetProfile(dataset), right)
    report("disableDatasetIdentity", lambda: CATALOG.disableDatasetIdentity(dataset), right)
    report("disableDatasetValidationContext", lambda: CATALOG.disableDatasetValidationContext(dataset), right)
    report("patchDataset", lambda: CATALOG.patchDataset(dataset, {"description": "d"}), right)
    report("patchDatasetV2", lambda: CATALOG.patchDatasetV2(dataset, EXTENSIONS), right)
    report("setDatasetTTL", lambda: CATALOG.setDatasetTTL(dataset, "P3M"), right)
    report("putDataset", lambda: CATALOG.putDataset(dataset, {"name": "Persons"}), right)
    report("getDataSetViews", lambda: CATALOG.getDataSetViews(dataset), is_list(at_least=0))
    report("getDataSetView", lambda: CATALOG.getDataSetView(dataset, "1"), has("name"))
    report("getDataSetViewFiles", lambda: CATALOG.getDataSetViewFiles(dataset, "1"), is_list(at_least=0))
    report("getDataSetExpiration", lambda: CATALOG.getDataSetExpiration(dataset), has("ttl"))
    report("getResources", CATALOG.getResources, is_list())
    report(
        "getResource (Catalog)",
        lambda: CATALOG.getResource(f"{CATALOG.endpoint}/batches", params={"limit": 1}),
        lambda found: len(found) == 1,
    )


def files(dataset: str, good: str, bad: str) -> None:
    access = dataaccess.DataAccess()
    (file,) = report("getBatchFiles", lambda: access.getBatchFiles(good), is_list())
    number = file["dataSetFileId"]
    report(
        "getBatchFiles (page)",
        lambda: access.getBatchFiles(good, limit=1, start=0),
        lambda found: len(found) == 1,
    )
    listed = report("getFiles", lambda: access.getFiles(number), has("data", "_page"))
    name = listed["data"][0]["name"]
    report(
        "getFiles (content)",
        lambda: access.getFiles(number, path=name),
        lambda content: json.loads(content) == {"a": 1},
    )
    report("getHeadFile", lambda: access.getHeadFile(number, name), lambda _: STATUSES == [200])
    report("getBatchFailed", lambda: access.getBatchFailed(bad), is_list(at_least=1))
    report(
        "getBatchFailed (content)",
        lambda: access.getBatchFailed(bad, path="part-00000.json"),
        has("_corrupt_record", "_errors"),
    )
    report("getBatchMeta", lambda: access.getBatchMeta(bad), has("data"))
    report("getBatchMeta (row_errors)", lambda: access.getBatchMeta(bad, path="row_errors"), has("data"))
    report("getPreview", lambda: access.getPreview(dataset), is_list(at_least=1))
    report(
        "getResource (Data Access)",
        lambda: access.getResource(f"{access.endpoint}/batches/{good}/files"),
        has("data"),
    )
    parquet(access, dataset)


def parquet(access: Any, dataset: str) -> None:
    import pandas

    client = ingestion.DataIngestion()
    batch = client.createBatch(dataset, format="parquet")["id"]
    content = io.BytesIO()
    pandas.DataFrame({"a": [1, 2]}).to_parquet(content)
    url = f"{client.endpoint}/batches/{batch}/datasets/{dataset}/files/a.parquet"
    # aepp can send JSON only
    headers = client.header | {"Content-Type": "application/octet-stream"}
    requests.put(url, data=content.getvalue(), headers=headers, timeout=20).raise_for_status()
    client.uploadSmallFileFinish(batch)
    wait_for(batch)
    (file,) = access.getBatchFiles(batch)
    number = file["dataSetFileId"]
    data = report(
        "getFiles (Parquet)",
        lambda: access.getFiles(number, path="a.parquet"),
        lambda found: found.read(4) == b"PAR1" and found.seek(0) == 0,
    )
    report("transformDataToDataFrame", lambda: access.transformDataToDataFrame(data), is_frame(at_least=2))
    report(
        "getParquetFilesToDataFrame",
        lambda: access.getParquetFilesToDataFrame(number, ["a.parquet"]),
        is_frame(at_least=2),
    )


EXTENSIONS = {"extensions": {"adobe_lakeHouse": {"rowExpiration": {"ttlValue": "P3M"}}}}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    requests.Session.send = send  # type: ignore[method-assign]
    aepp.configure(
        org_id="0123456789ABCDEF01234567@AdobeOrg",
        client_id="emulator-client",
        secret="emulator-client-secret",
        scopes="openid,AdobeID",
        sandbox="prod",
        retry=0,
    )
    CATALOG = report("configure and sign in", catalog.Catalog, lambda client: client.connector.token)
    DATASET = new_datasets()
    audiences()
    GOOD, BAD = batches(DATASET)
    batches_in_catalog(DATASET, GOOD, BAD)
    datasets(DATASET)
    files(DATASET, GOOD, BAD)
    report(
        "deleteDataSet",
        lambda: CATALOG.deleteDataSet(DATASET),
        lambda _: DATASET not in CATALOG.getDataSets(),
    )
