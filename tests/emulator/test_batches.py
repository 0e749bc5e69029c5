# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

IMPORT = "/data/foundation/import"
OCTETS = {"content-type": "application/octet-stream"}
BODY = {"datasetId": "ds", "inputFormat": {"format": "JSON"}}

Upload = Callable[..., httpx.Response]
Act = Callable[[str, str], httpx.Response]
LookUp = Callable[[str], dict[str, Any]]


def test_create(adobe: httpx.Client) -> None:
    answer = adobe.post(
        f"{IMPORT}/batches", json=BODY | {"replay": {"predecessors": ["${old}"], "reason": "replace"}}
    )
    assert answer.status_code == 201
    batch = answer.json()
    assert len(batch["id"]) == 26
    assert batch["status"] == "loading"
    assert batch["relatedObjects"] == [{"type": "dataSet", "id": "ds"}]
    assert batch["replay"] == {"predecessors": ["old"], "reason": "replace"}


@pytest.mark.parametrize(
    "change",
    (
        {"datasetId": None},
        {"inputFormat": None},
        {"inputFormat": {"format": "avro"}},
        {"partialIngestionPercent": 101},
        {"externalId": 5},
        {"inputFormat": {"format": "csv", "delimiter": ",,"}},
        {"inputFormat": {"format": "csv", "charset": "klingon"}},
    ),
)
def test_bad_create(adobe: httpx.Client, change: dict[str, Any]) -> None:
    body = {name: value for name, value in (BODY | change).items() if value is not None}
    assert adobe.post(f"{IMPORT}/batches", json=body).status_code == 400


@pytest.mark.parametrize(
    ("mode", "status"), (("conflict", 409), ("bad_request", 400), ("accept", 201), ("existing", 201))
)
def test_an_external_id_is_unique(
    emulator: RunningEmulator, adobe: httpx.Client, mode: str, status: int
) -> None:
    emulator.switches["external_id_duplicate"] = mode
    first = adobe.post(f"{IMPORT}/batches", json=BODY | {"externalId": "mine"}).json()["id"]
    again = adobe.post(f"{IMPORT}/batches", json=BODY | {"externalId": "mine"})
    assert again.status_code == status
    assert len(emulator.platform.batches.batches) == (2 if mode == "accept" else 1)
    if mode == "existing":
        assert again.json()["id"] == first


def test_the_external_id_of_an_aborted_batch_stays_taken_unless_switched(
    emulator: RunningEmulator, create_batch: Any, act: Act
) -> None:
    assert act(create_batch(externalId="mine"), "ABORT").status_code == 200
    with pytest.raises(AssertionError, match="exists"):
        create_batch(externalId="mine")
    emulator.switches["external_id_freed"] = True
    create_batch(externalId="mine")


def test_an_unknown_dataset(emulator: RunningEmulator, adobe: httpx.Client) -> None:
    emulator.switches["any_dataset"] = False
    assert adobe.post(f"{IMPORT}/batches", json=BODY).status_code == 400
    assert (
        httpx.post(f"{emulator.url}/_emulator/datasets", json={"id": "ds", "required": ["a"]}).status_code
        == 201
    )
    assert adobe.post(f"{IMPORT}/batches", json=BODY).status_code == 201
    assert adobe.get("/data/foundation/catalog/dataSets/ds").status_code == 200
    assert adobe.get("/data/foundation/catalog/dataSets/other").status_code == 404


def test_a_put_replaces_the_file(emulator: RunningEmulator, create_batch: Any, upload: Upload) -> None:
    batch = create_batch()
    upload(batch, b"old\n", "part=a/x.json")
    upload(batch, b"newer\n", "part=a/x.json")
    (file,) = emulator.platform.batches.batches[batch].files.values()
    assert (file.name, file.size, file.path.read_bytes()) == ("part=a/x.json", 6, b"newer\n")
    assert len(list(file.path.parent.iterdir())) == 1


def test_refused_files(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any, upload: Upload
) -> None:
    batch = create_batch()
    url = f"{IMPORT}/batches/{batch}/datasets/ds/files/a.json"
    assert adobe.put(url, files={"file": b"x"}).status_code == 415
    assert adobe.put(url.replace("/ds/", "/other/"), content=b"x", headers=OCTETS).status_code == 404
    assert upload("nothing", b"x").status_code == 404
    emulator.switches["put_limit"] = 3
    assert upload(batch, b"four").status_code == 413

    def chunks() -> Any:
        yield b"fo"
        yield b"ur"

    assert adobe.put(url, content=chunks(), headers=OCTETS).status_code == 413
    assert not emulator.platform.batches.batches[batch].files


