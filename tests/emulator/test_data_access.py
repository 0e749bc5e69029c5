# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

EXPORT = "/data/foundation/export"
BAD = '{"a": 1}\nnot json\n'


def test_failed_rows_are_listed_with_links_that_work(
    emulator: RunningEmulator, adobe: httpx.Client, ingest: Any
) -> None:
    batch = ingest(BAD)["id"]
    body = adobe.get(f"{EXPORT}/batches/{batch}/failed").json()
    assert body["_page"] == {"limit": 100, "count": 2}
    marker, part = body["data"]
    assert (marker["name"], marker["length"]) == ("_SUCCESS", "0")
    link = part["_links"]["self"]["href"]
    assert link.startswith(emulator.url)
    content = adobe.get(link)
    assert len(content.content) == int(part["length"])
    (row,) = [json.loads(line) for line in content.text.splitlines()]
    assert row == {
        "_corrupt_record": "not json",
        "_errors": [{"code": "1401", "message": row["_errors"][0]["message"]}],
        "_filename": "a.json",
    }
    assert adobe.get(f"{EXPORT}/batches/{batch}/failed", params={"path": "nothing"}).status_code == 404


def test_a_good_batch_has_no_failed_rows(adobe: httpx.Client, ingest: Any) -> None:
    assert adobe.get(f"{EXPORT}/batches/{ingest('{}')['id']}/failed").json()["data"] == []


def test_diagnostics(adobe: httpx.Client, ingest: Any) -> None:
    batch = ingest(BAD, enableErrorDiagnostics=True, partialIngestionPercent=50)["id"]
    meta = f"{EXPORT}/batches/{batch}/meta"
    assert {entry["name"] for entry in adobe.get(meta, params={"path": "row_errors"}).json()["data"]} == {
        "parsing_errors_0.json"
    }
    assert len(adobe.get(meta, params={"path": "row_errors/parsing_errors_0.json"}).text.splitlines()) == 1
    assert "not json" in adobe.get(meta, params={"path": "row_errors_sample.json"}).text
    assert "a.json" in adobe.get(meta, params={"path": "input_files/part-00000.json"}).text
    assert adobe.get(meta, params={"path": "../../etc/passwd"}).status_code == 404


def test_without_diagnostics_there_is_no_meta(adobe: httpx.Client, ingest: Any) -> None:
    assert (
        adobe.get(f"{EXPORT}/batches/{ingest(BAD)['id']}/meta", params={"path": "row_errors"}).status_code
        == 404
    )


def test_files_of_a_dataset(adobe: httpx.Client, ingest: Any) -> None:
    batch = ingest('{"a": 1}\n')["id"]
    (file,) = adobe.get(f"{EXPORT}/batches/{batch}/files").json()["data"]
    url = file["_links"]["self"]["href"]
    (entry,) = adobe.get(url).json()["data"]
    assert adobe.get(entry["_links"]["self"]["href"]).text == '{"a": 1}\n'
    part = adobe.get(url, params={"path": "a.json"}, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.text) == (206, 'a":')
    assert adobe.head(url).headers["content-length"] == "9"


def test_listings_have_pages(adobe: httpx.Client, ingest: Any) -> None:
    url = f"{EXPORT}/batches/{ingest(BAD)['id']}/failed"
    first = adobe.get(url, params={"limit": 1}).json()
    assert [entry["name"] for entry in first["data"]] == ["_SUCCESS"]
    second = adobe.get(first["_links"]["next"]["href"]).json()
    assert [entry["name"] for entry in second["data"]] == ["part-00000.json"]
    assert "next" not in second["_links"]


def test_links_of_a_page_keep_the_path(adobe: httpx.Client, ingest: Any) -> None:
    batch = ingest(BAD, enableErrorDiagnostics=True, partialIngestionPercent=50)["id"]
    seen, url = [], f"{EXPORT}/batches/{batch}/meta?path=row_errors&limit=1"
    body = adobe.get(url).json()
    assert "path=row_errors" in body["_links"]["page"]["href"]
    everything = f"{EXPORT}/batches/{batch}/meta?path=&limit=1"
    while everything:
        body = adobe.get(everything).json()
        seen += [entry["name"] for entry in body["data"]]
        everything = body["_links"].get("next", {}).get("href")
    assert sorted(seen) == ["parsing_errors_0.json", "part-00000.json", "row_errors_sample.json"]


def test_times_of_a_file_have_one_unit(adobe: httpx.Client, ingest: Any) -> None:
    batch = ingest('{"a": 1}\n')
    (file,) = adobe.get(f"{EXPORT}/batches/{batch['id']}/files").json()["data"]
    assert file["created"].isdigit()
    assert abs(int(file["created"]) - int(file["updated"])) < 60_000


def test_the_first_rows_of_a_dataset(emulator: RunningEmulator, adobe: httpx.Client, ingest: Any) -> None:
    ingest("".join(f'{{"n": {number}}}\n' for number in range(150)))
    ingest("broken")
    rows = adobe.get(f"{EXPORT}/datasets/ds/preview").json()["data"]
    assert rows == [{"n": number} for number in range(100)]
    emulator.switches["sandboxes"] = []
    assert adobe.get(f"{EXPORT}/datasets/ds/preview", headers={"x-sandbox-name": "dev"}).json()["data"] == []
    emulator.switches["any_dataset"] = False
    assert adobe.get(f"{EXPORT}/datasets/ds/preview").status_code == 404
