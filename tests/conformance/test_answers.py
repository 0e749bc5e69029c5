# SPDX-License-Identifier: Apache-2.0
"""Every answer of the emulator for batches, Catalog, Data Access and audiences is one that Adobe's OpenAPI
files allow.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_adobe_audiences.emulator.server import running_emulator
from tests.conformance.spec import AMENDMENTS, Amendment, Specification

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.journal import Entry

OCTETS = {"content-type": "application/octet-stream"}
IMPORT = "/data/foundation/import"
CATALOG = "/data/foundation/catalog"
EXPORT = "/data/foundation/export"
UPS = "/data/core/ups/audiences"
AIS = "/data/core/ais/audiences?createAudienceMetaOnly=true"
ACCEPT = {"accept": "application/vnd.adobe.external.audiences+json; version=2"}
BODIES = {"journal_bodies": 1_000_000, "batch_polls": 1}
#: Answer as the files say wherever a switch lets the emulator choose.
AS_SPECIFIED = {
    "large_file_responses": "spec",
    "put_created_status": 201,
    "action_response": "batch",
    "ups_write_status": 201,
    "audiences_external_type": "ExternalAudience",
}


@pytest.fixture(scope="session")
def specification(shared: Path) -> Specification:
    return Specification(shared / "specs")


def use_batches(adobe: httpx.Client) -> None:
    """Go through the life of batches, good ones and bad ones."""
    for number, (content, extra) in enumerate(
        (
            (b'{"a": 1}\n', {}),
            (b'{"a": 1}\nbroken\n', {"enableErrorDiagnostics": True, "partialIngestionPercent": 50}),
            (
                b"",
                {
                    "externalId": "empty",
                    "tags": {"mine": ["x"]},
                    "replay": {"predecessors": ["$01M8"], "reason": "replace"},
                },
            ),
        )
    ):
        body = {"datasetId": "ds", "inputFormat": {"format": "json"}, **extra}
        batch = adobe.post(f"{IMPORT}/batches", json=body).json()["id"]
        file = f"{IMPORT}/batches/{batch}/datasets/ds/files"
        adobe.get(f"{CATALOG}/batches/{batch}")
        adobe.put(f"{file}/part=1/a.json", content=content, headers=OCTETS)
        adobe.put(f"{file}/part=1/a.json", content=content, headers=OCTETS)
        if number == 0:
            use_large_file(adobe, f"{file}/large.json")
            adobe.get(f"{IMPORT}/batches/{batch}/datasets/ds/preview", params={"format": "json", "nrow": 2})
        for _ in range(2):
            act(adobe, batch, "COMPLETE")
        for _ in range(3):
            adobe.get(f"{CATALOG}/batches/{batch}", params={"aggregate": "true"})
        for path in ("", "?path=part-00000.json", "?path=_SUCCESS"):
            adobe.get(f"{EXPORT}/batches/{batch}/failed{path}")
        for path in (
            "",
            "?path=row_errors",
            "?path=row_errors/parsing_errors_0.json",
            "?path=row_errors_sample.json",
            "?path=input_files",
        ):
            adobe.get(f"{EXPORT}/batches/{batch}/meta{path}")
        for entry in adobe.get(f"{EXPORT}/batches/{batch}/files", params={"limit": "1"}).json()["data"]:
            link = entry["_links"]["self"]["href"]
            for listed in adobe.get(link).json()["data"]:
                adobe.get(listed["_links"]["self"]["href"])
                adobe.get(listed["_links"]["self"]["href"], headers={"range": "bytes=0-2"})
            adobe.head(link, params={"path": "part=1/a.json"})
        act(adobe, batch, "REVERT")
    for action in ("ABORT", "FAIL"):
        act(
            adobe,
            adobe.post(
                f"{IMPORT}/batches", json={"datasetId": "ds", "inputFormat": {"format": "csv"}}
            ).json()["id"],
            action,
        )
    adobe.get(
        f"{CATALOG}/batches",
        params={"dataSet": "ds", "limit": 2, "start": 1, "orderBy": "desc:created", "status": "success"},
    )
    adobe.get(f"{CATALOG}/batches", params={"externalId": "empty", "properties": "status,errors"})
    adobe.get(f"{CATALOG}/dataSets/ds")


def use_large_file(adobe: httpx.Client, url: str) -> None:
    adobe.post(url, params={"action": "INITIALIZE"}, headers=JSON)
    adobe.head(url)
    adobe.post(url, params={"action": "COMPLETE"}, headers=JSON)
    adobe.patch(url, content=b'{"a": 2}\n', headers=OCTETS | {"content-range": "bytes 0-8"})
    adobe.patch(url, content=b"x", headers=OCTETS | {"content-range": "bytes 0-8"})
    adobe.head(url)
    adobe.post(url, params={"action": "COMPLETE"}, headers=JSON)


JSON = {"content-type": "application/json"}


def act(adobe: httpx.Client, batch: str, action: str) -> None:
    adobe.post(f"{IMPORT}/batches/{batch}", params={"action": action})


def use_batches_wrongly(adobe: httpx.Client) -> None:
    """Ask for what cannot be."""
    body = {"datasetId": "ds", "inputFormat": {"format": "json"}, "externalId": "twice"}
    batch = adobe.post(f"{IMPORT}/batches", json=body).json()["id"]
    adobe.post(f"{IMPORT}/batches", json=body)
    adobe.post(f"{IMPORT}/batches", json={})
    adobe.post(f"{IMPORT}/batches/nothing?action=COMPLETE")
    adobe.put(
        f"{IMPORT}/batches/{batch}/datasets/ds/files/a", content=b"x", headers={"content-type": "text/plain"}
    )
    adobe.put(f"{IMPORT}/batches/{batch}/datasets/other/files/a", content=b"x", headers=OCTETS)
    adobe.put(f"{IMPORT}/batches/{batch}/datasets/ds/files/{'a' * 2000}", content=b"x", headers=OCTETS)
    adobe.get(f"{CATALOG}/batches/nothing")
    adobe.get(f"{CATALOG}/batches", params={"limit": 101})
    for path in ("failed", "meta", "meta?path=nothing", "files"):
        adobe.get(f"{EXPORT}/batches/nothing/{path}")
    adobe.get(f"{EXPORT}/files/nothing")


def use_catalog(adobe: httpx.Client) -> None:
    """Watch datasets, change and delete a batch."""
    adobe.get(f"{CATALOG}/lastBatches", params={"dataSetId": "ds,other", "limit": 5})
    body = {
        "name": "Profiles",
        "description": "d",
        "schemaRef": {
            "id": "https://ns.adobe.com/emulator/schemas/1",
            "contentType": "application/vnd.adobe.xed-full-notext+json; version=1",
        },
        "tags": {"unifiedProfile": ["enabled: true"]},
    }
    dataset = adobe.post(f"{CATALOG}/dataSets", json=body).json()[0].rpartition("/")[2]
    batch = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    number = adobe.post(f"{IMPORT}/batches", json=batch).json()["id"]
    adobe.put(f"{IMPORT}/batches/{number}/datasets/{dataset}/files/a", content=b'{"a": 1}', headers=OCTETS)
    act(adobe, number, "COMPLETE")
    for _ in range(2):
        adobe.get(f"{CATALOG}/batches/{number}")
    adobe.get(f"{EXPORT}/datasets/{dataset}/preview")
    adobe.get(f"{EXPORT}/batches/{number}/files")
    adobe.get(f"{CATALOG}/dataSets", params={"limit": 2, "properties": "name,tags", "name": "Profiles"})
    adobe.patch(f"{CATALOG}/dataSets/{dataset}", json={"name": "People", "description": "e"})
    adobe.get(f"{CATALOG}/dataSets/{dataset}")
    adobe.post(f"{CATALOG}/dataSets", json={"name": 1})
    adobe.put(f"{CATALOG}/dataSets/{dataset}", json={"name": "Persons"})
    extensions = {"adobe_lakeHouse": {"rowExpiration": {"ttlValue": "P3M"}}}
    adobe.patch(f"{CATALOG}/v2/dataSets/{dataset}", json={"extensions": extensions})
    other = adobe.post(f"{CATALOG}/dataSets", json={"name": "Other"}).json()[0].rpartition("/")[2]
    adobe.delete(f"{CATALOG}/dataSets/{other}")
    adobe.patch(f"{CATALOG}/batches/{number}", json={"tags": {"seen": ["yes"]}})
    adobe.patch(f"{CATALOG}/batches/nothing", json={"tags": {}})
    adobe.get(f"{CATALOG}/batches/{number}")
    adobe.delete(f"{CATALOG}/batches/{number}")
    adobe.get(f"{CATALOG}/batches/{number}")
    adobe.delete(f"{CATALOG}/batches/nothing")


def use_audiences(adobe: httpx.Client) -> None:
    made = [
        adobe.post(
            AIS,
            headers=ACCEPT,
            json={"name": f"n{number}", "audienceId": f"a{number}", "namespace": "agora", "originName": "o"},
        )
        for number in range(3)
    ]
    adobe.get(UPS, params={"limit": 2, "start": 0, "sort": "updateTime:desc"})
    adobe.get(
        UPS,
        params={
            "limit": 2,
            "start": 1,
            "property": "audienceId==a1",
            "name": "n",
            "description": "d",
            "entityType": "x",
        },
    )
    platform = {
        "name": "Canadians",
        "profileInstanceId": "ups",
        "schema": {"name": "_xdm.context.profile"},
        "expression": {"type": "PQL", "format": "pql/text", "value": 'homeAddress.countryISO = "CA"'},
        "labels": ["core/C1"],
    }
    numbers = [answer.json().get("id") for answer in (*made, adobe.post(UPS, json=platform))]
    for number in (numbers[0], numbers[-1]):
        adobe.get(f"{UPS}/{number}")
        adobe.patch(f"{UPS}/{number}", json=[{"op": "add", "path": "/lifecycleState", "value": "published"}])
        adobe.patch(f"{UPS}/{number}", json=[{"op": "add", "path": "/namespace", "value": {"value": "x"}}])
        adobe.put(f"{UPS}/{number}", json={"name": "new", "description": "d"})
        adobe.put(f"{UPS}/{number}", json={"name": "new", "namespace": "x"})
    adobe.post(UPS, json={})
    adobe.post(f"{UPS}/bulk-get", json={"ids": [{"id": numbers[0]}, {"id": "nothing"}]})
    adobe.post(f"{UPS}/bulk-get", json={"ids": [{"id": "nothing"}]})
    adobe.post(f"{UPS}/bulk-get", json={"ids": []})
    for number in (numbers[0], "nothing"):
        adobe.delete(f"{UPS}/{number}")
        for method in ("GET", "PUT", "PATCH"):
            adobe.request(
                method,
                f"{UPS}/{number}",
                json={"name": "n"} if method == "PUT" else [] if method == "PATCH" else None,
            )


def use_all(adobe: httpx.Client) -> None:
    use_batches(adobe)
    use_batches_wrongly(adobe)
    use_catalog(adobe)
    use_audiences(adobe)


@pytest.fixture(scope="session")
def journals() -> dict[str, list[Entry]]:
    """All that the emulator answers, by default and with the files in the right."""
    found = {}
    for name, switches in (("default", {}), ("as specified", AS_SPECIFIED)):
        with running_emulator(**BODIES, **switches) as emulator:
            headers = {
                "authorization": f"Bearer {emulator.ims.issue()}",
                "x-api-key": "emulator-client",
                "x-gw-ims-org-id": "0123456789ABCDEF01234567@AdobeOrg",
                "x-sandbox-name": "prod",
            }
            with httpx.Client(base_url=emulator.url, headers=headers) as client:
                use_all(client)
            found[name] = emulator.journal.entries
    return found


def problems(specification: Specification, entries: list[Entry], *, requests: bool = False) -> set[str]:
    found = {problem for entry in entries for problem in specification.validate_answer(entry)}
    return found | {
        problem for entry in entries if requests for problem in specification.validate_request(entry)
    }


@pytest.mark.parametrize("name", ("default", "as specified"))
def test_every_answer_is_allowed(
    journals: dict[str, list[Entry]], specification: Specification, name: str
) -> None:
    covered = [entry for entry in journals[name] if specification.find(entry) is not None]
    assert len(covered) > 100
    assert problems(specification, covered) == set()


def test_every_operation_was_tried(journals: dict[str, list[Entry]], specification: Specification) -> None:
    operations = [specification.find(entry) for entry in journals["default"]]
    assert {operation.item["operationId"] for operation in operations if operation is not None} == {
        *(
            "createBatch",
            "uploadSmallFile",
            "uploadLargeFilePart",
            "completeLargeFileUpload",
            "getLargeFileStatus",
            "retrievePreview",
        ),
        *("completeBatch", "listBatches", "retrieveBatch", "retrieveDataset"),
        *("listLastBatches", "listDatasets", "createDataset", "patchDataset", "patchBatch", "deleteBatch"),
        *("putDataset", "deleteDataset", "patchDataSetV2"),
        "retrieveDatasetPreview",
        *(
            "listDatasetFiles",
            "retrieveFailedBatch",
            "retrieveBatchMeta",
            "retrieveDatasetFile",
            "retrieveDatasetFileHeaders",
        ),
        *(
            "listAudiences",
            "createAudience",
            "getAudience",
            "deleteAudience",
            "patchAudience",
            "updateAudience",
            "bulkGetAudiences",
        ),
    }


@pytest.mark.parametrize(
    "amendment", AMENDMENTS, ids=lambda amendment: f"{amendment.number} {amendment.pointer}"
)
def test_every_exception_is_needed(
    shared: Path, specification: Specification, journals: dict[str, list[Entry]], amendment: Amendment
) -> None:
    entries = [*journals["default"], *journals["as specified"]]
    without = Specification(shared / "specs", [other for other in AMENDMENTS if other is not amendment])
    assert problems(without, entries, requests=True) > problems(specification, entries, requests=True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    (
        ({"status": 202}, "status 202 is not documented"),
        ({"response_body": '{"x": {"status": "lost"}}', "response_bytes": 25}, "'lost' is not one of"),
        ({"response_body": '{"x": {"state": "success"}}', "response_bytes": 27}, "'state' was unexpected"),
        ({"response_headers": {"content-type": "text/html"}}, "media type 'text/html' is not documented"),
        ({"response_bytes": 0}, "there is no body"),
        ({"query": "agregate=true"}, "query agregate is not documented"),
        ({"query": "aggregate=1"}, "'1' is not of type 'boolean'"),
        ({"headers": {}}, "header x-api-key is missing"),
    ),
)
def test_the_check_finds_what_is_wrong(
    journals: dict[str, list[Entry]], specification: Specification, changes: dict[str, Any], problem: str
) -> None:
    (entry, *_) = [
        entry
        for entry in journals["default"]
        if entry.path.startswith(f"{CATALOG}/batches/") and entry.status == 200
    ]
    spoiled = replace(entry, **changes)
    found = [*specification.validate_request(spoiled), *specification.validate_answer(spoiled)]
    assert any(problem in text for text in found), found


def test_a_path_that_no_file_knows(journals: dict[str, list[Entry]], specification: Specification) -> None:
    with pytest.raises(AssertionError, match="no such operation"):
        specification.find(replace(journals["default"][0], path=f"{CATALOG}/nonsense/x"))


def test_a_body_that_the_journal_has_cut(
    journals: dict[str, list[Entry]], specification: Specification
) -> None:
    entry = next(
        entry
        for entry in journals["default"]
        if entry.path.startswith(f"{CATALOG}/batches/") and entry.status == 200
    )
    with pytest.raises(ValueError, match="journal_bodies"):
        specification.validate_answer(replace(entry, response_bytes=entry.response_bytes + 1))