def test_a_file_cut_in_the_middle_is_not_there(
    emulator: RunningEmulator, headers: dict[str, str], create_batch: Any, upload: Upload
) -> None:
    batch = create_batch()
    upload(batch, b"whole\n")
    place = urlsplit(emulator.url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        head = "".join(
            f"{name}: {value}\r\n"
            for name, value in (headers | OCTETS | {"host": "x", "content-length": "1000000"}).items()
        )
        connection.sendall(
            f"PUT {IMPORT}/batches/{batch}/datasets/ds/files/a.json HTTP/1.1\r\n{head}\r\n".encode()
            + b"x" * 1000
        )
    for name in ("b.json", "c.json"):  # by the time that these are through, the cut has been seen
        upload(batch, b"x\n", name)
    files = emulator.platform.batches.batches[batch].files
    assert {name: file.size for name, file in files.items()} == {"a.json": 6, "b.json": 2, "c.json": 2}


def test_statuses_move_with_time(
    emulator: RunningEmulator, create_batch: Any, upload: Upload, act: Act, look_up: LookUp
) -> None:
    emulator.switches["batch_seconds"] = 100
    batch = create_batch()
    assert look_up(batch)["status"] == "loading"
    upload(batch, b"{}\n")
    act(batch, "COMPLETE")
    seen = [look_up(batch)["status"]]
    for _ in range(5):
        emulator.clock.advance(20.5)
        seen.append(look_up(batch)["status"])
    assert seen == ["loaded", "queued", "processing", "staging", "staged", "success"]


def test_statuses_move_with_polls(
    emulator: RunningEmulator, create_batch: Any, upload: Upload, act: Act, look_up: LookUp
) -> None:
    emulator.switches.update({"batch_polls": 2, "success_status": "active"})
    batch = create_batch()
    upload(batch, b"{}\n")
    act(batch, "COMPLETE")
    assert [look_up(batch)["status"] for _ in range(4)] == ["loaded", "processing", "active", "active"]


def test_complete_may_be_repeated(
    emulator: RunningEmulator, create_batch: Any, upload: Upload, act: Act, look_up: LookUp
) -> None:
    emulator.switches["batch_polls"] = 0
    batch = create_batch()
    upload(batch, b"{}\n")
    assert [act(batch, "COMPLETE").status_code, act(batch, "complete").status_code] == [200, 200]
    assert look_up(batch)["status"] == "success"
    assert act(batch, "COMPLETE").status_code == 200
    assert upload(batch, b"late\n").status_code == 400


def test_abort(
    emulator: RunningEmulator, create_batch: Any, upload: Upload, act: Act, look_up: LookUp
) -> None:
    emulator.switches["batch_seconds"] = 100
    batch = create_batch()
    assert [act(batch, "ABORT").status_code, act(batch, "ABORT").status_code] == [200, 200]
    assert look_up(batch)["status"] == "aborted"
    assert act(batch, "COMPLETE").status_code == 400
    assert upload(batch, b"x").status_code == 400
    loaded = create_batch()
    upload(loaded, b"{}\n")
    act(loaded, "COMPLETE")
    assert act(loaded, "ABORT").status_code == 400
    emulator.switches.update({"abort_window": "running", "repeated_abort": "refuse"})
    assert [act(loaded, "ABORT").status_code, act(loaded, "ABORT").status_code] == [200, 400]
    assert look_up(loaded)["status"] == "aborted"


def test_fail_revert_and_unknown_actions(
    emulator: RunningEmulator, create_batch: Any, act: Act, look_up: LookUp, ingest: Any
) -> None:
    batch = create_batch()
    assert act(batch, "REVERT").status_code == 400
    assert act(batch, "EXPLODE").status_code == 400
    assert act(batch, "FAIL").status_code == 200
    assert look_up(batch)["status"] == "failed"
    done = ingest('{"a": 1}\n')["id"]
    assert len(list(emulator.platform.rows("ds"))) == 1
    assert act(done, "FAIL").status_code == 400
    assert act(done, "REVERT").status_code == 200
    assert look_up(done)["status"] == "inactive"
    assert list(emulator.platform.rows("ds")) == []


def test_a_batch_without_files(
    emulator: RunningEmulator, create_batch: Any, act: Act, look_up: LookUp
) -> None:
    emulator.switches["batch_polls"] = 0
    batch = create_batch()
    act(batch, "COMPLETE")
    assert (look_up(batch)["status"], look_up(batch)["errors"][0]["code"]) == ("failed", "106")
    emulator.switches["complete_without_files"] = "refuse"
    assert act(create_batch(), "COMPLETE").status_code == 400


def test_stalled_abandoned_and_too_many_files(
    emulator: RunningEmulator, create_batch: Any, upload: Upload, act: Act, look_up: LookUp
) -> None:
    emulator.switches.update(
        {"batch_polls": 0, "batch_stalls": True, "max_files": 1, "batch_abandon_seconds": 60}
    )
    batch = create_batch()
    upload(batch, b"{}\n")
    upload(batch, b"{}\n", "b.json")
    act(batch, "COMPLETE")
    assert look_up(batch)["status"] == "stalled"
    emulator.switches["batch_stalls"] = False
    assert look_up(batch)["errors"][0]["description"].startswith("Batch ingestion guardrails hit: 2 files")
    left = create_batch()
    emulator.clock.advance(61)
    assert look_up(left)["status"] == "abandoned"


def test_a_replay_replaces_its_predecessor(emulator: RunningEmulator, look_up: LookUp, ingest: Any) -> None:
    old = ingest('{"a": 1}\n')["id"]
    ingest('{"a": 2}\n', replay={"predecessors": [f"${{{old}}}"], "reason": "replace"})
    assert look_up(old)["status"] == "inactive"
    assert [row for _, row in emulator.platform.rows("ds")] == [{"a": 2}]


def test_what_arrived_can_be_read_and_compared(emulator: RunningEmulator, ingest: Any) -> None:
    one = ingest('{"a": 1, "b": null}\n{"a": 2}\n')["id"]
    two = ingest('[{"a": 3}]', inputFormat={"format": "json", "isMultiLineJson": True})["id"]
    text = httpx.get(f"{emulator.url}/_emulator/rows/ds").text
    assert [json.loads(line) for line in text.splitlines()] == [
        {"batch": one, "row": {"a": 1, "b": None}},
        {"batch": one, "row": {"a": 2}},
        {"batch": two, "row": {"a": 3}},
    ]
    digest = httpx.get(f"{emulator.url}/_emulator/rows/ds/digest").json()
    assert digest["count"] == 3
    emulator.platform.batches.reset()
    ingest('{"a": 3}\n{"a": 2}\n{"b": null, "a": 1}\n')
    assert emulator.platform.digest("ds") == digest


def test_preview(adobe: httpx.Client, create_batch: Any, upload: Upload) -> None:
    batch = create_batch("csv")
    upload(batch, "a,b\n1,2\n3,4\n")
    body = adobe.get(
        f"{IMPORT}/batches/{batch}/datasets/ds/preview", params={"format": "csv", "nrow": 1}
    ).json()
    assert body["preview"] == {
        "columns": [{"cid": "0", "name": "a"}, {"cid": "1", "name": "b"}],
        "rows": [{"0": "1", "1": "2"}],
    }


def test_the_sink_counts_bytes_and_keeps_none(emulator: RunningEmulator) -> None:
    answer = httpx.put(
        f"{emulator.url}/_emulator/sink/x",
        content=b"x" * 300_000,
        headers={"content-type": "application/octet-stream"},
    )
    assert answer.json() == {"name": "x", "bytes": 300_000}


@pytest.mark.parametrize("name", ("a\nb.json", "a.json\n", "\n", "part=1/\r\n/x"))
def test_the_name_of_a_file_is_whatever_is_left_of_the_path(
    emulator: RunningEmulator, adobe: httpx.Client, create_batch: Any, name: str
) -> None:
    batch = create_batch()
    url = f"{IMPORT}/batches/{batch}/datasets/ds/files/{quote(name, safe='/')}"
    assert adobe.put(url, content=b"x", headers=OCTETS).status_code == 200
    assert list(emulator.platform.batches.batches[batch].files) == [name]
